"""An outcome is the count of what was tried and what survived, and a description of each loss.

A scenario loses nothing if every trial survived; a trial that never ended has not survived.
"""

from collections.abc import Iterable
from typing import NamedTuple, TypeAlias

Verdict: TypeAlias = str | None
"""What one trial lost; None if it survived."""


class Outcome(NamedTuple):
    """What a scenario returns."""

    tried: int
    survived: int
    lost: list[str]

    @property
    def ok(self) -> bool:
        """Whether every trial survived."""
        return self.survived == self.tried and not self.lost


def judged(verdicts: Iterable[Verdict]) -> Outcome:
    """The outcome of trials that all ended."""
    verdicts = list(verdicts)
    lost = [verdict for verdict in verdicts if verdict is not None]
    return Outcome(len(verdicts), len(verdicts) - len(lost), lost)


def total(outcomes: Iterable[Outcome]) -> Outcome:
    """Several outcomes as one."""
    outcomes = list(outcomes)
    return Outcome(
        sum(outcome.tried for outcome in outcomes),
        sum(outcome.survived for outcome in outcomes),
        [description for outcome in outcomes for description in outcome.lost],
    )
