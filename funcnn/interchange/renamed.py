"""Names in older files that have changed since: one row for each version of the format.

Whoever renames a kind, an argument or the key of a state adds it here, in a new row unless the last version has not
been released yet. The number of rows is what makes the version, and older files stay readable.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from funcnn.aliases import Tree

__all__ = ["RENAMES", "VERSION", "Renames", "renamed_state"]


@dataclass(frozen=True)
class Renames:
    """The names that one version of the format and the next one do not share.

    Args:
        kinds: the new kind of a layer, or name of a function, by the old one.
        arguments: for each old kind, the new name of an argument by the old one.
        state_keys: the new key in the state of an optimizer by the old one.
    """

    kinds: Mapping[str, str] = field(default_factory=dict)
    arguments: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    state_keys: Mapping[str, str] = field(default_factory=dict)


RENAMES: tuple[Renames, ...] = (
    Renames(arguments={"normal": {"deviation": "std"}}),  # version 1
)
VERSION = len(RENAMES) + 1


def renamed_state(state: Tree) -> Tree:
    """The state of an optimizer from a checkpoint with the current keys; checkpoints do not hold a version."""
    keys = {old: new for renames in RENAMES for old, new in renames.state_keys.items()}
    if not keys or not isinstance(state, dict):
        return state
    return {keys.get(name, name): renamed_state(child) for name, child in state.items()}
