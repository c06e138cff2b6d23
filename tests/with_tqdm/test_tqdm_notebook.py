"""In a real kernel ``fit`` shows a bar of tqdm, one output that is drawn again in its place."""

import html
import os
import re
from pathlib import Path

import nbclient
import nbformat

import funcnn as fn

CODE = """
import numpy as np, funcnn as fn
x, model = np.ones((40, 2), np.float32), fn.dense(2)
_ = fn.fit(model, model.init((2,), 0), fn.sgd(0.1), (x, x), fn.mean_squared_error, 3, batch_size=10)
"""


def test_fit_shows_one_bar_in_a_notebook(tmp_path: Path) -> None:
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CODE)], metadata={"kernelspec": kernel})
    environment = os.environ | {"PYTHONPATH": str(Path(fn.__file__).parents[1]), "IPYTHONDIR": str(tmp_path)}
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute(
        env=environment
    )
    (bar,) = [output.data for output in notebook.cells[0].outputs if "data" in output]
    assert re.fullmatch(r"100%\|█+\| 12/12 \[00:00<00:00, +[\d.]+ steps/s, loss \d\.\d{4}\]", bar["text/plain"])
    assert bar["text/plain"] in html.unescape(bar["text/html"])
    assert not [output for output in notebook.cells[0].outputs if output.get("name") == "stderr"]
