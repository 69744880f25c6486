# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import csv
import itertools
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.image import imread
from monai.bundle import ConfigParser
from monai.data import Dataset
from torch import nn

from scripts.base.errors import BundleError
from scripts.brats import REGIONS
from scripts.data.phantoms import make_cohort
from scripts.evaluation.robustness.artefacts import disturb
from scripts.evaluation.robustness.attacks import ATTACKS
from scripts.evaluation.robustness.evaluation import RobustnessEvaluation, load_networks
from scripts.evaluation.robustness.section import robustness_section
from scripts.inference.inferer import BrainInferer
from tests.builders import make_cases, make_segmenter, make_voxelwise_segmenter
from tests.commands import run
from tests.outputs import results_in
from tests.tolerances import FLOAT32, SIX_DIGITS

BUNDLE = Path(__file__).parents[3]
CONFIGS = "['configs/inference.yaml','configs/evaluate.yaml','configs/robustness.yaml']"


def evaluate(folder: Path, networks: Mapping[str, nn.Module], **options: Any) -> RobustnessEvaluation:
    cases = [case | {"case": f"case_{i}"} for i, case in enumerate(make_cases(2))]
    evaluation = RobustnessEvaluation(
        Dataset(cases),
        networks,
        output_dir=folder,
        device=torch.device("cpu"),
        **{"inferer": lambda image, network: network(image), **options},
    )
    evaluation.run()
    return evaluation


