"""Weights that do not fit a model raise: what is missing, extra, of another shape, or could be another way round.

A ``state_dict`` may be of NumPy arrays, so nothing here needs PyTorch.
"""

import re
from typing import Any

import numpy as np
import pytest

import funcnn as fn

MODEL = fn.serial(fn.conv2d(4, 3), fn.batch_norm(), fn.relu, fn.global_avg_pool2d, fn.dense(2))


def filled(*shape: int) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape) / 10


def linear(name: str, inputs: int, outputs: int) -> dict[str, np.ndarray]:
    return {f"{name}.weight": filled(outputs, inputs), f"{name}.bias": filled(outputs)}


def convolutional() -> dict[str, np.ndarray]:
    """Of Conv2d(1, 4, 3), BatchNorm2d(4), Linear(4, 2)."""
    return {
        "conv.weight": filled(4, 1, 3, 3), "conv.bias": filled(4), "bn.weight": filled(4), "bn.bias": filled(4),
        "bn.running_mean": filled(4), "bn.running_var": filled(4), "bn.num_batches_tracked": np.array(3),
        **linear("fc", 4, 2),
    }  # fmt: skip


def raises(model: fn.Layer, weights: Any, message: str, **options: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        fn.params_from_torch(model, weights, **options)


def test_each_layer_gets_its_weights() -> None:
    params = fn.params_from_torch(MODEL, convolutional())
    assert fn.tree.paths(params) == fn.tree.paths(MODEL.init((5, 5, 1), 0))
    assert np.array_equal(params["conv2d_0"]["w"][1, 2, 0], filled(4, 1, 3, 3)[:, 0, 1, 2])
    assert np.array_equal(params["dense_0"]["w"], filled(2, 4).T)
    assert fn.torch_names(MODEL, convolutional()) == {"conv2d_0": "conv", "batch_norm_0": "bn", "dense_0": "fc"}


def test_weights_without_a_module_are_called_by_paths() -> None:
    params = fn.params_from_torch(MODEL, convolutional())
    written = fn.params_to_torch(MODEL, params, names={"conv2d_0": "features.0", "dense_0": "fc"})
    assert [*written] == [
        *(f"features.0.{leaf}" for leaf in ("weight", "bias")),
        *(f"batch_norm_0.{leaf}" for leaf in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")),
        *(f"fc.{leaf}" for leaf in ("weight", "bias")),
    ]  # fmt: skip
    assert np.array_equal(written["features.0.weight"], filled(4, 1, 3, 3))
    again = fn.params_from_torch(MODEL, written)
    assert all(map(np.array_equal, fn.tree.leaves(again), fn.tree.leaves(params)))
    recurrent = fn.serial(fn.lstm(2, layers=2))
    names = {"lstm_0/lstm_0": "rnn.l0", "lstm_0/lstm_1": "rnn.l1"}
    written = fn.params_to_torch(recurrent, recurrent.init((5, 3), 0), names=names)
    assert written["rnn.weight_ih_l1"].shape == (8, 2)
    assert "lstm_0.lstm_1.weight_hh_l0" in fn.params_to_torch(recurrent, recurrent.init((5, 3), 0))


def test_missing_and_extra_weights_raise() -> None:
    weights = convolutional()
    lacking = {key: weights[key] for key in weights if not key.startswith("bn")}
    raises(MODEL, lacking, r"missing: batch_norm_0 \(batch_norm\) expects running_mean \(any,\), running_var")
    raises(MODEL, weights | linear("aux", 4, 7), r"extra: aux with weight \(7, 4\), bias \(7,\)")
    del weights["fc.bias"]
    raises(
        MODEL, weights, r"dense_0 \(dense\) from fc: expected .*bias \(2,\), got .*; is one of them without a bias\?"
    )
    no_bias = fn.serial(fn.conv2d(4, 3), fn.batch_norm(), fn.relu, fn.global_avg_pool2d, fn.dense(2, bias=False))
    raises(no_bias, convolutional(), r"dense_0 \(dense\) from fc: .*; is it without a bias here\?")
    raises(MODEL, {}, "missing: conv2d_0")
    raises(fn.relu, linear("fc", 1, 1), "extra: fc")
    assert fn.params_from_torch(fn.relu, {}) == {}


@pytest.mark.parametrize(
    ("key", "shape", "message"),
    [
        ("fc.weight", (4, 2), r"fc\.weight: expected shape \(2, any\), got \(4, 2\); that is funcnn's order of axes"),
        (
            "conv.weight",
            (3, 3, 1, 4),
            r"conv\.weight: expected shape \(4, any, 3, 3\), got \(3, 3, 1, 4\); that is func",
        ),
        ("conv.weight", (1, 4, 3, 3), r"got \(1, 4, 3, 3\); its axes are in another order"),
        ("conv.weight", (4, 1, 5, 5), r"got \(4, 1, 5, 5\)$"),
        ("fc.weight", (2, 4, 1, 1), r"got \(2, 4, 1, 1\); it is that of a convolution with windows of one pixel"),
        ("fc.bias", (3,), r"fc\.bias: expected shape \(2,\), got \(3,\)$"),
    ],
)
def test_another_shape_raises_with_the_likely_mistake(key: str, shape: tuple[int, ...], message: str) -> None:
    raises(MODEL, convolutional() | {key: filled(*shape)}, re.compile(message, re.MULTILINE).pattern.replace("$", "\n"))


def test_with_a_shape_every_size_is_checked() -> None:
    message = r"conv\.weight: expected shape \(4, 3, 3, 3\), got \(4, 1, 3, 3\)"
    raises(MODEL, convolutional(), message, shape=(5, 5, 3))
    model = fn.serial(fn.flatten, fn.dense(2))
    raises(model, linear("fc", 10, 2), r"fc\.weight: expected shape \(2, 12\), got \(2, 10\)", shape=(2, 2, 3))


def test_names_say_what_belongs_together() -> None:
    model = fn.serial(fn.dense(3), fn.dense(3))
    weights = linear("late", 3, 3) | {key: array + 1 for key, array in linear("early", 3, 3).items()}
    names = {"dense_0": "early", "dense_1": "late"}
    assert fn.params_from_torch(model, weights, names)["dense_0"]["b"][0] == 1
    assert fn.params_from_torch(model, weights, {"dense_0": "early"})["dense_0"]["b"][0] == 1
    assert fn.torch_names(model, weights, names) == names
    nested = fn.serial(fn.named("body", fn.serial(fn.dense(3), fn.dense(3))), fn.dense(3))
    more = {f"net.{key}": array for key, array in weights.items()} | linear("head", 3, 3)
    assert fn.torch_names(nested, more, {"body": "net"})["body/dense_1"] == "net.early"


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"dense_7": "fc"}, r"names: no layer with parameters is at 'dense_7'; did you mean 'dense_0'\?"),
        ({"dense_0": "fd"}, r"names: there are no weights called 'fd', for 'dense_0'; did you mean 'fc'"),
        ({"dense_0": "fc", "conv2d_0": "fc"}, r"names: \['dense_0', 'conv2d_0'\] cannot all be 'fc'"),
        ({"dense_0/w": "fc.weight"}, r"names: dense_0 \(dense\) needs a name for each parameter, \['b'\] too"),
        ({"dense_0/w": "fc.w", "dense_0/b": "fc.bias"}, r"names: there are no tensors called \['fc\.w'\]"),
        ({"dense_0": 3}, r"names: expected a dict of names by path, got \{'dense_0': 3\}"),
        ("fc", r"names: expected a dict of names by path, got 'fc'"),
    ],
)
def test_wrong_names_raise(names: Any, message: str) -> None:
    raises(MODEL, convolutional(), f"params_from_torch: {message}", names=names)


