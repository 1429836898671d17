# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest
from benchmarks.small_language_model import END, make_tokenizer
from hypothesis import given
from hypothesis import strategies as st

from cloister.errors import RecordsError, TrainerError
from cloister.silos.dialogue import Message
from cloister.training.prompts import Piece, Prompts, Tokens

CHAT = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% if m.role == 'assistant' %}" + END + "\n{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return make_tokenizer(["what is the dose of aspirin", "one tablet at night"])


@pytest.fixture
def with_template(tokenizer: Any) -> Any:
    tokenizer.chat_template = CHAT
    yield tokenizer
    tokenizer.chat_template = None


def shown(tokenizer: Any, tokens: Tokens) -> tuple[str, str]:
    """The whole text, and what of it is learnt."""
    numbers = tokens.numbers.tolist()
    learnt = [number for number, is_learnt in zip(numbers, tokens.learnt, strict=True) if is_learnt]
    return tokenizer.decode(numbers), tokenizer.decode(learnt)


TALK = (("user", "the dose?"), ("assistant", "one"), ("user", "when?"), ("assistant", "now"))


def of_prompt(tokenizer: Any, prompt: str, completion: str, longest: int = 512) -> tuple[str, str]:
    prompts = Prompts(tokenizer, longest)
    (tokens,) = prompts.tokens([prompts.of_prompt(prompt, completion)])
    assert len(tokens.numbers) <= longest
    return shown(tokenizer, tokens)


def of_messages(tokenizer: Any, *messages: tuple[str, str]) -> tuple[str, str]:
    prompts = Prompts(tokenizer, 512)
    (tokens,) = prompts.tokens([prompts.of_messages([Message(*message) for message in messages])])
    return shown(tokenizer, tokens)


def test_only_the_completion_and_its_end_are_learnt(tokenizer: Any) -> None:
    assert of_prompt(tokenizer, "the dose?", "one tablet") == (f"the dose?\none tablet{END}", f"one tablet{END}")


def test_an_empty_completion_is_an_end(tokenizer: Any) -> None:
    assert of_prompt(tokenizer, "", "") == (f"\n{END}", END)


def test_a_completion_that_brings_the_end_has_no_second_one(tokenizer: Any) -> None:
    assert of_prompt(tokenizer, "the dose?", f"one{END}") == (f"the dose?\none{END}", f"one{END}")


def test_an_end_within_a_completion_is_not_its_end(tokenizer: Any) -> None:
    answer = f"one{END} tablet"
    assert of_prompt(tokenizer, "the dose?", answer) == (f"the dose?\n{answer}{END}", f"{answer}{END}")


def test_a_prompt_that_is_too_long_loses_its_beginning(tokenizer: Any) -> None:
    text, learnt = of_prompt(tokenizer, "x" * 50 + " at night", "one tablet", longest=8)
    assert learnt == f"one tablet{END}"
    assert text.endswith(f"night\n{learnt}")
    assert "x" * 10 not in text


def test_a_completion_that_is_too_long_loses_its_end_and_is_not_told_to_end(tokenizer: Any) -> None:
    text, learnt = of_prompt(tokenizer, "the dose?", "x y " * 20, longest=8)
    assert text == "\n" + learnt
    assert learnt.startswith("x y x y")
    assert END not in text


@given(st.text(max_size=30), st.text(max_size=30), st.integers(3, 40))
def test_any_text_has_something_to_learn_and_fits(prompt: str, completion: str, longest: int) -> None:
    tokenizer = make_tokenizer([])
    prompts = Prompts(tokenizer, longest)
    (tokens,) = prompts.tokens([prompts.of_prompt(prompt, completion)])
    assert 2 <= len(tokens.numbers) == len(tokens.learnt) <= longest
    assert not tokens.learnt[0]
    assert tokens.learnt[-1]
    whole = tokenizer(f"{completion}", add_special_tokens=False)["input_ids"]
    learnt = tokens.numbers[tokens.learnt].tolist()
    assert learnt == [*whole, tokenizer.eos_token_id][: len(learnt)]


def test_each_answer_of_a_conversation_is_learnt(tokenizer: Any) -> None:
    text, learnt = of_messages(
        tokenizer,
        ("system", "be brief"),
        ("user", "the dose?"),
        ("assistant", "one"),
        ("user", "when?"),
        ("assistant", "now"),
    )
    assert text == f"system:\nbe brief\nuser:\nthe dose?\nassistant:\none{END}user:\nwhen?\nassistant:\nnow{END}"
    assert learnt == f"one{END}now{END}"


def test_what_follows_the_last_answer_is_left_out(tokenizer: Any) -> None:
    assert of_messages(tokenizer, ("assistant", "yes?"), ("user", "the dose?"))[0] == f"assistant:\nyes?{END}"


def test_a_chat_template_writes_and_its_end_is_learnt(with_template: Any) -> None:
    text, learnt = of_messages(with_template, *TALK)
    assert text == f"<user>the dose?<assistant>one{END}\n<user>when?<assistant>now{END}\n"
    assert learnt == f"one{END}\nnow{END}\n"


def test_a_chat_template_without_an_end_gets_one(with_template: Any) -> None:
    with_template.chat_template = CHAT.replace(END, "!")
    assert of_messages(with_template, ("user", "the dose?"), ("assistant", "one"))[1] == f"one!\n{END}"


@pytest.mark.parametrize(
    ("template", "wrong"),
    [
        ("{{ raise_exception(messages[0].content) }}", "cannot write"),
        ("{{ messages[0].nothing.more }}", "cannot write"),
        ("{% for m in messages %}", "cannot write"),
        ("{{ ''.__class__.__mro__ }}", "cannot write"),  # the sandbox of jinja
        ("{{ messages | length }}{% for m in messages %}{{ m.content }}{% endfor %}", "earlier turns"),
    ],
)
def test_a_template_that_does_not_fit_is_refused_without_the_record(
    template: str, wrong: str, with_template: Any
) -> None:
    with_template.chat_template = template
    with pytest.raises(RecordsError, match=wrong) as caught:
        of_messages(with_template, ("user", "Jane?"), ("assistant", "one"))
    assert "Jane" not in str(caught.value)


def test_a_token_that_begins_texts_stays_when_the_rest_is_cut(tokenizer: Any) -> None:
    from tokenizers import processors

    begins = make_tokenizer(["the dose"])
    begins.add_special_tokens({"bos_token": "<s>"})
    number = begins.bos_token_id
    begins.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", number)]
    )
    text, learnt = of_prompt(begins, "x" * 50 + " the dose", "one", longest=10)
    assert text.startswith("<s>")
    assert text.endswith(f"dose\none{END}")
    assert learnt == f"one{END}"
    prompts = Prompts(begins, 512)
    (tokens,) = prompts.tokens([prompts.of_messages([Message("user", "a"), Message("assistant", "b")])])
    assert shown(begins, tokens) == (f"<s>user:\na\nassistant:\nb{END}", f"b{END}")


def test_a_tokenizer_without_an_end_is_refused(tokenizer: Any) -> None:
    endless = make_tokenizer([])
    endless.eos_token = None
    with pytest.raises(TrainerError, match="has no token that ends a text"):
        Prompts(endless, 512)


def test_pieces_are_tokenised_apart(tokenizer: Any) -> None:
    # Written in one go, `the` and ` dose` could be one token; the model never writes the second half of a token.
    prompts = Prompts(tokenizer, 512)
    (tokens,) = prompts.tokens([[Piece("the do"), Piece("se", learnt=True)]])
    assert tokenizer.decode(tokens.numbers[tokens.learnt]) == "se"
