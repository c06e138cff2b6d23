"""The long fault run, in the top folder of the repository; the exit status is 1 if anything was lost.

python -m tests.faults                    all of it, in about ten minutes on two idle cores
python -m tests.faults --scale 0.01       a hundredth of each count
python -m tests.faults --only saves disk  two of the scenarios
"""

import argparse

from tests.faults.long.run import HEAD, ROWS, losses, results


def main() -> int:
    """Run what the command line asks for, and print the table line by line, then what was lost."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults",
        description="Kill, interrupt and damage what must survive it, and count what is lost.",
    )
    parser.add_argument("--only", nargs="+", choices=ROWS, default=list(ROWS), metavar="NAME", help=", ".join(ROWS))
    parser.add_argument("--scale", type=float, default=1.0, help="a factor of all counts (%(default)s)")
    options = parser.parse_args()
    print("\n".join(HEAD), flush=True)
    lost: list[str] = []
    ok = True
    for line, outcome in results(options.only, options.scale):
        print(line, flush=True)
        lost += losses(outcome)
        ok &= outcome.ok
    print("\n".join(["", *lost] if lost else ["", "Nothing was lost."]))
    return 0 if ok else 1


if __name__ == "__main__":
    raise SystemExit(main())
