# SPDX-License-Identifier: Apache-2.0
"""Flower's own FedAvg over all nodes, without rounds of evaluation."""

from __future__ import annotations

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Context
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    sites = int(context.run_config["sites"])
    strategy = FedAvg(fraction_evaluate=0.0, min_train_nodes=sites, min_available_nodes=sites)
    strategy.start(
        grid=grid,
        initial_arrays=ArrayRecord([np.zeros(10, np.float32)]),
        num_rounds=int(context.run_config["rounds"]),
        train_config=ConfigRecord({}),
    )
