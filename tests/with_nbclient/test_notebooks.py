"""What cells show in a real kernel: each thing as a person wants to see it, and only once."""

import base64
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest

import funcnn as fn

ROOT = Path(fn.__file__).parents[1]
PNG = b"\x89PNG\r\n\x1a\n"


def executed(notebook: Any, folder: Path) -> list[list[Any]]:
    """The outputs of each cell with code."""
    # The kernel imports the funcnn that is tested here, installed or not, and no tqdm.
    hidden = folder / "hidden"
    hidden.mkdir()
    (hidden / "tqdm.py").write_text("raise ImportError")
    environment = os.environ | {"PYTHONPATH": f"{hidden}{os.pathsep}{ROOT}", "IPYTHONDIR": str(folder)}
    client = nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(folder)}})
    client.execute(env=environment)
    return [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]


def run(folder: Path, *sources: str) -> list[list[Any]]:
    """The outputs of each of these cells."""
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    return executed(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), folder)


def pictures(outputs: list[Any]) -> list[bytes]:
    """The PNG images that a cell shows."""
    data = [output.data["image/png"] for output in outputs if "image/png" in output.get("data", {})]
    return [base64.b64decode(text) for text in data]


def shown(outputs: list[Any], kind: str) -> str:
    """What a cell that shows one thing has of this mime type."""
    (output,) = outputs
    return str(output.data[kind])


def printed(outputs: list[Any]) -> str:
    """What a cell prints."""
    return "".join(output.text for output in outputs if output.output_type == "stream")


class Tags(HTMLParser):
    """The tags and the text of some HTML."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags, self.text = set[str](), ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_example(tmp_path: Path) -> None:
    cells = executed(nbformat.read(ROOT / "examples" / "notebook.ipynb", 4), tmp_path)
    digits, model, summary, optimizer, training, result, confusion, filters = cells
    for outputs in (digits, confusion, filters):
        (picture,) = pictures(outputs)
        assert picture.startswith(PNG)
    tree = Tags(shown(model, "text/html"))
    assert tree.tags == {"pre"}
    assert tree.text.splitlines() == [
        "serial",
        "├─ conv2d_0: conv2d(8, 3)",
        "├─ relu_0: relu",
        "├─ max_pool2d_0: max_pool2d(2)",
        "├─ residual_0: residual",
        "│  ├─ conv2d_0: conv2d(8, 3, padding='same')",
        "│  └─ relu_0: relu",
        "└─ head: serial",
        "   ├─ flatten_0: flatten",
        "   └─ dense_0: dense(10)",
    ]
    table = Tags(shown(summary, "text/html"))
    assert {"table", "tr", "td"} <= table.tags
    assert "conv2d(8, 3, padding='same')" in table.text
    assert shown(summary, "text/plain").startswith("path ")
    assert shown(optimizer, "text/plain") == "adam(cosine_decay(0.002, steps=250))"
    text, best = printed(training), "best epoch"
    assert [line.split()[1] for line in text.splitlines() if line.startswith("epoch")] == [f"{e}/5" for e in range(6)]
    assert text.count(best) == 1
    assert max(map(len, text.splitlines())) <= 80
    (bar,) = [output.data["text/html"] for output in training if "text/html" in output.get("data", {})]
    assert '<progress value="250" max="250"' in bar
    assert re.search(r"step 250/250 .* steps/s", bar)
    (curves,) = pictures(training)
    assert curves.startswith(PNG)
    whole = shown(result, "text/html")
    assert Tags(whole).tags == {"pre", "img"}
    assert Tags(whole).text == shown(result, "text/plain")
    assert base64.b64decode(re.search(r"base64,([^\"]+)", whole)[1]).startswith(PNG)  # type: ignore[index]


BEFORE = """
import sys
import numpy as np
import funcnn as fn
history = [{"epoch": epoch, "train_loss": 1 / (epoch + 1)} for epoch in range(4)]
"""


@pytest.mark.parametrize("first", ["", "%matplotlib inline", "import matplotlib.pyplot as plt"])
def test_a_picture_is_shown_once(first: str, tmp_path: Path) -> None:
    before, *cells, last = run(
        tmp_path,
        BEFORE + first,
        "fn.plot.learning_curves(history)",
        "fn.plot.learning_curves(history).figure",
        "ax = fn.plot.learning_curves(history)",
        "from matplotlib.figure import Figure\nfn.plot.learning_curves(history, ax=Figure().subplots())",
        "fn.plot.learning_curves(history, ax=Figure().subfigures(1, 2)[0].subplots())",
        "import matplotlib.pyplot as plt\nfn.plot.learning_curves(history, ax=plt.subplots()[1])",
    )
    assert not before
    assert [len(pictures(outputs)) for outputs in cells] == [1, 1, 0, 1, 1]
    assert len(pictures(last)) == 1


def test_a_confusion_matrix_shows_its_picture_and_what_is_computed_from_it_does_not(tmp_path: Path) -> None:
    _, matrix, part, again, other = run(
        tmp_path,
        BEFORE + "matrix = fn.metrics.confusion_matrix(np.eye(3), np.array([0, 1, 1]))",
        "matrix",
        "matrix.astype(float)",
        "assert type(matrix) is np.ndarray\nfn.plot.confusion_matrix(matrix)",
        "del matrix\nnp.eye(2)",
    )
    assert [len(pictures(outputs)) for outputs in (matrix, part, again, other)] == [1, 0, 1, 0]
    assert shown(matrix, "text/plain").startswith("array([[1, 0, 0]")


def test_names_of_the_user_are_text_in_html(tmp_path: Path) -> None:
    _, model, summary, result = run(
        tmp_path,
        BEFORE + "model = fn.serial(fn.named('<script>alert(1)', fn.dense(2)))\n"
        "name = '<img src=x onerror=alert(1)>'\n"
        "last = {'epoch': 1, f'train_{name}': 0.5}",
        "model",
        "fn.summary(model, model.init((2,), 0), (2,))",
        "fn.Fit({}, {}, [last], (f'train_{name}', 'min'))",
    )
    for outputs in (model, summary):
        found = Tags(shown(outputs, "text/html"))
        assert "script" not in found.tags
        assert "<script>alert(1)" in found.text
    html = shown(result, "text/html")
    assert html.count("<img") == 1
    assert "onerror=alert(1)&gt;" in html


FIT = """
x = np.linspace(-1, 1, 40, dtype=np.float32)[:, None]
model = fn.dense(1)
def fit(epochs=3, **options):
    return fn.fit(model, model.init((1,), 0), fn.sgd(0.1), (x, x), fn.mean_squared_error, epochs, **options)
