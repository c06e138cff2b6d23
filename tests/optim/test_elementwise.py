"""The fused pass in blocks: every rule does to a block what it does to the whole, on any number of threads."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from optimizer_table import OPTIMIZERS

from funcnn import cores, tree
from funcnn.aliases import Array, Tree
from funcnn.engine import threads
from funcnn.optim import (
    Optimizer,
    adam,
    adamw,
    add_decayed_weights,
    add_momentum,
    apply_updates,
    chain,
    clip_by_global_norm,
    clip_by_value,
    elementwise,
    lift,
    masked,
    partition,
    scale_by_adam,
    scale_by_rate,
)

WHOLE = 10**9
Slots = dict[str, Array]


def _in_turns(params: Tree) -> Tree:
    """Every other parameter, small and large ones among those left out."""
    return tree.map_with_path(lambda path, p: path in ("large", "inner/fortran", "inner/one"), params)


def factored() -> Optimizer:
    """Adafactor's second moment: the rows and the columns of the mean square; of a vector, the square itself."""

    def rule(g: Array, state: Slots, p: Array, hyper: Any, u: Array, new_state: Slots) -> None:
        square = g * g + 1e-30
        last, first = (-1, -2) if g.ndim >= 2 else ((), ())
        rows = np.add(0.9 * state["rows"], 0.1 * square.mean(last), out=new_state["rows"])
        columns = np.add(0.9 * state["columns"], 0.1 * square.mean(first), out=new_state["columns"])
        mean = rows[..., None] * columns[..., None, :] / rows.mean(-1)[..., None, None] if g.ndim >= 2 else rows
        np.divide(g, np.sqrt(mean), out=u)

    slots = {
        "rows": lambda p: np.zeros(p.shape[:-1] if p.ndim >= 2 else p.shape, p.dtype),
        "columns": lambda p: np.zeros(p.shape[:-2] + p.shape[-1:] if p.ndim >= 2 else p.shape, p.dtype),
    }
    return lift("scale_by_factored", rule, slots=slots)


CHAINS: dict[str, Optimizer] = OPTIMIZERS | {
    "norm in the middle": chain(add_momentum(0.9), clip_by_global_norm(0.5), scale_by_adam(), scale_by_rate(0.1)),
    "masked": adamw(0.1, weight_decay=0.3, decay_mask=_in_turns),
    "masked, nothing else": chain(add_decayed_weights(0.5, _in_turns)),
    "masked first and last": chain(
        add_decayed_weights(0.5, _in_turns), add_momentum(0.9), clip_by_value(0.5), add_decayed_weights(0.1, _in_turns)
    ),
    "masked chain": chain(clip_by_value(0.5), masked(chain(add_momentum(0.9), clip_by_global_norm(0.5)), _in_turns)),
    "masked by path": chain(masked(adam(0.1), "inner/*"), masked(clip_by_value(0.1), "[!i]*"), scale_by_rate(0.5)),
    "partition by path": partition({"inner/[ft]*": adamw(0.1), "inner/*": chain(add_momentum(0.9)), "*": adam(0.1)}),
    "partition in a chain": chain(
        partition({"*e": scale_by_adam(), "*": chain(clip_by_global_norm(0.5), add_momentum(0.9))}), scale_by_rate(0.1)
    ),
    "many in a row": chain(
        scale_by_adam(),
        clip_by_value(0.5),
        add_decayed_weights(0.1, _in_turns),
        scale_by_rate(0.7),
        add_momentum(0.9),
        add_decayed_weights(0.3, _in_turns),
        clip_by_value(0.4),
        add_momentum(0.5, nesterov=True),
        scale_by_adam(),
    ),
    "factored": chain(add_momentum(0.9), factored(), scale_by_rate(0.1)),
}
every_chain = pytest.mark.parametrize("optimizer", CHAINS.values(), ids=CHAINS)


