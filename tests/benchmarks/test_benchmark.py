"""The command's tables, the hand-written steps and the search for cliffs."""

import json
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest

from tests.benchmarks import by_hand, memory, report, scaling
from tests.benchmarks.__main__ import SHORT_TABLES, WHOLE_TABLE
from tests.benchmarks.check import differences
from tests.benchmarks.driver import Row, measure, takes_part
from tests.benchmarks.ours import multiply_adds_of, step_of, weights_of
from tests.benchmarks.scaling import Point, cliffs, steepest
from tests.benchmarks.sides import BY_HAND, JAX, OURS, PEERS, PURE, SKLEARN
from tests.benchmarks.workloads import MAIN_ROWS, OTHER_ROWS, WORKLOADS, Workload, inputs

GOOD = 1e-4
"""Of a relative difference."""


def row(workload: str = "lenet", **seconds: list[float]) -> Row:
    """A row with these seconds; the memory is a megabyte a letter of the side's name."""
    sizes: dict[str, int | None] = {side: 1_000_000 * len(side) for side in seconds}
    return Row(workload, seconds, [0.5, 0.4], [0.01, 0.02], sizes, dict.fromkeys(seconds, 2))


@pytest.mark.parametrize("name", by_hand.ROWS)
def test_a_step_by_hand_is_ours(name: str) -> None:
    assert max(differences(WORKLOADS[name], BY_HAND)) < GOOD


