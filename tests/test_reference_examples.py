"""Every reference experiment runs and prints its table; and the data that only these experiments use."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import funcnn as fn
from funcnn.aliases import Array
from tests import scripts

FOLDER = Path(__file__).parents[1] / "examples" / "reference"
SCRIPTS = sorted(path.name for path in FOLDER.glob("s[0-9]*.py"))


def experiment_data() -> Any:
    """The module beside the scripts, which no package contains."""
    spec = importlib.util.spec_from_file_location("experiment_data", FOLDER / "experiment_data.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


DATA = experiment_data()
RNG = np.random.default_rng(0)


def run(script: str, *options: Any, cwd: Path) -> str:
    """The output of a script, which must end without an error."""
    done = scripts.run(FOLDER / script, *options, cwd=cwd, environment=scripts.ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder where the quick runs of all scripts keep their tables, for table.py to read."""
    return tmp_path_factory.mktemp("reference")


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_quick_run_prints_its_table(script: str, kept: Path) -> None:
    file = kept / f"{Path(script).stem}-quick.json"
    lines = run(script, "--quick", "--json", file, cwd=kept).splitlines()
    (head,) = [i for i, line in enumerate(lines) if line.startswith("experiment ")]
    assert ": reported / ours, quick: the scores mean little; " in lines[head - 1]
    assert [word for word in ("reported", "ours", "parameters", "s/epoch") if word not in lines[head]] == []
    rows = json.loads(file.read_text())["rows"]
    assert all(line.startswith(row["experiment"]) for line, row in zip(lines[head + 2 :], rows, strict=True))
    assert rows
    for row in rows:
        theirs, ours = row["reported"], row["ours"]
        assert theirs["score"] is None or isinstance(ours["score"], float), row["experiment"]
        assert theirs["seconds_per_epoch"] is None or row["speed_up"] > 0, row["experiment"]
        assert theirs["parameters"] in (None, ours["parameters"]), row["experiment"]
        # After a few steps on a few examples the scores mean little, so none is called better.
        assert row["better"] is None, row["experiment"]


def test_the_layer_table_of_test_3_is_that_of_the_original(tmp_path: Path) -> None:
    lines = run("s1_qviper.py", "--quick", "--only", "Test 3", cwd=tmp_path).splitlines()
    first = next(i for i, line in enumerate(lines) if line.split()[:2] == ["Layer", "Name"])
    assert lines[first].split() == ["Layer", "Name", "Input", "Output", "Shape", "Activation", "Bias", "Parameters"]
    assert [line.split()[-1] for line in lines[first + 1 : first + 8]] == [
        "40",
        "0",
        "296",
        "0",
        "0",
        "9,690",
        "10,026",
    ]
    assert lines[first + 1].split()[-3:-1] == ["relu", "True"]
    assert lines[first + 7].split()[0] == "Total"


def test_the_disc_command_has_the_options_of_the_original(tmp_path: Path) -> None:
    options = ["--only", "disc", "-e", "3", "-b", "20", "-s", "8", "-l", "0.01", "-n", "60", "-t", "40"]
    text = run("s0_apiquet.py", *options, cwd=tmp_path)
    assert "  -e 3 -b 20 -s 8 -l 0.01 -n 60 -t 40\n" in text
    # 2-8-8-2: 24 + 72 + 18 parameters, three epochs; errors are multiples of one point in 60 and in 40.
    (row,) = [line for line in text.splitlines() if line.startswith("disc  ")]
    assert "- / 114  " in row
    assert "- / 3  " in row
    (after,) = [line for line in text.splitlines() if line.startswith("  after training: ")]
    train, test = (float(word.rstrip("%,")) / 100 for word in after.split() if word.endswith("%,"))
    assert train * 60 == pytest.approx(round(train * 60), abs=0.01)
    assert test * 40 == pytest.approx(round(test * 40), abs=0.01)


def test_one_command_makes_the_table_of_all_systems_and_puts_it_into_a_page(kept: Path) -> None:
    page = kept / "page.md"
    page.write_text("before\n<!-- reference systems -->\nold\n<!-- end of reference systems -->\nafter\n")
    table = run("table.py", "--quick", "--out", kept, "--write", page, cwd=kept)
    for script in SCRIPTS:
        found = json.loads((kept / f"{Path(script).stem}-quick.json").read_text())
        for row in found["rows"]:
            assert f"| {found['system']} | {row['experiment']} | " in table
    text = page.read_text()
    assert text.startswith("before\n<!-- reference systems -->\n\n| system | experiment | ")
    assert text.endswith("\n<!-- end of reference systems -->\nafter\n")
    assert "old" not in text


def keep_made_up(folder: Path) -> None:
    """Results of all systems, made up: 0.5, None, 1.5, 2 and 2.5 times as fast as published."""
    nothing = dict.fromkeys(("score", "parameters", "epochs", "seconds_per_epoch", "reached", "seconds_to_reach"))
    for i, script in enumerate(SCRIPTS):
        row = {
            "experiment": "digits", "measure": "error", "spec": ".2f", "reported": nothing, "ours": nothing,
            "better": None, "speed_up": None if i == 1 else (i + 1) / 2,
        }  # fmt: skip
        found = {"system": f"s{i}", "quick": False, "machine": "a machine", "rows": [row]}
        (folder / f"{Path(script).stem}.json").write_text(json.dumps(found))


