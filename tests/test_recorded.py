"""The recorded call: how it prints, and that the same call makes the same thing once more."""

import copy
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import funcnn as fn
from funcnn import initializers
from funcnn.recorded import Call, Recorded, made, recorded

COPIES: dict[str, Callable[[Any], Any]] = {
    "pickle": lambda thing: pickle.loads(pickle.dumps(thing)),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


def plain(step: int) -> float:
    """A user's function."""
    return 1.0 / (1 + step)


@recorded
def schedule(rate: float, steps: int = 10, *, final: float = 0.0) -> Any:
    """A constructor of a function."""
    return lambda step: max(rate * (1 - step / steps), final)


@recorded
def joined(*schedules: Any, gap: int = 0, **options: Any) -> Any:
    """A constructor with arguments of every kind."""
    return lambda step: [part(step + gap) for part in schedules]


@recorded
def required(*, by: float, size: int) -> Any:
    """A constructor of arguments without positions."""
    return lambda: by * size


@recorded
def named_only(**options: Any) -> Any:
    """A constructor of options."""
    return lambda: options


@dataclass(frozen=True)
class Rule:
    """An object with its record in a field, as an optimizer."""

    update: Any
    call: Call | None = None


@recorded
def rule(rate: float, mask: Any = None) -> Rule:
    """A constructor of such an object."""
    return Rule(lambda g: -rate * g)


CALLS = [
    (lambda: schedule(0.1), "schedule(0.1)"),
    (lambda: schedule(rate=0.1), "schedule(0.1)"),
    (lambda: schedule(0.1, 5), "schedule(0.1, steps=5)"),
    (lambda: schedule(0.1, steps=5, final=0.01), "schedule(0.1, steps=5, final=0.01)"),
    (lambda: schedule(final=0.01, rate=0.1), "schedule(0.1, final=0.01)"),
    (lambda: joined(), "joined()"),
    (lambda: joined(plain), "joined(plain)"),
    (lambda: joined(schedule(0.1), plain, gap=2), "joined(schedule(0.1), plain, gap=2)"),
    (
        lambda: joined(plain, size=(1,), names=["a", {"b": plain}]),
        "joined(plain, size=(1,), names=['a', {'b': plain}])",
    ),
    (lambda: named_only(a=1, b=()), "named_only(a=1, b=())"),
    (lambda: required(size=2, by=0.5), "required(by=0.5, size=2)"),
    (lambda: schedule(0.1, steps=int("10"), final=float("0.0")), "schedule(0.1)"),
    (lambda: schedule(0.1, final=-0.0), "schedule(0.1, final=-0.0)"),
    (lambda: schedule(0.1, True), "schedule(0.1, steps=True)"),
    (lambda: initializers.uniform(-1, 1), "initializers.uniform(-1, 1)"),
    (lambda: initializers.uniform(low=-1, high=1), "initializers.uniform(-1, high=1)"),
]
MADE = pytest.mark.parametrize(("make", "text"), CALLS, ids=[text for _, text in CALLS])


@MADE
def test_it_prints_as_the_call(make: Callable[[], Any], text: str) -> None:
    assert repr(make()) == text


@MADE
def test_the_text_makes_the_same(make: Callable[[], Any], text: str) -> None:
    assert repr(eval(text, {**vars(initializers), **globals()})) == text


@pytest.mark.parametrize("how", COPIES)
@MADE
def test_a_copy_is_the_same_call(make: Callable[[], Any], text: str, how: str) -> None:
    thing = make()
    again = COPIES[how](thing)
    assert isinstance(again, Recorded)
    assert again is not thing
    assert repr(again) == text
    assert again.call.constructor is thing.call.constructor
    if thing.call.constructor is not joined:
        assert dict(again.call.arguments).keys() == dict(thing.call.arguments).keys()


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_computes_the_same(how: str) -> None:
    assert [COPIES[how](schedule(0.5, final=0.1))(step) for step in (0, 5, 9)] == [0.5, 0.25, 0.1]
    assert COPIES[how](joined(plain, schedule(0.5, 2), gap=1))(0) == [0.5, 0.25]
    assert COPIES[how](named_only(a=[1]))() == {"a": [1]}
    assert COPIES[how](named_only(a=np.ones(2)))()["a"].sum() == 2
    assert COPIES[how](schedule(np.ones(2), final=np.zeros(2))).call.arguments["rate"].sum() == 2
    normal = initializers.normal(std=0.3)
    drawn = [draw((3, 2), 1, 3, 2).tobytes() for draw in (normal, COPIES[how](normal))]
    assert drawn[0] == drawn[1]


@pytest.mark.parametrize("how", COPIES)
def test_a_global_of_its_module_is_not_copied(how: str) -> None:
    for one in (initializers.he_normal, initializers.glorot_uniform, initializers.zeros):
        assert COPIES[how](one) is one


def test_a_function_keeps_its_name_and_its_docstring() -> None:
    assert schedule.__name__ == "schedule"
    assert schedule.__doc__ == "A constructor of a function."
    assert schedule(0.1)(5) == 0.05


@pytest.mark.parametrize("how", ["pickle", "deepcopy"])
def test_the_record_of_a_dataclass(how: str) -> None:
    one = rule(0.5, mask=plain)
    assert one.call is not None
    assert repr(one.call) == "rule(0.5, mask=plain)"
    assert one.call.made is one.update
    constructor, arguments, keywords = COPIES[how](one.call.parts())
    again = made(constructor, arguments, keywords)
    assert repr(again.call) == "rule(0.5, mask=plain)"
    assert again.update(np.ones(1)) == -0.5


def test_wrong_arguments_raise_before_anything_is_made() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'stops'"):
        schedule(0.1, stops=3)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="missing a required argument: 'rate'"):
        schedule()  # type: ignore[call-arg]


