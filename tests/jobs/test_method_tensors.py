# SPDX-License-Identifier: Apache-2.0
"""What each method exchanges of each kind of base model, compared with what peft makes of such models."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from cloister.errors import RecordsError
from cloister.jobs import Job, adapter_config, initial_adapter, layout_of
from cloister.jobs.method_tensors import is_bias

from .test_transformer_layout import DATASETS, DECODERS, ENCODERS, gpt2_of, load, small, write

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # peft looks for the base model's name on the hub otherwise

ROWS = {"text-classification": 3, "token-classification": 5, "causal-language-modelling": 0}
LAYERS = {
    "distilbert": (("k_lin", "lin2"), ("lin2",)),
    "gpt2": (("c_attn", "mlp.c_proj"), ("mlp.c_proj",)),
    **dict.fromkeys(("bert", "roberta", "xlm-roberta"), (("key", "value", "output.dense"), ("output.dense",))),
    **dict.fromkeys(("llama", "mistral", "qwen2", "qwen3"), (("k_proj", "v_proj", "down_proj"), ("down_proj",))),
}
PAIRS = [
    *((kind, task) for kind in ENCODERS for task in ("text-classification", "token-classification")),
    *((kind, "causal-language-modelling") for kind in DECODERS),
]


def job(task: str, method: dict[str, Any]) -> Job:
    document = json.dumps(
        {
            "job": "j",
            "purpose": "p",
            "task": task,
            "base_model": {"name": "tiny", "sha256": "0" * 64, "licence": "apache-2.0"},
            "dataset": {"name": "d", **DATASETS[task]},
            "method": method,
            "training": {"steps": 1, "batch_size": 1, "learning_rate": 0.1},
            "federation": {"rounds": 1},
        }
    )
    return Job.model_validate_json(document)


def ia3(kind: str) -> dict[str, Any]:
    targets, feedforward = LAYERS[kind]
    return {"ia3": {"targets": targets, "feedforward": feedforward}}


class TestFromTheHeader:
    def test_ia3_scales_outputs_or_inputs_and_starts_at_one(self, tmp_path: Path) -> None:
        asked = job("causal-language-modelling", {"ia3": {"targets": ["c_attn"]}})
        layout = layout_of(asked, base_model=gpt2_of(tmp_path / "m", n_layer=1))
        name = "base_model.model.transformer.h.0.attn.c_attn.ia3_l"
        assert layout.shapes() == {name: (12, 1)}
        assert (initial_adapter(layout, 1)[name] == 1).all()
        assert layout.parts == asked.parts == ("adapter",)
        scaled = job("causal-language-modelling", {"ia3": {"targets": ["c_attn"], "feedforward": ["c_attn"]}})
        assert layout_of(scaled, base_model=gpt2_of(tmp_path / "n", n_layer=1)).shapes() == {name: (1, 4)}

    def test_virtual_tokens_start_small(self, tmp_path: Path) -> None:
        for method, width in (("prompt", 4), ("prefix", 2 * 2 * 4)):
            asked = job("causal-language-modelling", {method: {"tokens": 5}})
            layout = layout_of(asked, base_model=gpt2_of(tmp_path / method))
            assert layout.shapes() == {"prompt_embeddings": (5, width)}
            assert layout.parts == asked.parts == ("adapter",)
            assert 0 < np.abs(initial_adapter(layout, 1)["prompt_embeddings"]).max() < 0.1

    def test_heads_stand_where_peft_puts_them(self, tmp_path: Path) -> None:
        shapes = {"embeddings.word_embeddings.weight": (9, 6), "encoder.layer.0.attention.self.query.weight": (6, 6)}
        config = {"model_type": "bert", "hidden_size": 6, "num_hidden_layers": 1, "num_attention_heads": 2}
        folder = write(tmp_path / "m", config, shapes)
        layout = layout_of(job("text-classification", {"prompt": {"tokens": 5}}), base_model=folder)
        assert set(layout.shapes()) == {
            "prompt_embeddings",
            "base_model.classifier.weight",
            "base_model.classifier.bias",
        }
        assert layout.parts == ("adapter", "head")

    def test_bitfit_sends_biases_alone(self, tmp_path: Path) -> None:
        asked = job("causal-language-modelling", {"bitfit": {}})
        layout = layout_of(asked, base_model=gpt2_of(tmp_path / "m"))
        assert layout.shapes() == {"transformer.h.0.attn.c_attn.bias": (12,)}
        assert layout.parts == asked.parts == ("model",)
        assert not initial_adapter(layout, 1)["transformer.h.0.attn.c_attn.bias"].any()
        assert adapter_config(asked, layout)["tensors"] == "difference from the base model's weights"

    def test_a_base_model_without_biases(self, tmp_path: Path) -> None:
        shapes = {"model.layers.0.self_attn.q_proj.weight": (4, 4), "lm_head.weight": (9, 4)}
        folder = write(tmp_path / "m", {"model_type": "llama", "hidden_size": 4}, shapes)
        with pytest.raises(RecordsError, match="base model `m` has no biases that `bitfit` could train"):
            layout_of(job("causal-language-modelling", {"bitfit": {}}), base_model=folder)

    @pytest.mark.parametrize("method", ["prompt", "prefix"])
    def test_a_kind_that_takes_no_virtual_tokens(self, method: str, tmp_path: Path) -> None:
        shapes = {"transformer.layer.0.attention.q_lin.weight": (4, 4)}
        folder = write(tmp_path / "m", {"model_type": "distilbert", "dim": 4}, shapes)
        with pytest.raises(RecordsError) as caught:
            layout_of(job("text-classification", {method: {"tokens": 2}}), base_model=folder)
        assert caught.value.message == f"base model `m` cannot be trained with `{method}`"
        assert caught.value.hint == "base models of these types can: bert, roberta, xlm-roberta"

    def test_a_layer_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(RecordsError, match="has no linear layer `dense`"):
            layout_of(
                job("causal-language-modelling", {"ia3": {"targets": ["dense"]}}), base_model=gpt2_of(tmp_path / "m")
            )

    @pytest.mark.parametrize(
        "config", [{"n_head": 0}, {"n_head": "2"}, {"num_key_value_heads": True}, {"head_dim": 0.5}, {"n_head": 9}]
    )
    def test_a_configuration_that_makes_no_sense(self, config: dict[str, Any], tmp_path: Path) -> None:
        with pytest.raises(RecordsError, match=r"has no readable config\.json"):
            layout_of(
                job("causal-language-modelling", {"prefix": {"tokens": 2}}),
                base_model=gpt2_of(tmp_path / "m", **config),
            )

    def test_prefixes_need_the_number_of_layers(self, tmp_path: Path) -> None:
        with pytest.raises(RecordsError, match="does not say how many layers it has"):
            layout_of(
                job("causal-language-modelling", {"prefix": {"tokens": 2}}),
                base_model=gpt2_of(tmp_path / "m", n_layer=None),
            )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
class TestAgainstPeft:
    @pytest.mark.parametrize("method", ["ia3", "prompt", "prefix"])
    @pytest.mark.parametrize(("kind", "task"), PAIRS)
    def test_names_and_shapes(self, kind: str, task: str, method: str, tmp_path: Path) -> None:
        import peft

        if kind == "distilbert" and method != "ia3":
            pytest.skip("peft puts no tokens before texts of such models")
        folder = small(kind, tmp_path / "model", bare=kind == "bert")
        asked = job(task, ia3(kind) if method == "ia3" else {method: {"tokens": 4}})
        layout = layout_of(asked, base_model=folder)
        model = peft.get_peft_model(load(task, folder, ROWS[task]), config_of(adapter_config(asked, layout)))
        state = peft.get_peft_model_state_dict(model)
        assert {name: tuple(tensor.shape) for name, tensor in state.items()} == layout.shapes()

    @pytest.mark.parametrize(("kind", "task"), [pair for pair in PAIRS if pair[0] not in ("llama", "mistral", "qwen3")])
    def test_biases(self, kind: str, task: str, tmp_path: Path) -> None:
        folder = small(kind, tmp_path / "model", bare=kind == "bert")
        layout = layout_of(job(task, {"bitfit": {}}), base_model=folder)
        model = load(task, folder, ROWS[task])
        wanted = {
            name: tuple(each.shape)
            for name, each in model.named_parameters()
            if is_bias(name) or name.split(".")[0] in layout.head_modules
        }
        assert layout.shapes() == wanted

    @pytest.mark.parametrize("method", ["ia3", "prompt", "prefix"])
    @pytest.mark.parametrize(
        ("kind", "task"),
        [
            ("bert", "text-classification"),
            ("roberta", "token-classification"),
            ("gpt2", "causal-language-modelling"),
            ("qwen3", "causal-language-modelling"),
        ],
    )
    def test_peft_loads_the_result(self, kind: str, task: str, method: str, tmp_path: Path) -> None:
        import peft

        folder = small(kind, tmp_path / "model", bare=kind == "bert")
        asked = job(task, ia3(kind) if method == "ia3" else {method: {"tokens": 4}})
        layout = layout_of(asked, base_model=folder)
        arrays = initial_adapter(layout, 5)
        result = tmp_path / "result"
        result.mkdir()
        (result / "adapter_config.json").write_text(json.dumps(adapter_config(asked, layout)))
        safetensors.numpy.save_file(arrays, result / "adapter_model.safetensors")
        loaded = peft.PeftModel.from_pretrained(load(task, folder, ROWS[task]), str(result))
        state = peft.get_peft_model_state_dict(loaded)
        assert {name: value.detach().numpy().tolist() for name, value in state.items()} == {
            name: array.tolist() for name, array in arrays.items()
        }


def config_of(plain: dict[str, Any]) -> Any:
    import peft

    settings = {key: value for key, value in plain.items() if key not in ("peft_type", "inference_mode")}
    return peft.PEFT_TYPE_TO_CONFIG_MAPPING[peft.PeftType(plain["peft_type"])](**settings)
