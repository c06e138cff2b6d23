"""Rows of attention, positions and transformer layers, on arrays and on trees with masks, contexts and caches."""

from __future__ import annotations

from funcnn.combinators import cached, sublayer, transformer_decoder_layer, transformer_encoder_layer
from funcnn.layers import alibi, attention, batch_norm, dense, dropout, layer_norm, multi_head_attention, positions
from funcnn.protocol import named
from funcnn.shapes import spec
from funcnn.testing.table.row import Row

__all__ = ["ROWS"]

TOKENS = (3, 4)
CACHE = {"k": (3, 2, 2), "v": (3, 2, 2)}
HEADS = {"q": (3, 4, 2), "k": (5, 2, 2), "v": (5, 2, 3), "mask": spec((5,), bool), "bias": (1, 3, 5)}
CROSS = {"x": TOKENS, "context": (2, 6), "mask": spec((3,), bool), "context_mask": spec((3, 2), bool)}
CONTEXT = {"x": TOKENS, "context": (2, 3)}
HEADS_OF_TWO = named("heads", multi_head_attention(2))

ROWS: list[Row] = [
    (attention(causal=True), TOKENS),
    (attention(scale=0.7, dropout=0.3), HEADS),
    (attention(), {"x": TOKENS, "context": (2, 4), "context_mask": spec((2,), bool)}),
    (multi_head_attention(2, causal=True, dropout=0.2), TOKENS),
    (multi_head_attention(2, units=5, width=3, key_heads=1, bias=False, scale=0.5), CROSS),
    (multi_head_attention(2, causal=True, positions="rotary"), {"x": TOKENS, "cache": CACHE, "mask": spec((6,), bool)}),
    (multi_head_attention(2, causal=True, bias=False, positions="alibi"), {"x": TOKENS, "cache": {}}),
    (positions("learned", 6), TOKENS),
    (positions("sinusoidal"), {"x": (4, 5), "cache": {"time": spec((), int)}, "mask": spec((4,), bool)}),
    (positions("rotary"), (4, 2, 6)),
    (alibi(3), {"q": (4, 3, 2), "k": (5, 1, 2), "v": (5, 1, 2)}),
    (transformer_encoder_layer(4, 2, 3, dropout=0.2, causal=True), TOKENS),
    (
        transformer_encoder_layer(4, 2, 3, activation="gelu", norm_first=False, bias=False),
        {"x": TOKENS, "mask": spec((3,), bool)},
    ),
    (transformer_decoder_layer(4, 2, 3, dropout=0.2, bias=False), CONTEXT | {"context_mask": spec((2,), bool)}),
    (transformer_decoder_layer(4, 2, 3, norm_first=False), CONTEXT | {"cache": CACHE}),
    (sublayer(batch_norm(), dense(4), dropout(0.2)), TOKENS),
    (cached(positions("rotary"), sublayer(layer_norm(), HEADS_OF_TWO, inputs=["mask"]), dense(3)), TOKENS),
    (cached(multi_head_attention(2, causal=True), dense(3)), {"x": TOKENS, "cache": {"multi_head_attention_0": CACHE}}),
]