@contextmanager
def in_blocks_of(block: int, small: int = 0) -> Iterator[None]:
    """Let blocks have ``block`` elements, and let other threads work on them unless there is one block only.

    Parameters of less than ``small`` elements are grouped.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(elementwise, "BLOCK_SIZE", block)
        patch.setattr(elementwise, "SMALL_PARAMETER_MAX", small)
        patch.setattr(elementwise, "SERIAL_MAX_SIZE", WHOLE if block == WHOLE else 0)
        yield


def made(seed: int, dtype: type, order: str = "C") -> Tree:
    """A read-only tree of arrays of no axes and many, empty and large, and in several memory orders."""
    random = np.random.default_rng(seed)

    def numbers(*shape: int) -> Array:
        # Sizes from 1e-9 to 1e3: what is rounded is seen.
        array = (random.standard_normal(shape) * 10 ** random.uniform(-9, 3, shape)).astype(dtype)
        return array.copy(order)  # type: ignore[call-overload]

    arrays = {
        "large": numbers(5, 7, 3),
        "seven": numbers(7),
        "eight": numbers(8),
        "none": numbers(0, 3),
        "inner": {
            "one": numbers(),
            "fortran": np.asfortranarray(numbers(4, 6)),
            "columns": numbers(6, 10)[:, ::3],
            "backwards": numbers(20)[::-1],
            "turned": numbers(2, 3, 4).transpose(2, 0, 1),
        },
    }
    return frozen(arrays)


def frozen(arrays: Tree) -> Tree:
    for leaf in tree.leaves(arrays):
        leaf.setflags(write=False)
    return arrays


def bits(arrays: Tree) -> dict[str, Any]:
    return {path: (leaf.dtype, leaf.shape, leaf.tobytes()) for path, leaf in tree.flatten(arrays).items()}


def steps(optimizer: Optimizer, dtype: type, grad_order: str = "C") -> list[dict[str, Any]]:
    """The bits of updates, states and parameters of three steps, nothing of which may be written to."""
    params = made(0, dtype)
    state = frozen(optimizer.init(params))
    found = []
    for step in range(3):
        updates, state = optimizer.update(made(1 + step, dtype, grad_order), state, params)
        params = frozen(apply_updates(params, updates))
        found.append(bits({"updates": frozen(updates), "state": frozen(state), "params": params}))
    return found


@every_chain
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_blocks_give_the_bits_of_the_whole(optimizer: Optimizer, dtype: type) -> None:
    with in_blocks_of(WHOLE):
        expected = steps(optimizer, dtype)
    for block, small, count in ((7, 0, 1), (7, 22, 2), (7, 0, 4), (1, 0, 2), (WHOLE, 22, 1), (WHOLE, WHOLE, 2)):
        with in_blocks_of(block, small), cores.use_threads(count):
            assert steps(optimizer, dtype) == expected
    with in_blocks_of(7), cores.use_threads(2):
        assert steps(optimizer, dtype, grad_order="F") == expected


@every_chain
def test_neighbours_in_one_pass_do_what_each_does_alone(optimizer: Optimizer) -> None:
    params, grads = made(0, np.float64), made(1, np.float64)
    together = optimizer.init(params)
    parts = optimizer.transforms or (optimizer,)
    states = [part.init(params) for part in parts]
    with in_blocks_of(7):
        for _ in range(2):
            updates, together = optimizer.update(grads, together, params)
            alone = grads
            for number, part in enumerate(parts):
                alone, states[number] = part.update(alone, states[number], params)
            assert bits(updates) == bits(alone)
    assert sorted(bits(together).values(), key=repr) == sorted(
        (leaf for state in states for leaf in bits(state).values()), key=repr
    )


@every_chain
@pytest.mark.parametrize("block", [7, WHOLE])
def test_outputs_do_not_change_when_the_next_step_is_made(optimizer: Optimizer, block: int) -> None:
    params, grads = made(0, np.float64), made(1, np.float64)
    given = bits({"params": params, "grads": grads})
    with in_blocks_of(block), cores.use_threads(2):
        updates, state = optimizer.update(grads, optimizer.init(params), params)
        before = bits({"updates": updates, "state": state})
        optimizer.update(made(2, np.float64), state, params)
        assert bits({"updates": updates, "state": state}) == before
    assert bits({"params": params, "grads": grads}) == given


def test_a_masked_gradient_passes_and_has_no_state() -> None:
    params, grads = made(0, np.float64), made(1, np.float64)

    def rule(g: Array, state: Slots, p: Array, hyper: Any, u: Array, new_state: Slots) -> None:
        np.multiply(g, 2, out=u)
        np.add(state["m"], p, out=new_state["m"])

    optimizer = lift("double", rule, slots=("m",), mask=_in_turns)
    for block in (7, WHOLE):
        with in_blocks_of(block):
            updates, state = optimizer.update(grads, optimizer.init(params), params)
        for path, chosen in tree.flatten(_in_turns(params)).items():
            g, p = tree.flatten(grads)[path], tree.flatten(params)[path]
            assert np.array_equal(tree.flatten(updates)[path], 2 * g if chosen else g)
            assert np.array_equal(tree.flatten(state["m"]).get(path), p if chosen else None)


def test_each_element_is_in_one_block_and_no_block_is_too_large() -> None:
    met: list[int] = []

    def rule(g: Array, state: Slots, p: Array, hyper: Any, u: Array, new_state: Slots) -> None:
        met.append(g.size)
        np.add(g, 1, out=u)

    params = made(0, np.float32)
    with in_blocks_of(7):
        updates, _ = lift("count", rule).update(tree.map(np.zeros_like, params), {}, params)
    assert sum(met) == tree.count(params)
    assert max(met) == 7
    # 105 elements, then 7, 8, none, one, 24, 24, 20 and 24.
    assert len(met) == 15 + 1 + 2 + 0 + 1 + 4 + 4 + 3 + 4
    assert all((leaf == 1).all() for leaf in tree.leaves(updates))
    met.clear()
    with in_blocks_of(WHOLE, small=24):
        lift("count", rule).update(tree.map(np.zeros_like, params), {}, params)
    # Those of 7, 8, 0, 1 and 20 elements are grouped.
    assert sorted(met) == [24, 24, 24, 36, 105]


def test_a_rule_is_not_called_for_no_elements() -> None:
    met: list[int] = []

    def rule(g: Array, state: Slots, p: Array, hyper: Any, u: Array, new_state: Slots) -> None:
        met.append(g.size)

    for count in (1, 2):
        params = {str(number): np.ones((0, 3)) for number in range(count)}
        updates, _ = lift("count", rule).update(params, {}, params)
        assert [u.shape for u in updates.values()] == [(0, 3)] * count
    assert met == []


def test_few_parameters_stay_with_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    handed_out: list[int] = []
    run = threads.run

    def counting(tasks: Any) -> Any:
        handed_out.append(len(tasks))
        return run(tasks)

    monkeypatch.setattr(threads, "run", counting)
    monkeypatch.setattr(elementwise, "SERIAL_MAX_SIZE", 100)
    monkeypatch.setattr(elementwise, "BLOCK_SIZE", 30)
    monkeypatch.setattr(elementwise, "BLOCKS_PER_TASK", 1)
    optimizer = adam(0.1)
    for size, jobs in ((100, []), (101, [4])):
        params = {"w": np.ones(size)}
        optimizer.update(params, optimizer.init(params), params)
        assert handed_out == jobs


def test_a_rule_that_fails_in_a_block_fails_the_update() -> None:
    def rule(g: Array, state: Slots, p: Array, hyper: Any, u: Array, new_state: Slots) -> None:
        np.divide(1, g, out=u)

    params = {"w": np.ones(100)}
    grads = {"w": np.arange(100.0)[::-1]}
    with in_blocks_of(7), cores.use_threads(2), pytest.raises(FloatingPointError, match="divide by zero"):
        lift("invert", rule).update(grads, {}, params)
