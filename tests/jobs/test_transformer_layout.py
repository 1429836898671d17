# SPDX-License-Identifier: Apache-2.0
"""What is exchanged of each kind of base model, compared with what transformers and peft make of such models."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from cloister.errors import RecordsError
from cloister.jobs import AdapterLayout, Job, adapter_config, finished_adapter, initial_adapter, layout_of
from cloister.jobs.tags import tags_of
from cloister.jobs.transformer_kinds import KINDS

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # peft looks for the base model's name on the hub otherwise

DATASETS: dict[str, dict[str, Any]] = {
    "text-classification": {"text": "t", "label": "l", "labels": ("a", "b", "c")},
    "token-classification": {"text": "t", "entities": "e", "labels": ("drug", "dose")},
    "causal-language-modelling": {"prompt": "p", "completion": "c"},
}
ENCODERS = ("bert", "roberta", "xlm-roberta", "distilbert")
DECODERS = ("gpt2", "llama", "mistral", "qwen2", "qwen3")


def job(task: str, *targets: str, **more: Any) -> Job:
    """One that trains every weight where no layer is named."""
    lora = {"rank": 3, "alpha": 6, "targets": targets, **more}
    return Job.model_validate(
        {
            "job": "j",
            "purpose": "p",
            "task": task,
            "base_model": {"name": "tiny", "sha256": "0" * 64, "licence": "apache-2.0"},
            "dataset": {"name": "d", **DATASETS[task]},
            "method": {"lora": lora} if targets else {"full": {}},
            "training": {"steps": 1, "batch_size": 1, "learning_rate": 0.1},
            "federation": {"rounds": 1},
        }
    )


def write(folder: Path, config: dict[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    arrays = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    safetensors.numpy.save_file(arrays, folder / "model.safetensors")
    return folder


def gpt2_of(folder: Path, **config: Any) -> Path:
    shapes = {
        "wte.weight": (9, 4),
        "wpe.weight": (8, 4),
        "h.0.attn.c_attn.weight": (4, 12),
        "h.0.attn.c_attn.bias": (12,),
        "h.0.attn.bias": (1, 1, 8, 8),
        "h.1.attn.c_attn.weight": (4, 12),
        "ln_f.weight": (4,),
        "lm_head.weight": (9, 4),
        "score.weight": (2, 4),
    }
    return write(folder, {"model_type": "gpt2", "n_embd": 4, "n_layer": 2, **config}, shapes)


class TestFromTheHeader:
    def test_factors_beside_a_layer_that_has_its_input_first(self, tmp_path: Path) -> None:
        layout = layout_of(job("causal-language-modelling", "c_attn"), base_model=gpt2_of(tmp_path / "m", n_layer=1))
        stem = "base_model.model.transformer.h.0.attn.c_attn"
        assert layout.shapes() == {f"{stem}.lora_A.weight": (3, 4), f"{stem}.lora_B.weight": (12, 3)}
        assert layout.parts == ("adapter",)
        assert layout.transposed
        assert adapter_config(job("causal-language-modelling", "c_attn"), layout)["fan_in_fan_out"] is True

    def test_every_weight_that_the_network_uses_starts_unchanged(self, tmp_path: Path) -> None:
        layout = layout_of(job("causal-language-modelling"), base_model=gpt2_of(tmp_path / "m"))
        assert set(layout.shapes()) == {
            "transformer.wte.weight",
            "transformer.wpe.weight",
            "transformer.h.0.attn.c_attn.weight",
            "transformer.h.0.attn.c_attn.bias",
            "transformer.h.1.attn.c_attn.weight",
            "transformer.ln_f.weight",
        }
        assert not any(array.any() for array in initial_adapter(layout, 7).values())
        assert layout.parts == ("model",)
        assert not layout.transposed

    def test_an_output_that_the_file_lacks(self, tmp_path: Path) -> None:
        shapes = {"model.layers.0.self_attn.q_proj.weight": (4, 4)}
        folder = write(tmp_path / "m", {"model_type": "llama", "hidden_size": 4}, shapes)
        with pytest.raises(RecordsError, match="base model `m` lacks its output layer `lm_head`"):
            layout_of(job("causal-language-modelling", "q_proj"), base_model=folder)

    @pytest.mark.parametrize(("config", "own"), [({}, False), ({"tie_word_embeddings": False}, True)])
    def test_an_output_of_its_own(self, config: dict[str, Any], own: bool, tmp_path: Path) -> None:
        layout = layout_of(job("causal-language-modelling"), base_model=gpt2_of(tmp_path / "m", **config))
        assert ("lm_head.weight" in layout.shapes()) is own

    def test_layers_that_the_configuration_leaves_out(self, tmp_path: Path) -> None:
        layout = layout_of(job("causal-language-modelling", "c_attn"), base_model=gpt2_of(tmp_path / "m", n_layer=1))
        assert not [name for name in layout.shapes() if ".h.1." in name]

    def test_a_head_has_a_row_for_every_tag(self, tmp_path: Path) -> None:
        shapes = {"embeddings.word_embeddings.weight": (9, 6), "encoder.layer.0.attention.self.query.weight": (6, 6)}
        folder = write(tmp_path / "m", {"model_type": "bert", "hidden_size": 6}, shapes)
        layout = layout_of(job("token-classification"), base_model=folder)
        assert layout.shapes()["classifier.weight"] == (5, 6)
        assert layout.parts == ("model", "head")
        first = initial_adapter(layout, 1)
        assert first["classifier.weight"].any()
        assert not first["bert.embeddings.word_embeddings.weight"].any()
        assert layout_of(job("token-classification", "query"), base_model=folder).parts == ("adapter", "head")

    def test_layers_are_told_where_a_target_is_none(self, tmp_path: Path) -> None:
        with pytest.raises(RecordsError) as caught:
            layout_of(job("causal-language-modelling", "q_proj"), base_model=gpt2_of(tmp_path / "m"))
        assert caught.value.message == "base model `m` has no linear layer `q_proj`"
        assert caught.value.hint == "it has `c_attn`"

    @pytest.mark.parametrize("target", ["wte", "lm_head", "ln_f"])
    def test_embeddings_and_outputs_are_not_adapted(self, target: str, tmp_path: Path) -> None:
        with pytest.raises(RecordsError, match="has no linear layer"):
            layout_of(job("causal-language-modelling", target), base_model=gpt2_of(tmp_path / "m"))

    @pytest.mark.parametrize("task", ["text-classification", "token-classification"])
    def test_a_kind_that_cannot_do_the_task(self, task: str, tmp_path: Path) -> None:
        with pytest.raises(RecordsError) as caught:
            layout_of(job(task, "c_attn"), base_model=gpt2_of(tmp_path / "m"))
        assert caught.value.message == f"base models of type `gpt2` cannot be adapted for {task}"
        assert caught.value.hint == "known: bert, distilbert, roberta, xlm-roberta"

    def test_weights_of_something_else(self, tmp_path: Path) -> None:
        folder = write(tmp_path / "m", {"model_type": "gpt2", "n_embd": 4}, {"blocks.0.w": (4, 4)})
        with pytest.raises(RecordsError, match="base model `m` has no layers"):
            layout_of(job("causal-language-modelling"), base_model=folder)

    @pytest.mark.parametrize("config", [{"n_layer": "2"}, {"n_layer": True}, {"tie_word_embeddings": "no"}])
    def test_a_configuration_that_makes_no_sense(self, config: dict[str, Any], tmp_path: Path) -> None:
        with pytest.raises(RecordsError, match=r"has no readable config\.json"):
            layout_of(job("causal-language-modelling"), base_model=gpt2_of(tmp_path / "m", **config))


def test_a_layout_survives_being_sent(tmp_path: Path) -> None:
    layout = layout_of(job("causal-language-modelling", "c_attn"), base_model=gpt2_of(tmp_path / "m"))
    assert AdapterLayout.from_json(json.loads(json.dumps(layout.to_json()))) == layout


def test_tags_of_labels() -> None:
    assert tags_of(("drug", "dose")) == ("O", "B-drug", "I-drug", "B-dose", "I-dose")


def small(kind: str, folder: Path, *, bare: bool, **more: Any) -> Path:
    """A base model of two layers, saved with the head of another task or without any."""
    import transformers

    sizes = {
        "distilbert": {"n_layers": 2, "n_heads": 2, "dim": 8, "hidden_dim": 16},
        "gpt2": {"n_layer": 2, "n_head": 2, "n_embd": 8, "n_positions": 16},
    }.get(kind, {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 8, "intermediate_size": 16})
    if kind in DECODERS and kind != "gpt2":
        sizes |= {"num_key_value_heads": 1, "head_dim": 4}
    config = transformers.AutoConfig.for_model(kind, vocab_size=40, pad_token_id=0, **sizes, **more)
    head = transformers.AutoModelForCausalLM if kind in DECODERS else transformers.AutoModelForMaskedLM
    (transformers.AutoModel if bare else head).from_config(config).save_pretrained(folder)
    return folder


def load(task: str, folder: Path, rows: int) -> Any:
    import transformers

    maker = {
        "text-classification": transformers.AutoModelForSequenceClassification,
        "token-classification": transformers.AutoModelForTokenClassification,
        "causal-language-modelling": transformers.AutoModelForCausalLM,
    }[task]
    heads = {} if task == "causal-language-modelling" else {"num_labels": rows}
    return maker.from_pretrained(folder, local_files_only=True, **heads)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
class TestAgainstTransformers:
    @pytest.mark.parametrize("bare", [False, True])
    @pytest.mark.parametrize(
        ("kind", "task", "targets"),
        [
            *((kind, "text-classification", ()) for kind in ENCODERS),
            *((kind, "token-classification", ()) for kind in ENCODERS),
            *((kind, "causal-language-modelling", ()) for kind in DECODERS),
            ("bert", "token-classification", ("query", "dense")),
            ("roberta", "token-classification", ("query", "value")),
            ("xlm-roberta", "token-classification", ("attention.output.dense",)),
            ("distilbert", "token-classification", ("q_lin", "lin1")),
            ("gpt2", "causal-language-modelling", ("c_attn", "c_fc", "mlp.c_proj")),
            ("llama", "causal-language-modelling", ("q_proj", "k_proj", "down_proj")),
            ("mistral", "causal-language-modelling", ("v_proj", "o_proj")),
            ("qwen2", "causal-language-modelling", ("q_proj", "up_proj", "gate_proj")),
            ("qwen3", "causal-language-modelling", ("q_proj",)),
        ],
    )
    def test_names_and_shapes(self, kind: str, task: str, targets: tuple[str, ...], bare: bool, tmp_path: Path) -> None:
        import peft

        if kind == "bert" and task == "text-classification":
            bare = True  # transformers saves a masked language model without the pooler
        tied = {"tie_word_embeddings": True} if bare and kind in DECODERS else {}
        folder = small(kind, tmp_path / "model", bare=bare, **tied)
        asked = job(task, *targets)
        layout = layout_of(asked, base_model=folder)
        model = load(task, folder, 5 if task == "token-classification" else 3)
        if targets:
            plain = adapter_config(asked, layout)
            for key in ("peft_type", "inference_mode"):
                del plain[key]
            state = peft.get_peft_model_state_dict(peft.get_peft_model(model, peft.LoraConfig(**plain)))
        else:
            state = dict(model.named_parameters())
        assert {name: tuple(tensor.shape) for name, tensor in state.items()} == layout.shapes()

    @pytest.mark.parametrize(
        ("kind", "task", "target"),
        [
            ("bert", "text-classification", "query"),
            ("roberta", "text-classification", "value"),
            ("xlm-roberta", "token-classification", "dense"),
            ("distilbert", "text-classification", "lin1"),
            ("gpt2", "causal-language-modelling", "c_fc"),
            ("llama", "causal-language-modelling", "k_proj"),
            ("mistral", "causal-language-modelling", "down_proj"),
            ("qwen2", "causal-language-modelling", "up_proj"),
            ("qwen3", "causal-language-modelling", "q_proj"),
        ],
    )
    @pytest.mark.parametrize("bare", [False, True])
    def test_lengths_that_dora_trains(self, kind: str, task: str, target: str, bare: bool, tmp_path: Path) -> None:
        import peft

        bare = bare or kind == "bert"
        tied = {"tie_word_embeddings": True} if bare and kind in DECODERS else {}
        folder = small(kind, tmp_path / "model", bare=bare, **tied)
        asked = job(task, target, dora=True, rslora=True)
        layout = layout_of(asked, base_model=folder)
        model = load(task, folder, 5 if task == "token-classification" else 3)
        plain = adapter_config(asked, layout)
        for key in ("peft_type", "inference_mode"):
            del plain[key]
        state = peft.get_peft_model_state_dict(peft.get_peft_model(model, peft.LoraConfig(**plain)))
        assert {name: tuple(tensor.shape) for name, tensor in state.items()} == layout.shapes()
        first = finished_adapter(layout, initial_adapter(layout, 2))
        assert len(layout.bases) == sum(name.endswith("lora_magnitude_vector") for name in state) > 0
        for name, _ in layout.bases:
            assert np.allclose(first[name], state[name].detach().numpy(), rtol=1e-6), name

    @pytest.mark.parametrize("tied", [False, True])
    @pytest.mark.parametrize("kind", DECODERS)
    def test_outputs_that_are_the_embeddings_and_that_are_not(self, kind: str, tied: bool, tmp_path: Path) -> None:
        folder = small(kind, tmp_path / "model", bare=False, tie_word_embeddings=tied)
        model = load("causal-language-modelling", folder, 0)
        layout = layout_of(job("causal-language-modelling"), base_model=folder)
        assert {name: tuple(each.shape) for name, each in model.named_parameters()} == layout.shapes()
        assert ("lm_head.weight" in layout.shapes()) is not tied

    @pytest.mark.parametrize(("kind", "target"), [("gpt2", "c_attn"), ("llama", "q_proj")])
    def test_peft_loads_the_result(self, kind: str, target: str, tmp_path: Path) -> None:
        import peft

        folder = small(kind, tmp_path / "model", bare=False)
        asked = job("causal-language-modelling", target)
        layout = layout_of(asked, base_model=folder)
        arrays = initial_adapter(layout, 5)
        result = tmp_path / "result"
        result.mkdir()
        (result / "adapter_config.json").write_text(json.dumps(adapter_config(asked, layout)))
        safetensors.numpy.save_file(arrays, result / "adapter_model.safetensors")
        loaded = peft.PeftModel.from_pretrained(load("causal-language-modelling", folder, 0), str(result))
        state = peft.get_peft_model_state_dict(loaded)
        assert {name: value.numpy().tolist() for name, value in state.items()} == {
            name: array.tolist() for name, array in arrays.items()
        }


def test_every_kind_is_compared() -> None:
    assert set(KINDS) == {*ENCODERS, *DECODERS}