def read_rows(folder: Path) -> dict[tuple[str, str, float, str, str], float]:
    with open(folder / "robustness.csv") as file:
        return {
            (r["checkpoint"], r["artefact"], float(r["severity"]), r["case"], r["region"]): float(r["dice"])
            for r in csv.DictReader(file)
        }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an evaluation of a network, of the same again and of a blind one writes."""
    path = tmp_path_factory.mktemp("robustness")
    sighted = make_voxelwise_segmenter().requires_grad_(False)
    blind = make_voxelwise_segmenter(bias=-1000.0).requires_grad_(False)
    networks = {"sighted": sighted, "<twin>": sighted, "blind": blind}
    evaluate(path, networks, artefacts=["gamma", "no_T1"], severities=[1, 3], norms=[0.02, 0.2])
    return path


def test_the_file_has_every_checkpoint_condition_case_and_region(folder: Path) -> None:
    rows = read_rows(folder)
    conditions = [("none", 0.0), ("gamma", 1.0), ("gamma", 3.0), ("no_T1", 1.0)]
    conditions += [(attack, norm) for attack in ATTACKS for norm in (0.02, 0.2)]
    checkpoints, cases = ("sighted", "<twin>", "blind"), ("case_0", "case_1")
    expected = [(n, *c, case, r) for n in checkpoints for c in conditions for case in cases for r in REGIONS]
    assert list(rows) == expected


def test_dice_is_that_of_the_disturbed_image_at_the_threshold(folder: Path) -> None:
    rows = read_rows(folder)
    changed = 0
    for (i, case), severity in itertools.product(enumerate(make_cases(2)), (0, 3)):
        shown = disturb(case["image"], "gamma", severity, case=f"case_{i}", seed=0)
        predicted = (shown.sum(dim=0) > 2).numpy()
        for region, truth in zip(REGIONS, case["label"].numpy() > 0):
            dice = 2 * (predicted & truth).sum() / (predicted.sum() + truth.sum())
            name = "gamma" if severity else "none"
            assert rows["sighted", name, severity, f"case_{i}", region] == pytest.approx(dice, rel=SIX_DIGITS + FLOAT32)
            changed += dice != rows["sighted", "none", 0, f"case_{i}", region]
            # a region that is missed altogether has Dice 0, not no Dice
            assert rows["blind", "none", 0, f"case_{i}", region] == 0
    assert changed


def test_every_checkpoint_is_shown_the_same_images_and_attacked_in_its_own_way(folder: Path) -> None:
    rows = read_rows(folder)
    assert all(rows[("<twin>", *key[1:])] == dice for key, dice in rows.items() if key[0] == "sighted")
    clean, blunt, sharp = (
        rows[("sighted", *place, "case_0", "WT")] for place in (("none", 0.0), ("random", 0.2), ("pgd", 0.2))
    )
    assert clean >= blunt > sharp


def test_the_summary_is_strict_json_of_the_same_numbers(folder: Path) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    summary = json.loads((folder / "robustness.json").read_text(), parse_constant=refuse)
    rows = read_rows(folder)
    curve = summary["checkpoints"]["sighted"]["curves"]["pgd"]
    for i, norm in enumerate(curve["severity"]):
        name = "pgd" if norm else "none"
        mean = np.mean([rows["sighted", name, norm, case, "WT"] for case in ("case_0", "case_1")])
        assert curve["dice"]["WT"][i] == pytest.approx(mean, rel=SIX_DIGITS)
    assert summary["checkpoints"]["blind"]["kept"]["artefacts"]["mean"] is None
    assert summary["checkpoints"]["<twin>"]["against_first"]["adversarial"] == {"mean": 0, "low": 0, "high": 0}
    assert summary["note"] == "Not for diagnosis."
    assert summary["cases"] == 2


def test_the_page_shows_table_and_picture(folder: Path, tmp_path: Path) -> None:
    section = robustness_section(folder)
    assert section is not None
    for words in ("Not for diagnosis", "data:image/png;base64,", "&lt;twin&gt;", "VAT&#39;s change", "T1 missing"):
        assert words in section.html
    assert "<twin>" not in section.html
    assert imread(folder / "robustness.png").shape[1] > 1000
    assert robustness_section(tmp_path) is None


def test_attacks_go_through_a_sliding_window_too(tmp_path: Path) -> None:
    network = make_voxelwise_segmenter().requires_grad_(False)
    options = {"artefacts": [], "norms": [0.2]}
    evaluate(tmp_path / "whole", {"model": network}, **options)
    windows = BrainInferer(max_whole_brain_voxels=0, roi_size=(8, 8, 8))
    evaluate(tmp_path / "windows", {"model": network}, inferer=windows, **options)
    smallest = min(case["label"].flatten(1).sum(1).min().item() for case in make_cases(2))
    # a network without a neighbourhood does not care; rounding may move one voxel over the threshold, whose share of
    # Dice is at most 2 / (size of the truth)
    assert read_rows(tmp_path / "windows") == pytest.approx(read_rows(tmp_path / "whole"), abs=2 / smallest)


def test_attacks_may_be_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate(tmp_path, {"model": make_voxelwise_segmenter()}, artefacts=["gamma"], severities=[2], norms=[])
    printed = capsys.readouterr().out
    assert "gamma   0: " in printed
    assert "adversarial: not run" in printed
    assert "Not for diagnosis." in printed


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"artefacts": ["fog"]}, "artefacts: found 'fog'"),
        ({"severities": [0]}, "severities: found 0; allowed are whole numbers from 1 to 3"),
        ({"severities": [1.5]}, r"severities: found 1\.5"),
        ({"norms": [0]}, "norms: found 0"),
    ],
)
def test_wrong_settings_are_refused_before_anything_runs(wrong: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=message):
        evaluate(tmp_path, {"model": make_voxelwise_segmenter()}, **wrong)


def test_checkpoints_are_named_or_go_by_their_paths_and_are_frozen_copies(tmp_path: Path) -> None:
    paths = [str(tmp_path / f"{seed}.pt") for seed in range(2)]
    for seed, path in enumerate(paths):
        torch.save(make_segmenter(seed).state_dict(), path)
    network = make_segmenter(2)
    assert list(load_networks(network, None, default=paths[1])) == ["model"]
    assert list(load_networks(network, paths, default="")) == paths
    assert list(load_networks(network, paths[0], default="")) == [paths[0]]
    named = load_networks(network, {"a": paths[0], "b": paths[1]}, default="")
    for seed, (name, loaded) in enumerate(named.items()):
        assert name == "ab"[seed]
        assert all(torch.equal(v, make_segmenter(seed).state_dict()[k]) for k, v in loaded.state_dict().items())
        assert not loaded.training
        assert not any(p.requires_grad for p in loaded.parameters())
    with pytest.raises(BundleError, match="no weights at /nowhere"):
        load_networks(network, {"a": "/nowhere.pt"}, default="")
    (tmp_path / "broken.pt").write_bytes(b"no weights")
    with pytest.raises(BundleError, match=r"broken\.pt is no checkpoint"):
        load_networks(network, [str(tmp_path / "broken.pt")], default="")
    with pytest.raises(BundleError, match="checkpoints: found none"):
        load_networks(network, {}, default="")


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """The settings of a run on phantoms with weights that were never trained."""
    path = tmp_path_factory.mktemp("command")
    parser = ConfigParser()
    parser.read_config(str(BUNDLE / "configs" / "inference.yaml"))
    parser["features"] = 8
    torch.save(parser.get_parsed_content("network_def").state_dict(), path / "model.pt")
    return {
        "dataset_dir": make_cohort(path / "phantoms", cases=4, shape=(32, 32, 32)),
        "ckpt_dir": path,
        "output_dir": path / "out",
        "cache_dir": path / "cache",
        "features": 8,
        "spacing": 8.0,
        "patch_size": 16,
    }


def run_command(**settings: object) -> subprocess.CompletedProcess[str]:
    options = [text for name, value in settings.items() for text in (f"--{name}", str(value))]
    return run("monai.bundle", "run", "robustness", "--config_file", CONFIGS, *options)


def test_the_command_writes_its_files_and_names_the_checkpoints(places: dict[str, object]) -> None:
    model = f"{places['ckpt_dir']}/model.pt"
    result = run_command(
        **places, checkpoints=f"{{'a': '{model}', 'b': '{model}'}}", artefacts="['motion','no_T2']", norms="[0.02]"
    )
    assert result.returncode == 0, result.stderr
    folder = Path(str(places["output_dir"]))
    assert results_in(folder) == {"robustness.csv", "robustness.json", "robustness.png"}
    assert {key[:3] for key in read_rows(folder) if key[1] == "motion"} == {
        (name, "motion", severity) for name in "ab" for severity in (1.0, 2.0, 3.0)
    }
    for words in ("a: clean Dice", "b: clean Dice", "mean relative Dice kept, adversarial", "Not for diagnosis."):
        assert words in result.stdout


def test_a_persons_own_file_is_refused_before_the_work_begins(places: dict[str, object], tmp_path: Path) -> None:
    (tmp_path / "robustness.png").write_bytes(b"a week of work")
    result = run_command(**places | {"output_dir": tmp_path})
    assert result.returncode == 1
    assert "robustness.png: was not written by this program" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["robustness.png"]


def test_the_truth_is_that_of_the_trainings_validation(places: dict[str, object]) -> None:
    items = []
    for names, key in (
        (["inference", "evaluate", "robustness"], "robustness_preprocessing"),
        (["train"], "validate#preprocessing"),
    ):
        parser = ConfigParser()
        parser.read_config([str(BUNDLE / "configs" / f"{name}.yaml") for name in names])
        parser["dataset_dir"], parser["spacing"] = places["dataset_dir"], 9.0
        data = parser.get_parsed_content("cohort").held_out_cases()
        items.append(parser.get_parsed_content(key)(dict(data[0])))
    for key in ("image", "label"):
        assert torch.equal(items[0][key].as_tensor(), items[1][key].as_tensor())
    assert items[0]["label"].sum() > 0
