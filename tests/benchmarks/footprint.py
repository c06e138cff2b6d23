"""What a library costs before it does any work: the time of its import, and its size on disk."""

import re
import subprocess
import sys
from importlib import metadata, util
from pathlib import Path
from statistics import median

PACKAGES = ("funcnn", "torch", "jax")


def footprint(repeats: int = 5) -> int:
    """Print import time and installed size of each library that is installed."""
    print(f"{'package':<8}  {'import':>8}  {'alone':>9}  with all it requires")
    for package in PACKAGES:
        needed = requirements(package)
        if package not in needed:
            print(f"{package:<8}  not installed by pip, so its requirements are unknown")
            continue
        seconds = import_seconds(package, repeats)
        alone, together = size_of(package), sum(size_of(name) for name in needed)
        print(
            f"{package:<8}  {seconds:6.2f} s  {alone / 1e6:6.1f} MB  {together / 1e6:6.1f} MB ({len(needed)} packages)"
        )
    return 0


def import_seconds(package: str, repeats: int) -> float:
    """The median time of a fresh interpreter that imports the package and ends."""
    code = f"import time; started = time.perf_counter(); import {package}; print(time.perf_counter() - started)"
    return median(float(subprocess.check_output([sys.executable, "-c", code])) for _ in range(repeats))


def requirements(package: str) -> set[str]:
    """The package and all its requirements that are installed, without extras; empty if it is not installed."""
    found, waiting = set[str](), [package]
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in found:
            continue
        try:
            needed = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        found.add(name)
        waiting += [re.split(r"[^\w.-]", line)[0] for line in needed if "extra ==" not in line]
    return found


def size_of(package: str) -> int:
    """The bytes of a package's files on disk, without compiled copies of its source."""
    files = [Path(str(file.locate())) for file in metadata.files(package) or []]
    spec = util.find_spec(package) if len(files) < 10 else None
    if spec is not None and spec.submodule_search_locations:
        # Installed as a link to its source, which has the files that a wheel would hold.
        files = [file for folder in spec.submodule_search_locations for file in Path(folder).rglob("*")]
    return sum(file.stat().st_size for file in files if file.is_file() and file.suffix != ".pyc")