def test_names_that_contradict_the_order_raise() -> None:
    model = fn.serial(fn.dense(3), fn.relu, fn.dense(3))
    raises(
        model,
        linear("fc2", 3, 3) | linear("fc1", 3, 3),
        "dense_0 would be fc2, and dense_1 fc1, or the other way round: their names contra",
    )
    assert fn.torch_names(fn.serial(fn.dense(3), fn.dense(2)), linear("fc2", 3, 3) | linear("fc1", 3, 2))
    model = fn.graph({
        "q": (fn.dense(3), "input"), "k": (fn.dense(3), "q"), "y": (fn.merge("add"), ("q", "k")),
    }, output="y")  # fmt: skip
    raises(
        model,
        linear("x.k", 3, 3) | linear("x.q", 3, 3),
        r"q would be x\.k, and k x\.q, or the other way round: their names contradict",
    )
    assert fn.torch_names(model, linear("k", 3, 3) | linear("q", 3, 3)) == {"q": "q", "k": "k"}


def test_sorted_names_say_nothing_about_the_order() -> None:
    def in_alphabet(*some: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return dict(sorted(item for weights in some for item in weights.items()))

    model = fn.serial(fn.dense(3), fn.dense(3))
    unsorted = linear("zeta", 3, 3) | linear("alpha", 3, 3)
    assert fn.torch_names(model, unsorted) == {"dense_0": "zeta", "dense_1": "alpha"}
    raises(
        model, in_alphabet(unsorted), "dense_0 would be alpha, and dense_1 zeta, .*: it is not known which of these com"
    )
    assert fn.torch_names(model, in_alphabet(unsorted), {"dense_0": "zeta"})["dense_1"] == "alpha"
    many = [linear(f"net.{number}.fc", 3, 3) for number in range(12)]
    found = fn.torch_names(fn.serial(*[fn.dense(3)] * 12), in_alphabet(*many))
    assert [*found.values()] == [f"net.{number}.fc" for number in range(12)]
    sizes = fn.torch_names(fn.serial(fn.dense(3), fn.dense(2)), in_alphabet(linear("a", 4, 3), linear("b", 3, 2)))
    assert sizes == {"dense_0": "a", "dense_1": "b"}


def test_parallel_branches_of_one_form_raise() -> None:
    model = fn.add(fn.dense(3), fn.dense(3))
    weights = linear("one", 3, 3) | linear("two", 3, 3)
    raises(model, weights, "dense_0 and dense_1 are parallel and have the same forms, so either could be one or two")
    assert fn.torch_names(model, weights, {"dense_0": "two"}) == {"dense_0": "two", "dense_1": "one"}
    named = fn.branch(one=fn.dense(3), two=fn.dense(3))
    assert fn.torch_names(named, {f"x.{key}": array for key, array in weights.items()})["one"] == "x.one"
    assert fn.torch_names(fn.add(fn.dense(3), fn.serial(fn.dense(2), fn.dense(3))), {
        **linear("one", 3, 3), **linear("two", 3, 2), **linear("three", 2, 3),
    })  # fmt: skip


def recurrent(suffixes: tuple[str, ...], gates: int = 4) -> dict[str, np.ndarray]:
    return {
        f"{name}_{suffix}": filled(*shape)
        for suffix in suffixes
        for name, shape in {
            "weight_ih": (2 * gates, 3), "weight_hh": (2 * gates, 2), "bias_ih": (2 * gates,), "bias_hh": (2 * gates,),
        }.items()
    }  # fmt: skip


def test_recurrent_weights_of_another_kind_raise() -> None:
    raises(fn.lstm(2), recurrent(("l0",), 3), r"weight_ih_l0: expected shape \(8, any\), got \(6, 3\)")
    raises(fn.gru(2, reset_after=False), recurrent(("l0",), 3), "use reset_after=True")
    both = fn.bidirectional(fn.lstm(2))
    assert fn.torch_names(both, recurrent(("l0", "l0_reverse"))) == {"forward": "l0", "backward": "l0_reverse"}
    message = r"backward/lstm_0|that is the backward half of a bidirectional layer"
    raises(fn.stacked(fn.lstm(2), fn.lstm(2)), recurrent(("l0", "l0_reverse")), message)
    raises(
        fn.bidirectional(fn.lstm(2, layers=2)),
        recurrent(("l0", "l0_reverse", "l1", "l1_reverse")),
        "missing: forward/lstm_1",
    )


def test_biases_of_recurrent_layers_are_added() -> None:
    params = fn.params_from_torch(fn.gru(2), recurrent(("l0",), 3))
    assert np.allclose(params["b"], [0.0, 0.2, 0.4, 0.6, 0.4, 0.5])
    assert np.allclose(params["b_h"], [0.4, 0.5])
    back = fn.params_to_torch(fn.gru(2), params)
    assert np.allclose(back["bias_ih_l0"], params["b"])
    assert np.allclose(back["bias_hh_l0"], [0, 0, 0, 0, 0.4, 0.5])


def test_a_flatten_needs_the_shape() -> None:
    model = fn.serial(fn.conv2d(2, 1), fn.flatten, fn.dense(1, bias=False))
    weights = {"a.weight": filled(2, 1, 1, 1), "a.bias": filled(2), "b.weight": filled(1, 12)}
    raises(model, weights, r"the model has flatten at flatten_0, .*: pass the shape of one example, such as shape=\(28")
    params = fn.params_from_torch(model, weights, shape=(2, 3, 1))
    # channel 0 has the elements 0 to 5 of PyTorch, channel 1 those from 6 on
    assert np.allclose(params["dense_0"]["w"][:, 0], np.array([0, 6, 1, 7, 2, 8, 3, 9, 4, 10, 5, 11]) / 10)
    assert np.array_equal(fn.params_to_torch(model, params, shape=(2, 3, 1))["dense_0.weight"], weights["b.weight"])


def test_elementwise_layers_keep_the_order_of_features() -> None:
    cube = fn.elementwise(lambda x: x**3, lambda x, y: 3 * x**2, name="cube")
    plain, cubed = (fn.serial(fn.flatten, layer, fn.dense(1)) for layer in (fn.relu, cube))
    weights = linear("fc", 12, 1)
    wanted = fn.params_from_torch(plain, weights, shape=(2, 3, 2))["dense_0"]["w"]
    assert np.array_equal(fn.params_from_torch(cubed, weights, shape=(2, 3, 2))["dense_0"]["w"], wanted)
    assert not np.array_equal(wanted, weights["fc.weight"].T)
    own = fn.serial(fn.flatten, scale(), fn.dense(1))
    raises(own, weights, r"scale_0 \(scale\) reads features that PyTorch has in another order", shape=(2, 3, 2))


def test_an_order_of_features_that_cannot_be_followed_raises() -> None:
    model = fn.serial(fn.conv2d(2, 1), fn.flatten, fn.group_norm(2), fn.dense(1))
    weights = {"a.weight": filled(2, 1, 1, 1), "a.bias": filled(2)} | linear("c", 8, 1)
    raises(
        model, weights, r"group_norm_0 \(group_norm\) reads features that PyTorch has in another order", shape=(2, 2, 1)
    )
    model = fn.serial(fn.conv2d(2, 1), fn.dense(2), fn.flatten, fn.dense(1))
    assert fn.torch_names(model, {"a.weight": filled(2, 1, 1, 1), "a.bias": filled(2), **linear("b", 2, 2),
                                  **linear("c", 8, 1)}, shape=(2, 2, 1))  # fmt: skip
    model = fn.serial(fn.conv2d(2, 1), fn.flatten, fn.reshape(8, 1, 1), fn.conv2d(1, 1))
    raises(model, {}, "in one order of features in PyTorch", shape=(2, 2, 1))
    model = fn.serial(fn.conv1d(3, 1), fn.relu, fn.add(fn.flatten, fn.serial(fn.dense(3), fn.flatten)), fn.dense(1))
    raises(model, {}, "channels first in PyTorch, and another one with", shape=(4, 2))


@fn.layer(per_example=True)
def scale(start: float = 1.0) -> Any:
    def init(shape: Any, rng: Any) -> Any:
        return {"s": np.full(shape[-1:], start, np.float32)}

    def apply(params: Any, x: Any) -> Any:
        return x * params["s"], lambda dy: ({"s": (dy * x).sum(0)}, dy * params["s"])

    return init, apply


def test_layers_of_the_users_own_are_named_parameter_by_parameter() -> None:
    model = fn.serial(fn.dense(2), scale())
    weights = linear("fc", 3, 2) | {"gamma": filled(2)}
    raises(model, weights, r'scale_0 \(layer\): it is not known what PyTorch calls .* names=\{"scale_0/each parameter"')
    raises(model, weights, r'parameters \[\'s\'\]; say names=\{"scale_0/s": "full name of the tensor"', shape=(3,))
    names = {"scale_0/s": "gamma"}
    params = fn.params_from_torch(model, weights, names)
    assert np.array_equal(params["scale_0"]["s"], filled(2))
    assert fn.torch_names(model, weights, names) == {"dense_0": "fc", "scale_0/s": "gamma"}
    assert np.array_equal(fn.params_to_torch(model, params, weights, names)["gamma"], filled(2))
    assert np.array_equal(fn.params_to_torch(model, params, names=names)["gamma"], filled(2))
    raises(model, weights | {"gamma": filled(3)}, r"gamma: expected shape \(2,\), got \(3,\)", names=names, shape=(3,))


def test_reparametrized_layers_without_a_counterpart_raise() -> None:
    raises(fn.serial(fn.spectral_norm(fn.dense(2))), linear("fc", 3, 2), "PyTorch's spectral_norm divides by another")
    raises(fn.serial(fn.weight_norm(fn.embedding(3, 2))), {}, "PyTorch's weight_norm of such a module has other axes")
    model = fn.multi_head_attention(4, key_heads=2)
    raises(model, {}, "has as many heads of keys as of queries")


def test_frozen_and_repeated_layers_keep_their_paths() -> None:
    model = fn.serial(fn.named("body", fn.frozen(fn.serial(fn.dense(3)))), fn.remat(fn.dense(2)))
    names = fn.torch_names(model, linear("a", 3, 3) | linear("b", 3, 2))
    assert names == {"body/dense_0": "a", "remat_0": "b"}


class Holder:
    """Something with a state_dict, as a module is."""

    def state_dict(self) -> dict[str, Any]:
        return {}


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (Holder(), r"expected a state_dict, a dict of tensors or arrays, got .*; pass module\.state_dict\(\)"),
        ([filled(2)], r"expected a state_dict, a dict of tensors or arrays, got "),
        (
            {"state_dict": linear("fc", 3, 2)},
            r"state_dict: expected a tensor, got a dict; is the state_dict inside of it",
        ),
        ({3: filled(2)}, "the names of a state_dict are texts, got 3"),
        ({"fc.weight": np.array(["a"])}, r"params_from_torch, fc\.weight: "),
        ({"fc.weight": np.ones((2, 3), complex), "fc.bias": filled(2)}, "expected float32 or float64, got complex128"),
        ({"fc.weight": np.ones((2, 3), int), "fc.bias": np.ones(2, int)}, "int64"),
        ({"fc.weight": np.ones((2, 3)), "fc.bias": filled(2)}, "the parameters have different dtypes"),
        ({"fc.weight": np.ma.ones((2, 3)), "fc.bias": filled(2)}, "expected a plain array"),
    ],
)
def test_what_is_no_state_dict_raises(weights: Any, message: str) -> None:
    raises(fn.serial(fn.dense(2)), weights, message)


def test_params_to_torch_checks_its_parameters() -> None:
    params = fn.params_from_torch(MODEL, convolutional())
    with pytest.raises(ValueError, match="names: no parameters are at"):
        fn.params_to_torch(MODEL, params, names={"dense_3": "fc"})
    with pytest.raises(ValueError, match="save and load the parameters with their own model"):
        fn.params_to_torch(MODEL, params | {"dense_0": {}})
    with pytest.raises(ValueError, match=r"fc\.weight: expected shape \(2, 4\), got \(2, 5\)"):
        fn.params_to_torch(MODEL, params, convolutional() | {"fc.weight": filled(2, 5)})
    plain = {key: array for key, array in convolutional().items() if key not in ("bn.weight", "bn.bias")}
    with pytest.raises(ValueError, match="bn has affine=False, so scale must be 1 and shift 0"):
        fn.params_to_torch(MODEL, params, plain)
    ones = fn.params_from_torch(MODEL, plain)
    assert np.array_equal(ones["batch_norm_0"]["scale"], np.ones(4))
    assert fn.params_to_torch(MODEL, ones, plain).keys() == plain.keys()
