"""Our side once more, with the kernels of oneDNN: the same model, and not a word of it changed."""

from typing import Any

import funcnn as fn
from tests.benchmarks import ours
from tests.benchmarks.accuracy import Examples
from tests.benchmarks.worker import Commands
from tests.benchmarks.workloads import Network, Workload


def stepping(workload: Workload, weights: Any) -> Commands:
    """As ``ours.stepping``."""
    fn.use_kernels("onednn")
    return ours.stepping(True, workload, weights)


def learning(network: Network, weights: Any, training: Examples, test: Examples) -> Commands:
    """As ``ours.learning``."""
    fn.use_kernels("onednn")
    return ours.learning(True, network, weights, training, test)
