"""A call with other arguments than a function takes names the keyword that was meant, of every public function."""

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import funcnn as fn
from funcnn import calls, checks, spellings

SPACES = [fn, fn.metrics, fn.plot, fn.callbacks, fn.datasets]
INTERNAL = {"as_layer", "layer", "num_threads", "release_memory", "digits", "parallel", "branch"}  # or take any name
FUNCTIONS = {
    f"{space.__name__}.{name}": function
    for space in SPACES
    for name in (space.__all__ if hasattr(space, "__all__") else dir(space))
    if inspect.isfunction(function := getattr(space, name)) and name not in INTERNAL and not name.startswith("_")
}

METRICS = {name: getattr(fn.metrics, name) for name in fn.metrics.__all__}
LOSSES = {
    name: function
    for name, function in vars(fn.losses).items()
    if inspect.isfunction(function) and "target" in inspect.signature(function).parameters
}


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_an_unknown_keyword_is_named_with_what_the_function_takes(function: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match=r"got an unexpected keyword argument 'xyzzy'; it takes \(") as caught:
        function(xyzzy=1)
    assert str(caught.value).startswith(f"{function.__name__}() ")


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_a_keyword_with_a_letter_too_many_is_found(function: Callable[..., Any]) -> None:
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY) and len(name) > 3:
            with pytest.raises(TypeError, match=f"did you mean '{name}'"):
                function(**{name + name[-1]: 1})


def test_the_functions_that_users_call_are_among_them() -> None:
    names = {"funcnn.fit", "funcnn.adam", "funcnn.dense", "funcnn.predict", "funcnn.metrics.r2", "funcnn.save"}
    assert names <= FUNCTIONS.keys()
    assert len(FUNCTIONS) > 100


def test_losses_and_metrics_take_the_same_keywords() -> None:
    y = np.array([[0.25, 0.75], [0.5, 0.5], [1.0, 0.0]])
    labels, ones = np.array([1, 1, 0]), np.ones(3)
    of_labels = {"hinge", "squared_hinge", "soft_margin", "multilabel_soft_margin", "multilabel_margin"}
    by_element = {"r2", "mae", "rmse", "binary_cross_entropy", "sigmoid_cross_entropy", "log_cosh"}
    by_element |= {"mean_squared_error", "mean_absolute_error", "mean_squared_log_error", "cosine_similarity"}
    assert len(METRICS) >= 14
    assert len(LOSSES) >= 5
    for name, function in {**METRICS, **LOSSES}.items():
        more = {"k": 1} if name == "top_k_accuracy" else {}
        target = y[::-1] if name in by_element else np.eye(2, dtype=int)[labels] if name in of_labels else labels
        scores = y[:, 1] if name.endswith("_curve") else y
        if name == "dice":
            scores, target = y[:, None], labels[:, None]
        by_name = function(weights=ones, target=target, y=scores, **more)
        by_place = function(scores, target, *more.values(), weights=ones)
        np.testing.assert_equal(by_name, by_place)
        assert [*inspect.signature(function).parameters][:2] == ["y", "target"]


def test_an_error_inside_a_function_is_not_touched() -> None:
    error = TypeError("f() missing 1 required positional argument")

    @calls.explained
    def f(x: int, y: int = 0) -> int:
        raise error

    with pytest.raises(TypeError) as caught:
        f(1)
    assert caught.value is error
    with pytest.raises(TypeError, match=r"^f\(\) missing a required argument: 'x'; it takes \(x, y\)$"):
        f()  # type: ignore[call-arg]


def test_of_many_arguments_only_those_that_are_needed_are_listed() -> None:
    with pytest.raises(TypeError, match=r"it takes \(model, params, optimizer, train, loss, epochs, \.\.\.\)$"):
        fn.fit()  # type: ignore[call-arg]


def test_a_layer_is_no_function_although_its_call_explains_itself() -> None:
    assert not checks.is_function(fn.relu)
    assert checks.is_function(np.tanh)
    assert checks.is_function(fn.dense)
    with pytest.raises(TypeError, match="pass several layers one by one"):
        fn.serial((fn.dense(2), fn.relu))


def test_our_names_of_others_exist() -> None:
    """What the tables of spellings offer can be written."""
    words = [*spellings.NAMES.values(), *(text for table in spellings.METHODS.values() for text in table.values())]
    paths = {path for text in words for path in re.findall(r"\bfn\.([a-z0-9_.]+)", text)}
    missing = [path for path in paths if not _exists(path.rstrip("."))]
    assert missing == ["layer_norm"] or missing == []
    functions = [*FUNCTIONS.values(), fn.initializers.normal]
    keywords = {name for function in functions for name in inspect.signature(function).parameters}
    assert {*spellings.KEYWORDS.values()} <= keywords


def _exists(path: str) -> bool:
    found: Any = fn
    for name in path.split("."):
        found = getattr(found, name, None)
    return found is not None


def test_no_message_prints_what_may_be_an_array() -> None:
    """``{value!r}`` in a message prints all of an array; ``shown(value)`` does not."""
    for file in Path(fn.__file__).parent.rglob("*.py"):
        assert re.findall(r"\b(?:got|returned|not) \{[^{}!]+!r\}", file.read_text(encoding="utf-8")) == [], file
