"""Recurrent layers and embeddings agree with PyTorch: every option, packed sequences for masks, states in and out."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import funcnn as fn
from funcnn.aliases import Array
from tests.with_torch.agreement import Case, agree, few, normal

pytestmark = pytest.mark.torch

BATCH, STEPS, INPUTS = 3, 5, 2
GATES = {"rnn": 1, "gru": 3, "lstm": 4}


def weights(kind: str, p: Any, units: int) -> list[Any]:
    """Our parameters of one layer in PyTorch's order; its second bias has what ours has inside of the reset gate."""
    import torch

    found = [p["w"].T, p["w_h"].T]
    if "b" in p:
        inner = torch.zeros(len(p["b"]), dtype=torch.float64)
        if "b_h" in p:
            inner = torch.cat([inner[: 2 * units], p["b_h"]])
        found += [p["b"], inner]
    return found + ([p["w_p"].T] if "w_p" in p else [])


def recurrent(
    kind: str, units: int, projection: int | None, layers: int, both: bool, bias: bool, relu: bool, how: str,
    given: str, sequences: bool,
) -> Case:  # fmt: skip
    """A layer of one kind; ``how`` is the mask, ``given`` the states that are given."""
    options: dict[str, Any] = {"bias": bias}
    if kind == "rnn" and relu:
        options["activation"] = "relu"
    if kind == "lstm":
        options["projection"] = projection
    make = getattr(fn, kind)
    if both:
        one = [fn.bidirectional(make(units, **options)) for _ in range(layers)]
        layer = one[0] if layers == 1 else fn.stacked(*one)
        sequences = True
    else:
        layer = make(units, layers=layers, return_sequences=sequences, **options)
    outputs = projection if kind == "lstm" and projection else units
    names = [f"{'bidirectional' if both else kind}_{n}" for n in range(layers)] if layers > 1 else [""]
    paths = [
        [*filter(None, [name]), *side] for name in names for side in ([["forward"], ["backward"]] if both else [[]])
    ]
    x: Any = {"x": normal(1, BATCH, STEPS, INPUTS)}
    lengths = np.array([5, 2, 3])
    mask = np.arange(STEPS) < lengths[:, None]
    x |= {"mask": mask} if how == "mask" else {"lengths": lengths} if how == "lengths" else {}
    if given != "none":
        x["state"] = {}
        for number, path in enumerate(paths if given == "all" else []):
            node = x["state"]
            for name in path:
                node = node.setdefault(name, {})
            node["h"] = normal(10 + number, BATCH, outputs)
            if kind == "lstm":
                node["c"] = normal(20 + number, BATCH, units)

    def theirs(params: Any, x: Any) -> Any:
        import torch
        from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

        flat: list[Any] = []
        for path in paths:
            own = params
            for name in path:
                own = own[name]
            flat += weights(kind, own, units)

        def initial(name: str, size: int) -> Any:
            found = []
            for path in paths:
                node = x.get("state", {})
                for part in path:
                    node = node.get(part, {})
                found.append(node.get(name, torch.zeros(BATCH, size, dtype=torch.float64)))
            return torch.stack(found)

        module: Any = getattr(torch.nn, kind.upper())(
            INPUTS, units, layers, bias=bias, batch_first=True, bidirectional=both, dtype=torch.float64,
            **({"proj_size": projection or 0} if kind == "lstm" else {}),
            **({"nonlinearity": "relu" if relu else "tanh"} if kind == "rnn" else {}),
        )  # fmt: skip
        own_names = [name for name, _ in module.named_parameters()]
        assert len(own_names) == len(flat)
        first = initial("h", outputs)
        state = (first, initial("c", units)) if kind == "lstm" else first
        packed = x["x"]
        if how != "none":
            packed = pack_padded_sequence(packed, torch.from_numpy(lengths), batch_first=True, enforce_sorted=False)
        y, final = torch.func.functional_call(module, dict(zip(own_names, flat, strict=True)), (packed, state))
        if how != "none":
            y, _ = pad_packed_sequence(y, batch_first=True, total_length=STEPS)
        h, c = final if kind == "lstm" else (final, None)
        out = {**x, "x": y if sequences else h[-1]}
        if "state" in x:
            out["state"] = {}
            for number, path in enumerate(paths):
                node = out["state"]
                for name in path:
                    node = node.setdefault(name, {})
                node["h"] = h[number]
                if c is not None:
                    node["c"] = c[number]
        return out

    return Case(layer, x, theirs)


