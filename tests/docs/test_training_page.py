# SPDX-License-Identifier: Apache-2.0
"""docs/training.md: what leaves by each method, counted for BERT-base from a header alone."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path

import pytest

from cloister.jobs import Job, Method, layout_of
from tests.docs.pages import sections, text_of

PAGE = text_of("docs/training.md")
ROW = re.compile(r"^\| `([^|]+)` \| [^|]+ \| ([\d ]+) \| [^|]+ \|$", re.MULTILINE)
ROWS = ROW.findall(sections(PAGE, 2)["Methods"])
WIDTH, INNER, LAYERS = 768, 3072, 12


def bert_base(folder: Path) -> Path:
    """The header of BERT-base (https://arxiv.org/abs/1810.04805), and holes where its weights would be."""
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (30522, WIDTH),
        "embeddings.position_embeddings.weight": (512, WIDTH),
        "embeddings.token_type_embeddings.weight": (2, WIDTH),
        "embeddings.LayerNorm": (WIDTH,),
        "pooler.dense": (WIDTH, WIDTH),
    }
    for layer in range(LAYERS):
        stem = f"encoder.layer.{layer}"
        shapes |= {f"{stem}.attention.self.{name}": (WIDTH, WIDTH) for name in ("query", "key", "value")}
        shapes |= {f"{stem}.attention.output.dense": (WIDTH, WIDTH), f"{stem}.intermediate.dense": (INNER, WIDTH)}
        shapes |= {f"{stem}.output.dense": (WIDTH, INNER)}
        shapes |= {f"{stem}.{name}.LayerNorm": (WIDTH,) for name in ("attention.output", "output")}
    header, place = {}, 0
    for name, shape in shapes.items():
        parts = {name: shape} if name.endswith(".weight") else {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
        for full, each in parts.items():
            size = each[0] * (each[1] if len(each) > 1 else 1)
            header[full] = {"dtype": "U8", "shape": each, "data_offsets": [place, place + size]}
            place += size
    text = json.dumps(header).encode()
    file = folder / "model.safetensors"
    file.write_bytes(struct.pack("<Q", len(text)) + text)
    with file.open("r+b") as stream:
        stream.truncate(8 + len(text) + place)
    config = {"model_type": "bert", "hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": 12}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_every_method_has_its_row() -> None:
    assert {json.loads(f"{{{_json(way)}}}").popitem()[0] for way, _ in ROWS} == set(Method.model_fields)


@pytest.mark.parametrize(("way", "bytes_"), ROWS)
def test_bytes_of_bert_base(way: str, bytes_: str, tmp_path: Path) -> None:
    document = {
        "job": "j",
        "purpose": "p",
        "task": "text-classification",
        "base_model": {"name": "bert-base", "sha256": "0" * 64, "licence": "apache-2.0"},
        "dataset": {"name": "d", "text": "t", "label": "l", "labels": ["a", "b"]},
        "method": json.loads(f"{{{_json(way)}}}"),
        "training": {"steps": 1, "batch_size": 1, "learning_rate": 0.1},
        "federation": {"rounds": 1},
    }
    job = Job.model_validate_json(json.dumps(document))
    assert layout_of(job, base_model=bert_base(tmp_path)).bytes == int(bytes_.replace(" ", ""))


def _json(way: str) -> str:
    """YAML of one line as JSON."""
    return re.sub(r"(?<!\w)(?!true|\d)([a-z][a-z0-9_.]*)", r'"\1"', way)
