"""How far a loop is: one line on a terminal, or one output of a cell in a notebook, drawn again and again in its place.

With tqdm installed (``pip install "funcnn[progress]"``) it is a bar of tqdm, and without it the numbers alone. Nothing
is written where nobody watches.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

from funcnn import checks, notebook, terminal
from funcnn.calls import explained

__all__ = ["progress"]


@explained
def progress(total: int, stream: TextIO | None = None) -> Callable[[int, str], None]:
    """One line that shows the step, the speed and the remaining time of a loop, with a bar if tqdm is installed.

    Args:
        total: the number of steps of the loop; 0 if it is not known.
        stream: the stream to write to; ``sys.stderr`` by default. Nothing is written unless it is a terminal. In a
            notebook the default is the output of the cell, where there is a bar without tqdm too.

    Returns:
        ``show(done, text)``, to be called after each step; it writes ten times a second at most, one row of the
        terminal, and clears it after the last step, or if ``text`` is empty. In a notebook the bar stays, and an empty
        ``text`` shows the latest step.

    Raises:
        ValueError: ``total`` is not a whole number ``>= 0``.

    Example:
        >>> show = progress(100)
        >>> show(1, "loss 2.3026")
    """
    total, out = checks.size("progress", "total", total, 0), sys.stderr if stream is None else stream
    draw = notebook.live() if stream is None and notebook.is_running() else None
    started = shown = time.perf_counter()
    latest = (0, "")
    meter = _meter() if draw is not None or out.isatty() else None

    def show(done: int, text: str) -> None:
        nonlocal shown, latest
        now, running = time.perf_counter(), text != "" and (done < total or not total)
        if text:
            latest = (done, text)
        if (draw is None and not out.isatty()) or (running and now - shown < 0.1):
            return
        shown = now
        if draw is not None:
            line = _line(meter, *latest, total, now - started, 80)
            html = notebook.preformatted(line) if meter else notebook.progress_bar(latest[0], total, line)
            draw({"text/html": html, "text/plain": line})
            return
        width = max(terminal.columns() - 1, 1)  # a character in the last column may begin a new row
        line = _line(meter, done, text, total, now - started, width, out) if running else ""
        out.write(f"\r{line[:width]:<{width}}\r")
        out.flush()

    return show


def _meter() -> Any:
    """The function of tqdm that draws a bar; None if it is not installed."""
    try:
        from tqdm import tqdm  # type: ignore[import-untyped]
    except ImportError:
        return None
    return tqdm.format_meter


def _line(meter: Any, done: int, text: str, total: int, seconds: float, width: int, out: TextIO | None = None) -> str:
    """How far a loop is, how fast, and how long it takes."""
    if meter is not None:
        ascii_only = out is not None and not _has_blocks(out)
        bar: str = meter(done, total or None, seconds, ncols=width, ascii=ascii_only, unit=" steps", postfix=text)
        return bar
    of = f"/{total}" if total else ""
    if not done:
        return f"step 0{of}"
    rate = done / max(seconds, 1e-9)
    left = round((total - done) / rate)
    remaining = f"{left // 60}:{left % 60:02d} left" if done < total else f"total {seconds:.1f} s"
    return f"step {done}{of}  {text}  {rate:.1f} steps/s  {remaining}"


def _has_blocks(out: TextIO) -> bool:
    """Whether a stream can write the characters of a bar."""
    try:
        "█▏".encode(getattr(out, "encoding", None) or "ascii")
    except (UnicodeError, LookupError):
        return False
    return True
