# SPDX-License-Identifier: Apache-2.0
"""The page in a real browser, on a static server, in a subfolder: segments as the commands do, and asks nobody else."""

from __future__ import annotations

import base64
import json
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
import pytest
from matplotlib.image import imread
from monai.utils import optional_import

from scripts.base.results import LIST
from scripts.brats import MSD_CHANNELS, REGION_VALUES, REGIONS, TISSUES
from scripts.browser.packages import ARCHIVES, PACKAGES
from scripts.browser.site import build_site, write_site
from scripts.data.phantoms import make_phantom
from scripts.data.predictions import is_prediction
from tests.browser.firefox import FIREFOX, FirefoxPage, open_firefox
from tests.browser.served import serve
from tests.dicom_builder import Grid, pydicom, save_case
from tests.outputs import label_dice
from tests.test_workflows import BUNDLE, INFERENCE, REAL_CASES, run_bundle
from tests.tolerances import EXACT, FLOAT32

CASE, SHAPE = "small_head", (72, 72, 60)
PATIENCE = 240_000  # milliseconds
# what the page says is going on
RECORD = """() => {
  window.said = [];
  setInterval(() => window.said.push(document.getElementById("status").textContent), 30);
}"""
OPAQUE = """() => {
  const slider = document.querySelector("[data-overlay=label]");
  slider.value = 100;
  slider.dispatchEvent(new Event("input"));
}"""
DROP = """async ([names, contents]) => {
  const data = new DataTransfer();
  const bytes = (text) => Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
  names.forEach((name, at) => data.items.add(new File([bytes(contents[at])], name)));
  const event = { dataTransfer: data, bubbles: true };
  for (const kind of ["dragover", "drop"]) document.body.dispatchEvent(new DragEvent(kind, event));
}"""


class Site(NamedTuple):
    address: str
    asked: list[str]
    folder: Path


