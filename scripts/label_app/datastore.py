# SPDX-License-Identifier: Apache-2.0
"""The cases of a folder as MONAI Label's datastore, with the versions of their labels."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import HTTPException
from monailabel.interfaces.datastore import Datastore, DefaultLabelTag

from scripts.base.errors import BundleError
from scripts.brats import NOT_FOR_DIAGNOSIS, Item
from scripts.data.discovery import find_cases
from scripts.label_app.history import History, digest_of
from scripts.label_app.uploads import read_label
from scripts.label_app.volumes import grid_of, save, to_view

FINAL = DefaultLabelTag.FINAL.value  # the version that was reviewed
DRAFT = "draft"  # the newest version, where it was not reviewed
MACHINE = DefaultLabelTag.ORIGINAL.value  # the machine's segmentation
UNCERTAINTY = "uncertainty"  # the map of the machine's uncertainty, which is no label but is fetched as one
TAGS = (FINAL, DRAFT, MACHINE, UNCERTAINTY)
FRESH = 3.0  # s for which the list of cases is not looked for again
_VERSION = re.compile(r"v(\d+)")


class CaseDatastore(Datastore):
    """Shows every BraTS case below a folder as one image, and keeps its labels beside it, in `review/`.

    An image's id is the case's; `<case>@t1ce`, or another of `volumes.VIEWS`, is one view of it. Labels are the
    versions that people saved (`history.History`) and the machine's segmentation, which is kept apart and never
    becomes a version by itself. Scans and their segmentations are never written.

    Args:
        studies: folder of the cases, of any layout.
        view: that clients get of an image.
        cache_bytes: limit of `.served/`, the folder of files that are made for clients.
        allow_missing: whether a case may lack one or two modalities.
    """

    def __init__(
        self, studies: str, *, view: str = "4d", cache_bytes: int = 2**31, allow_missing: bool = False
    ) -> None:
        self.studies = Path(studies)
        self.view, self.allow_missing = view, allow_missing
        self.cache_dir, self.cache_bytes = self.studies / ".served", cache_bytes
        self.items: dict[str, Item] = {}
        self.looked_at = 0.0
        self.refresh()

    def refresh(self) -> None:
        """Looks for the cases, unless that was done a moment ago."""
        if time.monotonic() - self.looked_at > FRESH or not self.items:
            found = find_cases(str(self.studies), labels="ignored", allow_missing=self.allow_missing)
            self.items = {item["case"]: item for item in found}
            self.looked_at = time.monotonic()

    def item(self, image_id: str) -> Item:
        """Returns the item of an image's case.

        Raises:
            HTTPException: 404 where there is no such case, 422 where the case lacks a modality.
        """
        case = image_id.partition("@")[0]
        if case not in self.items or "fault" in self.items[case]:  # it may have come, or been mended, just now
            self.looked_at = 0.0
            self.refresh()
        if case not in self.items:
            raise HTTPException(404, f"no case {image_id} in the studies folder; GET /datastore/?output=all lists them")
        if fault := self.items[case].get("fault"):
            raise HTTPException(422, fault)
        return self.items[case]

    def history(self, case: str) -> History:
        """Returns versions and decisions of a case."""
        return History(Path(self.items[case]["image"][0]).parent / "review", case)

    # ---- images
    def list_images(self) -> list[str]:
        """Returns the ids of all cases that have their files."""
        self.refresh()
        return [case for case, item in self.items.items() if "fault" not in item]

    def get_labeled_images(self, label_tag: str | None = None, labels: Any = None) -> list[str]:
        """Returns the ids of the reviewed cases."""
        return [case for case in self.list_images() if self.history(case).state()["state"] == "reviewed"]

    def get_unlabeled_images(self, label_tag: str | None = None, labels: Any = None) -> list[str]:
        """Returns the ids of the cases that wait for a review: neither reviewed nor rejected."""
        return [case for case in self.list_images() if self.history(case).state()["state"] in ("none", "draft")]

    def get_image_uri(self, image_id: str) -> str:
        """Returns the path of the NIfTI file that is an image's view."""
        view = image_id.partition("@")[2] or self.view
        with http_errors():
            return str(to_view(self.item(image_id), view, cache_dir=self.cache_dir, cache_bytes=self.cache_bytes))

    def get_image(self, image_id: str, params: Any = None) -> bytes:
        """Returns that file's bytes."""
        return Path(self.get_image_uri(image_id)).read_bytes()

    def get_image_info(self, image_id: str) -> dict[str, Any]:
        """Returns what is known of an image: its name, and scores where it has any."""
        case = self.item(image_id)["case"]
        return {"name": f"{case}.nii.gz"} | self.history(case).record()["image"]

    def update_image_info(self, image_id: str, info: dict[str, Any]) -> None:
        """Adds to what is known of an image."""
        with self.history(self.item(image_id)["case"]).changing() as record:
            record["image"] |= info

    # ---- labels
    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any] | None) -> str:
        """Saves what a client sends as a new version, a draft; only the review page, or its API, approves one.

        Args:
            image_id: id of the image.
            label_filename: file of the label map.
            label_tag: `final` or `draft`, which mean the same here.
            label_info: may name the label's values as 3D Slicer does (`label_info`), and the client (`client_id`).

        Raises:
            HTTPException: 404 for an unknown case, 422 for a label that does not fit it.
        """
        item, info = self.item(image_id), label_info or {}
        with http_errors():
            if label_tag not in (FINAL, DRAFT):
                raise BundleError(f"tag {label_tag}: labels are saved under {FINAL} or {DRAFT}, and are drafts")
            segments = info.get("label_info")
            names = {int(segment["idx"]): str(segment["name"]) for segment in segments} if segments else None
            reference = self.reference(item)
            labels = read_label(label_filename, item=item, reference=reference, names=names)
            self._refuse_label_of_another(item["case"], labels)
            client = str(info.get("client_id") or "MONAI Label client")
            self.history(item["case"]).save(
                labels, grid_of(reference)[1], by=str(info.get("user", client)), client=client
            )
        return item["case"]

    def reference(self, item: Item) -> Path:
        """Returns the scan on whose grid the labels of a case lie."""
        return to_view(item, "t1", cache_dir=self.cache_dir, cache_bytes=self.cache_bytes)

    def save_segmentation(
        self, case: str, labels: np.ndarray, uncertainty: np.ndarray, affine: np.ndarray, *, about: dict[str, Any]
    ) -> None:
        """Keeps what the machine made of a case, in place of what it made before.

        Args:
            case: id of the case.
            labels: the segmentation (H, W, D).
            uncertainty: of it, in percent (H, W, D).
            affine: of both.
            about: its `stamp` (of weights and scans) and `metrics`.
        """
        history = self.history(case)
        with http_errors(), history.changing() as record:
            save(self.machine_file(case, MACHINE), labels, affine)
            save(self.machine_file(case, UNCERTAINTY), uncertainty, affine)
            record["segmentation"] = about

    def machine_file(self, case: str, tag: str) -> Path:
        """Returns the file of the machine's segmentation, or of its uncertainty."""
        name = "segmentation" if tag == MACHINE else "uncertainty"
        return self.history(case).folder / f"{case}_{name}.nii.gz"

    def get_label_uri(self, label_id: str, label_tag: str) -> str:
        """Returns the path of a label's file, or nothing where there is none.

        Args:
            label_id: id of the case.
            label_tag: one of `TAGS`, or a version such as `v2`.
        """
        case = self.item(label_id)["case"]
        history = self.history(case)
        if match := _VERSION.fullmatch(label_tag):
            place = history.place(int(match[1]))
        elif label_tag in (MACHINE, UNCERTAINTY):
            place = self.machine_file(case, label_tag)
        elif label_tag in (FINAL, DRAFT):
            version = self._labels(case).get(label_tag, {"version": 0})["version"]
            place = history.place(version)
        else:
            raise HTTPException(422, f"tag {label_tag}: allowed are {', '.join(TAGS)}, and versions such as v1")
        return str(place) if place.exists() else ""

    def get_label(self, label_id: str, label_tag: str, params: Any = None) -> bytes | None:
        """Returns that file's bytes."""
        uri = self.get_label_uri(label_id, label_tag)
        return Path(uri).read_bytes() if uri else None

    def get_labels_by_image_id(self, image_id: str) -> dict[str, str]:
        """Returns the case's id for each tag that it has."""
        case = self.item(image_id)["case"]
        return dict.fromkeys(self._labels(case), case)

    def get_label_by_image_id(self, image_id: str, tag: str) -> str:
        """Returns the id of an image's label, or nothing."""
        return self.get_labels_by_image_id(image_id).get(tag, "")

    def get_label_info(self, label_id: str, label_tag: str) -> dict[str, Any]:
        """Returns what is known of a label."""
        return self._labels(self.item(label_id)["case"]).get(label_tag, {})

    def update_label_info(self, label_id: str, label_tag: str, info: dict[str, Any]) -> None:
        """Is not offered: who saved what is recorded once."""
        raise _refusal()

    def remove_label(self, label_id: str, label_tag: str) -> None:
        """Is not offered: a version is rejected, and stays."""
        raise HTTPException(501, "not offered: no version is ever removed; reject it in the review page")

    # ---- all of it
    def datalist(self) -> list[dict[str, Any]]:
        """Returns the reviewed cases as items to train with."""
        cases = self.get_labeled_images()
        return [{"image": self._source(case), "label": self.get_label_uri(case, FINAL)} for case in cases]

    def unlabelled(self) -> list[dict[str, Any]]:
        """Returns the cases that wait for a review, and are not known to be faulty, as items without a label."""
        cases = [case for case in self.get_unlabeled_images() if not self.get_image_info(case).get("fault")]
        return [{"image": self._source(case)} for case in cases]

    def status(self) -> dict[str, Any]:
        """Counts the cases, the reviewed ones and the labels of each tag."""
        images = self.list_images()
        tags = [tag for case in images for tag in self.get_labels_by_image_id(case)]
        return {
            "total": len(images),
            "completed": len(self.get_labeled_images()),
            "label_tags": {tag: tags.count(tag) for tag in sorted(set(tags))},
        }

    def json(self) -> dict[str, Any]:
        """Returns all that is known of all cases, as MONAI Label's clients read it."""
        objects = {}
        for case in self.list_images():
            objects[case] = {
                "image": {"ext": ".nii.gz", "info": self.get_image_info(case)},
                "labels": {tag: {"ext": ".nii.gz", "info": info} for tag, info in self._labels(case).items()},
            }
        return {"name": self.name(), "description": self.description(), "objects": objects}

    def name(self) -> str:
        """Returns the name of the studies folder."""
        return self.studies.name

    def description(self) -> str:
        """Says what this is."""
        return f"BraTS cases for review. {NOT_FOR_DIAGNOSIS}"

    def set_name(self, name: str) -> None:
        """Is not offered."""
        raise _refusal()

    def set_description(self, description: str) -> None:
        """Is not offered."""
        raise _refusal()

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        """Is not offered."""
        raise _refusal()

    def remove_image(self, image_id: str) -> None:
        """Is not offered."""
        raise _refusal()

    def get_dataset_archive(self, limit_cases: int | None) -> str:
        """Is not offered."""
        raise _refusal()

    def _labels(self, case: str) -> dict[str, dict[str, Any]]:
        history = self.history(case)
        state, labels = history.state(), {}
        if state["state"] == "reviewed":
            labels[FINAL] = {name: state[name] for name in ("version", "by", "at", "comment")}
        if state["draft"]:
            labels[DRAFT] = history.versions()[-1]
        if about := history.record()["segmentation"]:
            labels[MACHINE] = labels[UNCERTAINTY] = about
        return labels

    def _refuse_label_of_another(self, case: str, labels: np.ndarray) -> None:
        digest = digest_of(labels)
        for other in self.list_images() if labels.any() else []:
            record = self.history(other).record() if other != case else {"versions": [], "segmentation": {}}
            known = {version.get("voxels") for version in record["versions"]} | {record["segmentation"].get("voxels")}
            if digest in known:
                raise BundleError(f"this is the label of {other}, voxel for voxel; it was sent for {case}")

    def _source(self, case: str) -> str | list[str]:
        image = self.item(case)["image"]
        return image if len(image) == 4 else self.get_image_uri(f"{case}@4d")


@contextmanager
def http_errors() -> Iterator[None]:
    """Gives a client the message of a user's mistake, in place of 'Internal Server Error'."""
    try:
        yield
    except BundleError as error:
        raise HTTPException(422, str(error)) from error


def _refusal() -> HTTPException:
    return HTTPException(501, "not offered: the studies folder itself is what is shown; add and remove cases there")
