"""Rows of attention, positions and transformer layers, on arrays and on trees with masks, contexts and caches."""

from __future__ import annotations

from funcnn.combinators import cached, sublayer, transformer_decoder_layer, transformer_encoder_layer
from funcnn.layers import alibi, attention, batch_norm, dense, dropout, layer_norm, multi_head_attention, positions
from funcnn.protocol import named
from funcnn.shapes import spec
from funcnn.testing.table.row import Row

__all__ = ["ROWS"]

TOKENS = (4, 8)
CACHE = {"k": (3, 2, 4), "v": (3, 2, 4)}
HEADS = {"q": (3, 4, 2), "k": (5, 2, 2), "v": (5, 2, 3), "mask": spec((5,), bool), "bias": (1, 3, 5)}
CROSS = {"x": TOKENS, "context": (3, 6), "mask": spec((4,), bool), "context_mask": spec((4, 3), bool)}

ROWS: list[Row] = [
    (attention(causal=True), TOKENS),
    (attention(scale=0.7, dropout=0.3), HEADS),
    (attention(), {"x": TOKENS, "context": (3, 8), "context_mask": spec((3,), bool)}),
    (multi_head_attention(2, causal=True, bias=False, dropout=0.2), TOKENS),
    (multi_head_attention(2, units=5, width=3, key_heads=1, bias=False, scale=0.5), CROSS),
    (multi_head_attention(2, causal=True, positions="rotary"), {"x": TOKENS, "cache": CACHE, "mask": spec((7,), bool)}),
    (multi_head_attention(2, causal=True, bias=False, positions="alibi"), {"x": TOKENS, "cache": {}}),
    (positions("learned", 6), TOKENS),
    (positions("sinusoidal"), {"x": (4, 5), "cache": {"time": spec((), int)}, "mask": spec((4,), bool)}),
    (positions("rotary"), (4, 2, 6)),
    (alibi(3), {"q": (4, 3, 2), "k": (5, 1, 2), "v": (5, 1, 2)}),
    (transformer_encoder_layer(8, 2, 5, dropout=0.2, causal=True, bias=False), TOKENS),
    (
        transformer_encoder_layer(8, 2, 5, activation="gelu", norm_first=False, bias=False),
        {"x": TOKENS, "mask": spec((4,), bool)},
    ),
    (
        transformer_decoder_layer(8, 2, 5, dropout=0.2, bias=False),
        {"x": TOKENS, "context": (3, 6), "context_mask": spec((3,), bool)},
    ),
    (
        transformer_decoder_layer(8, 2, 5, norm_first=False, bias=False),
        {"x": TOKENS, "context": (3, 6), "cache": CACHE},
    ),
    (sublayer(batch_norm(), dense(8), dropout(0.2)), TOKENS),
    (
        cached(
            positions("rotary"),
            sublayer(layer_norm(), named("heads", multi_head_attention(2, bias=False)), inputs=["mask"]),
            dense(3),
        ),
        TOKENS,
    ),
    (cached(multi_head_attention(2, causal=True), dense(3)), {"x": TOKENS, "cache": {"multi_head_attention_0": CACHE}}),
]
