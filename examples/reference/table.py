"""The table of the reference systems in this folder's README: reported results and ours.

    python examples/reference/table.py                       reads saved results; runs the scripts without results
    python examples/reference/table.py --again --data DIR    runs all scripts
    python examples/reference/table.py --write FILE          writes the table into a page, between its two marks

Each script s*.py in this folder saves its results as a JSON file in the folder ``--out``.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from common import HEAD, cells, times

MARKS = "<!-- reference systems -->", "<!-- end of reference systems -->"


def main(options: argparse.Namespace) -> None:
    systems = [results(script, options) for script in sorted(Path(__file__).parent.glob("s[0-9]*.py"))]
    table = as_markdown(systems)
    print(table)
    if options.write:
        page = Path(options.write)
        before, mark, rest = page.read_text().partition(MARKS[0])
        _, end, after = rest.partition(MARKS[1])
        if not mark or not end:
            raise SystemExit(f"{page} has no place for the table: it needs the lines {MARKS[0]} and {MARKS[1]}")
        page.write_text(f"{before}{mark}\n\n{table}\n\n{end}{after}")


def results(script: Path, options: argparse.Namespace) -> dict[str, Any]:
    """The results of a script, from the file that it wrote, or by running it."""
    file = Path(options.out) / f"{script.stem}{'-quick' if options.quick else ''}.json"
    if options.again or not file.exists():
        command = [sys.executable, str(script), "--json", str(file)]
        command += ["--quick"] if options.quick else []
        command += ["--data", options.data] if options.data else []
        subprocess.run(command, check=True, stdout=sys.stderr)
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def as_markdown(systems: list[dict[str, Any]]) -> str:
    """One table for all systems, and under it the machine."""
    lines = ["| system | " + " | ".join(HEAD) + " |", "| --- |" + " --- |" * len(HEAD)]
    for system in systems:
        lines += [f"| {system['system']} | " + " | ".join(cells(row)) + " |" for row in system["rows"]]
    machines = sorted({system["machine"] for system in systems})
    quick = " They are from quick runs, whose scores mean little." if any(s["quick"] for s in systems) else ""
    return "\n".join(lines) + f"\n\nOur times: {'; '.join(machines)}.{quick} {ahead(systems)}"


def ahead(systems: list[dict[str, Any]]) -> str:
    """The experiments whose published time per epoch is shorter than ours, with the ratio of the times."""
    found = [
        f"{system['system']}, {row['experiment']} ({times(row['speed_up'])})"
        for system in systems
        for row in system["rows"]
        if row["speed_up"] is not None and row["speed_up"] < 1
    ]
    return f"Published times per epoch that are shorter than ours: {'; '.join(found) or 'none'}."


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="quick runs, saved in files of their own")
    parser.add_argument("--again", action="store_true", help="run every script, even if its results exist")
    parser.add_argument(
        "--data", metavar="DIR", help="a folder with MNIST's four .gz files; by default the embedded digits"
    )
    parser.add_argument("--out", metavar="DIR", default="runs/reference", help="folder of the results (%(default)s)")
    parser.add_argument("--write", metavar="FILE", help="also write the table into this page")
    main(parser.parse_args())
