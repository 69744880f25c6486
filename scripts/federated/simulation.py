# SPDX-License-Identifier: Apache-2.0
"""A federation in NVIDIA FLARE's simulator, with a process for each site."""

from __future__ import annotations

import itertools
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
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

from scripts.base.errors import BundleError
from scripts.base.settings_check import check_settings
from scripts.federated.algo import SharedNetworks, averageable, shared_networks

COMPONENTS = (ClientAPIExecutor, PTFileModelPersistor)
BUNDLE = Path(__file__).parents[2]


def simulate(sites: Sequence[str], config_file: Sequence[str], *, settings: Mapping[str, Any], output_dir: str) -> None:
    """Runs the federation and writes the shared networks in the format of the bundle's other commands.

    Args:
        sites: folder of cases of each site; the sites are named site-1, site-2, ...
        config_file: train.yaml and overlays, including federated.yaml, relative to the bundle.
        settings: settings for all sites.
        output_dir: receives model.pt and, if it is shared, critic.pt; a folder for each site, with its best weights
            and run states; and FLARE's workspace with the logs.

    Raises:
        BundleError: if a site cannot train, with that site's message.
    """
    folder = Path(output_dir).resolve()
    if folder.exists() and any(folder.iterdir()):
        raise BundleError(f"{folder} is not empty; name a new folder with --output_dir.")
    folder.mkdir(parents=True, exist_ok=True)
    config = ConfigParser()
    config.read_config([str(BUNDLE / file) for file in config_file])
    config.update(dict(settings))
    check_settings(config)
    set_determinism(seed=config.get_parsed_content("seed"))
    networks = shared_networks(config)
    torch.save(averageable(networks.state_dict()), folder / "initial.pt")
    program = [sys.executable, "-u", "-m", "scripts.federated.client", "--config_file", *config_file]
    commands = {}
    for number, cases in enumerate(sites, start=1):
        name = f"site-{number}"
        commands[name] = [*program, write_site_overlay(folder / name, cases, settings=settings)]
    job = make_job(commands, initial=str(folder / "initial.pt"), rounds=config.get_parsed_content("rounds"))
    server = _run(job, folder / "workspace")
    _write_networks(networks, server / "app_server" / "FL_global_model.pt", folder)
    print("Mean Dice of the shared segmenter on each site's held-out cases. Not for diagnosis.")
    for after, dice in enumerate(dice_after_rounds(server)):
        print(f"after {after} rounds  " + "  ".join(f"{site} {dice[site]:.3f}" for site in commands))
    print("weights:", folder / "model.pt")


def make_job(commands: Mapping[str, Sequence[str]], *, initial: str, rounds: int) -> FedJob:
    """Creates FLARE's job of the federation, which contains no code: each site runs its own copy of the bundle.

    Args:
        commands: command that FLARE starts at each site, by the site's name.
        initial: file at the server with the initial weights, a state dict of `SharedNetworks`.
        rounds: number of times that the sites' weights are averaged.
    """
    job = BaseFedJob(name="reciprocal", min_clients=len(commands), key_metric="")
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
    """Adds the components of the job to those that FLARE allows by default, for server and sites."""
    path = workspace / "local" / "resources.json"
    path.parent.mkdir(parents=True)
    allowed = [*DEFAULT_CLASS_ALLOW_LIST, *(f"{c.__module__}.{c.__name__}" for c in COMPONENTS)]
    path.write_text(json.dumps({"format_version": 2, "class_allow_list": allowed}, indent=2))


def write_site_overlay(folder: Path, cases: str, *, settings: Mapping[str, Any]) -> str:
    """Writes the overlay of a site, with its folders and the common settings, and returns its path."""
    folder.mkdir()
    own = {
        "dataset_dir": str(Path(cases).resolve()),
        "output_dir": str(folder),
        "ckpt_dir": str(folder / "models"),
        "cache_dir": str(folder / "cache"),
    }
    path = folder / "site.json"
    path.write_text(json.dumps(dict(settings) | own, indent=2))
    return str(path)


def _run(job: FedJob, workspace: Path) -> Path:
    """Runs the job with a process for each site and returns the folder of the server's results."""
    allow_components(workspace)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(BUNDLE), os.environ.get("PYTHONPATH", "")])
    status = job.simulator_run(str(workspace), clients=job.clients, threads=len(job.clients), log_config="concise")
    if status:
        raise BundleError(_faults(workspace, job.clients))
    return workspace / "server" / "simulate_job"


def _write_networks(networks: SharedNetworks, shared: Path, folder: Path) -> None:
    weights = torch.load(shared, map_location="cpu", weights_only=True)["model"]
    networks.load_state_dict(networks.state_dict() | weights)
    torch.save(networks.segmenter.state_dict(), folder / "model.pt")
    if networks.critic is not None:
        torch.save(networks.critic.state_dict(), folder / "critic.pt")


def dice_after_rounds(server: Path) -> list[dict[str, float]]:
    """Returns the mean Dice of each site for the initial weights and after each round, from the server's folder."""
    rounds = [json.loads(line) for line in (server / "metrics" / "round_metrics.jsonl").read_text().splitlines()]
    found = [{site["name"]: _mean_dice(site["metrics"]) for site in record["sites"]} for record in rounds]
    last = json.loads((server / "cross_site_val" / "cross_val_results.json").read_text())
    return [*found, {site: models["SRV_FL_global_model.pt"]["mean_dice"] for site, models in last.items()}]


def _mean_dice(metrics: Sequence[Mapping[str, Any]]) -> float:
    return next(metric["value"] for metric in metrics if metric["name"] == "mean_dice")


def _faults(workspace: Path, sites: Iterable[str]) -> str:
    """Returns the error messages of the failed sites' processes."""
    found = []
    for site in sites:
        log = (workspace / site / "log.txt").read_text().splitlines()
        said = [line.split(" - INFO - ")[-1] for line in log if "ExternalProcessBackend" in line]
        starts = [number for number, line in enumerate(said) if line.startswith("error: ")]
        for first in starts[:1]:
            rest = itertools.takewhile(lambda line: line.startswith("  "), said[first + 1 :])
            found.append("\n".join([f"{site}: {said[first].removeprefix('error: ')}", *rest]))
    return "\n".join(found) or f"the federation failed; the logs are {workspace}/site-*/log.txt and server/log.txt."
