# SPDX-License-Identifier: Apache-2.0
"""Command line of the federated simulation: `python -m scripts.federated`."""

from __future__ import annotations

import argparse
import json

from scripts.base.errors import BundleError, report_bundle_errors
from scripts.federated.algo import CONFIG_FILES


def main() -> None:
    """Trains at several sites in NVIDIA FLARE's simulator, with a process for each, and averages their weights."""
    report_bundle_errors()
    parser = argparse.ArgumentParser(prog="python -m scripts.federated", description=main.__doc__)
    parser.add_argument("--sites", nargs="+", required=True, help="the folder of cases of each site")
    parser.add_argument("--config_file", nargs="+", default=list(CONFIG_FILES), help="config, then overlays")
    parser.add_argument("--settings", type=json.loads, default={}, help="JSON, such as '{\"rounds\": 2}'")
    parser.add_argument(
        "--output_dir", default="output/federated", help="model.pt, critic.pt and a folder for each site"
    )
    args = parser.parse_args()
    try:
        from scripts.federated.simulation import simulate
    except ModuleNotFoundError as error:
        raise BundleError(
            f"{error.name} is not installed, which federated training needs: pip install -r requirements-federated.txt"
        ) from error
    simulate(args.sites, args.config_file, settings=args.settings, output_dir=args.output_dir)


if __name__ == "__main__":
    main()
