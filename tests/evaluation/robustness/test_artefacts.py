# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import itertools
import sys

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from scripts.base.errors import BundleError
from scripts.evaluation.robustness.artefacts import ARTEFACTS, _torchio, disturb

GRADED = [name for name, artefact in ARTEFACTS.items() if len(artefact.levels) > 1]
MISSING = {"no_T1": 0, "no_T1ce": 1, "no_T2": 2, "no_FLAIR": 3}


def make_image(seed: int = 0) -> MetaTensor:
    """A textured brain (4, 24, 28, 20) of 2 mm voxels far from the origin of the world."""
    rng = np.random.default_rng(seed)
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in (24, 28, 20)), indexing="ij")
    brain = (np.stack(axes) ** 2).sum(axis=0) < 0.8
    waves = [0.5 + 0.3 * np.sin(4 * axes[i % 3] + i) + 0.1 * rng.random(brain.shape) for i in range(4)]
    affine = np.diag([2.0, 2, 2, 1])
    affine[:3, 3] = 150
    return MetaTensor(torch.tensor(np.stack(waves) * brain, dtype=torch.float32), affine=torch.tensor(affine))


@pytest.mark.parametrize("name", ARTEFACTS)
def test_a_disturbed_image_is_the_same_whatever_else_is_drawn_and_keeps_range_and_background(name: str) -> None:
    image = make_image()
    before = image.clone()
    first = disturb(image, name, 1, case="a", seed=3)
    torch.rand(5), np.random.rand(5)
    state = torch.get_rng_state()
    again = disturb(image, name, 1, case="a", seed=3)
    assert torch.equal(first, again)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(image.as_tensor(), before.as_tensor())
    assert not torch.equal(first, image.as_tensor())
    assert first.shape == image.shape
    assert first.dtype == torch.float32
    assert type(first) is torch.Tensor
    assert first.min() >= 0
    assert first.max() <= 1
    assert (first[:, (image == 0).all(dim=0)] == 0).all()


@pytest.mark.parametrize("name", GRADED)
@pytest.mark.parametrize("case", ["a", "b", "c"])
def test_the_distance_to_the_clean_image_grows_with_severity(name: str, case: str) -> None:
    image = make_image()
    severities = range(len(ARTEFACTS[name].levels) + 1)
    distances = [(disturb(image, name, s, case=case) - image.as_tensor()).norm().item() for s in severities]
    assert distances[0] == 0
    assert all(after > 1.1 * before for before, after in itertools.pairwise(distances))


@pytest.mark.parametrize("name", ["noise", "motion", "ghosting", "spikes", "bias_field"])
def test_every_case_seed_and_modality_has_a_draw_of_its_own(name: str) -> None:
    image = make_image()
    image[1:] = image[0]
    # a draw of one of a few ghosts may happen twice, but not always
    by_seed = [disturb(image, name, 2, case="a", seed=seed) for seed in range(4)]
    by_case = [disturb(image, name, 2, case=case, seed=0) for case in "abcd"]
    for volumes in (by_seed, by_case, by_seed[0]):
        assert any(not torch.equal(volume, volumes[0]) for volume in volumes)


@pytest.mark.parametrize(("name", "index"), MISSING.items())
def test_a_missing_modality_is_0_and_the_others_are_as_they_were(name: str, index: int) -> None:
    image = make_image()
    disturbed = disturb(image, name, 1, case="a")
    others = [i for i in range(4) if i != index]
    assert (disturbed[index] == 0).all()
    assert torch.equal(disturbed[others], image.as_tensor()[others])


def test_rician_noise_has_the_deviation_of_its_level_where_the_signal_is_strong() -> None:
    image = torch.full((4, 32, 32, 32), 0.6)
    residual = disturb(image, "noise", 1, case="a") - image
    # three standard errors of 131072 draws, 3 / sqrt(2 * 131072), and (0.03 / 0.6)^2 / 4, by which Rician noise is less
    assert residual.std().item() == pytest.approx(ARTEFACTS["noise"].levels[0], rel=0.0065)


def test_the_head_turns_about_its_own_centre_wherever_it_lies_in_the_world() -> None:
    edge = 24
    distance = torch.stack(torch.meshgrid(*[torch.arange(edge) - (edge - 1) / 2] * 3, indexing="ij")).norm(dim=0)
    affine = torch.diag(torch.tensor([2.0, 2, 2, 1]))
    affine[:3, 3] = 300
    ball = torch.sigmoid(8 - distance)[None]
    degrees, still = np.full((2, 3), 8.0), np.zeros((2, 3))
    turn = _torchio(
        "Motion", degrees=degrees, translation=still, times=np.array([0.3, 0.4]), image_interpolation="linear"
    )
    turned = [turn(MetaTensor(volume, affine=affine)) for volume in (ball, ball.roll(5, dims=1))]
    # linear interpolation is off by an eighth of the second derivatives, at most: of a sigmoid's along the radius, 0.1,
    # and of twice its slope over the radius, 2 * 0.25 / 8
    torch.testing.assert_close(turned[0], ball, atol=0.02, rtol=0)
    assert (turned[1] - ball.roll(5, dims=1)).abs().max() > 0.1


def test_what_does_not_exist_is_named() -> None:
    with pytest.raises(BundleError, match="'fog'; allowed are noise, motion"):
        disturb(make_image(), "fog", 1, case="a")
    for severity in (-1, 4):
        with pytest.raises(BundleError, match=rf"severity of noise: found {severity}; allowed are 0 \(none\) to 3"):
            disturb(make_image(), "noise", severity, case="a")


def test_without_torchio_its_artefacts_say_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchio", None)
    with pytest.raises(BundleError, match=r"pip install -r requirements-robustness\.txt"):
        disturb(make_image(), "motion", 1, case="a")
    disturb(make_image(), "noise", 1, case="a")
