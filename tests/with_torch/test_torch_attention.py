"""Attention, positions and transformer layers agree with PyTorch through every mask, head and order of norms."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import funcnn as fn
from funcnn.aliases import Array
from tests.with_torch.agreement import Case, agree, few, normal

pytestmark = pytest.mark.torch

MASKS = st.sampled_from([None, "keys", "pairs"])
ACTIVATIONS = st.sampled_from(["relu", "gelu"])


def mask_of(kind: str | None, batch: int, queries: int, keys: int) -> Array | None:
    """A random mask under which each query has a key."""
    shape = {"keys": (batch, keys), "pairs": (batch, queries, keys)}.get(kind or "")
    if shape is None:
        return None
    mask = np.random.default_rng(1).random(shape) < 0.6
    mask[..., 0] = True
    return mask


def allowed(x: Any, name: str, queries: int, keys: int, causal: bool) -> Any:
    """What PyTorch calls a boolean mask, (batch or 1, 1, queries, keys)."""
    import torch

    found = torch.ones(1, 1, queries, keys, dtype=torch.bool)
    if name in x:
        found = found & (x[name][:, None, None] if x[name].ndim == 2 else x[name][:, None])
    return found.tril() if causal else found


def attention(
    batch: int, queries: int, keys: int, heads: tuple[int, int], causal: bool, mask: str | None, bias: str | None,
    scale: float | None,
) -> Case:  # fmt: skip
    import torch
    import torch.nn.functional as F

    x: Any = {"q": normal(1, batch, queries, heads[0], 4), "k": normal(2, batch, keys, heads[1], 4)}
    x["v"] = normal(3, batch, keys, heads[1], 3)
    if (own := mask_of(mask, batch, queries, keys)) is not None:
        x["mask"] = own
    if bias is not None:
        x["bias"] = normal(4, batch, heads[0] if bias == "heads" else 1, queries, keys)

    def theirs(params: Any, x: Any) -> Any:
        q, k, v = (x[name].movedim(1, 2) for name in "qkv")
        added = x.get("bias", torch.zeros(1, 1, queries, keys, dtype=torch.float64))
        added = added.masked_fill(~allowed(x, "mask", queries, keys, causal), -torch.inf)
        return F.scaled_dot_product_attention(q, k, v, added, scale=scale, enable_gqa=True).movedim(1, 2)

    return Case(fn.attention(causal, scale), x, theirs)


def multi_head_attention(
    batch: int, queries: int, keys: int | None, causal: bool, mask: str | None, bias: bool
) -> Case:
    """Against nn.MultiheadAttention, with our weights in its layout."""
    import torch
    import torch.nn.functional as F

    keys_count = queries if keys is None else keys
    x: Any = {"x": normal(1, batch, queries, 6)}
    if keys is not None:
        x["context"] = normal(2, batch, keys, 6)
    name = "mask" if keys is None else "context_mask"
    if (own := mask_of(mask, batch, queries, keys_count)) is not None:
        x[name] = own

    def theirs(params: Any, x: Any) -> Any:
        names = ("query", "key", "value")
        source = x.get("context", x["x"])
        hidden = ~allowed(x, name, queries, keys_count, causal)
        y, _ = F.multi_head_attention_forward(
            x["x"].movedim(0, 1), source.movedim(0, 1), source.movedim(0, 1), 6, 2,
            torch.cat([params[f"{name}_w"].T for name in names]),
            torch.cat([params[f"{name}_b"] for name in names]) if bias else None,
            None, None, False, 0.0, params["output_w"].T, params["output_b"] if bias else None,
            attn_mask=hidden.expand(batch, 2, queries, keys_count).reshape(batch * 2, queries, keys_count),
            need_weights=False,
        )  # fmt: skip
        return {**x, "x": y.movedim(0, 1)}

    return Case(fn.multi_head_attention(2, causal=causal, bias=bias), x, theirs)


def loaded(module: Any, renamed: dict[str, Any]) -> Any:
    """``module(*args)`` of a PyTorch module, with tensors of ours in place of its parameters."""
    import torch

    assert {name for name, _ in module.named_parameters()} == renamed.keys()
    return lambda *args, **kwargs: torch.func.functional_call(module.double().train(), renamed, args, kwargs)


def theirs_of(params: Any, cross: bool) -> dict[str, Any]:
    """Our parameters of a transformer layer under PyTorch's names."""
    import torch

    blocks = {"self_attn": "attention", **({"multihead_attn": "cross"} if cross else {})}
    found = {}
    for theirs, ours in blocks.items():
        own = params[ours]["heads"]
        found[f"{theirs}.in_proj_weight"] = torch.cat([own[f"{name}_w"].T for name in ("query", "key", "value")])
        found[f"{theirs}.in_proj_bias"] = torch.cat([own[f"{name}_b"] for name in ("query", "key", "value")])
        found[f"{theirs}.out_proj.weight"], found[f"{theirs}.out_proj.bias"] = own["output_w"].T, own["output_b"]
    for number, name in enumerate([*blocks.values(), "feed_forward"], 1):
        norm = params[name]["layer_norm_0"]
        found[f"norm{number}.weight"], found[f"norm{number}.bias"] = norm["scale"], norm["shift"]
    for number in (1, 2):
        own = params["feed_forward"]["serial_0"][f"dense_{number - 1}"]
        found[f"linear{number}.weight"], found[f"linear{number}.bias"] = own["w"].T, own["b"]
    return found


