# SPDX-License-Identifier: Apache-2.0
"""One site: writes down when it was asked, and adds one."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    asked = [int(message.content["config"]["server-round"]), time.time()]
    with Path(os.environ["NULL_APP_TIMES"], f"{context.node_id}.jsonl").open("a") as stream:
        stream.write(json.dumps(asked) + "\n")
    (values,) = message.content["arrays"].to_numpy_ndarrays()
    content = {"arrays": ArrayRecord([values + 1]), "metrics": MetricRecord({"num-examples": 1})}
    return Message(content=RecordDict(content), reply_to=message)
