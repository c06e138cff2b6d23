"""PyTorch's side of the benchmark computes what ours computes."""

import pytest

from tests.benchmarks.check import LIMIT, LIMITS, differences
from tests.benchmarks.workloads import WORKLOADS

ROWS = ["tiny", "lenet", "strided", "grouped", "wide", "autoencoder", "conv1d", "unet", "predict_1_resnet8"]


@pytest.mark.torch
@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("peer", ["eager", "channels_last"])
def test_a_step_is_ours(name: str, peer: str) -> None:
    assert max(differences(WORKLOADS[name], peer)) < LIMITS.get(name, LIMIT)
