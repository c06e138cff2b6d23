"""Random inputs and parameters for models, and what onnxruntime makes of a file."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

import funcnn as fn
from funcnn.combinators.parameters import is_frozen

LIMIT = 1e-5


def inputs(shape: Any, batch: int, random: np.random.Generator) -> Any:
    """A batch: normal floats, masks with gaps, and integers that are 0 or 1."""
    if isinstance(shape, dict):
        return {name: inputs(leaf, batch, random) for name, leaf in shape.items()}
    dtype = getattr(shape, "dtype", np.dtype(np.float32))
    if dtype.kind == "b":
        return random.random((batch, *shape)) < 0.7
    if dtype.kind in "iu":
        return random.integers(0, 2, (batch, *shape)).astype(dtype)
    return random.standard_normal((batch, *shape)).astype(dtype)


def parameters(model: fn.Layer, shape: Any, random: np.random.Generator) -> Any:
    """Initial parameters that are moved a little, with norms that have been measured."""

    def moved(path: str, leaf: Any) -> Any:
        last = path.split("/")[-1]
        if last in ("mean", "var"):
            return random.uniform(0.5, 1.5, leaf.shape).astype(leaf.dtype)
        return leaf + (0.1 * random.standard_normal(leaf.shape)).astype(leaf.dtype) if leaf.dtype.kind == "f" else leaf

    return fn.tree.map_with_path(moved, model.init(shape, 0))


def by_name(tree: Any, name: str) -> dict[str, Any]:
    """The leaves of a tree by their names in a file."""
    if not isinstance(tree, dict):
        return {name: tree}
    return {path: leaf for key, value in tree.items() for path, leaf in by_name(value, f"{name}/{key}").items()}


def run(path: Path, feeds: dict[str, Any]) -> dict[str, Any]:
    """The outputs of a file in onnxruntime by name."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    taken = {one.name for one in session.get_inputs()}
    names = [one.name for one in session.get_outputs()]
    found = session.run(None, {name: array for name, array in feeds.items() if name in taken})
    return dict(zip(names, found, strict=True))


def check_export(path: Path, model: fn.Layer, params: Any, shape: Any, x: Any, **options: Any) -> Any:
    """Export a model, check the file, and compare it with the model on a batch; what the file holds."""
    fn.export_onnx(path, model, params, shape, **options)
    onnx.checker.check_model(str(path), full_check=True)
    wanted, found = by_name(model.apply(params, x)[0], "output"), run(path, by_name(x, "input"))
    assert found.keys() == wanted.keys()
    for name, y in wanted.items():
        close(found[name], y)
    return onnx.load(path)


def check_import(path: Path, layer: fn.Layer, params: Any, x: Any) -> tuple[fn.Layer, Any, Any]:
    """Read back the file of a layer, and compare the outputs of floats on a batch; the model, its parameters and x."""
    model, own = fn.import_onnx(path)
    leaves: Any = {name.replace("/", "."): leaf for name, leaf in by_name(x, "input").items()}
    leaves = leaves if len(leaves) > 1 else next(iter(leaves.values()))
    y = model.apply(own, leaves)[0]
    wanted = {name.replace("/", "."): leaf for name, leaf in by_name(layer.apply(params, x)[0], "output").items()}
    found = y if isinstance(y, dict) else {name: y for name, leaf in wanted.items() if leaf.dtype == y.dtype}
    assert found.keys() == {name for name, leaf in wanted.items() if leaf.dtype.kind == "f"}
    for name, leaf in found.items():
        close(leaf, wanted[name])
    return model, own, leaves


def close(found: Any, wanted: Any) -> None:
    """The same shape, dtype and elements, to 1e-5 of the largest.

    A small element may be a sum of large ones, whose rounding errors in float32 it has: 3e-5 where others are 40.
    """
    assert found.shape == wanted.shape
    assert found.dtype == wanted.dtype
    finite = np.abs(wanted[np.isfinite(wanted)])
    np.testing.assert_allclose(found, wanted, rtol=LIMIT, atol=LIMIT * max(1.0, float(finite.max(initial=0.0))))


def check_gradients(model: fn.Layer, params: Any, x: Any) -> None:
    """Check the gradients of an imported model, of its input and of all parameters but the frozen ones."""
    flat = fn.tree.flatten(params)
    fixed = {path: leaf.astype(np.float64) for path, leaf in flat.items() if is_frozen(model, path)}

    def apply(own: Any, x: Any, rng: Any = None) -> Any:
        y, vjp_fn = model.apply(fn.tree.unflatten(fn.tree.flatten(own) | fixed), x)

        def pull(dy: Any) -> Any:
            grads, dx = vjp_fn(dy)
            found = fn.tree.flatten(grads)
            assert all(found[path] is None for path in fixed)
            return fn.tree.unflatten({path: leaf for path, leaf in found.items() if path not in fixed}), dx

        return y, pull

    fn.testing.check_vjp(apply, fn.tree.unflatten({path: p for path, p in flat.items() if path not in fixed}), x)


def written(
    path: Path, nodes: list[Any], constants: dict[str, Any], shape: Any, out: Any = ("batch", None), dtype: int = 1,
    opsets: Any = (),
) -> Path:  # fmt: skip
    """A file of a few operators from x to y, whose shape is found if ``out`` is None."""
    own = [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    x, y = (
        onnx.helper.make_tensor_value_info("x", dtype, shape),
        onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, out),
    )
    graph = onnx.helper.make_graph(nodes, "test", [x], [y], own)
    versions = [onnx.helper.make_opsetid(*one) for one in {"": 18, **dict(opsets)}.items()]
    model = onnx.helper.make_model(graph, opset_imports=versions, ir_version=10)
    onnx.save(model if out else onnx.shape_inference.infer_shapes(model), path)
    return path
