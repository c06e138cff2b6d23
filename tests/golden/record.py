"""``python -m tests.golden.record`` saves what the cases compute now; once, since later results are judged by it.

``--force`` replaces what is there, and with it the judgement: say in the commit why the old numbers were wrong.
"""

import argparse
import math

import numpy as np

from . import cases, fixture


def main() -> None:
    """Write the two files and the fixture, and say how large they are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--force", action="store_true", help="replace the fixture and the files that are there")
    options = parser.parse_args()
    files = (fixture.FILE, cases.MODEL_FILE, cases.CHECKPOINT_FILE)
    there = [file.name for file in files if file.exists()]
    if there and not options.force:
        raise SystemExit(f"{', '.join(there)} exist; the recorded numbers are to stay. Use --force to replace them.")
    with np.errstate(divide="raise", over="raise", invalid="raise"):
        cases.write_model_file()
        cases.write_checkpoint_file()
        content = {
            name: {dtype: recorded(name, dtype) for dtype in dtypes} for name, (dtypes, _) in cases.cases().items()
        }
    fixture.write(content)
    arrays = sum(len(entries) for dtypes in content.values() for entries in dtypes.values())
    print(f"{len(content)} cases, {arrays} arrays")
    for file in files:
        print(f"{file.name}: {file.stat().st_size / 1000:.0f} KB")


def recorded(name: str, dtype: str) -> dict[str, fixture.Entry]:
    """The entries of one case, after a look at whether they are fit to be compared with."""
    observed = cases.observe(name, dtype)
    entries = {path: fixture.entry_of(name, dtype, arrays[0]) for path, arrays in observed.items()}
    for path, entry in entries.items():
        if not all(map(math.isfinite, entry[2:])):
            raise SystemExit(f"{name}, {dtype}, {path}: not finite, {entry}")
    wrong = fixture.differences(name, dtype, entries, observed)
    if wrong:
        raise SystemExit(f"{name}, {dtype}: two ways to the same numbers differ: {wrong}")
    return entries


if __name__ == "__main__":
    main()