def test_the_table_names_the_published_times_that_are_shorter_than_ours(tmp_path: Path) -> None:
    keep_made_up(tmp_path)
    table = run("table.py", "--out", tmp_path, cwd=tmp_path)
    assert table.endswith(
        "\nOur times: a machine. Published times per epoch that are shorter than ours: s0, digits (0.5).\n"
    )


def test_a_page_without_marks_raises(tmp_path: Path) -> None:
    keep_made_up(tmp_path)
    page = tmp_path / "plain.md"
    page.write_text("nothing")
    with pytest.raises(AssertionError, match="has no place for the table"):
        run("table.py", "--out", tmp_path, "--write", page, cwd=tmp_path)
    assert page.read_text() == "nothing"


# --- the data of the experiments --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["disc", "shapes"])
@given(n=st.integers(0, 60), seed=st.integers(0, 3))
def test_a_set_is_a_function_of_its_arguments(name: str, n: int, seed: int) -> None:
    make = getattr(DATA, name)
    x, labels = make(n, rng=seed)
    assert (x.dtype, labels.dtype) == (np.float32, np.int64)
    assert x.shape == (n, *((3, 3, 1) if name == "shapes" else (2,)))
    assert labels.shape == (n,)
    again, other = make(n, rng=seed), make(n, rng=seed + 1)
    np.testing.assert_array_equal(x, again[0])
    np.testing.assert_array_equal(labels, again[1])
    if name == "shapes":
        assert np.ptp(np.bincount(labels, minlength=4)) <= 1
    if n > 30:
        assert not np.array_equal(x, other[0])
        assert np.any(np.diff(labels) < 0)  # in random order


def test_disc_is_labelled_by_its_formula() -> None:
    x, labels = DATA.disc(20_000)
    inside = [(i * i + j * j) / np.pi < 0.2 for i, j in x.tolist()]
    np.testing.assert_array_equal(labels, inside)
    assert x.min() < -0.99
    assert 0.99 < x.max() < 1
    # The disc has the area 0.2 pi^2 of 4; with 20,000 points its standard error is 0.35 %, five times that.
    assert abs(labels.mean() - 0.2 * np.pi**2 / 4) < 0.018


def test_shapes_are_the_four_with_uniform_noise_on_every_pixel() -> None:
    clean, labels = DATA.shapes(4000, noise=0.0, rng=2)
    noisy, same = DATA.shapes(4000, rng=2)
    np.testing.assert_array_equal(labels, same)
    pictures = [".#. .#. .#.", "... ### ...", ".#. ### .#.", ".#. #.# .#."]
    for label, picture in enumerate(pictures):
        pixels = np.array([[mark == "#" for mark in row] for row in picture.split()])
        np.testing.assert_array_equal(clean[labels == label], np.broadcast_to(pixels[..., None], (1000, 3, 3, 1)))
    moved = noisy - clean
    assert np.abs(moved).max() <= 0.25 + 1e-6  # float32 near 1
    # Uniform: 36,000 draws come within 1 % of both ends, and their standard deviation is width / sqrt(12), to 0.3 %.
    assert moved.min() < -0.2475
    assert moved.max() > 0.2475
    assert abs(moved.std() / (0.5 / 12**0.5) - 1) < 0.015


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32, np.float64])
def test_each_image_is_standardized_by_itself(dtype: type) -> None:
    x = RNG.integers(0, 256, (5, 6, 4, 2)).astype(dtype)
    x.flags.writeable = False
    y = DATA.standardize_images(x)
    assert y.dtype == (np.float64 if dtype is np.float64 else np.float32)
    tolerance = 1e-12 if dtype is np.float64 else 1e-5  # rounding of numbers of about 1
    for old, new in zip(x.astype(float), y, strict=True):
        np.testing.assert_allclose(new, (old - old.mean()) / old.std(), atol=tolerance)
    np.testing.assert_allclose(DATA.standardize_images(x[2:3]), y[2:3], rtol=0, atol=tolerance)
    assert DATA.standardize_images(x[:0]).shape == (0, 6, 4, 2)
    assert not DATA.standardize_images(np.full((3, 7, 7, 1), 0.1, np.float32)).any()


@given(x=arrays.arrays(np.uint8, st.tuples(*[st.integers(0, 3)] * 4)), size=st.integers(1, 4))
def test_pooled_pixels_are_rounded_means(x: Array, size: int) -> None:
    x = x.repeat(size, axis=1).repeat(size, axis=2)
    x[:, ::2] //= 3
    pooled = DATA.average_pool_images(x, size)
    assert pooled.dtype == np.uint8
    n, height, width, channels = x.shape
    assert pooled.shape == (n, height // size, width // size, channels)
    for i, row, column, channel in np.ndindex(pooled.shape):
        window = x[i, row * size : (row + 1) * size, column * size : (column + 1) * size, channel]
        assert pooled[i, row, column, channel] == int(np.floor(window.astype(float).mean() + 0.5))


def test_floats_are_pooled_as_by_the_layer() -> None:
    x = RNG.random((3, 6, 9, 2)).astype(np.float32)
    pooled = DATA.average_pool_images(x, 3)
    assert pooled.dtype == np.float32
    np.testing.assert_allclose(pooled, fn.avg_pool2d(3).apply({}, x)[0], rtol=1e-6)  # another order of additions