def built(kind: str) -> Any:
    return st.builds(
        recurrent, st.just(kind), st.integers(3, 4), st.none() | st.integers(1, 2), st.integers(1, 3), st.booleans(),
        st.booleans(), st.booleans(), st.sampled_from(["none", "mask", "lengths"]),
        st.sampled_from(["none", "zeros", "all"]), st.booleans(),
    )  # fmt: skip


def reset_before(bias: bool) -> Case:
    """The GRU of the paper, written out."""
    import torch

    def theirs(p: Any, x: Any) -> Any:
        h, ys = torch.zeros(BATCH, 3, dtype=torch.float64), []
        for t in range(STEPS):
            a = x[:, t] @ p["w"] + p.get("b", 0)
            rz = torch.sigmoid(a[:, :6] + h @ p["w_h"][:, :6])
            r, z = rz[:, :3], rz[:, 3:]
            n = torch.tanh(a[:, 6:] + (r * h) @ p["w_h"][:, 6:])
            h = (1 - z) * n + z * h
            ys.append(h)
        return torch.stack(ys, 1)

    return Case(fn.gru(3, reset_after=False, bias=bias), normal(1, BATCH, STEPS, INPUTS), theirs)


def scan(masked: bool, sequences: bool) -> Case:
    """A cell of two dense layers of what comes in and of the state, over the steps that are there."""
    import torch

    cell = fn.branch(
        x=fn.serial(fn.merge("concat"), fn.dense(2)),
        state=fn.serial(fn.merge("concat"), fn.dense(3, activation="tanh")),
    )
    x: Any = normal(1, BATCH, STEPS, INPUTS)
    lengths = np.array([5, 2, 3]) if masked else np.full(3, 5)

    def theirs(p: Any, tree: Any) -> Any:
        value, state, ys = tree["x"], tree["state"], []
        for t in range(STEPS):
            there = torch.from_numpy(lengths > t)[:, None]
            both = torch.cat([state, value[:, t]], 1)
            y, new = (both @ p[name]["dense_0"]["w"] + p[name]["dense_0"]["b"] for name in ("x", "state"))
            ys.append(torch.where(there, y, 0))
            state = torch.where(there, torch.tanh(new), state)
        out = torch.stack(ys, 1) if sequences else torch.stack(ys, 1)[torch.arange(3), torch.from_numpy(lengths) - 1]
        return {**tree, "x": out, "state": state}

    given = {"x": x, "lengths": lengths, "state": normal(2, BATCH, 3)}
    return Case(fn.scan(cell, return_sequences=sequences), given, theirs)


def embedding(count: int, units: int, shape: tuple[int, ...]) -> Case:
    import torch.nn.functional as F

    x = np.random.default_rng(0).integers(0, count, (2, *shape))
    return Case(fn.embedding(count, units), x, lambda p, x: F.embedding(x, p["w"]))


def embedding_bag(count: int, units: int, how: Any, masked: bool) -> Case:
    import torch.nn.functional as F

    x = np.random.default_rng(0).integers(0, count, (BATCH, STEPS))
    if not masked:
        return Case(fn.embedding_bag(count, units, how), x, lambda p, x: F.embedding_bag(x, p["w"], mode=how))
    mask = np.arange(STEPS) < np.array([5, 2, 0])[:, None]

    def theirs(p: Any, x: Any) -> Any:
        import torch

        bags, offsets = x["x"][x["mask"]], torch.tensor([0, 5, 7])
        return F.embedding_bag(bags, p["w"], offsets, mode=how)

    return Case(fn.embedding_bag(count, units, how), {"x": x, "mask": mask}, theirs)


