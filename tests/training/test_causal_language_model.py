# SPDX-License-Identifier: Apache-2.0
"""Small language models of random weights, in this process and without a sandbox."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import safetensors.numpy
import torch
from benchmarks.small_language_model import Size, initial_model, make_tokenizer, save

from cloister.errors import RecordsError, TrainerError
from cloister.jobs import Job, adapter_config, initial_adapter, layout_of
from cloister.silos import ColumnKind
from cloister.training.causal_language_model import CausalLanguageModel
from cloister.training.tasks import trainer_for

from .conftest import forget_precision, setup_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
]

KINDS = ("llama", "gpt2", "qwen2", "mistral")
TARGETS = {"gpt2": ("c_attn", "c_proj")}
_DRUGS = {"aspirin": "one tablet", "insulin": "ten units", "digoxin": "half a tablet", "warfarin": "as the clinic says"}
_TINY = Size(hidden=32, layers=2, heads=2, inner=48, positions=64, vocabulary=300)

Make = Callable[..., Path]


def quietly(_step: int, _steps: int) -> None:
    pass


@pytest.fixture(scope="session")
def language_model(tmp_path_factory: pytest.TempPathFactory) -> Make:
    made: dict[str, Path] = {}

    def make(kind: str, **config: Any) -> Path:
        if (key := f"{kind} {config}") not in made:
            tokenizer = make_tokenizer([f"{drug}? {dose}" for drug, dose in _DRUGS.items()], _TINY)
            made[key] = tmp_path_factory.mktemp(kind)
            model = initial_model(tokenizer, kind, _TINY)
            with torch.no_grad():
                # Drawn wider than is usual: of such a small model nothing could be adapted otherwise.
                for weight in model.parameters():
                    weight.mul_(10 if weight.ndim > 1 else 1)
            for name, value in config.items():
                setattr(model.config, name, value)
            save(model, tokenizer, made[key])
        return made[key]

    return make


def job(kind: str = "llama", *, full: bool = True, messages: bool = False, **training: object) -> Job:
    plan = {"steps": 40, "batch_size": 8, "learning_rate": 1e-2, "maximum_tokens": 48, "seed": 5, **training}
    lora = {"rank": 8, "alpha": 32, "targets": TARGETS.get(kind, ("q_proj", "v_proj", "down_proj"))}
    columns = {"messages": "talk"} if messages else {"prompt": "question", "completion": "answer"}
    document = {
        "job": "answers",
        "purpose": "research",
        "task": "causal-language-modelling",
        "base_model": {"name": "m", "sha256": "0" * 64, "licence": "apache-2.0"},
        "dataset": {"name": "questions", **columns},
        "method": {"full": {}} if full else {"lora": lora},
        "training": plan,
        "federation": {"rounds": 2},
    }
    return Job.model_validate_json(json.dumps(document))


def write_view(folder: Path, *, train: int = 40, validation: int = 12) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    randomly = random.Random(3)
    for name, count in (("train", train), ("validation", validation)):
        drugs = [randomly.choice(list(_DRUGS)) for _ in range(count)]
        talks = [
            [{"role": "user", "content": f"{drug}?"}, {"role": "assistant", "content": _DRUGS[drug]}] for drug in drugs
        ]
        columns = {
            "question": [f"{drug}?" for drug in drugs],
            "answer": [_DRUGS[drug] for drug in drugs],
            "talk": [json.dumps(talk) for talk in talks],
        }
        table = pa.table({key: pa.array(cells, pa.string()) for key, cells in columns.items()})
        pyarrow.parquet.write_table(table, folder / f"{name}.parquet")
    return folder


@pytest.fixture
def view(tmp_path: Path) -> Path:
    return write_view(tmp_path / "view")


def make(the_job: Job, base_model: Path, view: Path) -> CausalLanguageModel:
    layout = layout_of(the_job, base_model=base_model)
    columns = {"question": ColumnKind.TEXT, "answer": ColumnKind.TEXT, "talk": ColumnKind.MESSAGES}
    made = trainer_for(setup_of(the_job, layout, view, base_model, **columns))
    assert isinstance(made, CausalLanguageModel)
    made.load_adapter(safetensors.numpy.save(initial_adapter(layout, the_job.seed)))
    return made


@pytest.mark.parametrize("messages", [False, True])
def test_learns_to_answer(messages: bool, language_model: Make, view: Path) -> None:
    one = make(job(messages=messages, packing=messages), language_model("llama"), view)
    before = one.evaluate()
    assert before["loss"] > math.log(300)  # worse than guessing
    one.train(1, quietly)
    after = one.evaluate()
    assert set(after) == {"loss", "perplexity", "token_accuracy"}
    assert after["loss"] < 0.2
    assert after["perplexity"] == pytest.approx(math.exp(after["loss"]))
    assert before["token_accuracy"] < 0.2
    assert after["token_accuracy"] > 0.9


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_learns_with_factors(kind: str, language_model: Make, view: Path) -> None:
    one = make(job(kind, full=False), language_model(kind), view)
    before = one.evaluate()["loss"]
    frozen = {name: p.detach().clone() for name, p in one.model.named_parameters() if not p.requires_grad}
    one.train(1, quietly)
    assert one.evaluate()["loss"] < before / 2
    after = dict(one.model.named_parameters())
    assert all(torch.equal(value, after[name]) for name, value in frozen.items())


def test_what_it_learnt_it_says(language_model: Make, view: Path) -> None:
    one = make(job(packing=True), language_model("llama"), view)
    one.train(1, quietly)
    tokenizer = one._tokenizer()
    asked = tokenizer("insulin?\n", return_tensors="pt").to(one.device)
    answer = one.model.eval().generate(**asked, max_new_tokens=20, do_sample=False)[0, asked["input_ids"].shape[1] :]
    assert tokenizer.decode(answer) == f"ten units{tokenizer.eos_token}"


def test_the_loss_is_that_of_the_answer_alone(language_model: Make, view: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = language_model("gpt2")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    total, count = 0.0, 0
    for row in pyarrow.parquet.read_table(view / "validation.parquet").to_pylist():
        prompt = tokenizer(row["question"] + "\n")["input_ids"]
        answer = [*tokenizer(row["answer"])["input_ids"], tokenizer.eos_token_id]
        with torch.inference_mode():
            scores = torch.log_softmax(model(torch.tensor([prompt + answer])).logits[0], dim=-1)
        for place, token in enumerate(answer, start=len(prompt)):
            total -= float(scores[place - 1, token])
            count += 1
    assert make(job("gpt2"), folder, view).evaluate()["loss"] == pytest.approx(total / count, rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_packed_records_teach_the_same(kind: str, language_model: Make, view: Path) -> None:
    gradients = []
    for packing in (False, True):
        one = make(job(kind, packing=packing), language_model(kind), view)
        batch = one.training.batch(np.arange(8), one.device)
        assert (len(batch.tokens) < 8) is packing
        one.model.train()
        loss = one._batch_loss(np.arange(8))
        loss.backward()
        gradients.append([loss.detach(), *(each.grad for each in one.model.parameters())])
    for apart, packed in zip(*gradients, strict=True):
        assert torch.allclose(apart, packed, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_does_not_see_its_neighbour(kind: str, language_model: Make, view: Path) -> None:
    one = make(job(kind, packing=True), language_model(kind), view)
    one.model.eval()
    batch = one.training.batch(np.arange(3), one.device)
    assert len(batch.tokens) == 1
    (second,) = (batch.positions[0] == 0).nonzero()[1]
    changed = batch.tokens.clone()
    changed[0, :second] = (changed[0, :second] + 7) % 200
    with torch.inference_mode():
        before, after = (
            one.model(input_ids=tokens, position_ids=batch.positions, use_cache=False).logits[0]
            for tokens in (batch.tokens, changed)
        )
    assert torch.equal(before[second:], after[second:])
    assert not torch.allclose(before[:second], after[:second])


def test_packing_keeps_to_a_window_of_attention(language_model: Make, view: Path) -> None:
    losses = [
        make(job("mistral", packing=packing), language_model("mistral", sliding_window=4), view).evaluate()["loss"]
        for packing in (False, True)
    ]
    whole = make(job("mistral"), language_model("mistral"), view).evaluate()["loss"]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5) != whole


@pytest.mark.parametrize("full", [False, True])
def test_the_same_each_time_and_after_a_restart(full: bool, language_model: Make, view: Path) -> None:
    the_job = job(full=full, steps=4, packing=True)
    one = make(the_job, language_model("llama"), view)
    one.train(1, quietly)
    between = one.adapter()
    one.load_adapter(between)
    done = one.train(2, quietly)
    again = make(the_job, language_model("llama"), view)
    again.load_adapter(between)
    assert again.train(2, quietly) == done
    assert again.adapter() == one.adapter() != between


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_exchanged_is_exactly_the_declared(kind: str, full: bool, language_model: Make, view: Path) -> None:
    the_job = job(kind, full=full, steps=2)
    layout = layout_of(the_job, base_model=language_model(kind))
    one = make(the_job, language_model(kind), view)
    start = initial_adapter(layout, the_job.seed)
    assert all(np.array_equal(value, start[name]) for name, value in safetensors.numpy.load(one.adapter()).items())
    one.train(1, quietly)
    trained = safetensors.numpy.load(one.adapter())
    assert {name: value.shape for name, value in trained.items()} == layout.shapes()
    assert not [name for name, value in trained.items() if np.array_equal(value, start[name])]


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_the_result_loads_with_peft_alone(kind: str, language_model: Make, view: Path, tmp_path: Path) -> None:
    import peft
    import transformers

    the_job = job(kind, full=False, steps=4)
    one = make(the_job, language_model(kind), view)
    one.train(1, quietly)
    expected = one.evaluate()
    result = tmp_path / "result"
    result.mkdir()
    layout = layout_of(the_job, base_model=language_model(kind))
    (result / "adapter_model.safetensors").write_bytes(one.adapter())
    (result / "adapter_config.json").write_text(json.dumps(adapter_config(the_job, layout)))
    base = transformers.AutoModelForCausalLM.from_pretrained(language_model(kind))
    one.model = peft.PeftModel.from_pretrained(base, result).to(one.device)
    assert one.evaluate() == expected


def test_the_whole_result_is_the_base_model_and_the_differences(language_model: Make, view: Path) -> None:
    import transformers

    one = make(job(steps=4), language_model("llama"), view)
    one.train(1, quietly)
    expected = one.evaluate()
    base = transformers.AutoModelForCausalLM.from_pretrained(language_model("llama"))
    differences = safetensors.numpy.load(one.adapter())
    with torch.no_grad():
        for name, weight in base.named_parameters():
            weight.add_(torch.from_numpy(differences[name]))
    one.model = base.to(one.device)
    assert one.evaluate() == pytest.approx(expected, rel=1e-5)


def test_bfloat16_learns_and_gives_float32(language_model: Make, view: Path) -> None:
    forget_precision()
    one = make(job(steps=8, precision="bfloat16", packing=True), language_model("llama"), view)
    before = one.evaluate()["loss"]
    one.train(1, quietly)
    assert one.evaluate()["loss"] < before
    assert {value.dtype.name for value in safetensors.numpy.load(one.adapter()).values()} == {"float32"}


def test_a_base_model_without_its_output_is_refused(language_model: Make, view: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for path in language_model("gpt2").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    tensors = safetensors.numpy.load_file(folder / "model.safetensors")
    del tensors["transformer.ln_f.bias"]
    safetensors.numpy.save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(TrainerError, match=r"lacks 1 of its weights, such as `transformer\.ln_f\.bias`"):
        make(job("gpt2"), folder, view)


def test_a_bad_row_ends_it_without_its_content(language_model: Make, view: Path) -> None:
    pyarrow.parquet.write_table(pa.table({"talk": ['["Jane"]']}), view / "train.parquet")
    with pytest.raises(
        RecordsError, match=r"row 1 of the view's `train\.parquet`: column `talk` has a message"
    ) as caught:
        make(job(messages=True), language_model("llama"), view)
    assert "Jane" not in str(caught.value)


def test_no_validation_records_no_metrics(language_model: Make, tmp_path: Path) -> None:
    one = make(job(steps=1), language_model("llama"), write_view(tmp_path / "view", validation=0))
    assert one.evaluate() == {}
    assert one.train(1, quietly).records == 8
