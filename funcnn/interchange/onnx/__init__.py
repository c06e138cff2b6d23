"""Models to and from files of ONNX, which other programs run and write.

``exporting`` writes a model's recorded calls as nodes, ``importing`` makes a ``graph`` of layers of a file. Both need
the extra ``onnx``, which ``package`` imports or asks for, and are loaded when they are first used.
"""

from __future__ import annotations

from pathlib import Path

from funcnn import checks
from funcnn.aliases import Params, Shapes
from funcnn.calls import explained
from funcnn.interchange.files import replaced
from funcnn.protocol import Layer, LayerLike, as_layer
from funcnn.shapes import checked

__all__ = ["export_onnx", "import_onnx"]


@explained
def export_onnx(path: str | Path, model: LayerLike, params: Params, shape: Shapes, opset: int = 18) -> None:
    """Write a model and its parameters as a file of ONNX, to run where there is no Python.

    The graph computes what ``apply`` without ``rng`` does. Its batch axis is open, all other sizes are those of
    ``shape``. An input that is an array is called ``input``, one that is a tree has a name for each leaf, such as
    ``input/mask``, and outputs likewise ``output``; nodes and constants are called by the paths of their layers,
    ``residual_0/conv2d_1/w``. Images are channels-last as here; the graph transposes them where operators need it.

    Args:
        path: where to, written exactly as given; an existing file is replaced when the new one is complete.
        model: a layer.
        params: its parameters.
        shape: of one example, as ``init`` takes it.
        opset: the version of ONNX's operators, 18 to 26, or to the newest that the installed onnx knows.

    Returns:
        None; the file is complete then.

    Raises:
        ModuleNotFoundError: onnx is not installed: ``pip install "funcnn[onnx]"``.
        TypeError: an argument has the wrong type.
        ValueError: there are layers that ONNX cannot express, and the message has the path of each and why; the
            parameters do not fit the model or the shape; a batch norm has not been measured; or ``opset`` is out of
            range.
        OSError: the file cannot be written; an old one is as it was.

    Example:
        >>> import funcnn as fn
        >>> model = fn.serial(fn.conv2d(8, 3), fn.relu, fn.flatten, fn.dense(10))
        >>> fn.export_onnx("digits.onnx", model, model.init((28, 28, 1), 0), (28, 28, 1))  # doctest: +SKIP

    Reference:
        The operators: https://onnx.ai/onnx/operators/
    """
    from funcnn.interchange.onnx.exporting import written

    file, version = checks.path("export_onnx", path), checks.size("export_onnx", "opset", opset)
    content = written(as_layer(model), params, checked("export_onnx", shape), version)
    with replaced(file) as out:
        out.write(content)


@explained
def import_onnx(path: str | Path, shape: Shapes | None = None) -> tuple[Layer, Params]:
    """The model in a file of ONNX, as a ``graph`` of layers, and its parameters.

    It takes what the file takes: images with channels first if the file has them so, an array for one input, a dict by
    the names of the file for several; outputs likewise. The first axis is the batch. Nodes are called as in the file.
    The model can be run, checked, trained further, summarised and saved as any other. Constant arrays of floats are
    learned, numbers and masks stay; one that the file has once, and uses at several places, is one parameter, which
    ``tied`` puts at each. An output whose first axis joins the batch with others, as that of scikit-learn's
    regressor of several targets in skl2onnx's file does, has one row an example here. Outputs of integers or text
    beside those of floats, such as the labels of scikit-learn's classifiers beside their probabilities, are left out.

    Args:
        path: the file. Tensors may stand in files beside it, as PyTorch writes them.
        shape: that of one example of the input, or a dict of them by the names of the inputs; only needed where the
            file leaves other sizes open than that of the batch.

    Returns:
        ``(model, params)``.

    Raises:
        ModuleNotFoundError: onnx is not installed: ``pip install "funcnn[onnx]"``.
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged or no model of ONNX; it has operators that no layer computes, all of which are
            named; or a size is open that must be known.

    Example:
        >>> import funcnn as fn
        >>> model, params = fn.import_onnx("resnet.onnx")  # doctest: +SKIP
        >>> y = fn.predict(model, params, images)  # doctest: +SKIP

    Reference:
        The operators: https://onnx.ai/onnx/operators/
    """
    from funcnn.interchange.onnx.importing import model_of

    return model_of(checks.path("import_onnx", path), shape)
