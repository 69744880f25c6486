# SPDX-License-Identifier: Apache-2.0
"""What people made of a case: versions of its label, decisions on them, and who made which."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import nibabel as nib
import numpy as np
from filelock import FileLock

from scripts.base.atomic_files import write_atomically
from scripts.base.errors import BundleError
from scripts.label_app.volumes import save

Decision = Literal["reviewed", "rejected"]
Record = dict[str, Any]


class VersionConflictError(Exception):
    """Somebody has saved a version since the one that a client opened.

    Args:
        newest: record of the newest version.
    """

    def __init__(self, newest: Record) -> None:
        super().__init__(f"{newest['by']} has saved version {newest['version']} since you opened the case")
        self.newest = newest


class History:
    """Versions of a case's label, beside its scans: `review/<case>_v001.nii.gz`, the next one v002, none ever replaced.

    `review/<case>.json` records who saved each version, when and from which client, and each decision: `reviewed` or
    `rejected`, of which version, by whom, when, and with which comment. A version without a decision is a draft.

    Args:
        folder: of the case's label maps.
        case: id of the case.
    """

    def __init__(self, folder: Path, case: str) -> None:
        self.folder, self.case = folder, case
        self.file = folder / f"{case}.json"

    # ---- reading
    def record(self) -> Record:
        """Returns all that is known of the case."""
        empty: Record = {"image": {}, "segmentation": {}, "versions": [], "decisions": []}
        return empty | json.loads(self.file.read_text()) if self.file.exists() else empty

    def place(self, version: int) -> Path:
        """Returns the file of a version."""
        return self.folder / f"{self.case}_v{version:03d}.nii.gz"

    def versions(self) -> list[Record]:
        """Returns the records of all versions, the oldest first; a file without a record has no author."""
        known = {version["version"]: version for version in self.record()["versions"]}
        pattern = re.compile(rf"{re.escape(self.case)}_v(\d+)\.nii\.gz")
        found = [pattern.fullmatch(place.name) for place in self.folder.glob("*.nii.gz")]
        numbers = sorted(int(match[1]) for match in found if match)
        return [known.get(number, {"version": number, "by": "unknown", "at": "", "client": ""}) for number in numbers]

    def newest(self) -> int:
        """Returns the number of the newest version, 0 where there is none."""
        return max((version["version"] for version in self.versions()), default=0)

    def state(self) -> Record:
        """Returns `state` ('none', 'draft', 'reviewed', 'rejected'), the `version` it is of, and the decision's data.

        The last decision holds until the next one: a draft that is saved later is told by `draft`, its number.
        """
        newest, decisions = self.newest(), self.record()["decisions"]
        if not decisions:
            return {"state": "draft" if newest else "none", "version": newest, "draft": newest}
        return decisions[-1] | {"draft": newest if newest > decisions[-1]["version"] else 0}

    # ---- writing
    def save(
        self,
        labels: np.ndarray,
        affine: np.ndarray,
        *,
        by: str,
        client: str,
        based_on: int | None = None,
        decision: Decision | None = None,
        comment: str = "",
    ) -> int:
        """Saves a label map as a new version, unless it is the newest one's, and records a decision on it.

        Args:
            labels: the label map (H, W, D), uint8.
            affine: of its voxels.
            by: who saves it.
            client: the program that sends it.
            based_on: the version that was opened, 0 for none; None does not compare it with the newest.
            decision: what is decided on the version; None leaves it a draft.
            comment: of the decision.

        Returns:
            The number of the version.

        Raises:
            VersionConflictError: where a newer version than `based_on` exists.
            BundleError: where it cannot be written, or what was written is not what was sent.
        """
        with self.changing() as record:
            newest = self.newest()
            if based_on is not None and based_on != newest:
                raise VersionConflictError(self.versions()[-1])
            version, digest = newest, digest_of(labels)
            if not newest or digest_of(read_voxels(self.place(newest))) != digest:
                version = newest + 1
                save(self.place(version), labels, affine)
                if digest_of(read_voxels(self.place(version))) != digest:
                    raise BundleError(f"{self.place(version)}: holds other voxels than were sent; check the disk")
                record["versions"].append(
                    {"version": version, "by": by, "at": now(), "client": client, "based_on": based_on}
                    | {"voxels": digest, "empty": not labels.any()}
                )
            if decision:
                record["decisions"].append(_decision(decision, version, by, comment))
        return version

    def decide(self, decision: Decision, *, version: int, by: str, comment: str = "") -> None:
        """Records a decision on a version, or on the case where `version` is 0.

        Raises:
            BundleError: where there is no such version.
        """
        if version and not self.place(version).exists():
            raise BundleError(f"{self.case} has no version {version}; open the case again")
        with self.changing() as record:
            record["decisions"].append(_decision(decision, version, by, comment))

    @contextmanager
    def changing(self) -> Iterator[Record]:
        """Yields the record and writes it back, while nobody else does; scoring runs in a process of its own."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.folder / f".{self.case}.lock").acquire()
        except OSError as error:
            raise BundleError(f"{self.folder}: cannot be written ({error.strerror}); grant access to it") from error
        with lock:
            record = self.record()
            yield record
            write_atomically(self.file, json.dumps(record, indent=1).encode())


def read_voxels(place: Path) -> np.ndarray:
    """Returns the voxels of a label map that this project wrote."""
    return np.asarray(nib.Nifti1Image.from_filename(place).dataobj, dtype=np.uint8)


def digest_of(labels: np.ndarray) -> str:
    """Returns the SHA-256 of a label map's voxels and shape."""
    return hashlib.sha256(repr(labels.shape).encode() + labels.astype(np.uint8).tobytes(order="F")).hexdigest()


def now() -> str:
    """Returns the time, in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _decision(decision: Decision, version: int, by: str, comment: str) -> Record:
    return {"state": decision, "version": version, "by": by, "at": now(), "comment": comment}
