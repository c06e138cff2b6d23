"""The API reference: a page for each part of the map that ``help(funcnn)`` shows, made from the docstrings.

A docstring is plain text in Google's form. Its first line is often a formula, so asterisks and bars in it are escaped
before Sphinx takes them for markup.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.ext.napoleon import Config, GoogleDocstring

import funcnn

FOLDER = "reference"


def escaped(lines: list[str]) -> list[str]:
    """The lines of a docstring whose text has no markup but ``code``; examples stay as they are."""
    found, section = [], ""
    for line in lines:
        if line and not line.startswith(" "):
            section = line.partition(":")[0]
        if section.startswith("Example"):
            found.append(line)
        else:
            found.append(_escape(_listed(line) if section == "Returns" else line))
    return found


def _listed(line: str) -> str:
    """A line about an argument of what is returned, as an item of a list."""
    if line.startswith("        "):
        return "      " + line.lstrip()
    return re.sub(r"^    (\w+): ", r"    - ``\1``: ", line)


def _escape(line: str) -> str:
    parts = re.split(r"(``.+?``)", line)
    return "".join(part if part.startswith("``") else re.sub(r"([*|`]|_(?=\W|$))", r"\\\1", part) for part in parts)


def on_docstring(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Escape a docstring in place, before napoleon reads it."""
    lines[:] = escaped(lines)


def _entry(name: str) -> list[str]:
    """The lines of reStructuredText about one public name."""
    found: Any = funcnn
    for part in name.split("."):
        found = getattr(found, part)
    path = f"funcnn.{name}"
    if inspect.isclass(found):
        return [f".. autoclass:: {path}", "   :members:", ""]
    if inspect.isroutine(found):
        return [f".. autofunction:: {path}", ""]
    text = escaped((inspect.getdoc(found) or "").splitlines())
    own = type(found).__module__.startswith("funcnn.") and inspect.getdoc(found) != inspect.getdoc(type(found))
    body = GoogleDocstring(text, Config(napoleon_numpy_docstring=False)).lines() if own else [f"``{found}``"]
    return [f".. py:data:: {path}", "", *(f"   {line}".rstrip() for line in body), ""]


def write_pages(app: Sphinx) -> None:
    """Write ``reference/*.rst``; a page whose text is as before keeps its time, and pages of an older map go."""
    folder = Path(app.srcdir) / FOLDER
    folder.mkdir(exist_ok=True)
    pages = {}
    for title, area, names in funcnn._AREAS:
        heading = title.partition(":")[0].partition(",")[0]
        slug = re.sub(r"\W+", "_", heading.lower()).strip("_")
        paths = [f"{area}.{name}" if area else name for name in names]
        links = " · ".join(f":py:obj:`{path} <funcnn.{path}>`" for path in paths)
        lines = [heading, "=" * len(heading), "", links, ""]
        for path in paths:
            lines += _entry(path)
        pages[slug] = "\n".join(lines)
    listed = "\n".join(f"   {slug}" for slug in pages)
    pages["index"] = f"Reference\n=========\n\n.. toctree::\n   :maxdepth: 1\n\n{listed}\n"
    for path in folder.glob("*.rst"):
        if path.stem not in pages:
            path.unlink()
    for slug, text in pages.items():
        path = folder / f"{slug}.rst"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("builder-inited", write_pages)
    app.connect("autodoc-process-docstring", on_docstring, priority=400)
    return {"parallel_read_safe": True}
