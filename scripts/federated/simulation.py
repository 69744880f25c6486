# Copyright 2026 The brats_mri_reciprocal_segmentation authors
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#     http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from monai.utils import set_determinism
from nvflare.app_common.default_component_policy import DEFAULT_CLASS_ALLOW_LIST
from nvflare.app_common.executors.client_api_executor import ClientAPIExecutor
from nvflare.app_common.workflows.cross_site_model_eval import CrossSiteModelEval
from nvflare.app_common.workflows.fedavg import FedAvg
from nvflare.app_opt.pt.file_model_locator import PTFileModelLocator
from nvflare.app_opt.pt.file_model_persistor import PTFileModelPersistor
from nvflare.client.config import ExchangeFormat
from nvflare.job_config.api import FedJob
from nvflare.job_config.base_fed_job import BaseFedJob

from scripts.errors import BundleError, report_bundle_errors
from scripts.federated.algo import CONFIG_FILES, averageable, shared_networks

COMPONENTS = (ClientAPIExecutor, PTFileModelPersistor)
BUNDLE = Path(__file__).parents[2]


def main() -> None:
    """Command line: trains at several sites in NVIDIA FLARE's simulator, one process each, and averages weights."""
    report_bundle_errors()
    parser = argparse.ArgumentParser(prog="python -m scripts.federated.simulation", description=main.__doc__)
    parser.add_argument("--sites", nargs="+", required=True, help="the folder of cases of each site")
    parser.add_argument("--config_file", nargs="+", default=list(CONFIG_FILES), help="config, then overlays")
    parser.add_argument("--knobs", type=json.loads, default={}, help="JSON, such as '{\"rounds\": 2}'")
    parser.add_argument("--output_dir", default="output/federated", help="model.pt, critic.pt and a folder for each site")
    parser.add_argument("--export", help="instead, write the job for a real federation into this folder")
    args = parser.parse_args()
    simulate(args.sites, args.config_file, knobs=args.knobs, output_dir=args.output_dir)


def simulate(
    sites: Sequence[str], config_file: Sequence[str] = CONFIG_FILES, *, knobs: Mapping[str, Any], output_dir: str
) -> None:
    """Runs the federation and writes the shared networks as the bundle's other commands read them.

    Args:
        sites: the folder of cases of each site; the sites are named site-1, site-2, ...
        config_file: train.yaml and overlays, federated.yaml among them, relative to the bundle.
        knobs: further ones, for all sites.
        output_dir: gets model.pt and, if it is shared, critic.pt; a folder for each site, with its best weights and
            run states; and FLARE's workspace with the logs.

    Raises:
        BundleError: when a site cannot train, with that site's own message.
    """
    folder = Path(output_dir).resolve()
    if folder.exists() and any(folder.iterdir()):
        raise BundleError(f"{folder} is not empty; name a new folder by --output_dir.")
    folder.mkdir(parents=True, exist_ok=True)
    config = ConfigParser()
    config.read_config([str(BUNDLE / file) for file in config_file])
    config.update(dict(knobs))
    set_determinism(seed=config.get_parsed_content("seed"))
    networks = shared_networks(config)
    torch.save(averageable(networks.state_dict()), folder / "initial.pt")
    commands = {}
    for number, cases in enumerate(sites, start=1):
        name = f"site-{number}"
        overlay = write_site_overlay(folder / name, cases, knobs=knobs)
        commands[name] = [sys.executable, "-u", "-m", "scripts.federated.client", "--config_file", *config_file, overlay]
    job = make_job(commands, initial=str(folder / "initial.pt"), rounds=config.get_parsed_content("rounds"))
    os.environ["PYTHONPATH"] = os.pathsep.join([str(BUNDLE), os.environ.get("PYTHONPATH", "")])
    allow_components(folder / "workspace")
    status = job.simulator_run(str(folder / "workspace"), clients=list(commands), threads=len(commands))
    print("status", status)


def make_job(commands: Mapping[str, Sequence[str]], *, initial: str, rounds: int) -> FedJob:
    """Describes the federation to FLARE; the job carries no code, each site runs its own copy of the bundle.

    Args:
        commands: what FLARE starts at each site, by the site's name.
        initial: the weights of the first round, a state dict of `SharedNetworks`; a file at the server.
        rounds: how often the sites' weights are averaged.
    """
    job = BaseFedJob(name="reciprocal", min_clients=len(commands), key_metric="mean_dice")
    persistor = PTFileModelPersistor(source_ckpt_file_full_name=initial, allow_numpy_conversion=False)
    job.to_server(persistor, id="persistor")
    job.to_server(FedAvg(num_clients=len(commands), num_rounds=rounds, persistor_id="persistor"))
    job.to_server(PTFileModelLocator(pt_persistor_id="persistor"), id="locator")
    job.to_server(CrossSiteModelEval(model_locator_id="locator", submit_model_task_name=""))
    for site, command in commands.items():
        executor = ClientAPIExecutor(
            execution_mode="external_process",
            command=list(command),
            params_exchange_format=ExchangeFormat.PYTORCH,
            server_expected_format=ExchangeFormat.PYTORCH,
        )
        job.to(executor, site)
    return job


def allow_components(workspace: Path) -> None:
    """Lets server and sites use what the job needs beyond FLARE's list of harmless components, and nothing else."""
    path = workspace / "local" / "resources.json"
    path.parent.mkdir(parents=True)
    allowed = [*DEFAULT_CLASS_ALLOW_LIST, *(f"{c.__module__}.{c.__name__}" for c in COMPONENTS)]
    path.write_text(json.dumps({"format_version": 2, "class_allow_list": allowed}, indent=2))


def write_site_overlay(folder: Path, cases: str, *, knobs: Mapping[str, Any]) -> str:
    """Writes what a site says of itself, its places and further knobs, and returns the file, an overlay."""
    folder.mkdir()
    own = {
        "dataset_dir": str(Path(cases).resolve()),
        "output_dir": str(folder),
        "ckpt_dir": str(folder / "models"),
        "cache_dir": str(folder / "cache"),
    }
    path = folder / "site.json"
    path.write_text(json.dumps(dict(knobs) | own, indent=2))
    return str(path)


if __name__ == "__main__":
    main()
