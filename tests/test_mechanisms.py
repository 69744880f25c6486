# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BUNDLE = Path(__file__).parents[1]
STEP, VAT, LOSSES = "scripts/method/reciprocal_step.py", "scripts/method/vat.py", "scripts/method/losses.py"
GRADIENTS, PROCESSES = "scripts/method/accumulation.py", "scripts/base/distributed.py"
NORM = "scripts/method/synchronised_norm.py"
TWO_PROCESSES = "base/test_distributed.py::test_what_two_processes_compute_together_is_what_one_computes"
BRATS2021, SURFACES = "scripts/evaluation/metrics/brats2021.py", "scripts/evaluation/metrics/surface_distances.py"

# each mechanism that the method stands on: where it is, how it is cut, and the tests that must then fail
CUTS = {
    "the critic learns": (
        STEP,
        "self._is_finite = step(state.d_network,",
        "(lambda *_, **__: None)(state.d_network,",
        "method/test_reciprocal_step.py::test_each_step_trains_its_own_network_and_leaves_the_other_alone",
    ),
    "the critic is frozen for the segmenter's step": (
        STEP,
        "critic.eval().requires_grad_(False)",
        "pass",
        "method/test_reciprocal_step.py::test_each_step_trains_its_own_network_and_leaves_the_other_alone",
    ),
    "the segmenter is pushed the right way": (
        LOSSES,
        "return _bce(logits, torch.ones_like(logits),",
        "return _bce(logits, torch.zeros_like(logits),",
        "method/test_reciprocal_step.py::test_the_adversarial_term_alone_pleases_the_critic_more",
    ),
    "a critic of the correctness is told what is right": (
        LOSSES,
        'if self.judges == "correctness":',
        "if False:",
        "method/test_losses.py::test_a_critic_of_the_correctness_learns_which_voxels_are_right",
    ),
    "the critic learns from what VAT spoilt": (
        STEP,
        "if VAT_PRED in output and",
        "if False and",
        "method/test_reciprocal_step.py::test_the_critic_learns_from_the_masks_that_were_spoilt_on_purpose_and_by_vat",
    ),
    "being certain is not rewarded": (
        "scripts/method/networks.py",
        "self.scales[0] * opinion.detach()",
        "self.scales[0] * opinion",
        "method/test_networks.py::test_the_gradient_moves_the_mask_towards_the_opinion_and_does_not_reward_certainty",
    ),
    "the norm adds in blocks": (
        "scripts/method/group_norm.py",
        "if not self._is_summed_value_by_value(input):",
        "if True:",
        "method/test_group_norm.py::test_a_whole_brain_is_normalised_as_in_float64",
    ),
    "VAT gives a gradient": (
        VAT,
        "segmenter_scaler(engine).scale(weight * loss).backward()",
        "pass",
        "method/test_vat.py::test_the_loss_changes_the_gradient_of_every_parameter",
    ),
    "the perturbation follows the gradient": (
        VAT,
        "    return gradient\n",
        "    return torch.randn_like(gradient)\n",
        "method/test_vat.py::test_the_perturbation_is_worse_than_random_ones_of_its_size",
    ),
    "the prediction's direction starts from a random step": (
        VAT,
        "return torch.randn(image.shape, generator=generator).to(image)",
        "return torch.zeros_like(image)",
        "method/test_vat.py::test_the_perturbation_is_worse_than_random_ones_of_its_size[prediction-divergence]",
    ),
    "the perturbation stays on the brain": (
        VAT,
        "perturbation = at_least_float32(perturbation) * brain",
        "perturbation = at_least_float32(perturbation)",
        "method/test_vat.py::test_the_perturbation_has_the_set_size_in_every_sample_and_lies_on_the_brain",
    ),
    "the perturbation has its size in every sample": (
        VAT,
        "return perturbation * (rms / size.clamp_min(",
        "return perturbation * (rms / size.mean().clamp_min(",
        "method/test_vat.py::test_the_perturbation_has_the_set_size_in_every_sample_and_lies_on_the_brain",
    ),
    "VAT leaves running statistics alone": (
        VAT,
        "norm.track_running_stats = False",
        "pass",
        "method/test_vat.py::test_it_leaves_the_critic_running_statistics_and_random_state_alone",
    ),
    "VAT leaves the random state alone": (
        VAT,
        'with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):',
        "with contextlib.nullcontext():",
        "method/test_vat.py::test_it_leaves_the_critic_running_statistics_and_random_state_alone",
    ),
    "the divergence is 0 where both agree": (
        LOSSES,
        "binary_cross_entropy_with_logits(logits, target) - entropy",
        "binary_cross_entropy_with_logits(logits, target)",
        "method/test_losses.py",
    ),
    "the divergence is taken from logits": (
        LOSSES,
        "binary_cross_entropy_with_logits(logits, target) - entropy",
        "(-torch.log(logits.sigmoid()) * target - torch.log(1 - logits.sigmoid()) * (1 - target)).mean() - entropy",
        "method/test_losses.py",
    ),
    "a weight of 0 runs no critic": (
        STEP,
        "if self.lambda_critic > 0 and",
        "if",
        "method/test_reciprocal_step.py::test_without_adversaries_it_is_the_supervised_trainer_bit_for_bit",
    ),
    "a weight of 0 runs no VAT": (
        VAT,
        "if weight == 0:",
        "if False:",
        "method/test_vat.py::test_a_weight_of_zero_runs_no_extra_pass",
    ),
    "VAT's random step is seeded": (
        VAT,
        "torch.Generator().manual_seed(self._seed(engine))",
        "torch.Generator().manual_seed(id(engine))",
        "method/test_reciprocal_step.py::test_a_seeded_run_repeats_bit_for_bit",
    ),
    "accumulated batches share a step": (
        STEP,
        "if batch.ends and self._is_finite:",
        "if self._is_finite:",
        "method/test_reciprocal_step.py::test_two_accumulated_batches_are_one_of_twice_the_size",
    ),
    "a step has the mean gradient of its batches": (
        GRADIENTS,
        "count = batches * idist",
        "count = idist",
        "method/test_accumulation.py",
    ),
    "a loss that is not finite skips the step": (
        STEP,
        "self._is_finite = self._is_finite and all_processes_agree(_losses_are_finite(output))",
        "pass",
        "method/test_reciprocal_step.py::test_a_step_that_is_not_finite_leaves_everything_as_it_was",
    ),
    "a gradient that is not finite skips the step": (
        GRADIENTS,
        "if scaler.get_scale() <= 1 and not _gradients_are_finite(network):",
        "if False:",
        "method/test_reciprocal_step.py::test_a_step_that_is_not_finite_leaves_everything_as_it_was",
    ),
    "a skipped step gives the critic its statistics back": (
        STEP,
        "buffer.copy_(value)",
        "pass",
        "method/test_reciprocal_step.py::test_a_critics_step_that_is_not_finite_leaves_the_critic_as_it_was",
    ),
    "skipped steps in a row end the run": (
        "scripts/training/skipped_steps.py",
        "if self.in_a_row >= self.max_skipped:",
        "if False:",
        "training/test_skipped_steps.py::test_too_many_skipped_steps_in_a_row_end_the_run_and_name_terms_and_cases",
    ),
    "a step that was taken ends the row": (
        "scripts/training/skipped_steps.py",
        "self.in_a_row = 0\n        else:",
        "pass\n        else:",
        "training/test_skipped_steps.py::test_too_many_skipped_steps_in_a_row_end_the_run_and_name_terms_and_cases",
    ),
    "gradients are averaged over processes": (
        GRADIENTS,
        "average_gradients(network, batches=batches)",
        "pass",
        TWO_PROCESSES,
    ),
    "all processes skip a step that one cannot take": (
        PROCESSES,
        'idist.all_reduce(float(condition), op="MIN")',
        "condition",
        TWO_PROCESSES,
    ),
    "processes start with the same weights": (
        PROCESSES,
        "tensor.copy_(cast(torch.Tensor, idist.broadcast(tensor.contiguous(), src=0)))",
        "pass",
        TWO_PROCESSES,
    ),
    "the critic's norm is of all processes": (
        NORM,
        "_SumOverProcesses.apply(centred.square().sum(axes)) / count",
        "centred.square().mean(axes)",
        TWO_PROCESSES,
    ),
    "the norm's gradient is of all processes": (
        NORM,
        "return sum_over_processes(gradient.clone())",
        "return gradient",
        TWO_PROCESSES,
    ),
    "tumour and background are balanced over all processes": (
        LOSSES,
        "fraction = sum_over_processes(fraction) / idist.get_world_size()",
        "pass",
        TWO_PROCESSES,
    ),
    "each process has its own perturbation": (
        VAT,
        " + 1_000_000_007 * idist.get_rank()",
        "",
        "base/test_distributed.py::test_each_process_begins_vat_with_a_step_of_its_own",
    ),
    "each process draws its own patches": (
        "scripts/training/seeding.py",
        "words = (self.seed, engine.state.epoch, idist.get_rank())",
        "words = (self.seed, engine.state.epoch)",
        "training/test_seeding.py::test_each_process_draws_its_own_patches",
    ),
    "no case is evaluated twice": (
        PROCESSES,
        "return range(count * rank // processes,",
        "return range((count * rank - 1) // processes,",
        "base/test_distributed.py::test_each_case_is_in_one_share_and_in_order",
    ),
    "cached files appear whole": (
        "scripts/data/cached_dataset.py",
        "str(folder) if folder else None",
        "None",
        "data/test_cached_dataset.py",
    ),
    "a run resumed within an epoch leaves out what it has seen": (
        "scripts/training/resume/loader.py",
        "return islice(super().__iter__(), skip, None)",
        "return islice(super().__iter__(), None)",
        "training/resume/test_loader.py",
    ),
    "a damaged state is noticed": (
        "scripts/base/atomic_files.py",
        "return archive.testzip() is None",
        "return True",
        "training/resume/test_state_files.py",
    ),
    "the state of before is kept": (
        "scripts/training/resume/state_files.py",
        "KEPT = 2",
        "KEPT = 1",
        "training/resume/test_state_files.py",
    ),
    "a run does not stop within a step": (
        "scripts/training/resume/stopping.py",
        "if STEP_TAKEN in state.output and",
        "if",
        "training/resume/test_stopping.py",
    ),
    "what is logged twice is dropped": (
        "scripts/training/progress.py",
        "purge_step=engine.state.iteration + 1",
        "purge_step=None",
        "training/test_progress.py",
    ),
    "a missed region has the worst HD95": (
        BRATS2021,
        "return self.worst_hd95 if self.predicted or self.actual else self.absent_distance",
        "return self.absent_distance",
        "evaluation/metrics/test_scoring_rules.py",
    ),
    "a region in neither mask is a hit": (
        BRATS2021,
        "return part / whole if whole else self.absent_overlap",
        "return part / whole if whole else math.nan",
        "evaluation/metrics/test_scoring_rules.py",
    ),
    "distances are in mm": (
        SURFACES,
        "np.argwhere(surface(mask)) * np.asarray(spacing, dtype=float)",
        "np.argwhere(surface(mask))",
        "evaluation/metrics/test_surface_distances.py",
    ),
    "both directions of surface distances are pooled": (
        SURFACES,
        "np.percentile(np.concatenate(distances), 95)",
        "np.percentile(distances[0], 95)",
        "evaluation/metrics/test_surface_distances.py",
    ),
    "lesions are matched by the sum of Dice": (
        "scripts/evaluation/metrics/matching.py",
        "np.where(dice >= LEAST_DICE, 1 - dice, 1 + LEAST_DICE)",
        "np.where(dice >= LEAST_DICE, 1 - dice.round(), 1 + LEAST_DICE)",
        "evaluation/metrics/test_matching.py",
    ),
    "lesions are dilated three times": (
        "scripts/evaluation/metrics/lesions.py",
        "DILATIONS = 3",
        "DILATIONS = 2",
        "evaluation/metrics/test_lesions.py",
    ),
}


@pytest.mark.parametrize("mechanism", CUTS)
def test_every_cut_and_its_test_exist(mechanism: str) -> None:
    file, whole, _, tests = CUTS[mechanism]
    assert whole in (BUNDLE / file).read_text(), f"{file} no longer has: {whole}"
    test_file, _, test = tests.partition("::")
    assert f"def {test.partition('[')[0]}" in (BUNDLE / "tests" / test_file).read_text()


@pytest.mark.slow
@pytest.mark.parametrize("mechanism", CUTS)
def test_a_cut_mechanism_is_noticed(mechanism: str, tmp_path: Path) -> None:
    file, whole, cut, tests = CUTS[mechanism]
    for folder in ("scripts", "tests"):
        shutil.copytree(BUNDLE / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(BUNDLE / "pyproject.toml", tmp_path)
    (tmp_path / file).write_text((tmp_path / file).read_text().replace(whole, cut))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"tests/{tests}"]
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert result.returncode == 1, result.stdout  # tests that ran and failed; 2 would be a broken source
    assert "FAILED" in result.stdout
