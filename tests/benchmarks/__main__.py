"""The command, run in the top folder of the repository.

python -m tests.benchmarks                      the table: a training step or a prediction, beside the peers
python -m tests.benchmarks --only cifar tiny    rows whose names start with one of these
python -m tests.benchmarks --peers eager jax    these peers only
python -m tests.benchmarks --check              do all sides compute the same?
python -m tests.benchmarks --memory             what a step adds to the memory, and what donation saves
python -m tests.benchmarks --time-to-accuracy   seconds until 98 % and 99 % of MNIST's test images are right
python -m tests.benchmarks --scaling FILE.png   cost as batch, width, depth and image grow
python -m tests.benchmarks --footprint          import time and size on disk
"""

import argparse
from pathlib import Path
from typing import Any

from tests.benchmarks import driver, report
from tests.benchmarks.sides import OURS, PEERS, SETTINGS, SIDES
from tests.benchmarks.workloads import WORKLOADS

WHOLE_TABLE = Path("docs/guide/benchmarks.md")
SHORT_TABLES = Path("README.md"), Path("docs/why.md")
DEFAULT_PEERS = [peer for peer in PEERS if peer != "max_autotune"]


def main() -> int:
    """Run what the command line asks for; the exit status is 0 for success."""
    options = parsed()
    rounds, seconds = (2, 0.05) if options.quick else (options.rounds, options.seconds)
    missing = sorted({SIDES[peer].package for peer in options.peers if not SIDES[peer].is_installed})
    if missing:
        print(f'not installed, so left out: {", ".join(missing)}; pip install "funcnn[bench]"')
        options.peers = [peer for peer in options.peers if SIDES[peer].is_installed]
    if options.check:
        from tests.benchmarks.check import check

        return 0 if check(options.rows, options.peers) and not missing else 1
    if options.footprint:
        from tests.benchmarks.footprint import footprint

        return footprint()
    if options.memory:
        from tests.benchmarks.memory import memory

        rows, text = memory(options.rows, rounds, seconds)
        return write(options, text, {"memory": [row.as_dict() for row in rows]})
    if options.scaling:
        from tests.benchmarks.scaling import cliffs, curves, plot

        found = curves(rounds, seconds)
        plot(found, options.scaling)
        return write(options, cliffs(found), {"scaling": found})
    if options.time_to_accuracy:
        from tests.benchmarks.accuracy import time_to_accuracy

        sides = [OURS, *(peer for peer in options.peers if peer in SETTINGS)]
        reached = time_to_accuracy(sides, options.data, options.epochs)
        return write(options, report.goals(reached), {"time_to_accuracy": reached})
    return table(options, rounds, seconds)


def table(options: argparse.Namespace, rounds: int, seconds: float) -> int:
    """Measure all rows, print the table line by line, and write it where it was asked for."""
    titles, rows = report.head(options.peers), []
    print(report.aligned(titles, titles))
    for name in options.rows:
        rows.append(driver.measure(WORKLOADS[name], options.peers, rounds, seconds))
        print(report.aligned(report.cells(rows[-1], options.peers), titles), flush=True)
    print(report.aligned(report.control_cells(rows, options.peers), titles))
    facts = report.facts_of_the_machine()
    status = write(options, report.closing(rows, facts), {"rows": [row.as_dict() for row in rows]})
    if options.readme:
        report.write_between_markers(WHOLE_TABLE, report.markdown(rows, options.peers, facts))
        for page in SHORT_TABLES:
            report.write_between_markers(page, report.short_markdown(rows))
    return status


def write(options: argparse.Namespace, text: str, found: dict[str, Any]) -> int:
    """Print the text below the table, and write JSON if a file was named."""
    print(f"\n{text}")
    if options.json:
        report.write_json(options.json, found)
    return 0


def parsed() -> argparse.Namespace:
    """The command line, with the rows by their full names."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description="funcnn beside PyTorch, JAX, scikit-learn and hand-written NumPy on a CPU.",
    )
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="ROW", help=f"starts of names among {', '.join(WORKLOADS)}"
    )
    parser.add_argument("--rounds", type=int, default=7, help="turns of each side (%(default)s)")
    parser.add_argument("--seconds", type=float, default=0.25, help="length of a turn (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="two short rounds: tests the benchmark only")
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=DEFAULT_PEERS)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all measurements")
    parser.add_argument("--readme", action="store_true", help="write the tables into README.md and docs/")
    parser.add_argument("--data", default="../shared/data/mnist", help="a folder with MNIST's four files (%(default)s)")
    parser.add_argument("--epochs", type=int, default=12, help="the most, to reach an accuracy (%(default)s)")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="compare what all sides compute, without timing")
    what.add_argument("--memory", action="store_true", help="compare what a step adds to the memory of its process")
    what.add_argument("--time-to-accuracy", action="store_true", help="learn MNIST on every side")
    what.add_argument(
        "--scaling", type=Path, metavar="FILE.png", help="plot the cost as batch, width, depth and image grow"
    )
    what.add_argument("--footprint", action="store_true", help="import time and size on disk")
    options = parser.parse_args()
    rows = [name for name in WORKLOADS if not options.only or name.startswith(tuple(options.only))]
    if unknown := [start for start in options.only if not any(name.startswith(start) for name in WORKLOADS)]:
        parser.error(f"no row starts with {unknown}; there are {', '.join(WORKLOADS)}")
    for page in (WHOLE_TABLE, *SHORT_TABLES) if options.readme else ():
        if not (page.exists() and report.BEGIN in page.read_text(encoding="utf-8")):
            parser.error(f"{page} lacks the lines {report.BEGIN} and {report.END} around the table")
    options.rows = rows
    return options


if __name__ == "__main__":
    raise SystemExit(main())
