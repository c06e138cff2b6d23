"""Rows of layers of sequences: with and without masks, lengths and states, stacked and in both directions."""

from __future__ import annotations

from funcnn import layers
from funcnn.combinators import branch, serial
from funcnn.shapes import spec
from funcnn.testing.table.row import Row

__all__ = ["ROWS"]

SEQUENCE, TOKENS, MASK = (4, 2), spec((4,), int), spec((4,), bool)
MASKED = {"x": SEQUENCE, "mask": MASK}
H, C = {"h": (3,)}, {"c": (3,)}
CELL = branch(
    x=serial(layers.merge("concat"), layers.dense(2)),
    state=serial(layers.merge("concat"), layers.dense(3, activation="tanh")),
)

ROWS: list[Row] = [
    (layers.embedding(2, 3), TOKENS),
    (layers.embedding_bag(2, 3), {"x": TOKENS, "mask": MASK}),
    (layers.embedding_bag(2, 3, "max"), TOKENS),
    (layers.rnn(3, "relu", bias=False), {**MASKED, "state": H}),
    (layers.gru(3), {**MASKED, "state": H}),
    (layers.gru(3, reset_after=False, return_sequences=False), MASKED),
    (layers.lstm(3), SEQUENCE),
    (layers.lstm(3, projection=2, bias=False), {**MASKED, "state": {"h": (2,), **C}}),
    (layers.lstm(3, layers=2, dropout=0.3), {**MASKED, "state": {"lstm_0": {}, "lstm_1": H | C}}),
    (layers.bidirectional(layers.gru(3, return_sequences=False)), {**MASKED, "state": {"forward": {}, "backward": H}}),
    (layers.stacked(layers.bidirectional(layers.rnn(2)), layers.lstm(3)), SEQUENCE),
    (layers.scan(CELL, state=(3,)), SEQUENCE),
    (layers.scan(CELL, return_sequences=False), {**MASKED, "state": (3,)}),
    (layers.last, MASKED),
    (layers.time_distributed(layers.batch_norm()), MASKED),
    (layers.masked_mean, MASKED),
    (layers.masked_max, SEQUENCE),
]
