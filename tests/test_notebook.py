"""How values show themselves in a notebook, as far as no kernel is needed; the rest is in ``with_nbclient``."""

import io
import pickle
import warnings

import numpy as np
import pytest
from matplotlib.figure import Figure

import funcnn as fn
from funcnn import notebook

HISTORY = [{"epoch": epoch, "train_loss": 1 / (epoch + 1), "validation_a": 0.5} for epoch in range(3)]
PNG = b"\x89PNG\r\n\x1a\n"


def test_axes_and_figures_of_plots_show_themselves_as_png() -> None:
    own = fn.plot.learning_curves(HISTORY)
    passed = fn.plot.learning_curves(HISTORY, ax=Figure().subplots())
    inner = fn.plot.learning_curves(HISTORY, ax=Figure().subfigures(1, 2)[1].subplots())
    for ax in (own, passed, inner, pickle.loads(pickle.dumps(own))):
        assert ax._repr_png_().startswith(PNG)
    assert own.figure._repr_png_() == own._repr_png_()
    own.figure.savefig(io.BytesIO())


def test_a_figure_of_pyplot_is_left_to_pyplot() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from matplotlib import pyplot
    pyplot.switch_backend("agg")
    figure, ax = pyplot.subplots()
    ax = fn.plot.learning_curves(HISTORY, ax=ax)
    assert ax._repr_png_() is None  # type: ignore[attr-defined]
    pyplot.close(figure)
    assert ax._repr_png_().startswith(PNG)  # type: ignore[attr-defined]


def test_a_model_is_a_tree_with_the_inputs_of_a_graph() -> None:
    model = fn.graph(
        {"a<b": (fn.serial(fn.dense(4), fn.relu), "input"), "y": (fn.merge("add"), ("a<b", "input"))}, output="y"
    )
    assert notebook.outline(fn.named("m", fn.serial(model, fn.remat(fn.dense(2))))).splitlines() == [
        "m: serial",
        "├─ graph_0: graph",
        "│  ├─ a<b: serial  ← input",
        "│  │  ├─ dense_0: dense(4)",
        "│  │  └─ relu_0: relu",
        "│  └─ y: merge('add')  ← a<b, input",
        "└─ remat_0: remat(dense(2))",
    ]
    assert notebook.outline(fn.dense(2)) == "dense(2)"
    assert "a&lt;b: serial" in model._repr_html_()


def test_a_summary_is_a_table_in_which_names_are_text() -> None:
    model = fn.serial(fn.named("<i>", fn.dense(4)), fn.batch_norm())
    html = fn.summary(model, model.init((3,), 0), (3,))._repr_html_()
    assert html.count("<tr>") == 4
    assert '<td style="text-align:left">&lt;i&gt;</td>' in html
    assert '<th style="text-align:right">24</th>' in html
    assert html.endswith("<p>24 learned parameters, and 8 measured ones; 128 bytes</p>")
    assert "color" not in html


def test_a_fit_is_a_line_and_a_picture() -> None:
    html = fn.Fit({}, {}, HISTORY)._repr_html_()
    line = "&lt;Fit: epoch 2, best epoch 2 by train loss 0.3333&gt;"
    assert html.startswith(f'<pre style="font-family:monospace">{line}</pre><img src="data:image/png;base64,iVBOR')
    assert fn.Fit({}, {}, [])._repr_html_().endswith("&lt;Fit: not evaluated&gt;</pre>")


def test_all_curves_has_axes_for_each_metric() -> None:
    figure = notebook.plotted("curves.all_curves", [record | {"train_b": 1.0} for record in HISTORY])
    assert [ax.get_ylabel() for ax in figure.axes] == ["loss", "a", "b"]
    figure = notebook.plotted("curves.all_curves", HISTORY, ["a"])
    assert [ax.get_ylabel() for ax in figure.axes] == ["a"]


def test_outside_of_a_notebook_nothing_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert not notebook.is_running()
    matrix = fn.metrics.confusion_matrix(np.eye(2), np.array([0, 1]))
    assert type(matrix) is np.ndarray
    assert not notebook.PLOTS
    fn.callbacks.live_curves()(HISTORY[-1], fn.Fit({}, {}, HISTORY))
    assert capsys.readouterr() == ("", "")
    with pytest.raises(ValueError, match="the record has no 'train_f1', but epoch, train_loss, validation_a"):
        fn.callbacks.live_curves("f1")(HISTORY[-1], fn.Fit({}, {}, HISTORY))
    with pytest.raises(TypeError, match="live_curves: expected the name of a metric in the record"):
        fn.callbacks.live_curves(["loss"])  # type: ignore[arg-type]
