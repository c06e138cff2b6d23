"""The README and the guide: their code runs as a reader would run it and prints what they say; links lead somewhere."""

import re
from pathlib import Path

import pytest

import funcnn as fn

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [
    page for page in [README, *sorted((ROOT / "docs" / "guide").glob("*.md"))] if "```python" in page.read_text("utf-8")
]
LINKED = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "examples/reference/README.md")),
    *sorted(page for page in (ROOT / "docs").rglob("*.md") if not {"reference", "_build"} & {*page.parts}),
]


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def test_there_are_pages() -> None:
    assert {page.stem for page in PAGES} == {"README", "contract", "files", "losses", "models", "training"}
    assert len(LINKED) > 40
    assert sum("](" in prose(page) for page in LINKED) > 20


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_the_code_of_a_page_runs(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    text = page.read_text(encoding="utf-8")
    blocks = list(re.finditer(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE))
    assert len(blocks) == text.count("```python")
    namespace: dict[str, object] = {"__name__": "__main__"}
    with fn.use_threads(1):  # on all cores, it takes four times as long beside the tests of another worker
        for block in blocks:
            # Empty lines in front give errors the line numbers of the page.
            lines_before = text.count("\n", 0, block.start(1))
            exec(compile("\n" * lines_before + block[1], str(page), "exec"), namespace)
    printed = capsys.readouterr().out
    architectures = re.findall(r"^```\n(\{.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert len(architectures) == (page.stem == "files")
    assert all(architecture in printed for architecture in architectures)
    # The comment beside a call of print is what it prints, up to "..." and but for measured decimals.
    for call, comment in re.findall(r"^print\((.*)\) +# (.*)$", text, re.MULTILINE):
        assert without_decimals(comment.partition("...")[0]) in without_decimals(printed), call


def without_decimals(text: str) -> str:
    """The text without the digits after a decimal point."""
    return re.sub(r"\.\d+", ".", text)


def test_the_readme_has_one_command_that_tests_and_one_that_runs_the_main_job() -> None:
    set_up = "python3 -m venv .venv && .venv/bin/pip install -q -e "
    commands = [line for line in README.read_text(encoding="utf-8").splitlines() if line.startswith("python3 -m venv")]
    assert commands == [
        f"{set_up}. && .venv/bin/python examples/mnist_cnn.py",
        f'{set_up}".[test]" && .venv/bin/python -m pytest',
    ]


def test_the_readme_is_a_front_page() -> None:
    text = README.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 110
    assert re.findall(r"!\[.+]\((.+)\)", text) == ["examples/images/front.png"]


def prose(page: Path) -> str:
    """The text of a page without its code."""
    return re.sub(r"^```.*?^```$|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub and the site give to the headings of a page."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", LINKED, ids=name)
def test_the_files_and_headings_to_which_a_page_links_exist(page: Path) -> None:
    links = re.findall(r"]\(([^)\s]+)\)", prose(page))
    lost = []
    for link in links:
        if re.match(r"\w+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path) if path else page
        if not target.is_file() or (anchor and anchor not in anchors(target)):
            lost.append(link)
    assert lost == []


def test_the_files_to_which_an_addition_goes_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = text[text.index("| To add") :].partition("\n\n")[0]
    paths = re.findall(r"`([a-z_/]+/(?:[a-z_0-9]+\.py)?)`", section)
    assert len(paths) > 10
    missing = [path for path in paths if not (ROOT / ("" if path.startswith("tests/") else "funcnn") / path).exists()]
    assert missing == []


def test_the_worked_diff_fits_the_files() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (diff,) = re.findall(r"^```diff\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    old = ""
    for line in diff.splitlines():
        if line.startswith("--- a/"):
            old = (ROOT / line.removeprefix("--- a/")).read_text(encoding="utf-8")
        elif line.startswith(("-", " ")):
            assert line[1:] in old.splitlines(), line
    assert "tanhx" in diff
    assert "tanhx" not in old


def test_the_templates_of_issues_are_whole() -> None:
    forms = {path.stem: path.read_text("utf-8") for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")}
    assert forms.keys() == {"bug", "wrong_gradient", "feature", "config"}
    del forms["config"]
    for text in forms.values():
        assert text.startswith("name: ")
        ids = re.findall(r"^    id: (\w+)$", text, re.MULTILINE)
        assert len(ids) == len(set(ids)) >= 4
        for command in re.findall(r'python -c "(.*?)"', " ".join(text.split())):
            exec(command, {})
