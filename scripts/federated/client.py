# SPDX-License-Identifier: Apache-2.0

"""What NVIDIA FLARE starts at each site; the job carries this file, all else is the site's own copy of the bundle."""

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
    """Trains for each round on the site's cases; a fault ends the process with its message."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--config_file", nargs="+", default=list(CONFIG_FILES))
    args = parser.parse_args()
    algo = ReciprocalAlgo(str(Path(scripts.__path__[0]).parent), args.config_file)
    flare.init()  # first: FLARE's simulator waits for ever for a site that ends before
    algo.initialize({ExtraItems.CLIENT_NAME: flare.get_site_name()})
    while flare.is_running():
        received = flare.receive()
        if received is None:
            break
        flare.send(answer(algo, received, train=flare.is_train()))
    algo.finalize()


def answer(algo: ReciprocalAlgo, received: flare.FLModel, *, train: bool) -> flare.FLModel:
    """Gives the Dice of the received weights on the site's held-out cases and, in a round, what training changes."""
    shared = ExchangeObject(weights=received.params)
    metrics = {name: float(value) for name, value in algo.evaluate(shared).metrics.items()}
    if not train:
        return flare.FLModel(metrics=metrics)
    algo.train(shared)
    sent = algo.get_weights()
    # iterations of batches of one size are samples seen: the sites' weights in the mean
    steps = sent.statistics[FlStatistics.NUM_EXECUTED_ITERATIONS]
    return flare.FLModel(
        params=sent.weights,
        params_type=flare.ParamsType.DIFF,
        metrics=metrics,
        meta={FLMetaKey.NUM_STEPS_CURRENT_ROUND: steps},
    )


if __name__ == "__main__":
    main()
