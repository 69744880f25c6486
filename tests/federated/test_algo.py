# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from ignite.engine import Events
from monai.fl.utils.exchange_object import ExchangeObject
from monai.utils import set_determinism

from scripts.base.errors import BundleError
from scripts.data.phantoms import make_cohort
from scripts.federated.algo import CONFIG_FILES, ReciprocalAlgo, averageable
from tests.tolerances import EXACT, FLOAT32

BUNDLE = Path(__file__).parents[2]
SMALL = {"features": 8, "critic_features": 4, "spacing": 5.0, "patch_size": 16, "rounds": 2, "local_epochs": 1}
# the critic begins in the second round of each site, at an iteration that none reaches in a round of its own
SETTINGS = SMALL | {"vat_start": 0, "critic_start": 3, "critic_learning_start": 3}
CASES = {"a": 6, "b": 8}

Weights = dict[str, torch.Tensor]


@dataclass
class Site:
    """A client, and what a test watches of it: the cases it has trained on, and its networks after each round."""

    algo: ReciprocalAlgo
    cases_seen: list[int] = field(default_factory=list)
    networks: list[Weights] = field(default_factory=list)
    critics: list[Weights] = field(default_factory=list)
    sent: list[Weights] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    metrics: list[dict[str, float]] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)

    def round(self, shared: Weights) -> None:
        received = ExchangeObject(weights=copied(shared))
        self.metrics.append(dict(self.algo.evaluate(received).metrics))
        self.cases_seen.append(0)
        self.algo.train(received)
        sent: Any = self.algo.get_weights()
        self.sent.append(sent.weights)
        self.steps.append(sent.statistics["num_executed_iterations"])
        state = self.algo.trainer.state
        self.networks.append(copied(state.g_network.state_dict()))
        self.critics.append(copied(state.d_network.state_dict()))
        self.rates.append(state.g_optimizer.param_groups[0]["lr"])


@dataclass
class Federation:
    sites: list[Site]
    shared: list[Weights]  # at the start, and after each round


def copied(weights: Weights) -> Weights:
    return {name: weight.clone() for name, weight in weights.items()}


@pytest.fixture(scope="module")
def cohorts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("sites")
    return {
        name: Path(make_cohort(folder / name, cases=cases, shape=(32, 32, 32), seed=cases))
        for name, cases in CASES.items()
    }


def make_algo(cohort: Path, folder: Path, **settings: Any) -> ReciprocalAlgo:
    places = {"dataset_dir": cohort, "output_dir": folder, "ckpt_dir": folder / "models", "cache_dir": folder / "cache"}
    return ReciprocalAlgo(
        str(BUNDLE), settings=SETTINGS | {name: str(path) for name, path in places.items()} | settings
    )


def make_site(cohort: Path, folder: Path, **settings: Any) -> Site:
    site = Site(make_algo(cohort, folder, **settings))
    site.algo.initialize()

    def count() -> None:
        site.cases_seen[-1] += len(site.algo.trainer.state.batch["image"])

    site.algo.trainer.add_event_handler(Events.ITERATION_COMPLETED, count)
    return site


def federate(sites: list[Site], rounds: int) -> Federation:
    """Federated averaging as McMahan et al. 2017: the mean of what the sites' training changed, by its steps."""
    shared = averageable(copied(sites[0].algo.trainer.network.state_dict()))
    federation = Federation(sites, [shared])
    for _ in range(rounds):
        for site in sites:
            site.round(shared)
        steps = [site.steps[-1] for site in sites]
        shared = {
            name: weight + sum(n * site.sent[-1][name] for n, site in zip(steps, sites)) / sum(steps)
            for name, weight in shared.items()
        }
        federation.shared.append(shared)
    return federation


