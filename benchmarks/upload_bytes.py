# SPDX-License-Identifier: Apache-2.0
"""What one round's update of a LoRA adapter of BERT-base comes to in bytes, as NVFlare and as Cloister send it.

Run it: .venv/bin/python benchmarks/upload_bytes.py [--results FILE]

Rank 8 on query and value of twelve layers of width 768, without a head. Values are drawn from a normal distribution,
each tensor with a scale of its own, as updates are. NVFlare's is what its serialiser makes of an `FLModel` of numpy
arrays, by itself and behind each of its quantisation filters, in an environment that `make peers` makes; Cloister's is
the encoded update of the second round, by the code that a site runs. With `--results` the file's rows are replaced.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from benchmarks.page.results import replace
from benchmarks.page.upload_table import upload_table
from benchmarks.peers.environments import told_by
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, help="JSON file to put the rows into")
    options = parser.parse_args()
    layout = bert_base()
    update = drawn(layout)
    message = len(
        Update(round=2, records=1000, metrics={"accuracy": 0.5}, restarts=0, audit="0" * 64).model_dump_json()
    )
    print(
        f"{layout.size} values in {len(layout.tensors)} tensors; {message} bytes of message beside each of Cloister's\n"
    )
    found = {
        "values": layout.size,
        "tensors": len(layout.tensors),
        "rows": nvflare_rows(layout, update) + cloister_rows(layout, update),
    }
    print(upload_table(found))
    if options.results:
        replace(options.results, "upload", found)


def cloister_rows(layout: AdapterLayout, update: Arrays) -> list[dict[str, Any]]:
    rows = []
    for name, rule, codec in WAYS:
        live = live_layout(layout, frozen_factor(rule, 2))
        schema = Schema.of(live)
        part = {tensor.name: update[tensor.name] for tensor in live.tensors}
        content = Encoder(CODECS[codec], error_feedback=True).encode(flatten(part, schema), schema, 1).content
        about = (HEADER_BYTES + LENGTH.size * schema.blocks) / len(live.tensors)
        rows.append({"name": f"Cloister, {name}", "bytes": len(content), "about": round(about, 1)})
    return rows


def nvflare_rows(layout: AdapterLayout, update: Arrays) -> list[dict[str, Any]]:
    """Without a filter, and with each in an environment that has what they import; a row says where one did not run."""
    plain = nvflare_bytes(update)
    about = round((plain - 4 * layout.size) / len(layout.tensors), 1)
    rows: list[dict[str, Any]] = [{"name": "NVFlare 2.9, float32", "bytes": plain, "about": about}]
    with tempfile.TemporaryDirectory(prefix="upload-bytes-") as name:
        path = Path(name) / "update.npz"
        np.savez(path, allow_pickle=False, **update)
        found = told_by("nvflare-filters", "nvflare_filters.py", str(path))
    for kind, each in found.items():
        row = {"name": f"NVFlare 2.9, filter {kind}", "bytes": each["bytes"]}
        rows.append(row | ({"error": each["error"]} if each["error"] else {}))
    return rows


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
