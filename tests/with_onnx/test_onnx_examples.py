"""The models of the examples themselves leave as files of ONNX and compute the same there."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import funcnn as fn
from tests.with_onnx.onnx_helpers import check_export, inputs, parameters

EXAMPLES = Path(fn.__file__).parents[1] / "examples"
IMAGE = (28, 28, 1)
TOKENS = fn.spec((16,), int)


def module_of(name: str, up_to: str) -> Any:
    """An example as a module; of a script that trains at once, what stands above its training."""
    found: Any = ModuleType(name)
    found.__file__ = str(EXAMPLES / name)
    text = (EXAMPLES / name).read_text(encoding="utf-8")
    assert up_to in text
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EXAMPLES)
        exec(text.partition(up_to)[0] if up_to else text, vars(found))
    return found


ROWS: dict[str, tuple[Callable[[Any], Any], Any, str]] = {
    "mnist_cnn.py": (lambda m: m.model, IMAGE, ""),
    "private_sgd.py": (lambda m: m.model, IMAGE, ""),
    "denoise.py": (lambda m: m.model, IMAGE, ""),
    "transfer.py": (lambda m: m.model, IMAGE, ""),
    "residual.py": (lambda m: m.network(8, 10), (32, 32, 3), ""),
    "gan.py": (lambda m: fn.serial(m.generator, m.discriminator), (32,), ""),
    "vae.py": (lambda m: m.networks(8)[0], IMAGE, ""),
    "two_towers.py": (lambda m: fn.parallel(a=m.tower(), b=m.tower()), {"a": (14, 28, 1), "b": (14, 28, 1)}, ""),
    "two_heads.py": (lambda m: m.model, IMAGE, "train, test = "),
    "two_inputs.py": (
        lambda m: m.models["image and table"], {"image": (14, 28, 1), "table": (14,)}, "train, test = "
    ),
    "gpt.py": (lambda m: m.network(65, m.arguments([])), TOKENS, ""),
    "char_lstm.py": (lambda m: m.network(65, m.arguments([])), {"x": TOKENS, "state": {}}, ""),
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_the_model_of_an_example(tmp_path: Path, name: str) -> None:
    get, shape, up_to = ROWS[name]
    model, random = get(module_of(name, up_to)), np.random.default_rng(0)
    params = parameters(model, shape, random)
    for opset in (18, 26):
        check_export(tmp_path / "model.onnx", model, params, shape, inputs(shape, 3, random), opset=opset)


def test_a_layer_of_an_example_that_no_file_can_hold_is_named(tmp_path: Path) -> None:
    model = module_of("custom_layer.py", "").model
    with pytest.raises(ValueError, match="snake"):
        fn.export_onnx(tmp_path / "model.onnx", model, model.init((1,), 0), (1,))
