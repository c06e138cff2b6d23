"""A short version of the long fault run: each scenario a few times; and losses of all kinds are counted and shown."""

import importlib
import re
import sys
from typing import Any

import pytest

from tests.faults import lossy_programs as programs
from tests.faults.long import determinism, run
from tests.faults.long.outcome import judged
from tests.faults.long.processes import trials, values_of

COUNTS = {
    "saves": 10, "writers": 10, "disk": 60, "resumes": 4, "files": 20, "threads": 24, "forks": 3, "memory": 200,
    "interrupts": 10, "determinism": 2,
}  # fmt: skip


@pytest.mark.parametrize("name", run.ROWS)
def test_nothing_is_lost(name: str) -> None:
    outcome = run.ROWS[name].scenario(COUNTS[name])
    assert outcome.lost == []
    assert outcome.survived == outcome.tried >= COUNTS[name]


@pytest.mark.parametrize(
    ("program", "survived", "message"),
    [
        (programs.fine, 3, None),
        (programs.second_is_lost, 2, r"^the second is lost$"),
        (programs.raises, 1, r"after 1 trials: exit status 1: (.|\n)*OSError: the disk is gone"),
        (programs.hangs, 1, r"after 1 trials: exit status 1: Timeout(.|\n)*in hangs"),
        (programs.ends_early, 2, r"2 verdicts of 3 trials"),
        (programs.writes_to_stderr, 3, r"exit status 0: Exception ignored in"),
    ],
)
def test_what_a_process_loses_is_counted_and_described(program: Any, survived: int, message: str | None) -> None:
    outcome = trials(program, 3, timeout=2)
    assert (outcome.tried, outcome.survived, outcome.ok) == (3, survived, message is None)
    if message is None:
        assert outcome.lost == []
    else:
        (lost,) = outcome.lost
        assert re.search(message, lost)


def test_a_child_is_killed_after_its_first_value() -> None:
    ((killed, ended), problem) = values_of(programs.kill_one_and_let_one_end, 2)
    assert problem is None
    assert killed == list(range(len(killed)))
    assert 1 <= len(killed) <= 11
    assert ended == [None, None]


def test_the_command_prints_the_table_and_its_status_tells_of_losses(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = {
        "good": run.Row(lambda count: judged([None] * count), "nothing", 200),
        "bad": run.Row(lambda count: judged([f"number {i}" for i in range(12)] + [None]), "anything", 1),
    }
    monkeypatch.setattr(run, "ROWS", rows)
    main = importlib.import_module("tests.faults.__main__").main
    monkeypatch.setattr("tests.faults.__main__.ROWS", rows)
    monkeypatch.setattr(sys, "argv", ["faults", "--scale", "0.1", "--only", "good"])
    assert main() == 0
    assert "| nothing | 20 | 20 | 0 | 0 |\n\nNothing was lost." in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["faults"])
    assert main() == 1
    out = capsys.readouterr().out
    assert "| nothing | 200 | 200 | 0 | 0 |\n| anything | 13 | 1 | 12 | 0 |\n\n- number 0\n" in out
    assert out.endswith("- number 9\n- and 2 more\n")


def test_settings_are_compared_with_the_first_that_computed_the_same() -> None:
    expected: dict[str, str] = {}
    assert determinism.compared(expected, "first", {"mlp on 1": "a"}, None) is None
    assert determinism.compared(expected, "second", {"mlp on 1": "a", "mlp on 2": "b"}, None) is None
    assert determinism.compared(expected, "third", {"mlp on 1": "b"}, None) == "third: other bits of mlp on 1"
    assert determinism.compared(expected, "fourth", {}, "exit status 1") == "exit status 1"
