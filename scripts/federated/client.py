# SPDX-License-Identifier: Apache-2.0
"""The program that NVIDIA FLARE starts at each site; the job contains only this file, the rest is the site's bundle."""

from __future__ import annotations

import argparse
from pathlib import Path

import nvflare.client as flare
from monai.fl.utils.constants import ExtraItems, FlStatistics
from monai.fl.utils.exchange_object import ExchangeObject
from nvflare.apis.fl_constant import FLMetaKey

import scripts
from scripts.federated.algo import CONFIG_FILES, ReciprocalAlgo


def main() -> None:
    """Trains on the site's cases in each round; an error ends the process with its message."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--config_file", nargs="+", default=list(CONFIG_FILES))
    args = parser.parse_args()
    algo = ReciprocalAlgo(str(Path(scripts.__path__[0]).parent), args.config_file)
    flare.init()  # before anything that may fail: FLARE's simulator waits forever for a site that never calls it
    algo.initialize({ExtraItems.CLIENT_NAME: flare.get_site_name()})
    while flare.is_running():
        received = flare.receive()
        if received is None:
            break
        flare.send(answer(algo, received, train=flare.is_train()))
    algo.finalize()


def answer(algo: ReciprocalAlgo, received: flare.FLModel, *, train: bool) -> flare.FLModel:
    """Returns the Dice of the received weights on the held-out cases and, if `train`, the change made by training."""
    shared = ExchangeObject(weights=received.params)
    metrics = {name: float(value) for name, value in algo.evaluate(shared).metrics.items()}
    if not train:
        return flare.FLModel(metrics=metrics)
    algo.train(shared)
    sent = algo.get_weights()
    # with one batch size, the number of iterations weights the sites by their samples
    steps = sent.statistics[FlStatistics.NUM_EXECUTED_ITERATIONS]
    return flare.FLModel(
        params=sent.weights,
        params_type=flare.ParamsType.DIFF,
        metrics=metrics,
        meta={FLMetaKey.NUM_STEPS_CURRENT_ROUND: steps},
    )


if __name__ == "__main__":
    main()
