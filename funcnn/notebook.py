"""How values show themselves in a notebook: text as HTML in which nothing is executed, and plots as PNG images.

No colour is set, so that everything is legible on dark pages too; and IPython is used only where it runs already.
"""

import base64
import html
import importlib
import io
import sys
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from funcnn.aliases import Array

__all__ = [
    "is_running", "live", "outline", "picture", "plotted", "png", "preformatted", "progress_bar", "show_as_plot",
    "table",
]  # fmt: skip


def is_running() -> bool:
    """Whether this process is the kernel of a notebook."""
    return hasattr(_shell(), "kernel")


def live() -> Callable[[Mapping[str, str]], None]:
    """A function that displays a bundle, ``{mime type: text}``, and from the second call on replaces it in its place.

    In a bundle, an image is text in base64.
    """
    from IPython.display import display

    handle: Any = None

    def show(bundle: Mapping[str, str]) -> None:
        nonlocal handle
        if handle is None:
            handle = display(dict(bundle), raw=True, display_id=True)
        else:
            handle.update(dict(bundle), raw=True)

    return show


# Text


def preformatted(text: str) -> str:
    """Text as HTML, with its line breaks and spaces."""
    return f'<pre style="font-family:monospace">{html.escape(text)}</pre>'


def table(head: Sequence[str], rows: Iterable[Sequence[str]], foot: Sequence[str], note: str, numbers: int) -> str:
    """A table as HTML, with a note below; the last columns, ``numbers`` of them, are aligned to the right."""

    def line(cells: Sequence[str], tag: str) -> str:
        sides = ["left"] * (len(cells) - numbers) + ["right"] * numbers
        found = (
            f'<{tag} style="text-align:{side}">{html.escape(cell)}</{tag}>'
            for cell, side in zip(cells, sides, strict=True)
        )
        return f"<tr>{''.join(found)}</tr>"

    body = "".join(line(row, "td") for row in rows)
    return (
        f"<table><thead>{line(head, 'th')}</thead><tbody>{body}</tbody><tfoot>{line(foot, 'th')}</tfoot></table>"
        f"<p>{html.escape(note)}</p>"
    )


def progress_bar(done: int, total: int, text: str) -> str:
    """A bar as HTML, and text beside it; a total of 0 is not known."""
    filled = f'value="{done}" max="{total}" ' if total else ""
    return (
        f'<div><progress {filled}style="width:16em;vertical-align:middle"></progress> '
        f"<code>{html.escape(text)}</code></div>"
    )


def outline(layer: Any) -> str:
    """A model as a tree of text: the name of each layer, and the call that made it; in a graph its inputs too."""
    first = layer.spelling() if not layer.children else layer.kind
    return "\n".join([first if layer.name is None else f"{layer.name}: {first}", *_branches(layer)])


def _branches(layer: Any) -> Iterator[str]:
    """The lines below a layer."""
    inputs = dict(layer.wiring) if layer.kind == "graph" else {}
    for number, (name, child) in enumerate(layer.children.items(), start=1):
        corner, side = ("└─ ", "   ") if number == len(layer.children) else ("├─ ", "│  ")
        made = child.kind if child.children else child.spelling()
        yield f"{corner}{name}: {made}" + (f"  ← {', '.join(inputs[name])}" if name in inputs else "")
        yield from (side + line for line in _branches(child))


# Pictures


def plotted(name: str, *args: Any) -> Any:
    """Call a function of ``funcnn.plot``, which is above all that show themselves with a plot."""
    file, _, function = name.rpartition(".")
    return getattr(importlib.import_module(f"funcnn.plot.{file}"), function)(*args)


def picture(figure: Any) -> bytes | None:
    """A figure as PNG; None if pyplot has it too, since then it is shown at the end of the cell."""
    managers = sys.modules.get("matplotlib._pylab_helpers")
    if managers and any(manager.canvas.figure is figure for manager in managers.Gcf.get_all_fig_managers()):
        return None
    return base64.b64decode(png(figure))


def png(figure: Any) -> str:
    """A figure as PNG, in base64."""
    file = io.BytesIO()
    figure.savefig(file, format="png", bbox_inches="tight")
    return base64.b64encode(file.getvalue()).decode()


def show_as_plot(array: Array, name: str) -> Array:
    """Let this very array, and none that is computed from it, show itself in a notebook as the plot of this name."""
    if is_running():
        PLOTS[id(array)] = name
        weakref.finalize(array, PLOTS.pop, id(array), None)
        _shell().display_formatter.formatters["image/png"].for_type(type(array), _plot_of)
    return array


PLOTS: dict[int, str] = {}
"""The names of the plots by the ``id`` of the arrays that show themselves as one."""


def _plot_of(array: Array) -> bytes | None:
    """The plot of an array that has one, as PNG."""
    name = PLOTS.get(id(array))
    return None if name is None else picture(plotted(name, array).figure)


def _shell() -> Any:
    """The shell of IPython, if this process has one."""
    ipython = sys.modules.get("IPython")
    return None if ipython is None else ipython.get_ipython()
