"""``help`` of everything public: its own formula, arguments and example, short signatures, and a map of the library."""

import doctest
import inspect
import pydoc
import re
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import funcnn as fn

AREAS = [fn, *(thing for name in fn.__all__ if isinstance(thing := getattr(fn, name), types.ModuleType))]
PUBLIC = {
    f"{area.__name__}.{name}": getattr(area, name)
    for area in AREAS
    for name in area.__all__
    if not isinstance(getattr(area, name), types.ModuleType)
}
CALLED = {name: thing for name, thing in PUBLIC.items() if inspect.isroutine(thing)}
READY = {
    name: thing
    for name, thing in PUBLIC.items()
    if isinstance(thing, fn.Layer | fn.recorded.Recorded) and not inspect.isclass(thing)
}
CLASSES = {
    name: thing
    for name, thing in PUBLIC.items()
    if inspect.isclass(thing) and not getattr(thing, "_is_protocol", False)  # that is a type of functions
}
every_ready = pytest.mark.parametrize("name", READY)


def shown(thing: Any) -> str:
    """What ``help`` prints."""
    return pydoc.render_doc(thing, renderer=pydoc.plaintext)


def test_the_ready_things_are_found() -> None:
    names = {name.rpartition(".")[2] for name in READY}
    assert names >= {"relu", "softmax", "flatten", "global_avg_pool3d", "identity", "he_normal", "zeros"}


@pytest.mark.parametrize("name", CALLED | CLASSES | READY)
def test_help_begins_with_the_docstring_of_the_thing_and_has_an_example(name: str) -> None:
    text, docstring = shown(PUBLIC[name]), inspect.getdoc(PUBLIC[name])
    assert docstring
    assert docstring.splitlines()[0] in text
    assert ">>> " in text


@pytest.mark.parametrize("name", CALLED | READY)
def test_help_of_a_function_names_what_it_takes_and_returns(name: str) -> None:
    docstring = inspect.getdoc(PUBLIC[name]) or ""
    assert "Returns:" in docstring
    if name in READY or inspect.signature(PUBLIC[name]).parameters:
        assert "Args:" in docstring


@every_ready
def test_help_of_a_ready_thing_is_not_that_of_its_class(name: str) -> None:
    text = shown(READY[name])
    assert inspect.getdoc(READY[name]) != inspect.getdoc(type(READY[name]))
    assert "Methods defined here" not in text
    assert "class " not in text
    assert re.search(r"^    [yw].* [=~] ", text, re.MULTILINE)  # the formula


@every_ready
def test_the_example_of_a_ready_thing_runs(name: str) -> None:
    test = doctest.DocTestParser().get_doctest(inspect.getdoc(READY[name]) or "", globs(READY[name]), name, None, 0)
    assert test.examples
    assert doctest.DocTestRunner(verbose=False).run(test).failed == 0


def globs(thing: Any) -> dict[str, Any]:
    return dict(vars(fn.initializers)) if isinstance(thing, fn.recorded.Recorded) else {}


@pytest.mark.parametrize("name", CALLED)
def test_a_signature_names_types_and_does_not_expand_them(name: str) -> None:
    text = str(inspect.signature(CALLED[name]))
    assert not re.search(r"collections\.abc|typing\.|numpy\.(ndarray|dtype|random|_typing)|funcnn\.", text)


def test_signatures_have_the_words_of_the_library() -> None:
    parameters = inspect.signature(fn.fit).parameters
    assert (parameters["train"].annotation, parameters["loss"].annotation) == ("DataOrBatches", "Loss")
    assert inspect.signature(fn.tree.ravel).return_annotation.startswith("tuple[Array, ")


@pytest.mark.parametrize(
    ("make", "constructor"),
    [
        (lambda: fn.dense(3), fn.dense),
        (lambda: fn.named("head", fn.dense(3)), fn.dense),
        (lambda: fn.serial(fn.relu), fn.serial),
        (lambda: fn.leaky_relu(0.0), fn.leaky_relu),
        (lambda: fn.named("bend", fn.relu), fn.relu),
        (lambda: fn.elementwise(np.sin, lambda x, y: np.cos(x), name="sine"), fn.elementwise),
        (lambda: fn.adam(1e-3), fn.adam),
        (lambda: fn.cosine_decay(0.1, steps=3), fn.cosine_decay),
        (lambda: fn.initializers.normal(0.1), fn.initializers.normal),
        (lambda: fn.callbacks.early_stopping("train_loss", 2), fn.callbacks.early_stopping),
        (lambda: fn.callbacks.csv_log("log.csv"), fn.callbacks.csv_log),
    ],
)
def test_help_of_what_a_constructor_made_is_that_of_the_constructor(make: Callable[[], Any], constructor: Any) -> None:
    thing = make()
    assert inspect.getdoc(thing) == inspect.getdoc(constructor)
    assert repr(thing) in shown(thing)
    assert "Methods defined here" not in shown(thing)


def test_a_users_layer_shows_its_own_docstring() -> None:
    @fn.layer
    def tripled() -> Any:
        """y = 3 x."""
        return lambda shape, rng: {}, lambda params, x: (3 * x, lambda dy: ({}, 3 * dy))

    assert "y = 3 x." in shown(tripled())


def test_help_of_the_library_is_a_map_of_it() -> None:
    text = inspect.getdoc(fn) or ""
    words = set(re.findall(r"[\w.]+", text))
    listed = {name.removeprefix("funcnn.").removeprefix("optim.").removeprefix("training.") for name in PUBLIC}
    assert {name.removeprefix("schedules.") for name in listed} - words == set()
    assert len(text.splitlines()) < 200
    assert max(map(len, text.splitlines())) <= 116
    assert shown(fn).index("he_normal") < shown(fn).index("PACKAGE CONTENTS")
