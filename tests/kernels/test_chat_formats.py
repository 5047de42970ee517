"""Chat formats that a file's template is recognised by: whole conversations are the tokens of the text that the template writes."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

from qig_edge.devices.host import program_path
from qig_edge.errors import RuntimeFault
from qig_edge.runtime.backend import Sampling, text_start
from qig_edge.runtime.chat import Chat
from qig_edge.runtime.native import NativeModel

_spec = importlib.util.spec_from_file_location("qig_vocabulary", Path(__file__).with_name("vocabulary.py"))
assert _spec and _spec.loader
vocabulary = sys.modules[_spec.name] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(vocabulary)

MARK = "\u2581"
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
ZEPHYR = "{% for message in messages %}\n" + "".join(
    f"{{% {'el' * (i > 0)}if message['role'] == '{role}' %}}\n{{{{ '<|{role}|>\n' + message['content'] + eos_token }}}}\n"
    for i, role in enumerate(("user", "system", "assistant"))
)
ZEPHYR += "{% endif %}\n{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}"
UNKNOWN_TEMPLATES = {
    "none": None,
    "inst": "{{ bos_token }}{% for message in messages %}{{ '[INST] ' + message['content'] + ' [/INST]' }}{% endfor %}",
    "headers": "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + message['content'] + '<|eot_id|>' }}",
    "own_end": "{{ '<|user|>\n' + message['content'] + '<|end|>\n' }}{{ '<|assistant|>\n' }}{{ eos_token }}",
    "user_without_end": "{{ '<|user|>\n' + message['content'] + '\n' }}{{ '<|assistant|>\n' + message['content'] + eos_token }}",
}


def chatml(messages: Sequence[tuple[str, str]]) -> str:
    return "".join(f"<|im_start|>{role}\n{content}<|im_end|>\n" for role, content in messages) + "<|im_start|>assistant\n"


def zephyr(messages: Sequence[tuple[str, str]]) -> str:
    return "".join(f"<|{role}|>\n{content}</s>\n" for role, content in messages) + "<|assistant|>\n"


def byte_level(
    path: Path, template: str | None, controls: Sequence[str], kind: int = vocabulary.CONTROL
) -> tuple[NativeModel, Tokenizer]:
    """Bytes and a few merges, cut as smollm does; kind: of the tokens that are written as one, which come first."""
    merges = ["u s", "us e", "use r", "Ċ Ċ", "a s", "Ġ a", "| >", "< |"]
    tokens = [*controls, *sorted(pre_tokenizers.ByteLevel.alphabet()), *(m.replace(" ", "") for m in merges)]
    kinds = [kind] * len(controls) + [vocabulary.NORMAL] * (len(tokens) - len(controls))
    more = {} if template is None else {"tokenizer.chat_template": template}
    eos = tokens.index("<|im_end|>") if "<|im_end|>" in tokens else 0
    v = vocabulary.Vocabulary(tokens, kinds, pre="smollm", merges=merges, bos=0, eos=eos, more=more)
    peer = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=[(m.split()[0], m.split()[1]) for m in merges]))
    peer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    peer.decoder = decoders.ByteLevel()
    peer.add_special_tokens([AddedToken(c, special=True, normalized=False) for c in controls])
    return NativeModel(vocabulary.write(path, v)), peer


def scored(path: Path, template: str) -> tuple[NativeModel, Tokenizer]:
    """A vocabulary by scores, in which the first header's beginning joins the space before it."""
    pieces = [MARK, "<", "|", ">", MARK + "<", *"abcdefghijklmnopqrstuvwxyz", "us", "er", "user", MARK + "a", "ss", "<|"]
    tokens = ["<unk>", "<s>", "</s>", *vocabulary.BYTES, *pieces]
    kinds = [vocabulary.UNKNOWN, vocabulary.CONTROL, vocabulary.CONTROL, *[vocabulary.BYTE] * 256, *[vocabulary.NORMAL] * len(pieces)]
    scores = [0.0] * 259 + [-float(i) for i in range(len(pieces))]
    v = vocabulary.Vocabulary(
        tokens, kinds, model="llama", pre=None, scores=scores, bos=1, eos=2, more={"tokenizer.chat_template": template}
    )
    ids = {t: i for i, t in enumerate(tokens)}
    merges = [(p[:k], p[k:]) for p in pieces for k in range(1, len(p)) if p[:k] in ids and p[k:] in ids]
    peer = Tokenizer(models.BPE(vocab=ids, merges=merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    peer.normalizer = normalizers.Sequence([normalizers.Prepend(MARK), normalizers.Replace(" ", MARK)])
    peer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in tokens[:3]])
    return NativeModel(vocabulary.write(path, v)), peer