def test_a_local_constructor_is_copied_and_not_pickled() -> None:
    @recorded
    def local(by: float) -> Any:
        return lambda x: by * x

    assert copy.deepcopy(local(3.0))(2) == 6
    with pytest.raises((AttributeError, pickle.PicklingError), match="local"):
        pickle.dumps(local(3.0))


@recorded
def by_place(width: int = 3, *rest: int) -> Any:
    """A constructor with options before further arguments."""
    return lambda: (width, rest)


@recorded
def without_names(width: float = 3.0, /) -> Any:
    """A constructor with an argument that has no keyword."""
    return lambda: width


@pytest.mark.parametrize(
    ("thing", "text"),
    [
        (by_place(5, 1, 2), "by_place(5, 1, 2)"),
        (by_place(5), "by_place(width=5)"),
        (without_names(5.0), "without_names(5.0)"),
        (without_names(float("-inf")), "without_names(float('-inf'))"),
    ],
)
def test_the_printed_call_makes_the_same(thing: Any, text: str) -> None:
    assert repr(thing) == text
    assert eval(text)() == thing()


def test_what_changes_after_the_call_is_not_in_the_record() -> None:
    padding, optimizers, mask = [[1, 1], [1, 1]], {"*": fn.optim.sgd(0.1)}, {"w": True}
    model, optimizer = fn.conv2d(2, 3, padding=padding), fn.optim.partition(optimizers)
    masked = fn.optim.masked(fn.optim.sgd(0.1), mask)
    padding[0][0], optimizers["*"], mask["w"] = 3, fn.optim.sgd(9.0), False
    assert repr(model) == "conv2d(2, 3, padding=[[1, 1], [1, 1]])"
    params = {"w": np.ones(1)}
    for made_of in (optimizer, masked):
        for one in (made_of, copy.deepcopy(made_of)):
            assert one.update(params, one.init(params), params)[0]["w"] == [-0.1]
