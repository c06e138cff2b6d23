"""The tables of the guide name everything public, and nothing that does not exist or is called differently."""

import ast
import importlib
import inspect
import pkgutil
import re
from pathlib import Path
from typing import Any

import pytest

import funcnn

PAGES = sorted((Path(__file__).parents[1] / "docs" / "guide").glob("*.md"))
# What these modules define is for reading and for other modules. What users need of it is exported above them, by
# `funcnn`, `funcnn.losses` or `funcnn.testing`, and is looked for there.
INSIDE = (
    "funcnn.augment.parts",
    "funcnn.calls",
    "funcnn.checks",
    "funcnn.spellings",
    "funcnn.wording",
    "funcnn.contract",
    "funcnn.combinators.pooled_relu",
    "funcnn.combinators.wiring",
    "funcnn.datasets.download",
    "funcnn.datasets.idx",
    "funcnn.engine.examples",
    "funcnn.engine.memory",
    "funcnn.engine.microbatch",
    "funcnn.engine.rounds",
    "funcnn.engine.shards",
    "funcnn.engine.threads",
    "funcnn.inspect.per_example",
    "funcnn.interchange.archive",
    "funcnn.interchange.bfloat16",
    "funcnn.interchange.extras",
    "funcnn.interchange.feature_order",
    "funcnn.interchange.files",
    "funcnn.interchange.forms",
    "funcnn.interchange.keras_file",
    "funcnn.interchange.matching",
    "funcnn.interchange.mismatch",
    "funcnn.interchange.onnx",
    "funcnn.interchange.renamed",
    "funcnn.interchange.state_dict",
    "funcnn.interchange.torch_forms",
    "funcnn.interchange.units",
    "funcnn.interchange.untie",
    "funcnn.kernels",
    "funcnn.layers.activation",
    "funcnn.engine.children",
    "funcnn.layers.sequences",
    "funcnn.layers.trees",
    "funcnn.layers.weights",
    "funcnn.losses.core",
    "funcnn.losses.kinds",
    "funcnn.losses.targets",
    "funcnn.metrics.averages",
    "funcnn.metrics.inputs",
    "funcnn.notebook",
    "funcnn.optim.donation",
    "funcnn.optim.elementwise",
    "funcnn.optim.masks",
    "funcnn.optim.pipeline",
    "funcnn.optim.state",
    "funcnn.plot.canvas",
    "funcnn.plot.layered",
    "funcnn.selection",
    "funcnn.shapes",
    "funcnn.signals",
    "funcnn.sklearn",  # which needs an extra; tests/with_sklearn looks at its page
    "funcnn.terminal",
    "funcnn.testing.compare",
    "funcnn.testing.laws",
    "funcnn.testing.report",
    "funcnn.testing.table",
    "funcnn.training.interrupts",
    "funcnn.training.loop",
    "funcnn.training.prefetch",
    "funcnn.training.printed",
    "funcnn.training.ranks",
    "funcnn.training.run",
    "funcnn.training.run_file",
    "funcnn.training.sharded",
    "funcnn.training.sources",
    "funcnn.training.stream",
    "funcnn.wrapping",
)
ALL_MODULES = ["funcnn", *(info.name for info in pkgutil.walk_packages(funcnn.__path__, "funcnn."))]
MODULES = [
    module
    for module in ALL_MODULES
    if not any(f"{module}.".startswith(f"{inside}.") for inside in INSIDE) and not module.endswith("__main__")
]


def public_names(module: str) -> list[str]:
    """The names that a module exports: its ``__all__``; for a package without one, all that is no module."""
    found = importlib.import_module(module)
    if hasattr(found, "__all__"):
        return list(found.__all__)
    names = vars(found).items() if hasattr(found, "__path__") else ()
    return [name for name, thing in names if not name.startswith("_") and not inspect.ismodule(thing)]


PUBLIC = [(module, name) for module in MODULES for name in public_names(module)]
# The code in the first cell of each row: `relu`, or `conv2d(filters, kernel, stride=1)`.
ENTRIES = [
    code
    for page in PAGES
    for row in re.findall(r"^\| (`.*?) \|", page.read_text(encoding="utf-8"), re.MULTILINE)
    for code in re.findall(r"`([^`]+)`", row)
]


def meaning(entry: str) -> Any:
    """What an entry's name stands for: ``tree.map`` is ``funcnn.tree.map``."""
    found: Any = funcnn
    for part in entry.partition("(")[0].split("."):
        found = getattr(found, part)
    return found


def test_the_modules_that_are_not_for_users_exist() -> None:
    assert sorted(set(INSIDE) - set(ALL_MODULES)) == []


def test_every_public_name_is_listed() -> None:
    # Two functions may share a name, as the schedule and the initializer `constant` do: so compare what it stands for.
    listed = {id(meaning(entry)) for entry in ENTRIES}
    missing = [
        f"{module}.{name}"
        for module, name in PUBLIC
        if id(getattr(importlib.import_module(module), name)) not in listed
    ]
    assert missing == []


@pytest.mark.parametrize("entry", [entry for entry in ENTRIES if "(" in entry])
def test_a_call_is_spelled_as_the_signature_has_it(entry: str) -> None:
    call = ast.parse(entry, mode="eval").body
    assert isinstance(call, ast.Call)
    parameters = inspect.signature(meaning(entry)).parameters
    positional = [ast.unparse(argument).removeprefix("*") for argument in call.args]
    assert positional == list(parameters)[: len(positional)]
    options = {word.arg: word.value for word in call.keywords if word.arg is not None}
    assert {name: ast.literal_eval(value) for name, value in options.items()} == {
        name: parameters[name].default for name in options
    }
    # ``parallel(**layers)``
    for word in call.keywords:
        if word.arg is None:
            assert parameters[ast.unparse(word.value)].kind is inspect.Parameter.VAR_KEYWORD
