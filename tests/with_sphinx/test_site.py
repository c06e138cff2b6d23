"""The documentation site is built with warnings as errors, and each page of it is opened in a browser."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import funcnn as fn

ROOT = Path(fn.__file__).parents[1]
PHONE, DESK = {"width": 390, "height": 800}, {"width": 1280, "height": 900}
BETWEEN = [{"width": width, "height": 900} for width in (1160, 1200, 1320, 1440, 1500)]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site; its code has been executed, and a warning would have failed the build."""
    found = tmp_path_factory.mktemp("site")
    run = subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "docs", str(found)],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium without a window."""
    from playwright.sync_api import sync_playwright

    path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()


def test_every_page_opens_without_an_error_and_is_no_wider_than_the_screen(site: Path, browser: Any) -> None:
    pages = sorted(path for path in site.rglob("*.html") if "_static" not in path.parts)
    assert len(pages) > 40
    for size in (PHONE, DESK):
        page = browser.new_page(viewport=size)
        errors: list[str] = []
        page.on("pageerror", lambda error, errors=errors: errors.append(str(error)))
        page.on("console", lambda said, errors=errors: errors.append(said.text) if said.type == "error" else None)
        for path in pages:
            page.goto(path.as_uri())
            assert page.title(), path
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (path, size)
        assert errors == []
        page.close()


def test_no_width_of_the_window_makes_a_page_wider_than_it(site: Path, browser: Any) -> None:
    page = browser.new_page()
    page.goto((site / "guide" / "benchmarks.html").as_uri())
    for size in BETWEEN:
        page.set_viewport_size(size)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), size
    page.close()


def test_formulas_are_drawn_without_a_network(site: Path, browser: Any) -> None:
    page = browser.new_page(viewport=PHONE)
    page.goto((site / "learn" / "layer.html").as_uri())
    page.wait_for_selector("mjx-container", timeout=60_000)
    assert page.locator("mjx-container").count() > 20
    page.close()


def test_a_search_finds_a_name_and_dark_readers_get_dark_pages(site: Path, browser: Any) -> None:
    page = browser.new_page(viewport=DESK, color_scheme="dark")
    page.goto((site / "search.html").as_uri() + "?q=dropout")
    page.wait_for_selector("#search-results ul.search li", timeout=60_000)
    assert "funcnn.dropout" in page.locator("#search-results").inner_text()
    assert sum(map(int, re.findall(r"\d+", page.evaluate("getComputedStyle(document.body).backgroundColor")))) < 150
    page.close()


def test_pages_of_the_reference_that_are_no_longer_written_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "_ext"))
    from reference import write_pages

    (tmp_path / "reference").mkdir()
    (tmp_path / "reference" / "old.rst").write_text("Old\n===\n", encoding="utf-8")
    write_pages(SimpleNamespace(srcdir=tmp_path))
    written = {path.name for path in (tmp_path / "reference").iterdir()}
    assert "old.rst" not in written
    assert {"index.rst", "layers.rst"} <= written


def test_the_reference_has_no_broken_markup_and_no_noise(site: Path) -> None:
    pages = sorted((site / "reference").glob("*.html"))
    assert len(pages) > 20
    found = []
    for page in pages:
        html = re.sub(r"<(script|style|pre)\b.*?</\1>", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        text = re.sub(r"<[^>]+>", "", html)
        for noise in ("`", "Alias for field number", "(*args, **kwargs)", "numpy.ndarray[tuple"):
            found += [f"{page.stem}: {line}" for line in text.splitlines() if noise in line]
    assert found == []


def test_tables_and_formulas_fit_a_phone(site: Path, browser: Any) -> None:
    page = browser.new_page(viewport=PHONE)
    seen = "[...document.querySelectorAll('table td:nth-child(2)')].every(td => td.getBoundingClientRect().left < 260)"
    for path in ("coming_from/pytorch.html", "guide/optimizers.html", "guide/layers.html"):
        page.goto((site / path).as_uri())
        assert page.evaluate(seen), path
    page.goto((site / "learn" / "layer.html").as_uri())
    page.wait_for_selector("mjx-container", timeout=60_000)
    inside = "[...document.querySelectorAll('div.math')].every(e => e.getBoundingClientRect().right <= innerWidth)"
    assert page.evaluate(inside)
    assert page.evaluate("[...document.querySelectorAll('div.math')].some(e => e.scrollWidth > e.clientWidth)")
    page.close()


def test_the_reference_has_every_public_name(site: Path) -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in (site / "reference").glob("*.html"))
    missing = [name for name in fn.__all__ if f'id="funcnn.{name}"' not in text]
    modules = {name for name in missing if type(getattr(fn, name)).__name__ == "module"}
    assert set(missing) - modules == set()
