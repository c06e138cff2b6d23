"""Shared code of the reference experiments: the results that a system reported, and those of funcnn with its network.

A script lists its experiments and calls ``main``, which prints a table *reported / ours*; ``--json`` saves it as data.
The time per epoch includes predicting all training and held-out examples, as in most of the systems. It is wall-clock
time, or the CPU time of our process where other programs left us less than one core.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import funcnn as fn


@dataclass(frozen=True)
class Measure:
    """The name of a score, whether lower is better, and its format."""

    name: str
    lower_is_better: bool
    spec: str

    def better(self, one: float, other: float) -> bool:
        """Whether the first score is better than the second."""
        return one < other if self.lower_is_better else one > other


TEST_ERROR = Measure("test error", True, ".2%")
TEST_ACCURACY = Measure("test accuracy", False, ".2%")
VALIDATION_ACCURACY = Measure("validation accuracy", False, ".2%")
TRAIN_ACCURACY = Measure("training accuracy", False, ".2%")
TEST_LOSS = Measure("test loss", True, ".3g")


@dataclass(frozen=True)
class Result:
    """The result of a run; None where nothing was reported.

    ``reached`` is our first epoch with their final score, and ``seconds_to_reach`` the training time until then.
    """

    score: float | None
    parameters: int | None = None
    epochs: int | None = None
    seconds_per_epoch: float | None = None
    reached: int | None = None
    seconds_to_reach: float | None = None


@dataclass(frozen=True)
class Experiment:
    """A published experiment, and the function ``run(options, reported) -> Result`` that does the same here.

    ``run`` prints a reason and returns None if something that it needs is not installed; the table then has no row.
    """

    name: str
    measure: Measure
    reported: Result
    run: Callable[[argparse.Namespace, Result], Result | None]
    remark: str = ""


def learn(
    model: fn.Layer,
    optimizer: fn.OptimizerLike,
    train: fn.Labelled,
    held_out: fn.Labelled,
    loss: fn.Loss,
    *,
    epochs: int,
    batch_size: int,
    measure: Measure,
    reported: Result,
    metric: fn.Metric = fn.metrics.accuracy,
    on: str = "validation",
    rng: fn.Rng = 0,
) -> tuple[Result, fn.Fit]:
    """Train with ``fit`` and return the ``Result`` for the table: its score is that of the last epoch.

    Args:
        model, optimizer, train, loss, epochs, batch_size, rng: as for ``fn.fit``.
        held_out: the examples on which the score is measured, unless ``on`` is ``"train"``.
        measure: the kind of the score.
        reported: the reported result.
        metric: ``metric(y, target)``, which computes the score.
        on: ``"validation"`` for ``held_out``, ``"train"`` where only a training score was reported.

    Returns:
        ``(result, fit)``; ``fit`` has the parameters and the history, with the metric as ``"validation_score"``.
    """
    params = model.init(train[0].shape[1:], rng=rng)
    started, busy = time.perf_counter(), time.process_time()
    fit = fn.fit(
        model, params, optimizer, train, loss, epochs, batch_size, rng,
        metrics={"score": metric}, validation=held_out, verbose=False,
    )  # fmt: skip
    scores = [record[f"{on}_score"] for record in fit.history]
    target = reported.score
    reached = next((i for i, s in enumerate(scores) if target is not None and not measure.better(target, s)), None)
    # The time of the first record, before training, belongs to no epoch.
    ours = min(1, (time.process_time() - busy) / (time.perf_counter() - started))
    clock = [(record["seconds"] - fit.history[0]["seconds"]) * ours for record in fit.history]
    result = Result(
        score=scores[-1],
        parameters=fn.summary(model, params, train[0].shape[1:]).parameters,
        epochs=epochs,
        seconds_per_epoch=clock[-1] / max(epochs, 1),
        reached=reached,
        seconds_to_reach=None if reached is None else clock[reached],
    )
    return result, fit


def digits(options: argparse.Namespace, train: int, test: int) -> Any:
    """The first ``train`` and ``test`` images, in [0, 1]: of MNIST in ``--data``, or of the embedded digits."""
    whole = fn.datasets.mnist(options.data) if options.data else fn.datasets.digits()
    parts = [(x[:n].astype(np.float32) / 255, labels[:n]) for (x, labels), n in zip(whole, (train, test), strict=True)]
    got = [len(x) for x, _ in parts]
    if got != [train, test]:
        print(f"  note: {train:,} and {test:,} images need --data; with the embedded digits, {got[0]:,} and {got[1]:,}")
    return tuple(parts)


def parser(description: str | None) -> argparse.ArgumentParser:
    """The options that all scripts share; a script may add its own."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument(
        "--quick", action="store_true", help="a few seconds: fewer examples and epochs, scores mean little"
    )
    made.add_argument(
        "--data", metavar="DIR", help="a folder with MNIST's four .gz files; by default the embedded digits"
    )
    made.add_argument("--only", metavar="WORD", help="only the experiments whose name contains this word")
    made.add_argument("--json", metavar="FILE", help="write the table to this file too, for table.py")
    made.add_argument("--seed", type=int, default=0, help="the seed of all random numbers (%(default)s)")
    return made