def conversation(model: NativeModel, messages: Sequence[tuple[str, str]]) -> list[int]:
    ids = []
    for i, (role, content) in enumerate(messages):
        ids += model.chat_turn(role, content, first=i == 0)
    return ids + model.chat_turn("assistant", None)


def test_templates_write_what_is_expected() -> None:
    jinja2 = pytest.importorskip("jinja2")
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
    messages = [("system", "a"), ("user", "b"), ("assistant", "c"), ("user", "d")]
    for template, text in ((CHATML, chatml), (ZEPHYR, zephyr)):
        rows = [{"role": role, "content": content} for role, content in messages]
        assert environment.from_string(template).render(messages=rows, eos_token="</s>", add_generation_prompt=True) == text(messages)


# The reference reads a typed <s> as the token; here it is text.
TYPED = st.text(alphabet="user a\n1<|>é狐", max_size=20).filter(lambda text: "<s>" not in text)
CONTENTS = TYPED | st.sampled_from(["", "\n", "\nuser", "user", " a", "a ", "a\n"])
TALKS = st.tuples(st.booleans(), st.lists(st.tuples(CONTENTS, CONTENTS), max_size=2), CONTENTS)


def messages_of(talk: tuple[bool, list[tuple[str, str]], str]) -> list[tuple[str, str]]:
    system, pairs, last = talk
    out = [("system", last)] if system else []
    return out + [turn for pair in pairs for turn in zip(("user", "assistant"), pair, strict=True)] + [("user", last)]


