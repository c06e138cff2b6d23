"""scikit-learn's side of the benchmark computes what ours computes."""

from tests.benchmarks.check import LIMIT, differences
from tests.benchmarks.sides import SKLEARN
from tests.benchmarks.workloads import WORKLOADS


def test_a_step_is_ours() -> None:
    assert max(differences(WORKLOADS["mlp"], SKLEARN)) < LIMIT
