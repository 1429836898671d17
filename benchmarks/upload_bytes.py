# SPDX-License-Identifier: Apache-2.0
"""What one round's update of a LoRA adapter of BERT-base comes to in bytes, as NVFlare and as Cloister send it.

Run it: .venv/bin/python benchmarks/upload_bytes.py

Rank 8 on query and value of twelve layers of width 768, without a head. Values are drawn from a normal distribution,
each tensor with a scale of its own, as updates are. NVFlare's is what its serialiser makes of an `FLModel` of numpy
arrays; Cloister's is the encoded update of the second round, by the code that a site runs.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from nvflare.app_common.abstract.fl_model import FLModel, ParamsType
from nvflare.app_common.decomposers.numpy_decomposers import NumpyArrayDecomposer
from nvflare.app_common.utils.fl_model_utils import FLModelUtils
from nvflare.fuel.utils import fobs

from cloister.flare.exchange import Update
from cloister.jobs import AdapterLayout
from cloister.jobs.adapter import FACTOR_A, FACTOR_B, Arrays, TensorSpec
from cloister.jobs.aggregation import FactorRule
from cloister.jobs.compression import CodecName
from cloister.jobs.live_tensors import frozen_factor, live_layout
from cloister.wire import CODECS, Encoder, Schema, flatten
from cloister.wire.header import HEADER_BYTES, LENGTH

LAYERS, WIDTH, RANK = 12, 768, 8

WAYS: tuple[tuple[str, FactorRule | None, CodecName], ...] = (
    ("both factors, float32", None, "float32"),
    ("both factors, bfloat16", None, "bfloat16"),
    ("both factors, int8", None, "int8"),
    ("both factors, int4", None, "int4"),
    ("`ffa-lora` or `fedsvd`, int8", "ffa-lora", "int8"),
    ("`ffa-lora` or `fedsvd`, int4", "ffa-lora", "int4"),
    ("`rolora`, int4", "rolora", "int4"),
)


def main() -> None:
    layout = bert_base()
    update = drawn(layout)
    plain = nvflare_bytes(update)
    message = len(
        Update(round=2, records=1000, metrics={"accuracy": 0.5}, restarts=0, audit="0" * 64).model_dump_json()
    )
    print(
        f"{layout.size} values in {len(layout.tensors)} tensors; {message} bytes of message beside each of Cloister's"
    )
    print(f"{'':34}{'bytes':>10}{'of NVFlare':>12}{'about tensors, per tensor':>27}")
    print(f"{'NVFlare 2.9, float32':34}{plain:10}{1:12.1f}{(plain - 4 * layout.size) / len(layout.tensors):27.1f}")
    for name, rule, codec in WAYS:
        live = live_layout(layout, frozen_factor(rule, 2))
        schema = Schema.of(live)
        part = {tensor.name: update[tensor.name] for tensor in live.tensors}
        content = Encoder(CODECS[codec], error_feedback=True).encode(flatten(part, schema), schema, 1).content
        about = HEADER_BYTES + LENGTH.size * schema.blocks
        print(f"{name:34}{len(content):10}{plain / len(content):12.1f}{about / len(live.tensors):27.1f}")


def bert_base() -> AdapterLayout:
    tensors = []
    for layer in range(LAYERS):
        for target in ("query", "value"):
            stem = f"base_model.model.bert.encoder.layer.{layer}.attention.self.{target}"
            tensors.append(TensorSpec(stem + FACTOR_A, (RANK, WIDTH), "uniform"))
            tensors.append(TensorSpec(stem + FACTOR_B, (WIDTH, RANK), "zeros"))
    return AdapterLayout(tuple(sorted(tensors, key=lambda tensor: tensor.name)), ())


def drawn(layout: AdapterLayout) -> Arrays:
    random = np.random.default_rng(1)
    return {
        tensor.name: (random.normal(size=tensor.shape) * 10 ** random.uniform(-5, -2)).astype(np.float32)
        for tensor in layout.tensors
    }


def nvflare_bytes(update: Arrays) -> int:
    fobs.register(NumpyArrayDecomposer)
    model = FLModel(params_type=ParamsType.DIFF, params=dict(update), metrics={"accuracy": 0.5}, current_round=2)
    return len(fobs.dumps(FLModelUtils.to_shareable(model)))


if __name__ == "__main__":
    main()
