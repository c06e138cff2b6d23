"""The README's tables name everything public, and nothing that does not exist or is called differently."""

import ast
import importlib
import inspect
import pkgutil
import re
from pathlib import Path
from typing import Any

import pytest

import funcnn

README = Path(__file__).parents[1] / "README.md"
# What these define is for reading and for other modules; users meet it through the layers and optimizers.
INSIDE = ("kernels", "memory", "pieces", "leafwise", "activation", "canvas", "inputs")
MODULES = [
    module
    for module in ("funcnn", *(info.name for info in pkgutil.walk_packages(funcnn.__path__, "funcnn.")))
    if not any(part in INSIDE for part in module.split("."))
]
PUBLIC = [
    (module, name)
    for module in MODULES
    if not module.endswith("__main__")
    for name in getattr(importlib.import_module(module), "__all__", [])
]
# The code in the first cell of each row: `relu`, or `conv2d(filters, kernel, stride=1)`.
ENTRIES = [
    code
    for row in re.findall(r"^\| (`.*?) \|", README.read_text(encoding="utf-8"), re.MULTILINE)
    for code in re.findall(r"`([^`]+)`", row)
]


def meaning(entry: str) -> Any:
    """What an entry's name stands for: ``tree.map`` is ``funcnn.tree.map``."""
    found: Any = funcnn
    for part in entry.partition("(")[0].split("."):
        found = getattr(found, part)
    return found


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
    assert {word.arg: ast.literal_eval(word.value) for word in call.keywords} == {
        word.arg: parameters[str(word.arg)].default for word in call.keywords
    }
