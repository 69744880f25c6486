# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import csv
import json
import math
import shutil
import subprocess
from itertools import groupby
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml
from monai.bundle import ConfigParser, ConfigWorkflow
from monai.data import list_data_collate
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from scripts.data.cohort import Cohort
from scripts.data.phantoms import make_cohort
from scripts.data.predictions import MARK, is_prediction
from tests.commands import run
from tests.outputs import results_in
from tests.tolerances import EXACT, FLOAT32, SIX_DIGITS

BUNDLE = Path(__file__).parents[1]
REAL_CASES = BUNDLE.parent / "shared" / "brats_cases"
TRAIN = "configs/train.yaml"
INFERENCE = "configs/inference.yaml"
EVALUATE = "['configs/inference.yaml','configs/evaluate.yaml']"
SMALL = {"features": 8, "critic_features": 4, "spacing": 5.0, "patch_size": 16}
CASES = 8
EVERYTHING = {
    "vat_start": 0,
    "critic_start": 1,
    "critic_ramp": 2,
    "max_turn": 0.4,
    "max_zoom": 0.25,
    "lesion_mix_prob": 0.5,
    "intensity_prob": 0.2,
    "drop_modality_prob": 0.3,
    "tumour_patches": 0.5,
    "weight_decay": 0.01,
    "weight_average": 0.3,
}


def run_bundle(run_id: str, config_file: str, **settings: object) -> subprocess.CompletedProcess[str]:
    """Runs one of the bundle's commands, as a person would in its folder."""
    options = [text for name, value in settings.items() for text in (f"--{name}", str(value))]
    return run("monai.bundle", "run", run_id, "--config_file", config_file, *options)


def assert_clear_error(result: subprocess.CompletedProcess[str], *words: str) -> None:
    """A user's mistake ends in a message that names what is wrong, not in a traceback."""
    assert result.returncode != 0
    assert "Traceback" not in result.stderr
    message = result.stderr[result.stderr.index("error: ") :]
    assert all(word in message for word in words), message


def voxels(path: Path) -> np.ndarray:
    return np.asarray(load(path).dataobj)


def load(path: Path) -> nib.Nifti1Image:
    return nib.Nifti1Image.from_filename(path)


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(make_cohort(tmp_path_factory.mktemp("data") / "phantoms", cases=CASES, shape=(48, 48, 40)))


