"""The API reference: a page for each part of the map that ``help(funcnn)`` shows, made from the docstrings.

A docstring is plain text in Google's form. Its first line is often a formula, so asterisks and bars in it are escaped
before Sphinx takes them for markup.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.ext.napoleon import Config, GoogleDocstring

import funcnn

FOLDER = "reference"


def escaped(lines: list[str]) -> list[str]:
    """The lines of a docstring whose text has no markup but ``code``; examples stay as they are."""
    found, section = [], ""
    for line in _whole_spans(lines):
        if line and not line.startswith(" "):
            section = line.partition(":")[0]
        if section.startswith("Example"):
            found.append(line)
        else:
            found.append(_escape(_listed(line) if section == "Returns" else line))
    return found


def _whole_spans(lines: list[str]) -> list[str]:
    """The lines, with each span of ``code`` that is broken over two of them on the first."""
    broken = r"``(?:[^`\n]|\n(?!\s*\n))+``"
    return re.sub(broken, lambda span: re.sub(r"\s*\n\s*", " ", span[0]), "\n".join(lines)).split("\n")


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


def on_signature(app: Sphinx, what: str, name: str, obj: Any, *rest: Any) -> tuple[str, str] | None:
    """The signature of a protocol is that of its call; None for all others, which stay as they are."""
    if not getattr(obj, "_is_protocol", False):
        return None
    _, *parameters = inspect.signature(obj.__call__).parameters.values()
    bare = [p.replace(annotation=inspect.Parameter.empty) for p in parameters]
    return str(inspect.Signature(bare)), ""


def on_member(app: Sphinx, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """Skip a field of a named tuple that has no text of its own; the docstring of the class describes it."""
    return True if (inspect.getdoc(obj) or "").startswith("Alias for field number") else None


def _alias(name: str) -> list[str]:
    """A type alias as its source spells it, and the text below it."""
    name = name.rpartition(".")[2]
    for module in [module for path, module in sorted(sys.modules.items()) if path.startswith("funcnn.")]:
        statements = ast.parse(inspect.getsource(module)).body
        for statement, after in zip(statements, [*statements[1:], None], strict=True):
            match statement:
                case ast.AnnAssign(target=ast.Name(id=found), annotation=ast.Name(id="TypeAlias"), value=value) if (
                    found == name and value is not None
                ):
                    text = [f"``{name} = {ast.unparse(value)}``"]
                    match after:
                        case ast.Expr(value=ast.Constant(value=str(words))):
                            text += ["", *escaped(inspect.cleandoc(words).splitlines())]
                    return text
    return []


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
    body = (
        GoogleDocstring(text, Config(napoleon_numpy_docstring=False)).lines()
        if own
        else _alias(name) or [f"``{found}``"]
    )
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
    app.connect("autodoc-process-signature", on_signature)
    app.connect("autodoc-skip-member", on_member)
    return {"parallel_read_safe": True}
