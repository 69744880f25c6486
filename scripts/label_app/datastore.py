# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import HTTPException
from filelock import FileLock
from monailabel.interfaces.datastore import Datastore, DefaultLabelTag

from scripts.base.atomic_files import write_atomically
from scripts.base.errors import BundleError
from scripts.brats import Item
from scripts.data.discovery import find_cases
from scripts.label_app.volumes import save, to_labels, to_view

FINAL = DefaultLabelTag.FINAL.value
OVERLAY = "confidence"  # tag of what is no label, but is fetched as one
_TAG = re.compile(r"(?P<tag>[a-z]\w*)(\.v(?P<version>\d+))?", re.IGNORECASE)


class CaseDatastore(Datastore):
    """Shows every BraTS case below a folder as one image, and keeps its labels beside it, in `review/`.

    An image's id is the case's; `<case>@t1ce`, or another of `volumes.VIEWS`, is one view of it. A label is saved as
    `review/<case>_<tag>_v001.nii.gz`, the next one as v002: the tag names the newest, `<tag>.v1` an older one. What is
    known of a case, as its scores, is in `review/<case>.json`. Scans and their segmentations are never written.

    Args:
        studies: folder of the cases, of any layout.
        view: that clients get of an image.
    """

    def __init__(self, studies: str, *, view: str = "4d") -> None:
        self.studies = Path(studies)
        self.view = view
        self.cache_dir = self.studies / ".served"
        self.items: dict[str, Item] = {}
        self.refresh()

    def refresh(self) -> None:
        """Looks for the cases anew."""
        self.items = {item["case"]: item for item in find_cases(str(self.studies), labels="ignored")}

    def item(self, image_id: str) -> Item:
        """Gives the item of an image's case.

        Raises:
            HTTPException: 404 where there is no such case, 422 where the case lacks a modality.
        """
        case = image_id.partition("@")[0]
        if case not in self.items:
            self.refresh()
        if case not in self.items:
            raise HTTPException(404, f"no case {image_id} in the studies folder; GET /datastore/?output=all lists them")
        if fault := self.items[case].get("fault"):
            raise HTTPException(422, fault)
        return self.items[case]

    # ---- images
    def list_images(self) -> list[str]:
        """Gives the ids of all whole cases."""
        return [case for case, item in self.items.items() if "fault" not in item]

    def get_labeled_images(self, label_tag: str | None = None, labels: Any = None) -> list[str]:
        """Gives the ids of the reviewed cases."""
        return [case for case in self.list_images() if self._versions(case, FINAL)]

    def get_unlabeled_images(self, label_tag: str | None = None, labels: Any = None) -> list[str]:
        """Gives the ids of the cases that nobody has reviewed yet."""
        return [case for case in self.list_images() if not self._versions(case, FINAL)]

    def get_image_uri(self, image_id: str) -> str:
        """Gives the path of the NIfTI file that is an image's view."""
        with http_errors():
            return str(to_view(self.item(image_id), image_id.partition("@")[2] or self.view, cache_dir=self.cache_dir))

    def get_image(self, image_id: str, params: Any = None) -> bytes:
        """Gives that file's bytes."""
        return Path(self.get_image_uri(image_id)).read_bytes()

    def get_image_info(self, image_id: str) -> dict[str, Any]:
        """Gives what is known of an image: its name, and scores where it has any."""
        case = self.item(image_id)["case"]
        return {"name": f"{case}.nii.gz"} | self._known(case)["image"]

    def update_image_info(self, image_id: str, info: dict[str, Any]) -> None:
        """Adds to what is known of an image."""
        with self._changed(self.item(image_id)["case"]) as known:
            known["image"] |= info

    # ---- labels
    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any] | None) -> str:
        """Saves a label as the newest version of its tag; `label_info` may name its values as 3D Slicer does.

        Raises:
            HTTPException: 404 for an unknown case, 422 for a label that does not fit it.
        """
        item, info = self.item(image_id), label_info or {}
        with http_errors():
            if label_tag == OVERLAY or _parse_tag(label_tag)[1]:
                raise BundleError(f"tag {label_tag}: labels cannot be saved under it; {FINAL} is usual")
            segments = info.get("label_info")
            numbers = {int(segment["idx"]): str(segment["name"]) for segment in segments} if segments else None
            reference = to_view(item, "t1", cache_dir=self.cache_dir)
            labels, affine = to_labels(label_filename, reference, numbers=numbers)
            self._save(item["case"], label_tag, labels, affine, info)
        return item["case"]

    def save_overlay(self, image_id: str, voxels: np.ndarray, affine: np.ndarray) -> str:
        """Saves the critic's confidence (H, W, D), which a client fetches as a label of the tag `confidence`."""
        with http_errors():
            self._save(self.item(image_id)["case"], OVERLAY, voxels, affine, {})
        return OVERLAY

    def get_label_uri(self, label_id: str, label_tag: str) -> str:
        """Gives the path of a label's file, or nothing where there is none."""
        case = self.item(label_id)["case"]
        with http_errors():
            tag, version = _parse_tag(label_tag)
        versions = self._versions(case, tag)
        return str(versions.get(version or max(versions, default=0), ""))

    def get_label(self, label_id: str, label_tag: str, params: Any = None) -> bytes | None:
        """Gives that file's bytes."""
        uri = self.get_label_uri(label_id, label_tag)
        return Path(uri).read_bytes() if uri else None

    def get_labels_by_image_id(self, image_id: str) -> dict[str, str]:
        """Gives the case's id for each tag of its labels."""
        case = self.item(image_id)["case"]
        return {tag: case for tag in self._known(case)["labels"] if self._versions(case, tag)}

    def get_label_by_image_id(self, image_id: str, tag: str) -> str:
        """Gives the id of an image's label, or nothing."""
        return self.get_labels_by_image_id(image_id).get(tag, "")

    def get_label_info(self, label_id: str, label_tag: str) -> dict[str, Any]:
        """Gives what is known of a label's newest version."""
        return self._known(self.item(label_id)["case"])["labels"].get(label_tag, {})

    def update_label_info(self, label_id: str, label_tag: str, info: dict[str, Any]) -> None:
        """Adds to what is known of a label."""
        with self._changed(self.item(label_id)["case"]) as known:
            known["labels"].setdefault(label_tag, {}).update(info)

    def remove_label(self, label_id: str, label_tag: str) -> None:
        """Withdraws a label: its files stay, as `<name>.removed`."""
        for place in self._versions(self.item(label_id)["case"], label_tag).values():
            place.rename(place.with_name(f"{place.name}.removed"))

    # ---- all of it
    def datalist(self) -> list[dict[str, Any]]:
        """Gives the reviewed cases as items to train with."""
        cases = self.get_labeled_images()
        return [{"image": self._source(case), "label": self.get_label_uri(case, FINAL)} for case in cases]

    def unlabelled(self) -> list[dict[str, Any]]:
        """Gives the cases that nobody has reviewed, and that are not known to be faulty, as items without a label."""
        cases = [case for case in self.get_unlabeled_images() if not self.get_image_info(case).get("fault")]
        return [{"image": self._source(case)} for case in cases]

    def status(self) -> dict[str, Any]:
        """Counts the cases, the reviewed ones and the labels of each tag."""
        tags = [tag for case in self.list_images() for tag in self.get_labels_by_image_id(case)]
        return {
            "total": len(self.list_images()),
            "completed": len(self.get_labeled_images()),
            "label_tags": {tag: tags.count(tag) for tag in sorted(set(tags))},
        }

    def json(self) -> dict[str, Any]:
        """Gives all that is known of all cases, as MONAI Label's clients read it."""
        objects = {}
        for case in self.list_images():
            labels = self._known(case)["labels"]
            objects[case] = {
                "image": {"ext": ".nii.gz", "info": self.get_image_info(case)},
                "labels": {tag: {"ext": ".nii.gz", "info": labels[tag]} for tag in self.get_labels_by_image_id(case)},
            }
        return {"name": self.name(), "description": self.description(), "objects": objects}

    def name(self) -> str:
        """Gives the name of the studies folder."""
        return self.studies.name

    def description(self) -> str:
        """Says what this is."""
        return "BraTS cases for review. Not for diagnosis."

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

    def _source(self, case: str) -> list[str]:
        image = self.item(case)["image"]
        return image if len(image) == 4 else [self.get_image_uri(f"{case}@4d")]

    def _folder(self, case: str) -> Path:
        return Path(self.items[case]["image"][0]).parent / "review"

    def _versions(self, case: str, tag: str) -> dict[int, Path]:
        pattern = re.compile(rf"{re.escape(case)}_{re.escape(tag)}_v(\d+)\.nii\.gz")
        found = [(pattern.fullmatch(place.name), place) for place in sorted(self._folder(case).glob("*.nii.gz"))]
        return {int(match[1]): place for match, place in found if match}

    def _save(self, case: str, tag: str, voxels: np.ndarray, affine: np.ndarray, info: Mapping[str, Any]) -> None:
        with self._changed(case) as known:
            version = max(self._versions(case, tag), default=0) + (tag != OVERLAY)
            save(self._folder(case) / f"{case}_{tag}_v{version:03d}.nii.gz", voxels, affine)
            known["labels"][tag] = {**info, "version": version, "ts": int(time.time())}

    def _known(self, case: str) -> dict[str, Any]:
        place = self._folder(case) / f"{case}.json"
        return json.loads(place.read_text()) if place.exists() else {"image": {}, "labels": {}}

    @contextmanager
    def _changed(self, case: str) -> Iterator[dict[str, Any]]:
        # scoring runs in a process of its own
        place = self._folder(case) / f"{case}.json"
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(place.with_name(f".{case}.lock")).acquire()
        except OSError as error:
            raise BundleError(f"{place.parent}: cannot be written ({error.strerror}); grant access to it") from error
        with lock:
            known = self._known(case)
            yield known
            write_atomically(place, json.dumps(known, indent=1).encode())


@contextmanager
def http_errors() -> Iterator[None]:
    """Gives a client the message of a user's mistake, in place of 'Internal Server Error'."""
    try:
        yield
    except BundleError as error:
        raise HTTPException(422, str(error)) from error


def _parse_tag(label_tag: str) -> tuple[str, int]:
    match = _TAG.fullmatch(label_tag)
    if not match:
        raise BundleError(
            f"tag {label_tag}: allowed are words, such as {FINAL}, and their versions, such as {FINAL}.v1"
        )
    return match["tag"], int(match["version"] or 0)


def _refusal() -> HTTPException:
    return HTTPException(501, "not offered: the studies folder itself is what is shown; add and remove cases there")
