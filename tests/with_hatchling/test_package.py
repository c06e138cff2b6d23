"""What the wheel and the source distribution contain, built here without a network."""

import email
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import readme_renderer.markdown

import funcnn as fn

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NAME = f"{PROJECT['name']}-{fn.__version__}"
DATA = {"funcnn/data/README.md", "funcnn/data/digits.npz", "funcnn/py.typed"}
"""What the package has besides code."""


def built(source: Path, target: Path, kind: str) -> Path:
    """The one file that building ``source`` makes."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", kind, "--directory", str(target)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False, timeout=120)
    assert not done.returncode, done.stdout + done.stderr
    (file,) = target.iterdir()
    return file


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(ROOT, tmp_path_factory.mktemp("wheel"), "wheel")


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(ROOT, tmp_path_factory.mktemp("sdist"), "sdist")


def files(*folders: str) -> set[str]:
    """The files of this checkout in these folders; what Python and the pages' build leave there is in no package."""
    found = (file.relative_to(ROOT) for folder in folders for file in (ROOT / folder).rglob("*") if file.is_file())
    return {
        file.as_posix()
        for file in found
        if "__pycache__" not in file.parts and not file.is_relative_to("docs/reference")
    }


def members(file: Path) -> list[str]:
    """The names in a wheel or a source distribution."""
    if file.suffix == ".whl":
        with zipfile.ZipFile(file) as archive:
            return archive.namelist()
    with tarfile.open(file) as archive:
        return [member.name for member in archive.getmembers() if not member.isdir()]


def test_the_wheel_has_the_package_and_nothing_else(wheel: Path) -> None:
    found = members(wheel)
    assert wheel.name == f"{NAME}-py3-none-any.whl"
    assert len(set(found)) == len(found)
    about = {name for name in found if not name.startswith("funcnn/")}
    assert about == {f"{NAME}.dist-info/{name}" for name in ("METADATA", "WHEEL", "RECORD", "licenses/LICENSE")}
    assert {*found} - about == files("funcnn")
    assert {name for name in found if name.startswith("funcnn/") and not name.endswith(".py")} == DATA
    assert wheel.stat().st_size < 4e6


def test_the_wheel_says_what_it_needs(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        about = email.message_from_bytes(archive.read(f"{NAME}.dist-info/METADATA"))
    assert (about["Name"], about["Version"], about["Requires-Python"]) == ("funcnn", fn.__version__, ">=3.11")
    assert about["License-Expression"] == "MIT"
    required = [line for line in about.get_all("Requires-Dist") if "extra ==" not in line]
    assert sorted(required) == sorted(PROJECT["dependencies"])
    assert len(required) == 4
    assert {*about.get_all("Provides-Extra")} == PROJECT["optional-dependencies"].keys()


def test_the_source_distribution_has_package_tests_and_examples(sdist: Path) -> None:
    found = members(sdist)
    assert sdist.name == f"{NAME}.tar.gz"
    assert {name.split("/")[0] for name in found} == {NAME}
    names = {name.removeprefix(f"{NAME}/") for name in found}
    assert len(names) == len(found)
    pages = {"README.md", "CONTRIBUTING.md", "CHANGELOG.md", "CITATION.cff"}
    top = pages | {"LICENSE", "pyproject.toml", "PKG-INFO", ".gitignore"}
    assert {name for name in names if "/" not in name} == top
    assert names - top == files("funcnn", "tests", "examples", "docs", ".github")
    kinds = {"py", "npz", "json", "md", "png", "txt", "typed", "ipynb", "css", "yml"}
    assert {name.rsplit(".", 1)[-1] for name in names - top} == kinds
    assert names >= DATA | {"tests/golden/model_v1.npz", "tests/golden/checkpoint_v1.npz", "tests/golden/run_v1.npz"}


def test_the_source_distribution_makes_the_same_wheel(wheel: Path, sdist: Path, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "source", filter="data")
    again = built(tmp_path / "source" / NAME, tmp_path / "wheel", "wheel")
    with zipfile.ZipFile(wheel) as one, zipfile.ZipFile(again) as other:
        assert one.namelist() == other.namelist()
        for name in one.namelist():
            assert one.read(name) == other.read(name), name


def test_the_package_index_would_accept_and_render_both(wheel: Path, sdist: Path) -> None:
    command = [sys.executable, "-m", "twine", "check", "--strict", str(wheel), str(sdist)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stdout + done.stderr
    assert done.stdout.count("PASSED") == 2
    with zipfile.ZipFile(wheel) as archive:
        about = email.message_from_bytes(archive.read(f"{NAME}.dist-info/METADATA"))
    assert about["Description-Content-Type"] == "text/markdown"
    page = readme_renderer.markdown.render(about.get_payload())
    assert page is not None
    assert 'alt="The loss of each batch' in page
    assert page.count("<table>") == 1
