# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from monai.networks.nets import BasicUNet

from scripts.data.datalist import read_datalist, write_datalist
from scripts.data.discovery import find_cases
from scripts.data.phantoms import make_cohort
from scripts.method.losses import CriticLoss
from scripts.method.networks import VolumetricCritic
from scripts.method.spoilt_masks import SpoiltMasks
from scripts.tools.critic_predictions import Patches, Predictions, Record
from scripts.tools.train_critic import find_evidence, fit_scales, read_config, train
from tests.commands import run
from tests.tolerances import FLOAT32

CORRECTNESS = CriticLoss(judges="correctness", balanced=True)


def make_records(count: int = 3) -> list[Record]:
    """Tumours that the image shows, found a few voxels beside where they are, by a segmenter that is sure of it."""
    records = []
    for index in range(count):
        label = torch.zeros(3, 24, 24, 24)
        label[:, 8:16, 6 + index : 14 + index, 8:16] = 1
        logits = 6 * label.roll(3, dims=1) - 3
        records.append({"image": label[:1].repeat(4, 1, 1, 1).half(), "logits": logits.half(), "label": label.byte()})
    return records


def judge(critic: VolumetricCritic, records: Sequence[Record]) -> tuple[float, float]:
    """The critic's mean loss, and its mean confidence in right voxels minus that in wrong ones."""
    losses, gaps = [], []
    for record in records:
        image, logits, label = (record[name][None].float() for name in ("image", "logits", "label"))
        with torch.no_grad():
            psi = critic.eval()(logits.sigmoid(), image).double()
        wrong = (logits > 0) != (label > 0)
        losses.append(float(CORRECTNESS(psi, logits.sigmoid().double(), label)))
        gaps.append(float(psi.sigmoid()[~wrong].mean() - psi.sigmoid()[wrong].mean()))
    return sum(losses) / len(losses), sum(gaps) / len(gaps)