"""


def test_fit_shows_its_progress_and_without_verbose_nothing(tmp_path: Path) -> None:
    _, quiet, stopped, failed = run(
        tmp_path,
        BEFORE + FIT,
        "_ = fit(verbose=False)",
        "_ = fit(callbacks=[lambda record, result: record['epoch'] == 2])",
        "def fail(record, result):\n    if record['epoch'] == 1: raise ValueError\n"
        "try: fit(callbacks=[fail])\nexcept ValueError: pass",
    )
    assert not quiet
    for outputs, steps in ((stopped, 4), (failed, 2)):
        (bar,) = [output.data["text/html"] for output in outputs if "data" in output]
        assert f'<progress value="{steps}" max="6"' in bar
    assert printed(stopped).splitlines()[-1].startswith("best epoch 2/3 by train loss: train loss ")


def test_each_run_has_live_curves_of_its_own(tmp_path: Path) -> None:
    _, first, second, wrong = run(
        tmp_path,
        BEFORE + FIT + "curves = fn.callbacks.live_curves('loss')",
        "_ = fit(verbose=False, callbacks=[curves])",
        "_ = fit(verbose=False, callbacks=[curves]), fit(1, verbose=False, callbacks=[curves])",
        "try: fit(verbose=False, callbacks=[fn.callbacks.live_curves('accuracy')])\n"
        "except ValueError as error: print(error)",
    )
    assert [len(pictures(first)), len(pictures(second))] == [1, 2]
    assert "the record has no 'train_accuracy', but epoch" in printed(wrong)