def pooled(kind: str, masked: bool, features: tuple[int, ...]) -> Case:
    import torch

    x: Any = normal(1, BATCH, STEPS, *features)
    mask = np.array([[1, 1, 0, 1, 0], [0, 1, 1, 1, 1], [0, 0, 0, 1, 0]], bool) if masked else np.ones((3, 5), bool)

    def theirs(p: Any, x: Any) -> Any:
        value = x["x"] if masked else x
        rows = [row[torch.from_numpy(own)] for row, own in zip(value, mask, strict=True)]
        how = {"last": lambda a: a[-1], "masked_mean": lambda a: a.mean(0), "masked_max": lambda a: a.amax(0)}[kind]
        return torch.stack([how(row) for row in rows])

    return Case(getattr(fn, kind), {"x": x, "mask": mask} if masked else x, theirs)


def time_distributed(masked: bool) -> Case:
    x: Any = normal(1, BATCH, STEPS, INPUTS)
    mask = np.arange(STEPS) < np.array([5, 2, 3])[:, None]

    def theirs(p: Any, x: Any) -> Any:
        own = p["dense_0"]
        if not masked:
            return x @ own["w"] + own["b"]
        return {**x, "x": (x["x"] @ own["w"] + own["b"]) * x["mask"][..., None]}

    return Case(fn.time_distributed(fn.dense(4)), {"x": x, "mask": mask} if masked else x, theirs)


FEATURES = st.sampled_from([(), (2,), (2, 3)])
CASES = {
    "rnn": built("rnn"),
    "gru": built("gru") | st.builds(reset_before, st.booleans()),
    "lstm": built("lstm"),
    "embedding": st.builds(embedding, st.integers(1, 9), st.integers(1, 4), st.sampled_from([(), (5,), (3, 4)])),
    "embedding_bag": st.builds(
        embedding_bag, st.integers(1, 9), st.integers(1, 4), st.sampled_from(["sum", "mean", "max"]), st.booleans()
    ),
    **{
        kind: st.builds(pooled, st.just(kind), st.booleans(), FEATURES)
        for kind in ("last", "masked_mean", "masked_max")
    },
    "scan": st.builds(scan, st.booleans(), st.booleans()),
    "time_distributed": st.builds(time_distributed, st.booleans()),
    # These are drawn with the layers inside of them.
    "bidirectional": built("lstm").filter(lambda case: case.layer.kind == "bidirectional"),
    "stacked": built("gru").filter(lambda case: case.layer.kind == "stacked"),
}


@pytest.mark.parametrize("kind", sorted(CASES))
@few
@given(data=st.data())
def test_sequences(kind: str, data: st.DataObject) -> None:
    agree("sequences", data.draw(CASES[kind]))


def test_float32_of_full_size_is_close() -> None:
    """An LSTM of 256 over 100 steps: rounding of 2e-7 grows along the steps, to less than a hundredfold."""
    layer = fn.lstm(256)
    x = np.random.default_rng(0).standard_normal((4, 100, 64)).astype(np.float32)
    params = layer.init((100, 64), 0)
    found: list[Array] = []
    for dtype in (np.float32, np.float64):
        y, vjp_fn = layer.apply(fn.tree.cast(params, dtype), x.astype(dtype))
        assert y.dtype == dtype
        grads, dx = vjp_fn(np.ones_like(y))
        found.append([y, dx, *grads.values()])  # type: ignore[arg-type]
    for one, other in zip(*found, strict=True):
        assert np.abs(one - other).max() < 2e-5 * np.abs(other).max()
