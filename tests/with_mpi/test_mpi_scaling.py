"""The scaling study finds the costs behind measurements, measures what it needs, and draws what it predicts."""

from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks import ranks
from tests.benchmarks.ranks import Costs, costs, plot, report

KNOWN = Costs(1e-3, example=1e-5, loss=1e-7, size=4e6, latency=5e-6, bandwidth=1e9, exchange=2e-5, wait=0.2)


def measurements(cost: Costs) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a machine with these costs would measure on 1 rank and on 2."""
    one, two = (
        {
            "steps": {name: {str(batch): cost.step(n, batch) for batch in ranks.BATCHES} for name in ranks.MODELS},
            "bytes": dict.fromkeys(ranks.MODELS, cost.size),
            "buffers": {str(size): 2 * cost.latency + 4 * size / cost.bandwidth for size in ranks.BUFFERS},
            "exchange": cost.exchange,
            "loss": cost.loss,
        }
        for n in (1, 2)
    )
    return one, two


def test_the_cost_of_a_step_is_the_sum_of_its_parts() -> None:
    # 64 examples a rank on 4 ranks: the loss of 256, 2 * 3 exchanges, outputs of 10,240 bytes, and a ring of 6 messages
    # that passes 1.5 times the gradients.
    parts = 1.2 * (1e-3 + 64 * 1e-5 + 256 * 1e-7) + 6 * 2e-5 + 10240 / 1e9 + 6 * 5e-6 + 1.5 * 4e6 / 1e9
    assert KNOWN.step(4, 64) == pytest.approx(parts, rel=1e-12)
    assert KNOWN.step(1, 64) == pytest.approx(1e-3 + 64 * 1.01e-5, rel=1e-12)


def test_the_costs_behind_measurements_are_found() -> None:
    found = costs(*measurements(KNOWN), "large")
    for name, value in vars(KNOWN).items():
        assert getattr(found, name) == pytest.approx(value, rel=1e-6), name


def test_the_report_and_the_picture(tmp_path: Path) -> None:
    one, two = measurements(KNOWN)
    fitted = {name: costs(one, two, name) for name in ranks.MODELS}
    text = report(one, two, fitted)
    assert text.startswith("latency 5.0 us, bandwidth 1.00 GB/s, exchange 20 us, loss 100 ns an example\n")
    assert "what it assumes" in text
    (line,) = [line for line in text.splitlines() if line.startswith("large")]
    assert line.split()[1:8] == ["1,000,000", "1.65", "ms", "6.06", "ms", "6.06", "ms"]
    plot(one, two, fitted, tmp_path / "scaling.png")
    assert (tmp_path / "scaling.png").read_bytes().startswith(b"\x89PNG")


def test_everything_that_the_model_needs_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "MODELS", {"small": ranks.MODELS["small"]})
    monkeypatch.setattr(ranks, "BUFFERS", (256, 1024))
    found = ranks.measure(1e-3)
    assert found["bytes"] == {"small": 4 * 20522}
    times = [*found["steps"]["small"].values(), *found["buffers"].values(), found["exchange"], found["loss"]]
    assert (len(times), min(times) > 0) == (7, True)
