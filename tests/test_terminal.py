"""Text that fits the terminal."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

import funcnn as fn
from funcnn.terminal import broken, columns, wrapped

TEXTS = st.text("ab_/=( ,\t\n\xe9", max_size=60)


@given(st.lists(TEXTS, max_size=8), st.integers(0, 50), st.integers(1, 60))
def test_wrapped_lines_fit_and_lose_no_letter(words: list[str], indent: int, width: int) -> None:
    text = wrapped(words, indent, width)
    assert all(len(line) <= width for line in text.split("\n"))
    assert "".join(text.split()) == "".join("".join(words).split())


@given(TEXTS, st.integers(1, 60))
def test_broken_lines_fit_and_lose_no_letter(text: str, width: int) -> None:
    lines = broken(text, width)
    assert all(len(line) <= width for line in lines)
    assert "".join("".join(lines).split()) == "".join(text.split())


def test_a_word_with_spaces_is_broken_only_if_it_does_not_fit() -> None:
    assert wrapped(["train loss 1.0,", "train accuracy 0.5"], 2, 20) == "train loss 1.0,\n  train accuracy 0.5"
    assert wrapped(["train loss 1.0,", "train accuracy 0.5"], 2, 12) == "train loss\n  1.0, train\n  accuracy\n  0.5"


def test_the_width_is_that_of_the_environment_or_80(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "33")
    assert columns() == 33
    monkeypatch.delenv("COLUMNS")
    monkeypatch.setattr("sys.__stdout__", None)
    assert columns() == 80


@pytest.mark.parametrize("width", [60, 80])
def test_a_report_fits(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    inner = fn.serial(fn.named("a_layer_whose_name_is_rather_long", fn.dense(3, activation="tanh")), fn.dense(3))
    text = str(fn.testing.check_layer(fn.serial(inner, fn.dense(2)), (3,)))
    assert max(map(len, text.splitlines())) <= width
    assert re.search(r"\n  adjoint +params/serial_0/ +\S+ of \S+  ok\n +a_layer_", text)
