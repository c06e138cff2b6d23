"""Training on many machines: each rank of an MPI job computes a shard of every batch, and the gradients are added up.

All ranks run the same program with the same model, parameters and keys, and make the same steps. They stay equal, bit
by bit, since each gets the same sums and makes the same update of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from funcnn import checks
from funcnn.aliases import Array, Arrays, Params, Rng, Tree
from funcnn.calls import explained
from funcnn.losses import Loss
from funcnn.protocol import LayerLike, as_layer
from funcnn.training.batching import check_examples, take
from funcnn.training.evaluate import LossAndGrads, check_takes_weights, checked_loss
from funcnn.training.ranks import RankError, digest_of, ranks_of
from funcnn.training.sharded import bounds, loss_and_grads

if TYPE_CHECKING:
    from mpi4py.MPI import Intracomm

__all__ = ["RankError", "shard", "value_and_grad"]

Batch = TypeVar("Batch", bound=Arrays | tuple[Any, ...])


@explained
def value_and_grad(model: LayerLike, loss: Loss, comm: Intracomm, whole_batch: bool = True) -> LossAndGrads:
    """The function that computes the loss of the batch of all ranks, and its gradients.

    Each rank passes the shard of the batch that is its own. The gradients of all ranks are added in one flat buffer for
    each dtype, by one all-reduce in place, in an order that depends on the number of ranks only: with the same number,
    the same bits, as MPICH and Open MPI sum; with another number, the same to rounding.

    The first call compares the model, the loss and the parameters of all ranks by their checksums. A rank that raises
    lets all others raise a ``RankError``, and an error that ends the program of a rank ends the job.

    Args:
        model: a layer or a pair.
        loss: ``loss(y, target) -> (value, dy)``.
        comm: a communicator of mpi4py, ``MPI.COMM_WORLD``; all its processes make the same calls.
        whole_batch: whether the loss, batch norm, and each layer that is not declared ``per_example`` see the examples
            of all ranks. Then 1, 2 and 4 ranks compute the same to rounding, and so does
            ``fn.value_and_grad`` on one. It takes two exchanges for each batch norm, whose size is that of its
            statistics, and one of all outputs and targets. Without it, batch norm has the statistics of its shard, and
            the loss, which must be a mean, is the mean over the shards, weighted by the sums of their weights.

    Returns:
        ``f(params, x, target, rng=None, *, weights=None) -> (value, grads)``, as ``fn.value_and_grad`` returns it. x,
        target and weights are this rank's shard; ``params`` and ``rng`` are the same on all ranks. With that key each
        layer of funcnn draws for its examples what it would draw for them in the whole batch, so that dropout does not
        depend on the number of ranks. A layer of your own gets another key on each rank.

    Raises:
        ModuleNotFoundError: mpi4py is not installed: ``pip install "funcnn[mpi]"``.
        TypeError: ``comm`` is not a communicator, or as ``fn.value_and_grad``.
        ValueError: the ranks differ in the model or the parameters, and the message names the path; in the lengths of
            their shards; in their keys; or only some have weights.
        RankError: another rank has raised an error or has ended.
        RuntimeError: MPI takes calls of the main thread only.

    Example:
        >>> from mpi4py import MPI
        >>> import funcnn as fn, numpy as np
        >>> model = fn.dense(1)
        >>> params = {"w": np.array([[2.0]]), "b": np.array([0.0])}
        >>> loss_and_grads = fn.distributed.value_and_grad(model, fn.mean_squared_error, MPI.COMM_WORLD)
        >>> value, grads = loss_and_grads(params, np.ones((1, 1)), np.zeros((1, 1)))
        >>> value, grads["w"]
        (4.0, array([[4.]]))
    """
    kind = "distributed.value_and_grad"
    ranks, checked_params = ranks_of(kind, comm), False
    with ranks.raising_on_all():
        layer, checked = as_layer(model), checked_loss(kind, loss)
        whole_batch = checks.flag(kind, "whole_batch", whole_batch)
        takes_weights = checks.takes_keyword(loss, "weights")

    def f(
        params: Params, x: Tree, target: Tree, rng: Rng | None = None, *, weights: Array | None = None
    ) -> tuple[float, Params]:
        nonlocal checked_params
        with ranks.raising_on_all():
            if weights is not None and not takes_weights:
                check_takes_weights(kind, loss, {})
            if not checked_params:
                ranks.check_same(kind, digest_of(layer, {"params": params}, loss=loss))
                checked_params = True
            batch = x, target, weights
            return loss_and_grads(ranks, layer, checked, params, batch, rng, whole_batch=whole_batch, equal=True)

    return f


@explained
def shard(batch: Batch, comm: Intracomm) -> Batch:
    """This rank's shard of a batch: rank r of n ranks has the r-th of n equal parts.

    Args:
        batch: arrays, nested dicts of arrays, or a tuple of them such as ``(x, target)``, the same on all ranks.
        comm: a communicator of mpi4py.

    Returns:
        The shard, like ``batch``: views of its arrays.

    Raises:
        ModuleNotFoundError: mpi4py is not installed: ``pip install "funcnn[mpi]"``.
        TypeError: ``comm`` is not a communicator, or the batch is not of arrays.
        ValueError: the number of ranks does not divide that of the examples, or the arrays differ in length.

    Example:
        >>> from mpi4py import MPI
        >>> import numpy as np
        >>> shard(np.arange(4), MPI.COMM_WORLD)  # the whole batch on a single rank, [2, 3] on the last one of two
        array([0, 1, 2, 3])
    """
    ranks = ranks_of("distributed.shard", comm)
    n = check_examples("distributed.shard", batch if isinstance(batch, tuple) else (batch,))
    if n % ranks.size:
        raise ValueError(
            f"distributed.shard: expected a number of examples that {ranks.size} ranks divide, got {n}; choose such a "
            "batch size and leave out the last, short batch, or use fit(..., comm=comm), which takes any"
        )
    cut: Batch = take(batch, slice(*bounds(n, ranks)))
    return cut