def main(system: str, experiments: Sequence[Experiment], options: argparse.Namespace) -> None:
    """Run the experiments, print the table, and write it as JSON with ``--json``."""
    chosen = [experiment for experiment in experiments if (options.only or "").lower() in experiment.name.lower()]
    if not chosen:
        raise SystemExit(f"--only {options.only}: expected one of {', '.join(e.name for e in experiments)}")
    rows = []
    for experiment in chosen:
        print(f"== {experiment.name}", flush=True)
        if experiment.remark:
            print(f"  {experiment.remark}", flush=True)
        ours = experiment.run(options, experiment.reported)
        if ours is not None:
            rows.append(row(experiment, ours) | ({"better": None} if options.quick else {}))
    print(f"\n{system}: reported / ours{', quick: the scores mean little' if options.quick else ''}; {machine()}")
    print(as_text(rows))
    if options.json:
        Path(options.json).parent.mkdir(parents=True, exist_ok=True)
        content = {"system": system, "quick": options.quick, "machine": machine(), "rows": rows}
        Path(options.json).write_text(json.dumps(content, indent=1) + "\n")


def row(experiment: Experiment, ours: Result) -> dict[str, Any]:
    """One row of the table, as data."""
    measure, theirs = experiment.measure, experiment.reported
    better = None if theirs.score is None or ours.score is None else measure.better(ours.score, theirs.score)
    return {
        "experiment": experiment.name,
        "measure": measure.name,
        "spec": measure.spec,
        "reported": asdict(theirs),
        "ours": asdict(ours),
        "better": better,
        "speed_up": ratio(theirs.seconds_per_epoch, ours.seconds_per_epoch),
    }


def ratio(theirs: float | None, ours: float | None) -> float | None:
    """Their time divided by ours."""
    return theirs / ours if theirs and ours else None


HEAD = [
    "experiment", "measure", "reported", "ours", "better", "parameters", "epochs", "s/epoch",
    "their score in",
]  # fmt: skip


def cells(row: dict[str, Any]) -> list[str]:
    """One row of the table, as texts under ``HEAD``; a dash where nothing was reported."""
    theirs, ours = row["reported"], row["ours"]

    def written(value: float | None, spec: str) -> str:
        return "-" if value is None else format(value, spec)

    def pair(name: str, spec: str) -> str:
        return f"{written(theirs[name], spec)} / {written(ours[name], spec)}"

    return [
        row["experiment"],
        row["measure"],
        written(theirs["score"], row["spec"]),
        written(ours["score"], row["spec"]),
        {True: "yes", False: "NO", None: "-"}[row["better"]],
        pair("parameters", ","),
        pair("epochs", ","),
        f"{seconds(theirs['seconds_per_epoch'])} / {seconds(ours['seconds_per_epoch'])}",
        "-" if ours["reached"] is None else f"epoch {ours['reached']}, {seconds(ours['seconds_to_reach'])} s",
    ]


def seconds(value: float | None) -> str:
    """A time with three digits."""
    return "-" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def times(value: float | None) -> str:
    """A ratio of times."""
    return "-" if value is None else f"{value:,.1f}" if value < 10 else f"{value:,.0f}"


def as_text(rows: list[dict[str, Any]]) -> str:
    """The table for a terminal."""
    lines = [HEAD, *map(cells, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEAD))]
    texts = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join([texts[0], "-" * len(texts[0]), *texts[1:]])


def machine() -> str:
    """The machine on which the times were measured."""
    return (
        f"{platform.machine()}, {os.cpu_count()} cores, threads: {fn.num_threads()}, "
        f"NumPy {np.__version__}, Python {platform.python_version()}"
    )