def test_adam_by_hand_gives_the_same_in_blocks_and_after_many_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    grads = rng.standard_normal((20, 7, 5)).astype(np.float32)
    p, m, v = (np.zeros((7, 5)) for _ in range(3))
    for i, g in enumerate(grads.astype(float), 1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        p -= 1e-3 * (m / (1 - 0.9**i)) / (np.sqrt(v / (1 - 0.999**i)) + 1e-8)
    monkeypatch.setattr(by_hand, "BLOCK", 8)
    params = [np.zeros((7, 5), np.float32)]
    update = by_hand.adam(params)
    for g in grads:
        update([g])
    assert params[0] == pytest.approx(p, rel=1e-4, abs=1e-7)


def test_the_ratio_is_to_the_better_of_the_settings_that_are_not_compiled() -> None:
    measured = row(funcnn=[1.0, 2.0], eager=[3.0, 6.0], channels_last=[2.0, 5.0], compile=[1.0, 1.0], jax=[4.0, 2.0])
    assert measured.best_setting == "channels_last"
    assert measured.ratios == [2.0, 2.5]
    assert measured.ratios_to(JAX) == [4.0, 1.0]
    assert measured.ratios_to(SKLEARN) == []
    assert measured.times_products == pytest.approx(median([100, 100]))
    assert row(funcnn=[1.0], compile=[1.0]).best_setting is None


def test_each_peer_has_a_column_with_its_median() -> None:
    peers = ["eager", "compile", JAX, BY_HAND]
    measured = row(funcnn=[0.001, 0.002], eager=[0.003, 0.003], compile=[0.02, 0.04], jax=[0.0002, 0.0002])
    head, cells = report.head(peers), report.cells(measured, peers)
    assert dict(zip(head, cells, strict=True)) == {
        "workload": "lenet", "ratio": "2.25", "lowest to highest": "1.50 to 3.00", "funcnn": "1.50", "eager": "3.00",
        "compiled": "30.00", "JAX": "0.200", "by hand": "", "times products": "0.1", "MB": "5, 6",
    }  # fmt: skip
    facts: dict[str, Any] = {"cpu": "CPU", "cores": 2, "python": "3", "versions": {"numpy": "2"}, "blas": "BLAS"}
    text = report.markdown([measured], peers, facts)
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len(table) == 4
    assert {line.count("|") for line in table} == {len(head) + 1}
    assert "| control: np.matmul | 1.00 | 0.90 to 1.12 | 450.00 |" in text
    assert "Geometric mean of the ratios: 2.25." in text
    assert "compiled 20.00 (1 row), JAX 0.15 (1 row)" in text
    assert "Threads: 2 on every side." in text


def test_the_short_table_has_the_highlights_in_words_beside_the_faster_setting() -> None:
    rows = [
        row("adam", funcnn=[0.002], eager=[0.001]), row("tiny", funcnn=[1.0], eager=[1.0]),
        row("lenet", funcnn=[0.002, 0.004], eager=[0.006, 0.006], channels_last=[0.003, 0.006]),
        row("mlp", funcnn=[1.0]),
    ]  # fmt: skip
    assert report.short_markdown(rows).splitlines() == [
        "|  | funcnn | PyTorch | ratio |",
        "| --- | ---: | ---: | ---: |",
        "| train LeNet, a small convolutional network | 3.00 | 4.50 | 1.50 |",
        "| update 10 million parameters with Adam | 2.00 | 1.00 | 0.50 |",
    ]
    assert report.HIGHLIGHTS.keys() <= WORKLOADS.keys()


@pytest.mark.parametrize("page", SHORT_TABLES, ids=str)
def test_the_short_tables_agree_with_the_whole_one(page: Path) -> None:
    root = Path(report.__file__).parents[2]
    whole = [line.strip("| ").split(" | ") for line in (root / WHOLE_TABLE).read_text(encoding="utf-8").splitlines()]
    ratios = {report.HIGHLIGHTS[cells[0]]: cells[1] for cells in whole if cells[0] in report.HIGHLIGHTS}
    text = (root / page).read_text(encoding="utf-8").partition(report.BEGIN)[2].partition(report.END)[0]
    lines = [line.strip("| ").split(" | ") for line in text.strip().splitlines()[2:]]
    assert {cells[0]: cells[-1] for cells in lines} == ratios
    assert 10 <= len(lines) <= 14


def test_the_mean_is_also_without_the_rows_of_other_kinds() -> None:
    rows = [row(name, funcnn=[1.0], eager=[ratio]) for name, ratio in (("mlp", 2.0), ("wide", 8.0))]
    assert report.geometric_means(rows) == "Geometric mean of the ratios: 4.00, 2.00 without the rows wide."


def test_rows_with_other_numbers_of_threads_are_named() -> None:
    one = Row("tiny", threads={OURS: 1, "eager": 1})
    mixed = Row("mlp", threads={OURS: 2, "eager": 4})
    usual = [Row(name, threads={OURS: 2, "eager": 2}) for name in ("lenet", "deep")]
    expected = "Threads: 2 on every side; tiny: 1 on every side; mlp: funcnn 2, eager 4."
    assert report.threads_of([one, mixed, *usual]) == expected


def test_convolutional_rows_above_the_memory_of_pytorch_are_named() -> None:
    seconds = {"funcnn": [1.0, 2.0], "pure": [1.5, 3.0], "eager": [1.0, 1.0]}
    rows = [row(name, **seconds) for name in ("lenet", "mlp")]  # 6 MB, 4 MB and 5 MB
    assert memory.cells(rows[0]) == ("lenet", "5", "6", "1.20", "4", "1500.00", "2250.00", "1.50")
    assert memory.closing(rows).endswith("memory: none.")
    rows[0].memory[OURS] = rows[1].memory[OURS] = 6_100_000
    assert memory.closing(rows).endswith("memory: lenet 1.22.")


def test_a_cliff_is_where_doubled_arithmetic_costs_more_than_three_times_as_much() -> None:
    # From 1 to 2, and from 3 to 6: the arithmetic in between is less than doubled.
    flat = [Point(n, 1, seconds, 10 * n) for n, seconds in ((1, 1.0), (2, 2.5), (3, 3.0), (6, 5.0))]
    factor, small, large = steepest(flat)
    assert factor == pytest.approx(2.5)
    assert (small, large) == (flat[0], flat[1])
    assert "2.50 times, from 1 to 2: no cliff" in cliffs({"batch": flat})
    # Four times the arithmetic may cost nine times as much.
    steep = [Point(1, 1, 1.0, 10), Point(2, 1, 10.0, 40)]
    assert "3.16 times, from 1 to 2: A CLIFF" in cliffs({"pixels": steep})


def test_every_curve_is_measured_and_drawn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def in_proportion(workload: Workload, *_: Any) -> Row:
        work = workload.batch * multiply_adds_of(workload, weights_of(workload))
        return Row(workload.name, {OURS: [1e-9 * work]})

    monkeypatch.setattr(scaling, "measure", in_proportion)
    found = scaling.curves(1, 0.1)
    assert {"filters", "convolutions", "pixels a side", "units", "dense layers"} < found.keys()
    assert [len({point.multiply_adds for point in points}) for points in found.values()] == [*map(len, found.values())]
    text = cliffs(found)
    assert text.count("2.00 times, from ") == text.count("no cliff") == len(found) == 7
    scaling.plot(found, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 10_000


def test_the_rows_of_the_issue_are_there_and_their_targets_fit() -> None:
    names = {workload.name for workload in MAIN_ROWS}
    assert names >= {"tiny", "lenet", "resnet8", "predict_256_mlp", "adam", "char_lstm", "gru", "transformer"}
    assert {workload.name for workload in OTHER_ROWS} >= {"grouped", "wide", "deep", "autoencoder", "conv1d", "unet"}
    x, target = inputs(WORKLOADS["autoencoder"])
    assert target is x
    assert inputs(WORKLOADS["scratch_2023"])[1].shape == (8 * 16, 10)


@pytest.mark.parametrize("name", ["char_lstm", "gru", "transformer"])
def test_a_language_model_predicts_the_next_token_at_each_place(name: str) -> None:
    workload = WORKLOADS[name]
    tokens, target = inputs(workload)
    np.testing.assert_array_equal(tokens[:, 1:], target[:, :-1])
    train = step_of(workload, weights_of(workload), tokens, target)
    train(0)
    assert multiply_adds_of(workload, weights_of(workload)) > 1e6


def test_a_peer_takes_part_where_it_can() -> None:
    taking = {peer: {name for name, workload in WORKLOADS.items() if takes_part(peer, workload)} for peer in PEERS}
    assert taking["eager"] == taking[JAX] == set(WORKLOADS)
    assert taking[SKLEARN] == {"mlp"}
    assert taking[BY_HAND] == {"tiny", "mlp", "predict_1_mlp", "predict_256_mlp"}
    assert "wide" not in taking["channels_last"]
    assert not takes_part(PURE, WORKLOADS["predict_1_mlp"])


def test_sides_are_measured_in_turn_each_in_its_process(tmp_path: Path) -> None:
    measured = measure(WORKLOADS["tiny"], [PURE, BY_HAND, SKLEARN], 2, 0.01)
    assert measured.seconds.keys() == {OURS, PURE, BY_HAND}
    assert {len(times) for times in measured.seconds.values()} == {2}
    assert len(measured.products) == len(measured.matmul) == 2
    assert measured.threads == {OURS: 1, PURE: 1, BY_HAND: 1}
    report.write_json(tmp_path / "found.json", {"rows": [measured.as_dict()]})
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["rows"][0]["ratios"].keys() == {PURE, BY_HAND}
