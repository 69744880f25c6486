# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from scripts.method.losses import CriticLoss
from scripts.method.networks import VolumetricCritic
from scripts.method.spoilt_masks import SpoiltMasks
from scripts.tools.critic_predictions import Record
from scripts.tools.train_critic import find_evidence, fit_scales, train
from tests.commands import run
from tests.tolerances import FLOAT32
from tests.tools.critic_inputs import make_inputs, make_records

CORRECTNESS = CriticLoss(judges="correctness", balanced=True)


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