@pytest.fixture(scope="session")
def trained(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Trains for a moment with everything on, and gives the folder of the run and what it printed."""
    folder = tmp_path_factory.mktemp("run")
    result = run_bundle(
        "training",
        TRAIN,
        dataset_dir=cohort,
        unlabelled_dir=cohort,
        ckpt_dir=folder / "models",
        output_dir=folder,
        cache_dir=folder / "cache",
        epochs=2,
        val_interval=1,
        **EVERYTHING,
        **SMALL,
    )
    assert result.returncode == 0, result.stderr
    return folder, result.stdout + result.stderr


@pytest.fixture
def places(trained: tuple[Path, str], cohort: Path, tmp_path: Path) -> dict[str, object]:
    """The settings of a run on the phantoms with the trained weights, that writes into a folder of its own."""
    folder, _ = trained
    return {
        "dataset_dir": cohort,
        "ckpt_dir": folder / "models",
        "output_dir": tmp_path / "out",
        "cache_dir": tmp_path / "cache",
        **SMALL,
    }


def test_training_shows_its_terms_and_ends_with_table_weights_and_picture(trained: tuple[Path, str]) -> None:
    folder, printed = trained
    for words in (
        "dice_loss=",
        " vat_loss=",
        "unlabelled_vat_loss=",
        "adversarial_loss=",
        "critic_loss=",
        "validation Dice",
        "Not for diagnosis",
    ):
        assert words in printed
    for words in (str(folder / "models" / "model.pt"), str(folder / "case.png"), str(folder / "per_case.csv")):
        assert words in printed
    for picture in ("case.png", "curves.png"):
        assert (folder / picture).stat().st_size > 10_000
    assert len(list(folder.glob("state_iteration=*.pt"))) == 2


def test_training_measures_in_mm_at_its_own_resolution(trained: tuple[Path, str], cohort: Path) -> None:
    with open(trained[0] / "per_case.csv") as file:
        rows = [row for row in csv.DictReader(file) if row["region"] == "WT"]
    assert len(rows) == 2
    for row in rows:
        truth = load(cohort / row["case"] / f"{row['case']}_seg.nii.gz")
        volume = np.count_nonzero(truth.dataobj) * math.prod(truth.header.get_zooms()) / 1000
        # resampling changes a volume a little; in voxels of the input it would be 125 times as small
        assert volume / 2 < float(row["true_volume_ml"]) < volume * 2


def test_training_writes_losses_rates_and_dice_for_tensorboard(trained: tuple[Path, str]) -> None:
    events = EventAccumulator(str(trained[0] / "tensorboard"))
    events.Reload()
    terms = ("loss", "dice_loss", "vat_loss", "unlabelled_vat_loss", "adversarial_loss", "critic_loss")
    losses = {f"train/{name}" for name in terms}
    dice = {f"validation_dice/{name}" for name in ("TC", "WT", "ET", "mean")}
    assert set(events.Tags()["scalars"]) == losses | dice | {"lr/segmenter", "lr/critic"}


def test_the_weights_are_plain_state_dicts_and_the_run_state_is_whole(trained: tuple[Path, str]) -> None:
    folder, _ = trained
    model = torch.load(folder / "models" / "model.pt", weights_only=True)
    assert all(isinstance(value, torch.Tensor) for value in model.values())
    state = torch.load(folder / "state_iteration=6.pt", weights_only=True)
    networks = {"network", "critic", "optimizer", "critic_optimizer", "lr_scheduler", "average"}
    assert state.keys() == {*networks, "run_state"}
    assert state["average"]["n_averaged"] == 6
    assert state["run_state"]["epoch"] == 2


def test_a_resumed_training_ends_as_one_that_was_not_stopped(
    trained: tuple[Path, str], places: dict[str, object], tmp_path: Path
) -> None:
    folder, _ = trained
    places |= {"ckpt_dir": tmp_path / "models", **EVERYTHING}
    places |= {"epochs": 2, "val_interval": 1, "unlabelled_dir": places["dataset_dir"]}
    result = run_bundle("training", TRAIN, resume=folder / "state_iteration=3.pt", **places)
    assert result.returncode == 0, result.stderr
    ended, expected = (
        torch.load(place / "state_iteration=6.pt", weights_only=True) for place in (tmp_path / "out", folder)
    )
    for name in ("network", "critic", "average"):
        assert all(torch.equal(ended[name][key], expected[name][key]) for key in expected[name])


def test_a_training_may_begin_with_trained_weights(
    trained: tuple[Path, str], places: dict[str, object], tmp_path: Path
) -> None:
    begun = trained[0] / "models" / "model.pt"
    places |= {"ckpt_dir": tmp_path / "models", "epochs": 1, "val_interval": 1, "learning_rate": 1e-12}
    result = run_bundle("training", TRAIN, initial_weights=begun, **places)
    assert result.returncode == 0, result.stderr
    expected, ended = (torch.load(path, weights_only=True) for path in (begun, tmp_path / "models" / "model.pt"))
    for name, weight in expected.items():
        # an epoch has 3 steps, and a step of Adam is at most 10 times its learning rate: sqrt(0.1 / 0.001)
        torch.testing.assert_close(ended[name], weight, rtol=0, atol=3 * 10 * 1e-12)
    result = run_bundle("training", TRAIN, initial_weights=tmp_path / "none.pt", **places)
    assert_clear_error(result, "none.pt", "no weights")


def test_a_batch_may_mix_cases_out_of_the_cache_with_new_ones(cohort: Path, tmp_path: Path) -> None:
    parser = ConfigParser()
    parser.read_config(BUNDLE / TRAIN)
    parser.update({"dataset_dir": str(cohort), "cache_dir": str(tmp_path), **SMALL})
    dataset = parser.get_parsed_content("train#dataset")
    dataset[0]  # as by a training that was stopped in its first epoch
    batch = list_data_collate([dataset[0], dataset[1]])
    assert batch["image"].shape == (2, 4, 16, 16, 16)


def test_evaluating_writes_every_figure_of_the_held_out_cases(places: dict[str, object], cohort: Path) -> None:
    result = run_bundle("evaluating", EVALUATE, **places)
    assert result.returncode == 0, result.stderr
    output_dir = Path(str(places["output_dir"]))
    with open(output_dir / "per_case.csv") as file:
        rows = list(csv.DictReader(file))
    held_out = [item["case"] for item in Cohort(str(cohort)).held_out_cases()]
    assert len(held_out) == 2
    assert [(row["case"], row["region"]) for row in rows] == [(c, r) for c in held_out for r in ("TC", "WT", "ET")]
    for row in rows:
        predicted = voxels(output_dir / f"{row['case']}_seg.nii.gz")
        actual = voxels(cohort / row["case"] / f"{row['case']}_seg.nii.gz")
        values = {"TC": (1, 4), "WT": (1, 2, 4), "ET": (4,)}[row["region"]]
        p, t = np.isin(predicted, values), np.isin(actual, values)
        dice = 2 * (p & t).sum() / (p.sum() + t.sum()) if p.any() or t.any() else 1.0
        assert float(row["dice"]) == pytest.approx(dice, rel=SIX_DIGITS)
        assert float(row["hd95"]) >= 0
        voxel = math.prod(load(cohort / row["case"] / f"{row['case']}_seg.nii.gz").header.get_zooms())
        assert float(row["true_volume_ml"]) == pytest.approx(t.sum() * voxel / 1000, rel=SIX_DIGITS + FLOAT32)
    for words in ("Not for diagnosis", "report.html", "the critic finds wrong voxels"):
        assert words in result.stdout
    page = (output_dir / "report.html").read_text()
    for words in ("Reliability of the critic", f'"case": "{held_out[0]}"', "BraTS 2021"):
        assert words in page
    assert {path.name for path in output_dir.glob("*.*")} > {
        "summary.json",
        "summary.md",
        "boxplots.png",
        "reliability.csv",
        "reliability.png",
    }


def test_a_case_without_truth_is_segmented_and_its_figures_are_left_out(
    places: dict[str, object], cohort: Path, tmp_path: Path
) -> None:
    dataset = tmp_path / "cases"
    for case in ("phantom_000", "phantom_001"):
        shutil.copytree(cohort / case, dataset / case)
    (dataset / "phantom_001" / "phantom_001_seg.nii.gz").unlink()
    settings = places | {"dataset_dir": dataset, "split": "all", "scoring_rules": "brats2023"}
    result = run_bundle("evaluating", EVALUATE, **settings)
    assert result.returncode == 0, result.stderr
    output_dir = Path(str(places["output_dir"]))
    with open(output_dir / "per_case.csv") as file:
        known, unknown = (list(rows) for _, rows in groupby(csv.DictReader(file), key=lambda row: row["case"]))
    assert all(row["dice"] and row["lesion_dice"] for row in known)
    assert not any(row["dice"] or row["lesion_dice"] or row["true_volume_ml"] for row in unknown)
    assert all(row["volume_ml"] for row in unknown)
    # what is expected of a case needs a prediction and no truth
    assert all(bool(row["expected_dice"]) == (float(row["volume_ml"]) > 0) for row in (*known, *unknown))
    assert "left out" in result.stdout
    summary = json.loads((output_dir / "summary.json").read_text())
    assert summary["cases"] == 2
    assert (output_dir / "phantom_001_seg.nii.gz").is_file()


def test_inferring_writes_label_maps_in_the_geometry_of_the_input(places: dict[str, object], cohort: Path) -> None:
    result = run_bundle("inferring", INFERENCE, confidence="true", probabilities="true", enhancing_label=3, **places)
    assert result.returncode == 0, result.stderr
    output_dir = Path(str(places["output_dir"]))
    assert len(list(output_dir.glob("*_seg.nii.gz"))) == CASES
    source = load(cohort / "phantom_000" / "phantom_000_t1.nii.gz")
    for kind, channels in (("seg", ()), ("probabilities", (3,)), ("confidence", (3,))):
        written = load(output_dir / f"phantom_000_{kind}.nii.gz")
        assert written.shape == source.shape + channels
        np.testing.assert_allclose(written.affine, source.affine, rtol=FLOAT32, atol=EXACT)
        values = np.asarray(written.dataobj)
        if kind == "seg":
            assert set(np.unique(values)) <= {0, 1, 2, 3}
        else:
            assert values.min() >= 0
            assert values.max() <= 1
            assert np.ptp(values) > 0


@pytest.fixture
def incomplete(cohort: Path, tmp_path: Path) -> Path:
    """A whole case, and two that lack one or two modalities."""
    for number in range(3):
        shutil.copytree(cohort / f"phantom_00{number}", tmp_path / "incomplete" / f"phantom_00{number}")
    for case, name in ((1, "t1ce"), (2, "flair"), (2, "t1")):
        (tmp_path / "incomplete" / f"phantom_00{case}" / f"phantom_00{case}_{name}.nii.gz").unlink()
    return tmp_path / "incomplete"


def test_a_missing_modality_is_refused_and_the_setting_is_named(places: dict[str, object], incomplete: Path) -> None:
    result = run_bundle("inferring", INFERENCE, **places | {"dataset_dir": incomplete})
    assert_clear_error(
        result, "cases left out: 2", "has no T1ce file", "has no T1 and no FLAIR", "--allow_missing true"
    )
    assert [path.name for path in Path(str(places["output_dir"])).glob("*.nii.gz")] == ["phantom_000_seg.nii.gz"]


def test_what_is_missing_is_exactly_0_and_every_result_says_so(places: dict[str, object], incomplete: Path) -> None:
    result = run_bundle(
        "evaluating", EVALUATE, **places | {"dataset_dir": incomplete}, split="all", allow_missing="true"
    )
    assert result.returncode == 0, result.stderr
    lacking = {
        "phantom_001": "without T1ce: TC and ET are unreliable",
        "phantom_002": "without T1 and FLAIR: WT is unreliable",
    }
    output_dir = Path(str(places["output_dir"]))
    page, summary = (output_dir / "report.html").read_text(), (output_dir / "summary.md").read_text()
    with open(output_dir / "per_case.csv") as file:
        said = {row["case"]: row["missing"] for row in csv.DictReader(file)}
    assert said == {"phantom_000": "", **lacking}
    assert json.loads((output_dir / "summary.json").read_text())["missing"] == lacking
    for case, words in lacking.items():
        assert result.stdout.count(f"{case}: {words}") == 1
        assert f"{case}: {words}" in summary
        assert words in page
        assert json.loads((output_dir / f"{case}_islands.json").read_text())["missing"] == words
    assert "missing" not in json.loads((output_dir / "phantom_000_islands.json").read_text())
    for case, modalities in (("0", ""), ("1", ", without T1ce"), ("2", ", without T1, FLAIR")):
        described = str(load(output_dir / f"phantom_00{case}_seg.nii.gz").header["descrip"].astype(str))
        assert described == f"{MARK}{modalities}"
        assert is_prediction(output_dir / f"phantom_00{case}_seg.nii.gz")


def test_postprocessing_and_averaging_are_switches(places: dict[str, object], tmp_path: Path) -> None:
    parser = ConfigParser()
    parser.read_config(str(BUNDLE / INFERENCE))
    parser.update(SMALL)
    # an untrained segmenter, which sees every region in about half of the voxels
    torch.save(parser.get_parsed_content("network").state_dict(), tmp_path / "model.pt")
    switches = {
        "min_enhancing": 100000,
        "min_component": 5,
        "nested": "true",
        "flips": "[0]",
        "ensemble": f"['{tmp_path / 'model.pt'}']",
    }
    labels = []
    for name, settings in (("plain", {}), ("switched", switches)):
        settings = places | settings | {"ckpt_dir": tmp_path, "output_dir": tmp_path / name}
        result = run_bundle("inferring", INFERENCE, **settings)
        assert result.returncode == 0, result.stderr
        labels.append(set(np.unique(voxels(tmp_path / name / "phantom_000_seg.nii.gz"))))
    assert 4 in labels[0]
    assert 4 not in labels[1]


def test_one_bad_case_does_not_lose_the_others_and_is_reported(
    places: dict[str, object], cohort: Path, tmp_path: Path
) -> None:
    dataset = tmp_path / "cases"
    for case in ("phantom_000", "phantom_001"):
        shutil.copytree(cohort / case, dataset / case)
    broken = dataset / "phantom_001" / "phantom_001_t2.nii.gz"
    broken.write_bytes(broken.read_bytes()[:1000])
    result = run_bundle("inferring", INFERENCE, **(places | {"dataset_dir": dataset}))
    assert_clear_error(result, "phantom_001_t2.nii.gz")
    assert results_in(Path(str(places["output_dir"]))) == {"phantom_000_seg.nii.gz"}


def test_a_command_may_run_twice_into_a_folder_until_a_person_changes_a_file_there(
    places: dict[str, object], cohort: Path
) -> None:
    settings = places | {"dataset_dir": cohort / "phantom_000", "split": "all"}
    output_dir = Path(str(places["output_dir"]))
    for _ in range(2):
        result = run_bundle("evaluating", EVALUATE, **settings)
        assert result.returncode == 0, result.stderr
    label = output_dir / "phantom_000_seg.nii.gz"
    corrected = load(label)
    nib.save(nib.Nifti1Image(np.asarray(corrected.dataobj) * 0, corrected.affine, corrected.header), label)
    before = {path: path.read_bytes() for path in output_dir.iterdir()}
    assert_clear_error(run_bundle("evaluating", EVALUATE, **settings), str(label), "changed since")
    assert {path: path.read_bytes() for path in output_dir.iterdir()} == before


@pytest.mark.parametrize(
    ("run_id", "config_file", "name"),
    [
        ("inferring", INFERENCE, "phantom_003_seg.nii.gz"),
        ("inferring", INFERENCE, "phantom_003_islands.json"),
        ("evaluating", EVALUATE, "report.html"),
        ("evaluating", EVALUATE, "reliability.csv"),
        ("training", TRAIN, "curves.png"),
        ("training", TRAIN, "per_case.csv"),
    ],
)
def test_a_persons_own_file_is_refused_before_the_work_begins(
    run_id: str, config_file: str, name: str, places: dict[str, object]
) -> None:
    path = Path(str(places["output_dir"])) / name
    path.parent.mkdir()
    path.write_bytes(b"a week of work")
    options = {"confidence": "true"} if run_id == "inferring" else {}
    assert_clear_error(run_bundle(run_id, config_file, **(places | options)), str(path), "choose another output folder")
    assert path.read_bytes() == b"a week of work"
    assert results_in(path.parent) - {".training.lock", ".training.json"} == {name}


def test_a_broken_training_case_stops_before_anything_is_written_or_is_left_out_on_request(
    trained: tuple[Path, str], places: dict[str, object], cohort: Path, tmp_path: Path
) -> None:
    dataset, models = tmp_path / "cases", tmp_path / "models"
    shutil.copytree(cohort, dataset)
    shutil.copytree(trained[0] / "models", models)
    (dataset / "phantom_000" / "phantom_000_flair.nii.gz").unlink()
    places |= {"dataset_dir": dataset, "ckpt_dir": models, "epochs": 1, "val_interval": 1}
    before = (models / "model.pt").read_bytes()
    result = run_bundle("training", TRAIN, **places)
    assert_clear_error(result, "phantom_000", "flair", "--skip_invalid true")
    assert (models / "model.pt").read_bytes() == before
    assert not Path(str(places["output_dir"])).exists()
    result = run_bundle("training", TRAIN, skip_invalid="true", lambda_vat=0, lambda_critic=0, **places)
    assert result.returncode == 0, result.stderr
    assert "left out case phantom_000" in result.stdout
    assert (models / "model.previous.pt").read_bytes() == before


@pytest.mark.parametrize(
    ("run_id", "config_file", "wrong", "words"),
    [
        ("training", TRAIN, {"dataset_dir": "/nowhere"}, ["/nowhere", "no such folder"]),
        ("training", TRAIN, {"batch_size": 0}, ["batch_size is 0"]),
        ("training", TRAIN, {"patch_size": 40}, ["patch_size is 40", "multiple of 16"]),
        ("inferring", INFERENCE, {"features": 16}, ["model.pt", "(8, 4, 3, 3, 3)", "(16, 4, 3, 3, 3)"]),
        ("evaluating", EVALUATE, {"split": "some"}, ["split is some", "held_out"]),
    ],
)
def test_a_mistake_is_answered_by_its_name(
    run_id: str, config_file: str, wrong: dict[str, object], words: list[str], places: dict[str, object]
) -> None:
    assert_clear_error(run_bundle(run_id, config_file, **(places | wrong)), *words)


def test_asking_for_confidence_without_a_critic_says_what_is_missing(
    trained: tuple[Path, str], places: dict[str, object], tmp_path: Path
) -> None:
    models = tmp_path / "models"
    models.mkdir()
    shutil.copy(trained[0] / "models" / "model.pt", models)
    result = run_bundle("inferring", INFERENCE, confidence="true", **(places | {"ckpt_dir": models}))
    assert_clear_error(result, "critic.pt")


def test_overlays_set_settings_that_training_has() -> None:
    settings = yaml.safe_load((BUNDLE / TRAIN).read_text())
    for overlay in ("variety", "paper", "demo", "finetune"):
        changes = yaml.safe_load((BUNDLE / "configs" / f"{overlay}.yaml").read_text())
        assert changes.keys() - settings.keys() <= {"phantoms", "+settings_of"}
        assert [name for name, value in changes.items() if isinstance(value, (dict, list))] in ([], ["+settings_of"])


def test_the_papers_recipe() -> None:
    parser = ConfigParser()
    parser.read_config([str(BUNDLE / TRAIN), str(BUNDLE / "configs" / "paper.yaml")])
    parser["device"] = torch.device("cpu")
    assert parser.get_parsed_content("network_def#features") == [48, 96, 192, 384, 384, 48]
    parameters = parser.get_parsed_content("network_def").parameters()
    assert round(sum(p.numel() for p in parameters) / 1e6, 1) == 30.0
    expected: dict[str, object] = {
        "lambda_dice": 1.0,
        "lambda_vat": 0.2,
        "lambda_critic": 0.3,
        "epochs": 100,
        "batch_size": 2,
    }
    expected |= {"patch_size": 128, "spacing": 1.0, "augment_prob": 0, "held_out_fraction": 0.2, "vat_target": "label"}
    assert {name: parser[name] for name in expected} == expected
    assert parser.get_parsed_content("optimizer").param_groups[0]["lr"] == 2e-4
    assert parser.get_parsed_content("critic_optimizer").param_groups[0]["lr"] == 5e-5


def test_the_recipe_of_more_variety() -> None:
    parser = ConfigParser()
    parser.read_config([str(BUNDLE / TRAIN), str(BUNDLE / "configs" / "variety.yaml")])
    turn_and_zoom = parser.get_parsed_content("train#random_transforms#1").rand_affine.rand_affine_grid
    assert turn_and_zoom.rotate_range == (0.4,) * 3
    assert turn_and_zoom.scale_range == (0.25,) * 3
    assert parser.get_parsed_content("optimizer").param_groups[0]["weight_decay"] == 0.01


def test_training_and_inference_describe_the_shipped_weights() -> None:
    train, inference = (yaml.safe_load((BUNDLE / name).read_text()) for name in (TRAIN, INFERENCE))
    for setting in ("features", "critic_features", "spacing", "network_def", "critic_def"):
        assert train[setting] == inference[setting]
    for config in (TRAIN, INFERENCE):
        parser = ConfigParser()
        parser.read_config(str(BUNDLE / config))
        for network, name in (("network_def", "model"), ("critic_def", "critic")):
            weights = torch.load(BUNDLE / "models" / f"{name}.pt", weights_only=True)
            parser.get_parsed_content(network).load_state_dict(weights)


@pytest.mark.parametrize(("kind", "config"), [("train", TRAIN), ("infer", INFERENCE)])
def test_the_zoo_finds_every_property_it_needs(kind: str, config: str, places: dict[str, object]) -> None:
    settings: dict[str, Any] = {
        name: str(value) if isinstance(value, Path) else value for name, value in places.items()
    }
    workflow = ConfigWorkflow(
        config_file=str(BUNDLE / config),
        workflow_type=kind,
        bundle_root=str(BUNDLE),
        logging_file=False,
        **settings,
    )
    workflow.initialize()
    assert workflow.check_properties() == []
    assert workflow.parser["run"]


@pytest.mark.skipif(not REAL_CASES.is_dir(), reason="the real cases are not on this machine")
def test_the_shipped_weights_find_a_real_tumour(tmp_path: Path) -> None:
    case = "Brats18_CBICA_AMH_1"
    assert case in [item["case"] for item in Cohort(str(REAL_CASES)).held_out_cases()]
    result = run_bundle("inferring", INFERENCE, dataset_dir=REAL_CASES / case, output_dir=tmp_path, cache_dir=tmp_path)
    assert result.returncode == 0, result.stderr
    predicted = voxels(tmp_path / f"{case}_seg.nii.gz") > 0
    actual = voxels(REAL_CASES / case / f"{case}_seg.nii.gz") > 0
    assert 2 * (predicted & actual).sum() / (predicted.sum() + actual.sum()) > 0.8
