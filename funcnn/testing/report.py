"""A report on a layer, a loss, an optimizer or a metric: for each law what was checked, and how far it was missed.

It prints as a table. A report with a failure is raised as an ``AssertionError`` that shows what has failed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from funcnn import terminal

__all__ = ["Finding", "Report", "about", "must_raise", "must_return", "print_all", "verdict"]


@dataclass(frozen=True)
class Finding:
    """One law, on what it was checked, how far it was missed and how far is allowed.

    Example:
        >>> Finding("adjoint", "x", error=1e-9, tolerance=1e-6).passed
        True
    """

    law: str
    subject: str
    error: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether the error is a number within the tolerance."""
        return self.error <= self.tolerance

    def __str__(self) -> str:
        verdict = "ok" if self.passed else "FAILED"
        room = max(10, min(38, terminal.columns() - 42))
        first, *more = terminal.broken(self.subject, room)
        line = f"  {self.law:<10} {first:<{room}} {self.error:9.1e} of {self.tolerance:7.1e}  {verdict}"
        return "\n".join([line, *(f"{'':13}{part}" for part in more)])


@dataclass(frozen=True)
class Report:
    """All findings on one thing; prints as a table.

    Example:
        >>> report = Report("dense(4) on (3,)", (Finding("adjoint", "x", 1e-9, 1e-6),))
        >>> report.passed, report.largest_error
        (True, 1e-09)
    """

    subject: str
    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Whether every law was kept."""
        return all(finding.passed for finding in self.findings)

    @property
    def largest_error(self) -> float:
        """The largest error of a derivative, over all paths."""
        return max((f.error for f in self.findings if f.law in ("adjoint", "gradient")), default=0.0)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))

    def __str__(self) -> str:
        title = terminal.wrapped(self.subject.split(" "), 2)
        return "\n".join([title, *(str(finding) for finding in self.findings)])


@contextmanager
def must_return(law: str, subject: str) -> Iterator[None]:
    """Where a law demands a value, an exception breaks it: of memory that cannot be written to, of a second call."""
    try:
        yield
    except Exception as error:
        finding = Finding(law, about(subject, repr(error)), math.inf, 0.0)
        raise AssertionError(f"a law of the contract is broken\n{finding}") from error


def about(subject: str, what: str) -> str:
    """What is said of a subject, or of the only one there is."""
    return f"{subject}: {what}" if subject else what


def must_raise(law: str, subject: str, call: Callable[[], Any]) -> Finding:
    """Where a law demands an error, of an argument that is wrong: a ValueError or a TypeError."""
    try:
        call()
    except (ValueError, TypeError):
        return Finding(law, f"{subject} raises an error", 0.0, 0.0)
    return Finding(law, f"{subject} raises no error", math.inf, 0.0)


def verdict(report: Report) -> Report:
    """The report, or an error that shows what in it has failed."""
    if not report.passed:
        failed = tuple(finding for finding in report.findings if not finding.passed)
        kept = len(report.findings) - len(failed)
        others = f"\n  and {kept} {'check is' if kept == 1 else 'checks are'} ok" if kept else ""
        raise AssertionError(f"a law of the contract is broken\n{Report(report.subject, failed)}{others}")
    return report


def print_all(found: Mapping[str, Sequence[Report]]) -> None:
    """Print all reports by kind, then a line for each with its largest error of a derivative, then the largest."""
    reports = [report for of_kind in found.values() for report in of_kind]
    print("\n\n".join(map(str, reports)))
    for kind, of_kind in found.items():
        print(f"\nThe largest error of a derivative, of {kind}:")
        for report in of_kind:
            subject = terminal.broken(report.subject, terminal.columns() - 10)
            print(f"  {report.largest_error:.1e} " + f"\n{'':10}".join(subject))
    counts = " and ".join(", ".join(f"{len(of_kind)} {kind}" for kind, of_kind in found.items()).rsplit(", ", 1))
    worst = max(reports, key=lambda report: report.largest_error)
    last = f"{counts} keep every law; the largest error of a derivative is {worst.largest_error:.1e}, in"
    print("\n" + terminal.wrapped(f"{last} {worst.subject}.".split(" ")))