@pytest.fixture(scope="module")
def federation(cohorts: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    """Two rounds of two sites that share segmenter and critic."""
    folder = tmp_path_factory.mktemp("shared")
    yield federate([make_site(cohort, folder / name) for name, cohort in cohorts.items()], rounds=2)
    set_determinism(seed=None)


def test_the_shared_weights_are_the_mean_of_the_sites_by_the_cases_they_saw(federation: Federation) -> None:
    for number in (0, 1):
        cases = [site.cases_seen[number] for site in federation.sites]
        assert cases[0] != cases[1]
        for kind, of_sites in (
            ("segmenter", [site.networks[number] for site in federation.sites]),
            ("critic", [site.critics[number] for site in federation.sites]),
        ):
            for name in (name for name, weight in of_sites[0].items() if weight.is_floating_point()):
                shared = federation.shared[number][f"{kind}.{name}"]
                mean = np.average([weights[name].numpy() for weights in of_sites], axis=0, weights=cases)
                found = federation.shared[number + 1][f"{kind}.{name}"].numpy()
                size = max(weight.abs().max().item() for weight in (shared, *(weights[name] for weights in of_sites)))
                # differences of weights, up to twice as large, their products with the cases, two sums and a quotient
                np.testing.assert_allclose(found, mean, rtol=0, atol=3 * FLOAT32 * size)


def test_sites_start_a_round_from_the_shared_weights_and_train_both_networks(federation: Federation) -> None:
    first, second, third = federation.shared
    for before, after, kinds in ((first, second, ("segmenter.",)), (second, third, ("segmenter.", "critic."))):
        moved = {name for name in before if not torch.equal(before[name], after[name])}
        expected = {name for name in before if name.startswith(kinds)} - {"critic.scales"}  # 1 in training
        assert moved == expected  # the critic, running means and variances included, begins after iteration 3
    for site in federation.sites:
        for name, change in site.sent[1].items():
            kind, own = name.split(".", 1)
            trained = (site.networks if kind == "segmenter" else site.critics)[1]
            size = max(second[name].abs().max().item(), trained[own].abs().max().item())
            # the difference of weights, up to twice as large, and its sum with those before
            torch.testing.assert_close(second[name] + change, trained[own], rtol=0, atol=FLOAT32 * size)


def test_iterations_rates_and_optimisers_run_on_over_the_rounds(federation: Federation) -> None:
    for site in federation.sites:
        state, steps = site.algo.trainer.state, sum(site.steps)
        assert site.steps[0] == site.steps[1] <= SETTINGS["critic_start"]
        assert (state.epoch, state.iteration) == (2, steps)
        assert {int(s["step"]) for s in state.g_optimizer.state.values()} == {steps}
        assert {int(s["step"]) for s in state.d_optimizer.state.values()} == {steps - SETTINGS["critic_start"]}
        assert site.rates == pytest.approx([0.001 * (1 - epoch / 2) ** 0.9 for epoch in (1, 2)])


def test_counts_of_batches_stay_at_the_site(federation: Federation) -> None:
    for site in federation.sites:
        assert all(weight.is_floating_point() for weight in site.sent[1].values())
        counts = {int(weight) for name, weight in site.critics[1].items() if name.endswith("num_batches_tracked")}
        assert counts == {site.algo.trainer.state.iteration - SETTINGS["critic_start"]}
    running = [name for name in federation.shared[0] if "running" in name]
    assert len(running) == 6


def test_sites_report_the_dice_of_what_they_received(federation: Federation) -> None:
    site = federation.sites[0]
    assert all(0 <= metrics["mean_dice"] <= 1 for metrics in site.metrics)
    received = copied(federation.shared[2])
    bias = received["segmenter.final_conv.bias"]
    results = []
    for everywhere in (-100.0, 100.0):  # nothing is tumour, and all is
        bias.fill_(everywhere)
        results.append(site.algo.evaluate(ExchangeObject(weights=received)).metrics["mean_dice"])
    truth = [np.asarray(item["label"]) > 0 for item in site.algo.evaluator.data_loader.dataset]
    nothing = np.mean([[float(not region.any()) for region in label] for label in truth])
    all_of_it = np.mean([[2 * r.sum() / (r.sum() + r.size) for r in label] for label in truth])
    assert results == pytest.approx([nothing, all_of_it], abs=EXACT)


def test_the_best_weights_are_the_received_ones_where_training_gains_nothing(federation: Federation) -> None:
    site = federation.sites[1]
    best = Path(site.algo.eval_workflow.parser.get_parsed_content("ckpt_dir"), "model.pt")
    site.algo.evaluator.state.best_metric = -1
    received = copied(federation.shared[1])
    received["segmenter.final_conv.bias"].fill_(-100.0)
    site.algo.evaluate(ExchangeObject(weights=received))
    with torch.no_grad():
        site.algo.trainer.state.g_network.final_conv.bias.fill_(-50.0)  # the same Dice
    site.algo.evaluator.run(site.algo.trainer.state.epoch + 1)  # as the epoch that follows is validated
    assert torch.load(best, weights_only=True)["final_conv.bias"].tolist() == [-100.0] * 3


def test_a_local_critic_stays_at_its_site(cohorts: dict[str, Path], tmp_path: Path) -> None:
    settings = {"local_critic": True, "critic_start": 0, "critic_learning_start": 0}
    sites = [make_site(cohort, tmp_path / name, **settings) for name, cohort in cohorts.items()]
    assert all(weight.equal(own) for weight, own in zip(*(s.algo.trainer.state.d_network.parameters() for s in sites)))
    before = copied(dict(sites[0].algo.trainer.state.d_network.named_parameters()))
    federate(sites, rounds=1)
    assert all(name.startswith("segmenter.") for site in sites for name in site.sent[0])
    for name, weight in before.items():
        ours, theirs = (site.critics[0][name] for site in sites)
        assert not torch.equal(ours, weight)
        assert not torch.equal(ours, theirs)


def test_the_overlay_sets_settings_alone() -> None:
    settings, changes = (yaml.safe_load((BUNDLE / file).read_text()) for file in CONFIG_FILES)
    assert changes.keys() - settings.keys() == {"+settings_of", "rounds", "local_epochs", "local_critic", "run_name"}


def test_a_broken_case_is_named_before_the_site_trains(cohorts: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(cohorts["a"], tmp_path / "cases")
    broken = tmp_path / "cases" / "phantom_001" / "phantom_001_t2.nii.gz"
    broken.write_bytes(broken.read_bytes()[:1000])
    with pytest.raises(RuntimeError, match="cohort") as raised:
        make_algo(tmp_path / "cases", tmp_path / "out").initialize()
    assert isinstance(raised.value.__cause__, BundleError)
    assert broken.name in str(raised.value.__cause__)