@pytest.fixture(scope="module")
def site(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    if not optional_import("onnx")[1]:
        pytest.skip("ONNX is not installed: requirements-export.txt")
    if absent := [package.archive for package in PACKAGES if not (ARCHIVES / package.archive).is_file()]:
        pytest.skip(f"{absent[0]} is not in {ARCHIVES}: `python -m scripts.browser FOLDER` fetches it")
    root = tmp_path_factory.mktemp("root")
    folder = root / "tools" / "segmentation"
    write_site(folder, build_site(ARCHIVES, config_file=BUNDLE / INFERENCE, ckpt_dir=str(BUNDLE / "models")))
    with serve(root) as (address, asked):
        yield Site(f"{address}/tools/segmentation/", asked, folder)


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A phantom whose voxels are said to have 1.9 mm, so that it is resampled: a small head, and fast networks."""
    folder = tmp_path_factory.mktemp("data") / "cases" / CASE
    folder.mkdir(parents=True)
    image, _ = make_phantom(4, shape=SHAPE)
    paths = [folder / f"{CASE}_{name}.nii.gz" for name in ("t1", "t1ce", "t2", "flair")]
    for path, modality in zip(paths, image):
        nib.save(nib.Nifti1Image(modality, np.diag([-1.9, -1.9, 1.9, 1])), path)
    return paths


@pytest.fixture(scope="module")
def expected(scans: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return infer(scans[0].parent.parent, tmp_path_factory.mktemp("expected"))


def infer(dataset: Path, folder: Path) -> Path:
    result = run_bundle(
        "inferring", INFERENCE, dataset_dir=dataset, output_dir=folder, cache_dir=folder, confidence=True
    )
    assert result.returncode == 0, result.stderr
    return folder


@pytest.fixture(scope="module")
def page(browser: Any, site: Site) -> Iterator[Any]:
    """The page, loaded once; nothing may show on its console, and no other address may be asked."""
    said: list[str] = []
    context = browser.new_context(viewport={"width": 1200, "height": 1000}, accept_downloads=True)
    context.on("request", lambda request: said.append(request.url) if not is_own(request.url, site) else None)
    opened = context.new_page()
    opened.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
    opened.on("pageerror", lambda error: said.append(f"page error: {error}"))
    opened.goto(site.address)
    opened.wait_for_selector("html[data-page=ready]", timeout=PATIENCE)
    yield opened
    # GPU drivers without a GPU complain of readbacks, which pictures are
    assert [line for line in said if "ReadPixels" not in line] == []
    context.close()


@pytest.fixture(scope="module")
def firefox(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FirefoxPage]:
    if FIREFOX is None:
        pytest.skip("no firefox on PATH")
    pytest.importorskip("marionette_driver", reason="marionette_driver is not installed")
    with open_firefox(tmp_path_factory.mktemp("downloads")) as opened:
        opened.goto(site.address)
        opened.wait_for_selector("html[data-page=ready]", timeout=PATIENCE)
        yield opened


@pytest.fixture(params=["page", "firefox"], ids=["chromium", "firefox"])
def either(request: pytest.FixtureRequest) -> Any:
    """The page in Chromium and in Firefox, for which `FirefoxPage` says what tests can use."""
    return request.getfixturevalue(request.param)


def is_own(url: str, site: Site) -> bool:
    return url.startswith((site.address, "data:", "blob:"))


def segment(page: Any, files: list[Path] | None, case: str) -> None:
    """Segments files, or what has been chosen, and waits for the result."""
    page.evaluate("delete document.documentElement.dataset.result")
    if files:
        page.set_input_files("#files", [str(path) for path in files])
    page.click("#segment")
    page.wait_for_selector(f"html[data-result='{case}'], #problem:not([hidden])", timeout=PATIENCE)
    assert page.inner_text("#problem") == ""


def wait_for_words(page: Any, selector: str, words: str) -> None:
    end = time.monotonic() + PATIENCE / 1000
    while (said := page.inner_text(selector)) != words:
        assert time.monotonic() < end, said
        time.sleep(0.05)


def download(page: Any, button: str, folder: Path) -> Path:
    if isinstance(page, FirefoxPage):
        return page.download(button, folder)
    with page.expect_download() as waiting:
        page.click(button)
    path = folder / waiting.value.suggested_filename
    waiting.value.save_as(path)
    return path


def image(path: Path) -> nib.Nifti1Image:
    return nib.Nifti1Image.from_filename(path)


def assert_same(page: Any, expected: Path, case: str, folder: Path) -> None:
    """Compares what the page saves with what the commands wrote."""
    own, of_commands = image(download(page, "#save-labels", folder)), image(expected / f"{case}_seg.nii.gz")
    assert is_prediction(folder / f"{case}_seg.nii.gz")
    np.testing.assert_allclose(own.affine, of_commands.affine, rtol=FLOAT32, atol=EXACT)
    found, wanted = np.asarray(own.dataobj), np.asarray(of_commands.dataobj)
    assert found.dtype == wanted.dtype
    for value in (1, 2, 4):
        # of rounding alone, see `label_dice`; half a voxel of 1.9 mm astray would cost more than a tenth
        assert label_dice(found == value, wanted == value) >= 0.99
    confidence = image(expected / f"{case}_confidence.nii.gz").get_fdata()
    for index, region in enumerate(REGIONS):
        page.select_option("#region", region)
        certain = image(download(page, "#save-confidence", folder)).get_fdata()
        # rounding may take the next of the steps of 0.01; where the prediction is in doubt, it may also change its
        # side, and with it what is meant by confidence
        assert (np.abs(certain - confidence[..., index]) > 0.0101).mean() < 1e-4
        volume = (np.isin(found, REGION_VALUES[region]).sum() * abs(np.linalg.det(own.affine[:3, :3]))) / 1000
        said = float(page.inner_text(f"#regions tr:nth-child({index + 1}) td"))
        assert said == pytest.approx(volume, abs=0.005 + EXACT)  # two decimals are shown


def test_a_phantom_is_segmented_as_by_the_commands(
    either: Any, scans: list[Path], expected: Path, tmp_path: Path
) -> None:
    either.evaluate(RECORD)
    segment(either, scans, CASE)
    assert either.evaluate("document.activeElement.id") == "result-title"
    assert_same(either, expected, CASE, tmp_path)
    said = either.evaluate("[...new Set(window.said)]")
    assert [words for words in said if words.startswith("Segmenting")], said
    # the crosshair is in the slices with the most tumour, and reads what lies there
    assert re.search(r"FLAIR \d+ .* (oedema|core|tumour) .* confidence ET \d+ %", either.inner_text("#readout"))


def test_threads_are_used_where_the_host_sends_no_headers(page: Any) -> None:
    assert page.evaluate("crossOriginIsolated")
    assert page.evaluate("navigator.serviceWorker.controller !== null")


def test_labels_of_2023_and_the_picture_are_saved(page: Any, scans: list[Path], tmp_path: Path) -> None:
    page.set_input_files("#files", [str(path) for path in scans])
    page.select_option("#enhancing", "3")
    segment(page, scans, CASE)
    assert set(np.unique(np.asarray(image(download(page, "#save-labels", tmp_path)).dataobj))) == {0, 1, 2, 3}
    page.select_option("#enhancing", "4")
    page.evaluate(OPAQUE)
    picture = download(page, "#save-picture", tmp_path)
    assert picture.name == f"{CASE}.png"
    drawn = imread(picture)[:-88, :, :3] * 255  # without the words
    for tissue in TISSUES.values():
        colour = [int(tissue.colour[at : at + 2], 16) for at in (1, 3, 5)]
        assert (np.abs(drawn - colour).max(axis=-1) <= 2).sum() > 20, tissue.name


def test_dropped_files_of_other_names_are_assigned_by_hand(either: Any, scans: list[Path]) -> None:
    contents = [base64.b64encode(path.read_bytes()).decode() for path in scans]
    either.evaluate(DROP, [["a.nii.gz", "b.nii.gz", "c.nii.gz", "d.nii.gz"], contents])
    either.wait_for_selector("#problem:not([hidden])")
    assert "has no T1 and no T1ce and no T2 and no FLAIR file (found a.nii.gz, b.nii.gz" in either.inner_text(
        "#problem"
    )
    assert either.is_disabled("#segment")
    for modality, name in zip(("T1", "T1ce", "T2", "FLAIR"), "aabc"):
        either.select_option(f"[data-slot='{modality}']", label=f"{name}.nii.gz")
    either.click("#segment")
    either.wait_for_selector("#problem:not([hidden])")
    assert either.inner_text("#problem") == "a.nii.gz: is chosen twice; choose another file for T1ce"


def test_a_faulty_file_gives_one_line_and_the_page_goes_on(either: Any, scans: list[Path], tmp_path: Path) -> None:
    for path in scans:
        shutil.copy(path, tmp_path)
    scan = image(scans[1])
    nib.save(nib.Nifti1Image(np.asarray(scan.dataobj)[:-1], scan.affine), tmp_path / scans[1].name)
    either.set_input_files("#files", [str(path) for path in sorted(tmp_path.iterdir())])
    either.click("#segment")
    either.wait_for_selector("#problem:not([hidden])", timeout=PATIENCE)
    name, first = scans[1].name, scans[0].name
    expected = f"{name}: shape (71, 72, 60), but {first} has (72, 72, 60); resample it to the same grid"
    assert either.inner_text("#problem") == expected
    assert not either.is_disabled("#segment")


def test_a_cancelled_case_can_be_segmented_again_without_a_network(
    either: Any, scans: list[Path], expected: Path, tmp_path: Path
) -> None:
    either.context.set_offline(True)
    try:
        either.set_input_files("#files", [str(path) for path in scans])
        either.click("#segment")
        either.click("#cancel")
        wait_for_words(either, "#status", "Cancelled.")
        segment(either, scans, CASE)
        assert_same(either, expected, CASE, tmp_path)
        either.click("#phantom")
        wait_for_words(either, "#case", "phantom")
        either.reload()
        either.wait_for_selector("html[data-page=ready]", timeout=PATIENCE)
    finally:
        either.context.set_offline(False)


def test_one_4d_file_is_segmented_as_four_files(page: Any, scans: list[Path], expected: Path, tmp_path: Path) -> None:
    volumes = [image(scans[index]) for index in np.argsort(MSD_CHANNELS)]
    four = np.stack([np.asarray(volume.dataobj) for volume in volumes], axis=-1)
    nib.save(nib.Nifti1Image(four, volumes[0].affine), tmp_path / f"{CASE}.nii.gz")
    segment(page, [tmp_path / f"{CASE}.nii.gz"], CASE)
    assert_same(page, expected, CASE, tmp_path)
    page.select_option("[data-slot=T2]", label=f"{CASE}.nii.gz, volume 1")
    page.click("#segment")
    page.wait_for_selector("#problem:not([hidden])")
    assert page.inner_text("#problem") == f"{CASE}.nii.gz, volume 1: is chosen twice; choose another file for FLAIR"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The phantom as DICOM series: folders as the commands want them, of descriptions that tell nothing."""
    pytest.importorskip("pydicom", reason="pydicom is not installed: requirements-dicom.txt")
    folder = tmp_path_factory.mktemp("dicom") / "study" / CASE
    frames = make_phantom(4, shape=SHAPE)[0].transpose(0, 3, 2, 1)
    save_case(folder, frames, Grid(spacing=(2.0, 2.0, 2.0)))
    return folder


def test_dicom_series_are_segmented_as_by_the_commands_without_a_network(
    either: Any, study: Path, tmp_path: Path
) -> None:
    expected = infer(study.parent, tmp_path / "expected")
    # as from an archive: numbered files in one folder, and descriptions
    export = tmp_path / "export"
    export.mkdir()
    for name, words in (("t2", "t2 tse"), ("t1ce", "T1 +C"), ("t1", "T1"), ("flair", "T2 FLAIR")):
        for path in (study / name).iterdir():
            instance = pydicom.dcmread(path)
            instance.SeriesDescription = words
            instance.save_as(export / f"IM{len(list(export.iterdir())):04d}")
    (export / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    either.context.set_offline(True)
    try:
        either.set_input_files("#files", [str(path) for path in export.iterdir()])
        wait_for_words(either, "#case", "case")
        segment(either, None, "case")
    finally:
        either.context.set_offline(False)
    saved = download(either, "#save-labels", tmp_path)
    own, of_commands = (nib.as_closest_canonical(image(path)) for path in (saved, expected / f"{CASE}_seg.nii.gz"))
    # dcm2niix computes in float32: two places of up to 172 mm, rounded by 2^-17 each, tell the distance of slices, and
    # the ends of the stack lie 60 of these apart
    np.testing.assert_allclose(own.affine, of_commands.affine, rtol=0, atol=1e-3)
    for value in (1, 2, 4):
        # as above
        assert label_dice(own.get_fdata() == value, of_commands.get_fdata() == value) >= 0.99


def test_faulty_dicom_gives_one_line(page: Any, study: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(study, tmp_path / CASE)
    (folder / "t2" / "020.dcm").unlink()
    for path in (folder / "t2").iterdir():
        instance = pydicom.dcmread(path)
        instance.SeriesDescription = "T2\tTSE"  # with a tab, of which dcm2niix makes no JSON
        instance.save_as(path)
    page.set_input_files("#folder", folder)
    page.wait_for_selector("#segment:enabled")
    page.click("#segment")
    page.wait_for_selector("#problem:not([hidden])")
    stack = "is not a regular stack of slices: a slice is missing, turned or out of place; export it again"
    assert page.inner_text("#problem") == f"series.nii: {stack}"
    cut = folder / "flair" / "007.dcm"
    cut.write_bytes(cut.read_bytes()[:-100])
    page.set_input_files("#folder", folder)
    page.wait_for_selector("#problem:has-text('truncated')")
    said = f"{CASE}/flair/007.dcm: is truncated, it ends before its pixels do; copy it again"
    assert page.inner_text("#problem") == said


def test_policy_forbids_inline_scripts_and_other_addresses(browser: Any, site: Site) -> None:
    opened = browser.new_page()  # of its own, for what is blocked shows on the console
    opened.goto(site.address)
    opened.wait_for_selector("html[data-page=ready]", timeout=PATIENCE)
    blocked = opened.evaluate("""async () => {
      const script = document.createElement("script");
      script.textContent = "window.ran = true";
      document.head.append(script);
      const answer = await fetch("https://example.org/").then(() => "answered", () => "blocked");
      return [window.ran ?? "not run", answer];
    }""")
    assert blocked == ["not run", "blocked"]
    opened.close()


def test_first_load_is_small_and_everything_is_in_the_folder(site: Site, page: Any) -> None:
    listed = json.loads((site.folder / "files.json").read_text())["files"]
    assert sum(listed.values()) < 25e6
    found = {path.relative_to(site.folder).as_posix() for path in site.folder.rglob("*") if path.is_file()}
    assert {name for name in found if not name.endswith(LIST)} == {*listed, "files.json"}
    assert all(path.startswith("/tools/segmentation/") for path in site.asked)
    text = (site.folder / "LICENSES.txt").read_text()
    assert all(name in text for name in ("NiiVue", "ONNX Runtime", "Eigen", "dcm2niix", "CharLS", "OpenJPEG"))


def test_page_fits_a_phone_and_its_controls_have_names(browser: Any, site: Site) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 800})
    opened = context.new_page()
    opened.goto(site.address)
    opened.wait_for_selector("html[data-page=ready]", timeout=PATIENCE)
    opened.evaluate("for (const part of document.querySelectorAll('[hidden]')) part.hidden = false")
    assert opened.evaluate("document.documentElement.scrollWidth") <= 390
    nameless = opened.evaluate("""() => [...document.querySelectorAll("button, select, input, canvas")].filter((one) =>
      !(one.textContent.trim() || one.ariaLabel || one.labels?.length)).map((one) => one.outerHTML)""")
    assert nameless == []
    context.close()


@pytest.mark.slow
@pytest.mark.skipif(not REAL_CASES.is_dir(), reason=f"no real cases in {REAL_CASES}")
def test_a_patient_is_segmented_as_by_the_commands(page: Any, tmp_path: Path) -> None:
    patient = tmp_path / "scans" / "BraTS2021_00006"
    patient.parent.mkdir()
    patient.symlink_to(REAL_CASES / patient.name)
    segment(page, sorted(patient.iterdir()), patient.name)
    assert_same(page, infer(patient.parent, tmp_path / "expected"), patient.name, tmp_path)