def encoder(batch: int, time: int, activation: str, norm_first: bool, causal: bool, mask: str | None) -> Case:
    import torch

    x: Any = {"x": normal(1, batch, time, 6)}
    if (own := mask_of(mask, batch, time, time)) is not None:
        x["mask"] = own
    module = torch.nn.TransformerEncoderLayer(6, 2, 5, 0.0, activation, batch_first=True, norm_first=norm_first)

    def theirs(params: Any, x: Any) -> Any:
        hidden = ~allowed(x, "mask", time, time, causal).expand(batch, 2, time, time).reshape(-1, time, time)
        return {**x, "x": loaded(module, theirs_of(params, False))(x["x"], hidden)}

    layer = fn.transformer_encoder_layer(6, 2, 5, 0.0, activation, norm_first, causal)
    return Case(layer, x, theirs)


def decoder(batch: int, time: int, activation: str, norm_first: bool, causal: bool, mask: str | None) -> Case:
    import torch

    x: Any = {"x": normal(1, batch, time, 6), "context": normal(2, batch, 4, 6)}
    if (own := mask_of(mask, batch, time, 4)) is not None:
        x["context_mask"] = own
    module = torch.nn.TransformerDecoderLayer(6, 2, 5, 0.0, activation, batch_first=True, norm_first=norm_first)

    def theirs(params: Any, x: Any) -> Any:
        hidden = ~allowed(x, "mask", time, time, causal)[0, 0]
        beyond = ~allowed(x, "context_mask", time, 4, False).expand(batch, 2, time, 4).reshape(-1, time, 4)
        return {**x, "x": loaded(module, theirs_of(params, True))(x["x"], x["context"], hidden, beyond)}

    return Case(fn.transformer_decoder_layer(6, 2, 5, 0.0, activation, norm_first, causal), x, theirs)


