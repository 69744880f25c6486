# SPDX-License-Identifier: Apache-2.0
"""The settings of configs/*.yaml: the type and the allowed values of each; the configs' comments say what they mean."""

from __future__ import annotations

import os
import re
from typing import Annotated, Any, Literal, get_type_hints

import torch
import yaml
from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter
from typing_extensions import TypedDict

from scripts.brats import MODALITIES

HALVINGS = 16  # the segmenter halves a patch four times
GROUPS = 8  # of the segmenter's GroupNorm
LARGEST_SEED = 2**32 - 1


def _not_bool(value: Any) -> Any:
    if isinstance(value, bool):  # which pydantic takes for 0 or 1
        raise ValueError("not a number")
    return value


def _to_text(value: Any) -> Any:
    # the command line reads 20240501 as a number; what it reads as 1000.0 may have been 1e3
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _without_separators(text: str) -> str:
    if "#" in text or "::" in text:  # MONAI turns the first into the second in every text of a config
        raise ValueError("a separator")
    return text


def _to_list(value: Any) -> Any:
    try:
        return yaml.safe_load(value) if isinstance(value, str) else value
    except yaml.YAMLError as error:
        raise ValueError("no list") from error


def _compilable(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError("no pattern") from error
    return text


def _all_different(values: list[Any]) -> list[Any]:
    if len(set(values)) < len(values):
        raise ValueError("one twice")
    return values


def _to_device(value: Any) -> torch.device:
    device = torch.device(value)
    if device.type not in ("cpu", "cuda"):
        raise ValueError("unknown device")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError("no such GPU")
    return device


Number = Annotated[float, BeforeValidator(_not_bool), Field(allow_inf_nan=False)]
Whole = Annotated[int, BeforeValidator(_not_bool)]

Count = Annotated[Whole, Field(ge=1, description="a whole number from 1 on")]
WholeFrom0 = Annotated[Whole, Field(ge=0, description="a whole number from 0 on")]
Seed = Annotated[Whole, Field(ge=0, le=LARGEST_SEED, description=f"a whole number from 0 to {LARGEST_SEED}")]
Positive = Annotated[Number, Field(gt=0, description="a number above 0")]
From0 = Annotated[Number, Field(ge=0, description="a number from 0 on")]
Probability = Annotated[Number, Field(ge=0, le=1, description="a number from 0 to 1")]
BelowOne = Annotated[Number, Field(ge=0, lt=1, description="a number from 0 to below 1")]
Fraction = Annotated[Number, Field(gt=0, lt=1, description="a number between 0 and 1")]
PatchSize = Annotated[
    Whole, Field(ge=HALVINGS, multiple_of=HALVINGS, description=f"a multiple of {HALVINGS}, such as {4 * HALVINGS}")
]
Features = Annotated[
    Whole, Field(ge=GROUPS, multiple_of=GROUPS, description=f"a multiple of {GROUPS}, such as {4 * GROUPS}")
]
Text = Annotated[
    str,
    BeforeValidator(_to_text),
    AfterValidator(_without_separators),
    Field(min_length=1, description="text without # and ::, by which MONAI separates names"),
]
Place = Annotated[Text, Field(description="a path without # and ::, by which MONAI separates names")]
Split = Annotated[
    Place, Field(pattern=r"^(held_out|all|.*\.json)$", description="held_out, all or a data list (.json)")
]
Pattern = Annotated[
    Text,
    AfterValidator(_compilable),
    Field(description=r"a regular expression that finds the patient, such as '^(sub-\d+)'"),
]
Export = Annotated[Place, Field(pattern=r"\.(ts|onnx)$", description="a file named .ts or .onnx")]
Places = Annotated[
    list[Place], BeforeValidator(_to_list), Field(description="a list of paths, such as ['a/model.pt', 'b/model.pt']")
]
Device = Annotated[Any, AfterValidator(_to_device), Field(description="cpu, cuda or cuda:N, a GPU that is there")]
Axes = Annotated[
    list[Annotated[Whole, Field(ge=0, le=2)]],
    BeforeValidator(_to_list),
    AfterValidator(_all_different),
    Field(description="a list of different axes from 0 to 2, such as [0], or []"),
]
Severities = Annotated[
    list[Annotated[Whole, Field(ge=1, le=3)]],
    BeforeValidator(_to_list),
    AfterValidator(_all_different),
    Field(min_length=1, description="a list of different levels from 1 to 3, such as [1, 3]"),
]
Norms = Annotated[
    list[Annotated[Number, Field(gt=0, le=1)]],
    BeforeValidator(_to_list),
    AfterValidator(_all_different),
    Field(description="a list of different sizes above 0 and up to 1, such as [0.01, 0.05], or []"),
]
ARTEFACT_NAMES = (
    *("noise", "motion", "ghosting", "spikes", "bias_field", "gamma", "blur", "low_resolution"),
    *(f"no_{modality}" for modality in MODALITIES),
)
Artefacts = Annotated[
    list[Literal[ARTEFACT_NAMES]],  # type: ignore[valid-type]
    BeforeValidator(_to_list),
    AfterValidator(_all_different),
    Field(min_length=1, description=f"a list of {', '.join(ARTEFACT_NAMES)}"),
]


class Settings(TypedDict, total=False):
    """Every setting; a config has those that stand at its top."""

    # places
    bundle_root: Place
    dataset_dir: Place
    datalist: Place | None
    unlabelled_dir: Place | None
    ckpt_dir: Place
    output_dir: Place
    cache_dir: Place
    robustness_dir: Place
    initial_weights: Place | None
    resume: Place | None  # auto among them

    # data
    phantoms: Count
    held_out_fraction: Fraction
    split_seed: Seed
    patient_pattern: Pattern | None
    split: Split
    skip_invalid: bool
    allow_missing: bool
    spacing: Positive
    patch_size: PatchSize
    batch_size: Count
    accumulate: Count
    num_workers: WholeFrom0
    augment_prob: Probability
    max_turn: From0
    max_zoom: BelowOne
    lesion_mix_prob: Probability
    intensity_prob: Probability
    drop_modality_prob: Probability
    tumour_patches: Probability
    reference_series: Literal[MODALITIES]  # type: ignore[valid-type]

    # networks
    features: Features
    critic_features: Count
    critic_sees: Literal["mask", "image_and_mask"]
    critic_judges: Literal["source", "correctness"]
    critic_starts_from_certainty: bool
    critic_stride: Annotated[Whole, Field(ge=1, le=2, description="1 or 2")]
    critic_spoilt_masks: bool
    initial_foreground_probability: Fraction | None
    exported: Export | None
    ensemble: Places
    max_whole_brain_voxels: WholeFrom0

    # run
    seed: Seed
    device: Device
    is_main_process: bool
    amp: bool | Annotated[Literal["auto"], Field(description="auto")]
    amp_dtype: Literal["float16", "bfloat16"]
    title: Text

    # training
    epochs: Count
    max_skipped: Count
    val_interval: Count
    learning_rate: Positive
    learning_rate_decay: From0
    weight_decay: From0
    weight_average: BelowOne
    critic_learning_rate: Positive

    # the method
    lambda_dice: From0
    lambda_vat: From0
    lambda_critic: From0
    vat_epsilon: Positive
    vat_target: Literal["label", "prediction"]
    vat_direction: Literal["divergence", "loss", "random"]
    vat_start: WholeFrom0
    vat_ramp: WholeFrom0
    vat_interval: Count
    critic_start: WholeFrom0
    critic_ramp: WholeFrom0
    critic_learning_start: WholeFrom0
    critic_balanced: bool

    # federation
    rounds: Count
    local_epochs: Count
    local_critic: bool

    # inference
    enhancing_label: Annotated[Whole, Field(ge=3, le=4, description="3 or 4")]
    probabilities: bool
    confidence: bool
    min_enhancing: WholeFrom0
    min_component: WholeFrom0
    remove_doubted: bool
    nested: bool
    flips: Axes

    # evaluation
    scoring_rules: Literal["brats2021", "brats2023", "brats2025", "monai"]
    html: bool
    viewer_cases: WholeFrom0

    # robustness
    checkpoints: Place | Places | Annotated[dict[Text, Place], Field(description="{name: path, ...}")] | None
    artefacts: Artefacts | None
    severities: Severities
    norms: Norms

    # tracking
    tracking_uri: Text
    experiment_name: Text
    run_name: Text | None
    save_execute_config: Annotated[bool | Place, Field(union_mode="left_to_right")]


TYPES: dict[str, TypeAdapter[Any]] = {
    name: TypeAdapter(kind) for name, kind in get_type_hints(Settings, include_extras=True).items()
}
