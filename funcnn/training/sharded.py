"""A training step and a prediction whose examples are divided among the ranks of an MPI job.

Each rank computes the gradient of its own shard of the batch; the sum over all ranks is that of the whole batch. The
loss, and every layer that looks across the batch, see the examples of all ranks, unless each shard is a batch of its
own.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any

import numpy as np

from funcnn import tree
from funcnn.aliases import Array, Data, Key, Params, Rng, Tree
from funcnn.engine.examples import filled, join
from funcnn.engine.microbatch import as_coroutine, microbatched, output
from funcnn.engine.shards import Shard, inside
from funcnn.protocol import Layer, declared
from funcnn.rng import as_key, fold
from funcnn.training.batching import batches, check_examples, made_batch, take
from funcnn.training.evaluate import CheckedLoss
from funcnn.training.prefetch import in_order
from funcnn.training.ranks import Ranks

__all__ = ["bounds", "loss_and_grads", "sharded_batches", "sharded_predict"]


def bounds(n: int, ranks: Ranks) -> tuple[int, int]:
    """The first example of this rank's shard of n, and the first one after it; lengths differ by one at most.

    Example:
        >>> class Two:
        ...     rank, size = 1, 2
        >>> bounds(5, Two)
        (2, 5)
    """
    return n * ranks.rank // ranks.size, n * (ranks.rank + 1) // ranks.size


def loss_and_grads(
    ranks: Ranks, layer: Layer, loss: CheckedLoss, params: Params, batch: Sequence[Any], rng: Rng | None,
    *, whole_batch: bool = True, equal: bool = False,
) -> tuple[float, Params]:  # fmt: skip
    """The loss of the batch of all ranks and its gradients, the same on each rank.

    Args:
        ranks: all of which call this.
        layer: the model.
        loss: of y, target and weights.
        params: the parameters.
        batch: this rank's shard, ``(x, target, weights)``; weights may be None.
        rng: the key of the batch, the same on all ranks; None for inference.
        whole_batch: whether the loss and layers see the examples of all ranks; else the loss is the mean over shards.
        equal: whether all shards must have the same length.
    """
    x, target, weights = batch
    key = None if rng is None else as_key(rng)
    shard = _shard(ranks, x, key, weights is None, equal)
    exchange = _exchange(ranks) if whole_batch and ranks.size > 1 else None
    apply: Any = layer.apply
    if exchange is not None and not declared(apply, "forward") and not declared(apply, "per_example"):
        apply = microbatched(as_coroutine(layer), layer.kind, whole=True)  # such a layer gets the whole batch
    with inside(shard._replace(exchange=exchange)):
        y, vjp_fn = apply(params, x, None if key is None else fold(key, ranks.rank))
        value, dy = (_whole_loss if whole_batch else _mean_loss)(ranks, loss, y, target, weights, shard)
        grads, _ = vjp_fn(dy, input_grad=False)
    return value, ranks.all_sum(params, grads)


def _shard(ranks: Ranks, x: Tree, key: Key | None, unweighted: bool, equal: bool) -> Shard:
    """The place of this rank's examples in the batch of all."""
    count = check_examples("distributed", (x,), least=0)
    lengths, keys, unweighted_too = zip(*ranks.exchange("step", (count, key, unweighted)), strict=True)
    if equal and len(set(lengths)) > 1:
        raise ValueError(
            f"distributed: the shards have different lengths, {lengths} by rank; they must be equal, as shard(batch, "
            "comm) cuts them; leave out the last, short batch, or use fit(..., comm=comm), which weighs shards"
        )
    if len(set(keys)) > 1:
        raise ValueError(
            f"distributed: the ranks have different keys, {keys} by rank; pass the same rng on all ranks, such as "
            "(seed, step); each draws for its own examples"
        )
    if len(set(unweighted_too)) > 1:
        raise ValueError("distributed: some ranks have weights and others have none; pass them on all ranks")
    return Shard(sum(lengths[: ranks.rank]), count, () if key is None else (len(key),))


def _exchange(ranks: Ranks) -> Any:
    """The function by which an all-reduce of layers gets the values of all ranks."""

    def exchange(values: list[Any]) -> tuple[list[Any], int]:
        found = ranks.exchange("layers", values)
        return [value for own in found for value in own], sum(map(len, found[: ranks.rank]))

    return exchange


def _whole_loss(
    ranks: Ranks, loss: CheckedLoss, y: Tree, target: Tree, weights: Array | None, shard: Shard
) -> tuple[float, Tree]:
    """The loss of the outputs of all ranks, and this rank's part of its gradient."""
    if ranks.size == 1:
        return loss(y, target, weights)
    found = ranks.exchange("loss", (y, target, weights))
    value, dy = loss(*(join(parts) for parts in zip(*found, strict=True)))
    return value, tree.map(lambda leaf: leaf[shard.first : shard.first + shard.examples], dy)


def _mean_loss(
    ranks: Ranks, loss: CheckedLoss, y: Tree, target: Tree, weights: Array | None, shard: Shard
) -> tuple[float, Tree]:
    """The mean of the losses of shards, each weighted by its examples or by the sum of their weights."""
    weight = float(shard.examples if weights is None else np.sum(weights))
    value, dy = loss(y, target, weights) if weight else (0.0, filled(None, y))
    found = ranks.exchange("loss", (weight, value))
    total = sum(own for own, _ in found)
    if not total:
        return 0.0, dy
    return sum(own * loss for own, loss in found) / total, tree.map(lambda g: g * g.dtype.type(weight / total), dy)


def sharded_batches(
    ranks: Ranks, data: Data, batch_size: int, epochs: int, rng: Rng, start: int,
    augment: Callable[..., Any] | None = None, workers: int = 0,
) -> Generator[Any, None, None]:  # fmt: skip
    """This rank's shards of the batches that ``batches`` makes; whole batches are read only if they are augmented."""

    def part(n: int) -> slice:
        return slice(*bounds(n, ranks))

    if augment is not None:
        for batch in batches(data, batch_size, epochs, rng, start, augment, workers):
            yield take(batch, part(check_examples("batches", batch)))
        return

    def make(numbered: tuple[int, Array]) -> Any:
        step, index = numbered
        return made_batch(step, lambda: take(data, index[part(len(index))]))

    order = batches(np.arange(check_examples("batches", data)), batch_size, epochs, rng, start)
    yield from in_order(make, enumerate(order, start), workers)


def sharded_predict(ranks: Ranks, layer: Layer, params: Params, x: Tree, batch_size: int) -> Tree:
    """What ``predict`` returns, with its batches divided among the ranks; the same bits on each."""
    starts = range(0, check_examples("predict", (x,)), batch_size)
    own = [output(layer, params, take(x, slice(i, i + batch_size))) for i in starts[slice(*bounds(len(starts), ranks))]]
    found = ranks.exchange("predictions", own)
    return join([y for ys in found for y in ys])
