"""Connectionist temporal classification: the probability of a sequence of labels, over all alignments with the frames.

An alignment gives each frame a class; repetitions and then blanks are left out, so that "aa-ab" reads "aab". Its states
are the labels with a blank before, between and after them, and dynamic programming in log space sums over the paths
through the states. Each step works on all examples at once; an example that has ended stays as it is.
"""

import numpy as np

from funcnn.aliases import Array

__all__ = ["occupancy"]


def occupancy(log_p: Array, frames: Array, labels: Array, lengths: Array, blank: int) -> tuple[Array, Array]:
    """The log-probability of each sequence of labels, and how probable each class is in each frame, given the labels.

    With α_t(s) the log-probability of all paths over frames 1 to t that end in state s, and β_t(s) that of all paths
    from s over the frames after t::

        α_t(s) = log p_t(s) + log(e^α_(t-1)(s) + e^α_(t-1)(s-1) + [s is a label unlike that of s-2] e^α_(t-1)(s-2))
        log p(labels) = log Σ_s e^(α_t(s) + β_t(s)) for any t
        occupancy_t(class) = Σ_(s of this class) e^(α_t(s) + β_t(s) - log p(labels))

    The occupancy is the derivative of the log-probability with respect to ``log_p``.

    Args:
        log_p: log-probabilities, floats of shape (batch, time, classes).
        frames: the number of frames of each example, integers of shape (batch,).
        labels: classes, integers of shape (batch, most labels); those after the last one are any class.
        lengths: the number of labels of each example, integers of shape (batch,).
        blank: the class of no label.

    Returns:
        ``(log_probabilities, occupancy)``, of the shapes (batch,) and (batch, time, classes). Of labels that no
        alignment gives, the first is -inf, and all of the second is 0.

    Example:
        >>> log_p = np.log([[[0.5, 0.5], [0.25, 0.75]]])
        >>> found = occupancy(log_p, np.array([2]), np.array([[1]]), np.array([1]), blank=0)
        >>> np.exp(found[0]), found[1].round(3)  # all alignments but two blanks, of probability 0.5 * 0.25
        (array([0.875]), array([[[0.429, 0.571],
                [0.143, 0.857]]]))

    Reference:
        Graves, Fernández, Gomez & Schmidhuber (2006), Connectionist temporal classification, eq. 6 to 15.
    """
    batch, most = labels.shape
    states = np.full((batch, 2 * most + 1), blank)
    states[:, 1::2] = labels
    skips = np.zeros(states.shape, bool)
    skips[:, 3::2] = labels[:, 1:] != labels[:, :-1]
    # A sum over many frames has many digits before the point, and its exponential needs those after it.
    wide = np.result_type(log_p, np.float64)
    emitted = np.take_along_axis(log_p, states[:, None, :], 2).swapaxes(0, 1).astype(wide)
    alpha = _forward(emitted, skips, frames)
    last = np.arange(states.shape[1]) == 2 * lengths[:, None]
    last[:, :-1] |= last[:, 1:]  # a path ends in the last blank or in the last label
    total = np.logaddexp.reduce(np.where(last, alpha[-1], -np.inf), axis=1)
    paths = alpha[1:]
    _add_backward(paths, emitted, skips, frames, last)
    paths -= np.where(total == -np.inf, 0, total)[:, None]  # where nothing is possible, all paths are -inf
    posterior = np.exp(paths, out=paths).transpose(1, 0, 2)
    posterior *= (np.arange(log_p.shape[1]) < frames[:, None])[..., None]
    occupied = np.zeros_like(log_p)
    occupied[..., blank] = posterior[..., ::2].sum(-1)
    for label in range(most):  # each example is once in the index, so that nothing is added to an old value
        occupied[np.arange(batch), :, labels[:, label]] += posterior[..., 2 * label + 1]
    return total.astype(log_p.dtype), occupied


def _forward(emitted: Array, skips: Array, frames: Array) -> Array:
    """α before the first frame, where a path is in front of the first label, and after each: (time + 1, batch, states).

    An example that has ended keeps its last α.
    """
    time, batch, states = emitted.shape
    # Two columns of -inf stand in front, where no path comes from.
    paths = np.full((time + 1, batch, 2 + states), -np.inf, emitted.dtype)
    paths[0, :, 2] = 0
    for t in range(time):
        a = paths[t]
        moved = _sum(a[:, 2:], a[:, 1:-1], a[:, :-2], skips) + emitted[t]
        paths[t + 1, :, 2:] = np.where((t < frames)[:, None], moved, a[:, 2:])
    return paths[:, :, 2:]


def _add_backward(alpha: Array, emitted: Array, skips: Array, frames: Array, last: Array) -> None:
    """Add β_t to α_t, in its place; β is 0 in the states in which a path ends."""
    time, batch, states = emitted.shape
    b = np.full((batch, states + 2), -np.inf, emitted.dtype)
    b[:, :-2][last] = 0
    skipped = np.zeros_like(skips)
    skipped[:, :-2] = skips[:, 2:]
    for t in range(time - 1, -1, -1):
        alpha[t] += b[:, :-2]
        ahead = b.copy()
        ahead[:, :-2] += emitted[t]
        moved = _sum(ahead[:, :-2], ahead[:, 1:-1], ahead[:, 2:], skipped)
        b[:, :-2] = np.where((t < frames)[:, None], moved, b[:, :-2])


def _sum(stay: Array, move: Array, skip: Array, may_skip: Array) -> Array:
    """The log of the sum of three probabilities, given as logs."""
    total: Array = np.logaddexp(np.logaddexp(stay, move), np.where(may_skip, skip, -np.inf))
    return total
