"""Packages that only one format needs, and that are imported when it is used."""

from importlib import import_module
from typing import Any

__all__ = ["package"]


def package(name: str, extra: str, purpose: str) -> Any:
    """The module of a package, or an error that says which extra of funcnn brings it.

    Args:
        name: the name under which it is imported.
        extra: the extra in pyproject.toml.
        purpose: what needs it, for the message.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        root = name.partition(".")[0]
        if (error.name or "").partition(".")[0] != root:
            raise  # it is there, and lacks something itself
        raise ModuleNotFoundError(f'{purpose} needs {root}: pip install "funcnn[{extra}]"', name=root) from error
