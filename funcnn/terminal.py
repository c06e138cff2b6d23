"""Text that fits the terminal: its width, and words that are wrapped into lines of this width.

Whatever is printed in lines or tables asks here; where the width is not known, as in a pipe, it is 80 columns.
"""

import re
import shutil
import textwrap
from collections.abc import Iterable

__all__ = ["broken", "columns", "wrapped"]


def columns() -> int:
    """The width of the terminal in characters, or that in the environment variable ``COLUMNS``; 80 if unknown."""
    return max(shutil.get_terminal_size().columns, 1)


def wrapped(words: Iterable[str], indent: int = 0, width: int | None = None) -> str:
    """Words with a space between them, in lines that fit; one with spaces in it is broken only if it is too long.

    Args:
        words: the texts; those that are empty are left out.
        indent: the number of spaces before each line but the first; a quarter of the width at most.
        width: the number of columns; that of the terminal by default.

    Example:
        >>> print(wrapped(["epoch 1/3", "train loss 0.2500,", "validation loss 0.5000"], indent=2, width=30))
        epoch 1/3 train loss 0.2500,
          validation loss 0.5000
    """
    width = columns() if width is None else width
    indent = min(indent, width // 4)
    whole = (word.replace(" ", "\xa0") if len(word) <= width - indent else word for word in words if word)
    lines = textwrap.wrap(" ".join(whole), width, subsequent_indent=" " * indent, break_on_hyphens=False)
    return "\n".join(lines).replace("\xa0", " ")


def broken(text: str, width: int) -> list[str]:
    """A path or a call in lines that fit: they end where a name or an argument does, or at an underscore, or anywhere.

    Example:
        >>> broken("stem/conv2d_0/w", 12)
        ['stem/', 'conv2d_0/w']
        >>> broken("conv2d(8, 3, padding='same')", 16)
        ['conv2d(8, 3,', "padding='same')"]
    """
    lines = [""]
    for word in re.findall(r"[^ /=(]*[ /=(]|[^ /=(]+", text):
        if lines[-1] and len(lines[-1] + word.rstrip()) > width:
            lines.append("")
        lines[-1] += word
        while len(lines[-1].rstrip()) > width:
            end = lines[-1].rfind("_", 0, width) + 1 or width
            lines[-1:] = [lines[-1][:end], lines[-1][end:]]
    return [line.rstrip() for line in lines]