def make_critic(**form: object) -> VolumetricCritic:
    torch.manual_seed(0)
    options = {"sees": "image_and_mask", "starts_from_certainty": True, "stride": 2} | form
    return VolumetricCritic(channels=(4, 8, 8), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("spoil", [None, SpoiltMasks()])
def test_a_critic_learns_where_the_segmenter_is_wrong(spoil: SpoiltMasks | None) -> None:
    critic, records = make_critic(), make_records()
    loss, gap = judge(critic, records)
    # at its start it knows no more than the segmenter's own certainty, which is the same everywhere: that of 3 and -3,
    # whose probabilities float32 rounds by 2^-25, which sigmoid and logit hand on
    assert gap == pytest.approx(0, abs=FLOAT32)
    train(critic, records, loss=CORRECTNESS, spoil=spoil, steps=20, seed=0)
    trained_loss, trained_gap = judge(critic, records)
    assert trained_loss < 0.85 * loss
    assert trained_gap > 0.1
    assert not critic.training


def test_a_critic_of_the_source_learns_to_tell_true_masks_from_predictions() -> None:
    critic, records = make_critic(sees="mask", starts_from_certainty=False), make_records()
    train(critic, records, loss=CriticLoss(judges="source"), spoil=None, steps=20, seed=0)
    label, prediction = records[0]["label"][None].float(), records[0]["logits"][None].float().sigmoid()
    with torch.no_grad():
        assert critic(label).mean() > critic(prediction).mean() + 0.2


def test_scales_make_a_probability_of_an_opinion_that_is_too_sure() -> None:
    generator = torch.Generator().manual_seed(0)
    critic = make_critic()  # its last convolution is still 0: its opinion is the segmenter's
    logits = torch.randn(3, 24, 24, 24, generator=generator)
    label = torch.rand(logits.shape, generator=generator) < (0.5 * logits).sigmoid()
    record = {"image": torch.zeros(4, 24, 24, 24), "logits": logits, "label": label.byte()}
    # 2.7 standard errors: the likelihood's curvature is the sum of z^2 p (1 - p), on average 0.2, over 41472 voxels
    assert fit_scales([find_evidence(critic, record)])[0] == pytest.approx(0.5, abs=0.03)


def test_a_critic_without_certainty_has_one_scale() -> None:
    critic = make_critic(starts_from_certainty=False)
    a, b = fit_scales([find_evidence(critic, record) for record in make_records()])
    assert a == 1
    assert b != 1


def test_patches_repeat_by_their_seed_and_hold_what_the_records_hold() -> None:
    def draw(seed: int) -> Record:
        return next(Patches(make_records(), seed=seed, edge=16).batches())

    first = draw(0)
    assert all(torch.equal(first[name], values) for name, values in draw(0).items())
    assert any(not torch.equal(first[name], values) for name, values in draw(1).items())
    # the image shows the label, also where the patch was flipped
    assert torch.equal(first["image"][:, :1] > 0.5, first["label"][:, :1] > 0.5)


def settings(folder: Path) -> str:
    return json.dumps({"features": 8, "critic_features": 2, "spacing": 5.0, "cache_dir": str(folder / "cache")})


def make_inputs(folder: Path) -> list[str]:
    """Phantoms to train with, others to calibrate with, and an untrained segmenter: arguments of the command."""
    make_cohort(folder / "cases", cases=3, shape=(48, 48, 40))
    others = Path(make_cohort(folder / "others", cases=2, shape=(48, 48, 40), seed=1))
    for path in sorted(others.rglob("phantom_*"), reverse=True):
        path.rename(path.with_name(path.name.replace("phantom", "other")))
    torch.manual_seed(0)
    segmenter = BasicUNet(
        spatial_dims=3,
        in_channels=4,
        out_channels=3,
        features=[8 * factor for factor in (1, 2, 4, 8, 8, 1)],
        norm=("group", {"num_groups": 8}),
        upsample="nontrainable",
    )
    torch.save(segmenter.state_dict(), folder / "model.pt")
    write_datalist(str(folder / "list.json"), find_cases(str(folder / "cases")), find_cases(str(others)))
    places = {"model": "model.pt", "output": "critic.pt", "predictions_dir": "predictions"}
    words = [word for name, place in places.items() for word in (f"--{name}", str(folder / place))]
    return [str(folder / "list.json"), *words, "--steps", "3", "--settings", settings(folder)]


def test_two_segmenters_of_one_config_keep_their_weights(tmp_path: Path) -> None:
    make_inputs(tmp_path)
    config = read_config(json.loads(settings(tmp_path)), seed=0)
    weights = torch.load(tmp_path / "model.pt", weights_only=True)
    torch.save({name: weight + 1 for name, weight in weights.items()}, tmp_path / "other.pt")
    first, _ = (Predictions(config, str(tmp_path / name), folder=str(tmp_path)) for name in ("model.pt", "other.pt"))
    assert all(torch.equal(weight, weights[name]) for name, weight in first.segmenter.state_dict().items())


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    folder = tmp_path_factory.mktemp("train_critic")
    return folder, make_inputs(folder)


def test_the_command_trains_on_training_cases_only_and_repeats(inputs: tuple[Path, list[str]]) -> None:
    folder, words = inputs
    result = run("scripts.tools.train_critic", *words)
    assert result.returncode == 0, result.stderr
    assert "Not for diagnosis." in result.stdout
    files = sorted((folder / "predictions").rglob("*.pt"))
    kinds = ["clean", "contrast0", "contrast1", "missing0", "missing1", "vat"]
    predicted = {f"phantom_{i:03d}_{kind}.pt" for i in range(3) for kind in kinds}
    assert {path.name for path in files} == predicted | {"other_000_clean.pt", "other_001_clean.pt"}
    first, made = torch.load(folder / "critic.pt"), [path.stat().st_mtime_ns for path in files]
    again = run("scripts.tools.train_critic", *words)
    assert again.returncode == 0, again.stderr
    assert all(torch.equal(first[name], tensor) for name, tensor in torch.load(folder / "critic.pt").items())
    assert [path.stat().st_mtime_ns for path in files] == made  # a second run goes on from the predictions


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"--steps": "0"}, "--steps is 0; allowed: a whole number from 1 on"),
        ({"--settings": '{"critic_sees": "image"}'}, "critic_sees is image; allowed: mask or image_and_mask"),
        ({"--settings": '{"critic_see": "mask"}'}, "critic_see is no setting of train.yaml; did you mean critic_sees"),
        ({"--settings": '{"critic_features": 2}'}, "model.pt is of another width"),
        ({"--model": "{folder}/none.pt"}, "no weights at {folder}/none.pt"),
        ({"--more_predictions": "{folder}/none"}, "/none: no predictions (.pt) in it"),
        ({"--more_predictions": "{folder}/wrong"}, "wrong/a.pt: no predictions of this tool, or damaged"),
    ],
)
def test_wrong_inputs_are_refused_by_name(
    change: dict[str, str], words: str, inputs: tuple[Path, list[str]], tmp_path: Path
) -> None:
    folder, arguments = inputs
    (folder / "wrong").mkdir(exist_ok=True)
    (folder / "wrong" / "a.pt").write_text("no tensors")
    output = ["--output", str(tmp_path / "critic.pt")]
    changed = [word.replace("{folder}", str(folder)) for pair in change.items() for word in pair]
    result = run("scripts.tools.train_critic", *arguments, *output, *changed)
    assert result.returncode != 0
    assert words.replace("{folder}", str(folder)) in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "critic.pt").exists()


def test_the_forms_are_compared_cell_by_cell(inputs: tuple[Path, list[str]]) -> None:
    folder, arguments = inputs
    words = [*arguments[:3], "--output_dir", str(folder / "forms")]
    words += ["--seeds", "0", "--settings", settings(folder), "--steps", "2", "--forms"]
    result = run("scripts.tools.critic_forms", *words, "whole")
    assert result.returncode == 0, result.stderr
    cell = folder / "forms" / "whole_0_2.json"
    rows = json.loads(cell.read_text())
    for row in rows:
        row["boundary_auroc_critic"], row["boundary_auroc_entropy"] = 0.75, 0.25
    cell.write_text(json.dumps(rows))
    result = run("scripts.tools.critic_forms", *words, "whole", "without the image")
    assert result.returncode == 0, result.stderr
    table = (folder / "forms" / "forms.md").read_text()
    assert table in result.stdout
    lines = [line.split(" | ")[:3] for line in table.splitlines()]
    assert lines[3] == [
        "| whole",
        "0",
        "+0.500 (+0.500 to +0.500)",
    ]  # as the file of the cell has it, which was not made anew
    assert lines[4][:2] == ["| without the image", "0"]
    refused = run("scripts.tools.critic_forms", *words, "other")
    assert "allowed: whole, without the image" in refused.stderr
    training, validation = read_datalist(arguments[0])
    write_datalist(str(folder / "one.json"), training, validation[:1])
    refused = run("scripts.tools.critic_forms", str(folder / "one.json"), *words[1:], "whole")
    assert "one.json: its validation has 1 case; at least 2 are needed" in refused.stderr
