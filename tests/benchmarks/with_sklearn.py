"""scikit-learn's side: ``MLPClassifier.partial_fit``, which takes one step of its solver on each batch."""

from typing import Any

import numpy as np
import sklearn
from sklearn.neural_network import MLPClassifier

from tests.benchmarks.by_hand import blas_threads
from tests.benchmarks.worker import Commands, Step, peak_memory, timed
from tests.benchmarks.workloads import CLASSES, Dense, Network, Workload, batch_of, inputs


def stepping(workload: Workload, weights: Any) -> Commands:
    """The commands of a worker that times a workload."""
    # Without the checks that a user who is in a hurry can turn off.
    sklearn.set_config(assume_finite=True, skip_parameter_validation=True)
    x, target = inputs(workload)
    assert workload.network is not None
    before = peak_memory(restart=True)
    model = classifier(workload.network, weights, workload.batch, solver="adam", learning_rate_init=1e-3)
    return timed([training(workload, model, x, target)], before, blas_threads())


def classifier(network: Network, weights: Any, batch: int, **how: Any) -> MLPClassifier:
    """The network with our weights, before its first step.

    Args:
        network: dense layers with relu between them.
        weights: the parameters.
        batch: the batch size.
        **how: the solver and its options.
    """
    layers = [part for part in network.parts if isinstance(part, Dense)]
    model = MLPClassifier([layer.units for layer in layers[:-1]], alpha=0, batch_size=batch, shuffle=False, **how)
    # Only a first step makes the arrays. They get our weights, and the state of the solver starts anew.
    model.partial_fit(np.zeros((batch, *network.shape), np.float32), np.zeros(batch, int), classes=range(CLASSES))
    for i, (w, b) in enumerate(zip(model.coefs_, model.intercepts_, strict=True)):
        w[...], b[...] = weights[f"dense_{i}"]["w"], weights[f"dense_{i}"]["b"]
    del model._optimizer
    return model


def training(workload: Workload, model: MLPClassifier, x: Any, labels: Any) -> Step:
    """Training on one batch after the other."""
    return lambda i: model.partial_fit(x[batch_of(workload, i)], labels[batch_of(workload, i)])
