"""The role swap: what it exchanges, that it is an involution where it says so, and its permutation of token ids."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qig_edge.runtime.assets import model_path
from qig_edge.runtime.native import NativeModel
from qig_edge.runtime.roles import returns, swap_ids, swap_roles, token_subjects, token_swap, token_verbs

PAIRS = [
    ("Will you help me?", "Will I help you?"),
    ("I am sure you can.", "You are sure I can."),
    ("Are you sure I was right?", "Am I sure you were right?"),
    ("If I were you, I would stay.", "If you were me, you would stay."),
    ("You were kind when I wasn't.", "I was kind when you weren't."),
    ("I'm glad you've come, and you'd like it if I'll stay.", "You're glad I've come, and I'd like it if you'll stay."),
    ("Between you and me, it was you.", "Between me and you, it was me."),
    ("You and I are friends.", "I and you are friends."),
    ("Tom and I are here, and you are there.", "Tom and you are here, and I am there."),
    ("You pushed me and I was sad.", "I pushed you and you were sad."),
    ("You saw Tom and I was sad.", "I saw Tom and you were sad."),
    ("I hope Tom and you are well.", "You hope Tom and I are well."),
    ("Give it to you or me.", "Give it to me or you."),
    ("I hurt myself on your chair, not on mine.", "You hurt yourself on my chair, not on yours."),
    ("The people near you are kind.", "The people near me are kind."),
    ("I want to thank you for the book you gave me.", "You want to thank me for the book I gave you."),
    ("I promise you will get your toy back.", "You promise I will get my toy back."),
    ("I never was late, you always are.", "You never were late, I always am."),
    ("Let me help you before you go.", "Let you help me before I go."),
    ('She said, "You are my friend."', 'She said, "I am your friend."'),
    ("You’re late, but I’m here.", "I’m late, but you’re here."),
    ("Me too.", "You too."),
    ("Do you want me to do you a favour?", "Do I want you to do me a favour?"),
    ("Thank you. You are welcome. Excuse me!", "Thank you. You are welcome. Excuse me!"),
    ("They are in the mine, i.e. we are.", "They are in the mine, i.e. we are."),
    ("I think... you know it.", "You think... I know it."),
    ("It was not me.", "It was not you."),
    ("He helped only you, and not me.", "He helped only me, and not you."),
    ("What about you? Why me? Only you know.", "What about me? Why you? Only I know."),
    (
        "Iñtërnâtiônàl I-beam, I2C, you_id, a do-it-yourself kit",
        "Iñtërnâtiônàl I-beam, I2C, you_id, a do-it-yourself kit",
    ),
    ("", ""),
]


@pytest.mark.parametrize(("text", "twin"), PAIRS)
def test_pairs_are_twins_in_both_directions(text: str, twin: str) -> None:
    assert swap_roles(text) == twin
    assert swap_roles(twin) == text and returns(text) and returns(twin)


def test_names_of_the_roles_in_a_written_conversation() -> None:
    text = "<|user|>Can you see me?<|end|><|assistant|>No.<|end|>"
    assert swap_roles(text) == "<|assistant|>Can I see you?<|end|><|user|>No.<|end|>"
    assert swap_roles(text, names=False) == "<|user|>Can I see you?<|end|><|assistant|>No.<|end|>"
    lines = "User: hello\nASSISTANT: hello, user: nice\n  user: bye"
    assert swap_roles(lines) == "Assistant: hello\nUSER: hello, user: nice\n  assistant: bye"
    assert returns(text) and returns(lines)


@pytest.mark.parametrize(
    ("text", "twin", "back"),
    [
        ("Me and Tom went.", "You and Tom went.", "I and Tom went."),
        ("you know it.", "I know it.", "You know it."),
        ("i know it.", "You know it.", "I know it."),
        ("You aren't late.", "I'm not late.", "You're not late."),
        ("Thank me!", "Thank you!", "Thank you!"),
    ],
)
def test_what_does_not_return_is_told(text: str, twin: str, back: str) -> None:
    assert swap_roles(text) == twin and swap_roles(twin) == back and not returns(text)


def test_long_and_odd_texts_take_their_time_and_no_more() -> None:
    """A chain of pronouns neither recurses nor grows with the square of its length; words in any order raise nothing."""
    assert swap_roles("you and " * 20000).startswith("I and I and ") and swap_roles("I always " * 20000)
    words = "I you me You YOU ME my mine YOURS I'm YOU'RE am are was weren't and or not if thank help to . , : \" ' - -- i ( ) <|user|> User:"
    rng = random.Random(8)
    for _ in range(3000):
        text = " ".join(rng.choice(words.split()) for _ in range(rng.randint(1, 12)))
        assert len(swap_roles(text).split()) == len(text.split()), text


# ---- sentences with every person written by the grammar: their twin is the same sentence with the persons exchanged

SUBJECT, OBJECT, OWN, OWNED, SELF = (
    ("I", "you"),
    ("me", "you"),
    ("my", "your"),
    ("mine", "yours"),
    ("myself", "yourself"),
)
IS, WAS, IM, IVE, ILL = ("am", "are"), ("was", "were"), ("I'm", "you're"), ("I've", "you've"), ("I'll", "you'll")
SLOTS = {"S": SUBJECT, "O": OBJECT, "P": OWN, "Q": OWNED, "R": SELF, "B": IS, "W": WAS, "M": IM, "V": IVE, "L": ILL}
# {S0} a subject of agent 0, {B0} the verb that goes with it; agent 0 or 1 is the speaker
CLAUSES = [
    "{S0} will help {O1}",
    "{S0} {B0} sure that {S1} can help {O0}",
    "{S0} promised to give {O1} {P0} ball",
    "{S0} did not ask {O1} to carry {P1} bag",
    "if {S0} {B0} fair, {S1} will thank {O0}",
    "{S0} {W0} angry because {S1} took {P0} cake",
    "{M0} sorry that {S1} hurt {R1}",
    "{V0} seen the toy that {S1} gave to {O0}",
    "{L0} share with {O1} when {S1} {B1} hungry",
    "this coat is {Q0}, and that one is {Q1}",
    "Tom told {O0} about {O1}",
    "they never saw what {S0} did for {O1}",
    "{S0} know {O1}",
    "it is {O0}, not {O1}",
]  # fmt: skip
QUESTIONS = [
    "{B0} {S0} sure that {S1} {W1} there",
    "will {S0} lend {O1} {P0} pen",
    "why should {S0} trust {O1}",
    "do {S0} want {O1} to wait for {O0}",
    "what {W0} {S0} doing with {P1} hat",
    "can {S0} do it by {R0}",
]


def rendered(template: str, speaker: int, mark: str) -> str:
    """A clause with agent `speaker` as the first person, as a sentence."""
    filled = re.sub(r"\{(.)(.)\}", lambda m: SLOTS[m[1]][0 if int(m[2]) == speaker else 1], template)
    return filled[0].upper() + filled[1:] + mark


def joined(left: str, how: str, right: str) -> str:
    return f"{left} {how} {right}"


longer = st.builds(
    joined, st.sampled_from(CLAUSES), st.sampled_from([", and", ", but", "; then", ", so"]), st.sampled_from(CLAUSES)
)
sentences = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(CLAUSES), st.sampled_from([".", "!"])),
        st.tuples(st.sampled_from(QUESTIONS), st.just("?")),
        st.tuples(longer, st.just(".")),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=300, deadline=None)
@given(sentences, st.sampled_from([" ", "\n", "  "]), st.sampled_from([0, 1]))
def test_the_twin_is_the_text_with_the_other_speaker(parts: list[tuple[str, str]], between: str, speaker: int) -> None:
    text = between.join(rendered(t, speaker, mark) for t, mark in parts)
    twin = between.join(rendered(t, 1 - speaker, mark) for t, mark in parts)
    assert swap_roles(text) == twin
    assert swap_roles(twin) == text


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=st.characters(exclude_categories=("Cs",)), max_size=80))
def test_a_text_without_role_words_is_its_own_twin(text: str) -> None:
    words = set(re.findall(r"[a-z]+", text.lower()))
    if not words & {"i", "me", "you", "my", "your", "mine", "yours", "myself", "yourself", "user", "assistant"}:
        assert swap_roles(text) == text


def test_most_of_the_generated_conversations_return() -> None:
    """The measure behind "involution on its domain": what fails begins in lower case."""
    from qig_edge.corpus.talk import talk

    rng = random.Random(5)
    total, failed = 0, []
    for _ in range(400):
        for message in talk(rng)["messages"]:
            for sentence in re.split(r"(?<=[.!?])\s+|\n", message["content"]):
                if swap_roles(sentence) != sentence:
                    total += 1
                    if not returns(sentence):
                        failed.append(sentence)
    print("seed 5:", total, "sentences with a role word,", len(failed), "do not return")
    assert total > 300 and len(failed) < 0.05 * total, failed


# ---- tokens


@pytest.fixture(scope="module")
def model() -> Any:
    with NativeModel(model_path(None)) as opened:
        yield opened


def test_tokens_are_a_permutation_that_is_its_own_inverse(model: Any) -> None:
    twins, verbs, subjects = token_swap(model), token_verbs(model), token_subjects(model)
    everything = np.arange(model.info.vocab_size)
    for table in (twins, verbs):
        assert table.dtype == np.int32 and table.shape == everything.shape
        assert np.array_equal(table[table], everything)
    moved = {
        model.detokenize([i]).decode(): model.detokenize([int(twins[i])]).decode()
        for i in np.flatnonzero(twins != everything)
    }
    assert moved[" I"] == " you" and moved["You"] == "I" and moved[" my"] == " your" and " me" not in moved
    assert np.array_equal(subjects[twins], subjects) and 2 <= subjects.sum() <= 4
    assert len(moved) >= 8 and "<|user|>" not in moved


def test_sequences_of_ids_are_swapped_with_their_verbs(model: Any) -> None:
    tables = token_swap(model), token_verbs(model), token_subjects(model)

    def swapped(text: str) -> str:
        return model.detokenize(swap_ids(np.array(model.tokenize(text)), *tables).tolist()).decode()

    assert (
        swapped("I know that you are my friend, and they are not.")
        == "You know that I am your friend, and they are not."
    )
    rng = np.random.default_rng(3)
    ids = rng.integers(0, model.info.vocab_size, (50, 40))
    # random ids hold too few role words to try the rule, so half of the places get one
    words = np.flatnonzero((tables[0] != np.arange(len(tables[0]))) | (tables[1] != np.arange(len(tables[1]))))
    ids = np.where(rng.random(ids.shape) < 0.5, rng.choice(words, ids.shape), ids)
    once = swap_ids(ids, *tables)
    assert (once != ids).mean() > 0.2
    assert np.array_equal(swap_ids(once, *tables), ids)


def test_headers_are_exchanged_when_asked_for(model: Any) -> None:
    user, assistant = model.chat_turn("user", None)[0], model.chat_turn("assistant", None)[0]
    twins = token_swap(model, headers=(user, assistant))
    assert twins[user] == assistant and twins[assistant] == user
    assert np.array_equal(twins[twins], np.arange(len(twins)))


def test_every_kind_of_tokenizer_gives_the_same_table(model: Any) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    transformers = pytest.importorskip("transformers")
    file = Path(__file__).resolve().parents[1] / "golden" / "checkpoint" / "tokenizer.json"
    slim = tokenizers.Tokenizer.from_file(str(file))
    full = transformers.PreTrainedTokenizerFast(tokenizer_object=slim)
    with NativeModel(file.parents[1] / "golden-f32.gguf") as golden:
        expected = token_swap(golden)
        assert np.array_equal(token_swap(slim), expected) and np.array_equal(token_swap(full), expected)
        assert np.array_equal(token_verbs(slim), token_verbs(golden))