def positions(kind: str, batch: int, time: int, features: int, base: float) -> Case:
    """Formulas with PyTorch's operations, which has no function for them."""
    import torch

    def theirs(params: Any, x: Any) -> Any:
        if kind == "learned":
            return x + params["w"][:time]
        places = torch.arange(features // 2, dtype=torch.float64)
        angles = torch.outer(torch.arange(time, dtype=torch.float64), base ** (-2 * places / features))
        if kind == "sinusoidal":
            return x + torch.stack((angles.sin(), angles.cos()), -1).reshape(time, features)
        turned = torch.view_as_complex(x.unflatten(-1, (2, -1)).transpose(-1, -2).contiguous())
        turned = turned * torch.polar(torch.ones_like(angles), angles)
        return torch.view_as_real(turned).transpose(-1, -2).flatten(-2)

    return Case(fn.positions(kind, base=base), normal(1, batch, time, features), theirs)  # type: ignore[arg-type]


def alibi(batch: int, heads: int, queries: int, keys: int) -> Case:
    import torch

    def theirs(params: Any, x: Any) -> Any:
        slopes = 2.0 ** (-8 * torch.arange(1, heads + 1, dtype=torch.float64) / heads)
        distances = (torch.arange(queries)[:, None] - torch.arange(keys)).abs()
        bias = (-slopes[:, None, None] * distances).expand(batch, -1, -1, -1)
        return {**x, "bias": bias + 0 * x["q"].sum()}  # a leaf with a gradient, of zero

    x = {"q": normal(1, batch, queries, heads, 2), "k": normal(2, batch, keys, 1, 2)}
    return Case(fn.alibi(heads), x, theirs)


SIZES = st.integers(1, 3)
CASES = {
    "attention": st.builds(
        attention, SIZES, st.integers(1, 5), st.integers(1, 5),
        st.sampled_from([(1, 1), (4, 4), (4, 2), (6, 2), (3, 1)]), st.booleans(), MASKS,
        st.sampled_from([None, "heads", "one"]), st.sampled_from([None, 0.3]),
    ),
    "multi_head_attention": st.builds(
        multi_head_attention, SIZES, st.integers(1, 5), st.sampled_from([None, 1, 4]), st.booleans(), MASKS,
        st.booleans(),
    ),
    "transformer_encoder_layer": st.builds(
        encoder, SIZES, st.integers(1, 5), ACTIVATIONS, st.booleans(), st.booleans(), MASKS
    ),
    "transformer_decoder_layer": st.builds(
        decoder, SIZES, st.integers(1, 5), ACTIVATIONS, st.booleans(), st.booleans(), MASKS
    ),
    "positions": st.builds(
        positions, st.sampled_from(["learned", "sinusoidal", "rotary"]), SIZES, st.integers(1, 5),
        st.sampled_from([2, 4, 6]), st.sampled_from([10000.0, 7.0]),
    ),
    "alibi": st.builds(alibi, SIZES, st.sampled_from([1, 2, 4]), st.integers(1, 4), st.integers(1, 4)),
}  # fmt: skip


@pytest.mark.parametrize("kind", CASES)
def test_agrees(kind: str) -> None:
    @few
    @given(CASES[kind])
    def compare(case: Case) -> None:
        agree(kind, case)

    compare()


def test_a_query_without_keys_gives_0_as_in_pytorch() -> None:
    import torch
    import torch.nn.functional as F

    q = normal(0, 1, 2, 1, 4)
    mask = np.array([[[True, False], [False, False]]])
    y, vjp_fn = fn.attention().apply({}, {"q": q, "k": q, "v": q, "mask": mask})
    theirs = F.scaled_dot_product_attention(*[torch.from_numpy(q).movedim(1, 2)] * 3, torch.from_numpy(mask)[:, None])
    np.testing.assert_allclose(y, theirs.movedim(1, 2).numpy(), atol=1e-15)
    _, dx = vjp_fn(np.ones_like(y))
    assert not dx["q"][:, 1].any()
    assert not dx["v"][:, 1].any()


def test_dropped_weights_have_pytorchs_statistics() -> None:
    """With v = 1 an output is a sum of kept weights: mean 1, and the variance of dropout."""
    import torch
    import torch.nn.functional as F

    q, v = np.zeros((50, 20, 4, 2)), np.ones((50, 20, 4, 1))
    y, _ = fn.attention(dropout=0.3).apply({}, {"q": q, "k": q, "v": v}, rng=0)
    torch.manual_seed(0)
    tensors = [torch.from_numpy(a).movedim(1, 2) for a in (q, q, v)]
    theirs = F.scaled_dot_product_attention(*tensors, dropout_p=0.3).numpy()
    # Each is a mean of 20 terms of variance 0.3 / 0.7; five standard deviations of the mean and of the variance.
    assert y.mean() == pytest.approx(theirs.mean(), abs=5 * np.sqrt(2 * 0.3 / 0.7 / 20 / y.size))
    assert y.var() == pytest.approx(theirs.var(), rel=5 * 2 / np.sqrt(y.size))
