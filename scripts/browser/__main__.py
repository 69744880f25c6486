# SPDX-License-Identifier: Apache-2.0
"""Command line: writes the page that segments in the browser."""

from __future__ import annotations

import argparse
from pathlib import Path

from scripts.base.errors import report_bundle_errors
from scripts.browser.packages import ARCHIVES, fetch_packages
from scripts.browser.site import build_site, write_site

BUNDLE = Path(__file__).resolve().parents[2]


def main() -> None:
    """Runs the command line."""
    report_bundle_errors()
    parser = argparse.ArgumentParser(
        prog="python -m scripts.browser",
        description="Writes a static page that segments tumours in the browser; nothing is uploaded.",
    )
    parser.add_argument("folder", type=Path, help="where to write it")
    parser.add_argument(
        "--packages", type=Path, default=ARCHIVES, help="folder of npm packages, fetched where absent (output/npm)"
    )
    parser.add_argument("--ckpt_dir", default=str(BUNDLE / "models"), help="folder of model.pt and critic.pt (models)")
    args = parser.parse_args()
    fetch_packages(args.packages)
    files = build_site(args.packages, config_file=BUNDLE / "configs" / "inference.yaml", ckpt_dir=args.ckpt_dir)
    write_site(args.folder, files)
    megabytes = sum(map(len, files.values())) / 1e6
    print(f"{len(files)} files, {megabytes:.1f} MB, are in {args.folder}; serve it by any web server, for example")
    print(f"python -m http.server --bind 127.0.0.1 --directory {args.folder} 8000")


if __name__ == "__main__":
    main()
