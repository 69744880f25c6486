# SPDX-License-Identifier: Apache-2.0
"""Tests of scripts.tools.benchmark."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from scripts.base.errors import BundleError
from scripts.tools.benchmark.__main__ import MARK, Benchmark, main
from scripts.tools.benchmark.measure import Result, measure
from scripts.tools.benchmark.report import slopes, summarise, to_markdown
from scripts.tools.benchmark.tasks import Task

BUNDLE = Path(__file__).parents[2]
SMALL = {"patch_size": 16, "features": 8, "critic_features": 4}


@pytest.fixture(autouse=True)
def in_the_bundle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(BUNDLE)


def make_benchmark(folder: Path) -> Benchmark:
    args = argparse.Namespace(config_file=["configs/train.yaml"], settings=SMALL, case_size=32, cases=4)
    return Benchmark(args, str(folder))


def test_every_step_computes_the_losses_that_its_name_promises(tmp_path: Path) -> None:
    _, tasks, _ = next(make_benchmark(tmp_path).steps())
    for task in tasks:
        task.prepare(**task.options)()


def test_a_vat_step_without_vat_is_an_error(tmp_path: Path) -> None:
    _, tasks, _ = next(make_benchmark(tmp_path).steps())
    task = next(task for task in tasks if "VAT" in task.name)
    settings = task.options["settings"] | {"lambda_vat": 0}
    with pytest.raises(BundleError, match=r"computed \[\] where its name promises \['vat_loss'\]"):
        task.prepare(**task.options | {"settings": settings})()


def test_a_run_has_a_step_with_vat_whatever_its_interval(tmp_path: Path) -> None:
    benchmark = make_benchmark(tmp_path)
    benchmark.vat_interval = 5
    task = benchmark._step("reciprocal", {"vat_interval": 5, "lambda_critic": 0}, ["vat_loss"])
    assert task.count == 5
    run = task.prepare(**task.options)
    run()
    run()


def make_sleeper(seconds: float) -> Callable[[], None]:
    return partial(time.sleep, seconds)


def fail() -> Callable[[], None]:
    raise BundleError("no such thing")


def test_each_task_runs_as_often_as_asked_and_counts_its_units() -> None:
    tasks = [Task("one", make_sleeper, {"seconds": 0.02}), Task("four", make_sleeper, {"seconds": 0.2}, count=4)]
    one, four = measure(tasks, repeats=3)
    assert len(one.seconds) == len(four.seconds) == 3
    assert min(one.seconds) >= 0.02
    assert min(four.seconds) >= 0.05
    assert one.peak_gb >= one.base_gb > 0


def test_a_task_that_fails_is_named() -> None:
    with pytest.raises(BundleError, match="benchmark 'broken': no such thing"):
        measure([Task("broken", fail)], repeats=1)


def test_a_table_compares_with_its_first_row() -> None:
    results = [Result("a", [1.0, 2.0, 3.0], peak_gb=2.0), Result("b", [2.0, 3.0, 6.0], peak_gb=3.0)]
    row = summarise(results[1], results[0])
    assert (row["ratio"], row["peak_ratio"]) == (1.5, 1.5)
    assert row["quartiles"] == [1.75, 2.0]
    lines = to_markdown("step", results).splitlines()
    assert lines[3] == "| b | 3.000 (2.000-6.000) | 1.50 (1.75-2.00) | 3.00 | 1.50 |"


def test_the_slope_of_what_grows_in_proportion_is_1_and_of_a_square_2() -> None:
    sizes = [1.0, 2.0, 4.0]
    results = [Result("", [s * s], peak_gb=1 + s, base_gb=1.0) for s in sizes]
    assert slopes(sizes, results) == pytest.approx({"time": 2.0, "memory": 1.0})


def test_the_command_prints_tables_and_writes_every_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output, page = tmp_path / "benchmark.json", tmp_path / "page.md"
    page.write_text(f"# Kept\n{MARK}\nreplaced")
    options = ["--groups", "loading", "--repeats", "2", "--case_size", "32", "--cases", "4", "--output", str(output)]
    options += ["--page", str(page)]
    monkeypatch.setattr(sys, "argv", ["benchmark", *options, "--settings", json.dumps(SMALL)])
    main()
    assert "| from the cache, augmented |" in capsys.readouterr().out
    runs = json.loads(output.read_text())["loading a case"]["runs"]
    assert [len(run["seconds"]) for run in runs] == [2, 2]
    assert page.read_text().startswith(f"# Kept\n{MARK}")
    assert "| from its files |" in page.read_text()
    assert "replaced" not in page.read_text()
    page.write_text("a week of work")
    with pytest.raises(BundleError, match=r"page\.md: has no line"):
        main()
    output.write_text("a week of work")
    with pytest.raises(BundleError, match=r"benchmark\.json: was not written by this program"):
        main()


@pytest.mark.slow  # runs the whole tool
def test_a_whole_command_is_run_and_its_failure_is_told(tmp_path: Path) -> None:
    benchmark = make_benchmark(tmp_path)
    _, tasks, _ = next(benchmark.commands())
    assert [task.options["name"] for task in tasks] == ["inferring", "evaluating"]
    tasks[0].prepare(**tasks[0].options)()
    broken = tasks[0].options | {"settings": {"dataset_dir": str(tmp_path / "nothing")}}
    with pytest.raises(BundleError, match=r"`run inferring` failed: .*nothing"):
        tasks[0].prepare(**broken)()