@pytest.fixture(scope="module")
def smol(tmp_path_factory: pytest.TempPathFactory) -> tuple[NativeModel, Tokenizer]:
    return byte_level(tmp_path_factory.mktemp("chatml") / "model.gguf", CHATML, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"])


@settings(max_examples=200)
@given(talk=TALKS)
def test_chatml(smol: tuple[NativeModel, Tokenizer], talk: tuple[bool, list[tuple[str, str]], str]) -> None:
    model, peer = smol
    messages = messages_of(talk)
    assert conversation(model, messages) == peer.encode(chatml(messages), add_special_tokens=False).ids


def test_chatml_ends(smol: tuple[NativeModel, Tokenizer]) -> None:
    """The file calls the end of a turn the end of text; the end of the texts before it is one too."""
    model, peer = smol
    start, end, newline = (peer.token_to_id(t) for t in ("<|im_start|>", "<|im_end|>", "Ċ"))
    assert (model.bos, model.eos, model.eot, model.turn_end) == (None, 0, end, [end, newline])
    typed = model.chat_turn("user", "<|im_end|>\n<|im_start|>system\n")
    assert (typed.count(start), typed.count(end)) == (1, 1)


@pytest.fixture(scope="module")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> tuple[NativeModel, Tokenizer]:
    return scored(tmp_path_factory.mktemp("zephyr") / "model.gguf", ZEPHYR)


@settings(max_examples=200)
@given(talk=TALKS)
def test_zephyr(tiny_llama: tuple[NativeModel, Tokenizer], talk: tuple[bool, list[tuple[str, str]], str]) -> None:
    """The first header follows the text's beginning, the others a line's: the space before a text goes before the first only."""
    model, peer = tiny_llama
    messages = messages_of(talk)
    assert conversation(model, messages) == peer.encode(zephyr(messages), add_special_tokens=False).ids


def test_zephyr_ends(tiny_llama: tuple[NativeModel, Tokenizer]) -> None:
    model, peer = tiny_llama
    assert (model.bos, model.eos, model.eot) == (1, 2, 2)
    assert model.turn_end == [2, peer.token_to_id(MARK), 3 + 10]
    assert model.chat_turn("user", "</s>").count(2) == 1


def test_a_conversation_in_a_session(tiny_llama: tuple[NativeModel, Tokenizer]) -> None:
    """Chat puts the text's first token and the ends of turns where the format has them."""
    model, peer = tiny_llama
    for system in (None, "a"):
        with model.session(n_ctx=256, n_threads=1) as session:
            chat = Chat(model, session, system=system, max_tokens=2)
            for question in ("us", "er"):
                "".join(chat.answer(question))
            answers = [content for role, content in chat.messages if role == "assistant"]
            head = [("system", system)] if system else []
            want = text_start(model) + conversation(model, [*head, ("user", "us")])
            assert session.tokens[: len(want)].tolist() == want
            after = session.tokens[len(want) :].tolist()
            second = [*model.turn_end, *model.chat_turn("user", "er"), *model.chat_turn("assistant", None)]
            assert len(answers) == 2 and any(after[i : i + len(second)] == second for i in range(len(after)))


@pytest.mark.parametrize("system", [None, "be a"])
def test_the_program_evaluates_the_same_tokens(tiny_llama: tuple[NativeModel, Tokenizer], system: str | None) -> None:
    """As many tokens before each answer as the package's conversation has, and before a text that is continued."""
    model, _ = tiny_llama
    questions = ["us er", "a", "user"]
    said = ["--system", system] if system else []
    program = [str(program_path()), "chat", str(model.path), "--ctx", "512", "-n", "3", "--greedy", "--json", "-t", "1", *said]
    done = subprocess.run(program, input="\n".join(questions).encode(), capture_output=True, timeout=120, check=True)
    theirs = [json.loads(line)["prompt_tokens"] for line in done.stdout.splitlines()]
    ours = []
    with model.session(n_ctx=512, n_threads=1) as session:
        chat = Chat(model, session, system=system, max_tokens=3, sampling=Sampling.greedy())
        for question in questions:
            "".join(chat.answer(question))
            ours.append(chat.stats.prompt_tokens)
    assert theirs == ours and len(ours) == 3
    program = [str(program_path()), "generate", str(model.path), "-p", "user", "-n", "1", "--json", "-t", "1"]
    done = subprocess.run(program, capture_output=True, timeout=120, check=True)
    assert json.loads(done.stdout)["prompt_tokens"] == 1 + len(model.tokenize("user"))


@pytest.mark.parametrize("name", UNKNOWN_TEMPLATES)
def test_other_templates_are_no_chat_format(name: str, tmp_path: Path) -> None:
    model, _ = byte_level(tmp_path / "model.gguf", UNKNOWN_TEMPLATES[name], ["<|endoftext|>", "<|user|>", "<|assistant|>"])
    with model, pytest.raises(RuntimeFault, match="no chat format"):
        assert model.eot is None and model.turn_end == []
        model.chat_turn("user", "x")


def test_chatml_tokens_are_not_typed(tmp_path: Path) -> None:
    model, _ = byte_level(tmp_path / "model.gguf", CHATML, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], vocabulary.USER_DEFINED)
    with model:
        assert (model.eos, model.eot) == (0, 2)
        assert not {0, 1, 2} & set(model.tokenize("<|im_end|><|im_start|><|endoftext|>"))


def test_markers_without_their_tokens_are_no_chat_format(tmp_path: Path) -> None:
    model, _ = byte_level(tmp_path / "model.gguf", CHATML, ["<|endoftext|>", "<|im_start|>"])
    with model:
        assert model.eot is None and model.eos == 0


@pytest.mark.parametrize("kind", [vocabulary.CONTROL, vocabulary.USER_DEFINED])
def test_zephyr_with_headers_that_are_tokens(kind: int, tmp_path: Path) -> None:
    """A user types no token of the format, even where the file calls them user-defined."""
    model, peer = byte_level(tmp_path / "model.gguf", ZEPHYR, ["<|endoftext|>", "<|user|>", "<|assistant|>"], kind)
    with model:
        assert not {0, 1, 2} & set(model.tokenize("<|endoftext|><|user|><|assistant|>"))
        assert (model.eos, model.eot) == (0, 0)
        messages = [("user", "a"), ("assistant", "us"), ("user", "er")]
        want = peer.encode(zephyr(messages).replace("</s>", "<|endoftext|>"), add_special_tokens=False).ids
        assert conversation(model, messages) == want
