"""The Hugging Face classes: a checkpoint opens, computes, generates, learns and is saved as any other model's."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, DynamicCache, StaticCache  # noqa: E402

import qig_edge.hf as hf  # noqa: E402
from qig_edge.errors import CheckpointError, ConfigError  # noqa: E402
from qig_edge.runtime.native import NativeModel  # noqa: E402
from qig_edge.train import checkpoint  # noqa: E402
from qig_edge.train.sources import Document  # noqa: E402
from qig_edge.train.tokenizer import encode_documents, load_tokenizer  # noqa: E402
from tests.convert.tiny import DEPTHS, KINDS, VOCAB, random_kernel, tiny_config, tiny_tokenizer  # noqa: E402

GOLDEN = Path(__file__).resolve().parent / "golden"


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Tiny products gain nothing from torch's threads, and lose minutes to them on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def golden() -> hf.QigForCausalLM:
    model = AutoModelForCausalLM.from_pretrained(GOLDEN / "checkpoint", trust_remote_code=False)
    assert isinstance(model, hf.QigForCausalLM)
    return model


def ids_of(text: str) -> torch.Tensor:
    return torch.tensor([load_tokenizer(GOLDEN / "checkpoint").encode(text).ids])


@pytest.mark.parametrize("kind", KINDS)
def test_logits_are_those_of_load_model_and_survive_a_round_trip(tmp_path: Path, kind: str) -> None:
    checkpoint.write(tmp_path / "a", random_kernel(tiny_config(**KINDS[kind]), 4), tiny_tokenizer(), None)
    ids = torch.randint(0, VOCAB, (2, 20))
    with torch.no_grad():
        expected = checkpoint.load_model(tmp_path / "a")(ids).logits
        model = AutoModelForCausalLM.from_pretrained(tmp_path / "a", trust_remote_code=False)
        assert torch.equal(model(ids).logits, expected)
        model.save_pretrained(tmp_path / "b")
        tiny_tokenizer().save(str(tmp_path / "b" / "tokenizer.json"))
        assert torch.equal(AutoModelForCausalLM.from_pretrained(tmp_path / "b")(ids).logits, expected)
        # and the folder is a checkpoint of this project again
        assert checkpoint.read_config(tmp_path / "b") == tiny_config(**KINDS[kind])
        assert torch.equal(checkpoint.load_model(tmp_path / "b")(ids).logits, expected)


def test_importing_the_package_registers_nothing() -> None:
    script = (
        "import qig_edge.model.kernel, qig_edge.train.checkpoint\n"
        "from transformers import AutoConfig\n"
        "try:\n    AutoConfig.for_model('qig')\nexcept ValueError:\n    import qig_edge.hf\n    print(AutoConfig.for_model('qig').d_model)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=GOLDEN.parent.parent)
    assert done.stdout == "256\n", done.stderr


@pytest.mark.parametrize("prompt", ["Once upon a time", "The little fox"])
def test_generate_with_and_without_cache(golden: hf.QigForCausalLM, prompt: str) -> None:
    ids = ids_of(prompt)
    on = golden.generate(ids, max_new_tokens=24, do_sample=False, use_cache=True)
    off = golden.generate(ids, max_new_tokens=24, do_sample=False, use_cache=False)
    assert torch.equal(on, off)
    assert on.shape[1] == ids.shape[1] + 24
    import json

    expected = json.loads((GOLDEN / "expected.json").read_text("utf-8"))
    wanted = next(
        g for p, g in zip(expected["prompts"], expected["greedy"]["f32"], strict=True) if p.get("text") == prompt
    )
    assert on[0, ids.shape[1] :].tolist() == wanted["ids"][:24]
    assert not wanted["near_ties"]


def test_cache_by_hand_beams_and_batches(golden: hf.QigForCausalLM) -> None:
    ids = ids_of("Once upon a time, a fox")
    with torch.no_grad():
        whole = golden(ids, use_cache=False)
        assert whole.past_key_values is None
        cache, rows = DynamicCache(config=golden.config), []
        for piece in ids.split(3, 1):
            out = golden(piece, past_key_values=cache, use_cache=True)
            assert out.past_key_values is cache
            rows.append(out.logits)
        assert cache.get_seq_length() == ids.shape[1]
        assert (torch.cat(rows, 1) - whole.logits).abs().max() <= 1e-4
        assert torch.equal(golden(ids, logits_to_keep=2, use_cache=False).logits, whole.logits[:, -2:])
        assert torch.equal(
            golden(ids, logits_to_keep=torch.tensor([0, 3]), use_cache=False).logits, whole.logits[:, [0, 3]]
        )
        logits, past = golden(ids, return_dict=False)[:2]
        assert torch.equal(logits, whole.logits) and past.get_seq_length() == ids.shape[1]
    kept = golden.generate(ids, max_new_tokens=8, num_beams=3, do_sample=False, use_cache=True)
    assert torch.equal(kept, golden.generate(ids, max_new_tokens=8, num_beams=3, do_sample=False, use_cache=False))
    both = golden.generate(ids.repeat(2, 1), max_new_tokens=8, do_sample=False)
    assert torch.equal(both[0], both[1])


@pytest.mark.parametrize("kind", [*DEPTHS])
def test_a_cache_carries_what_a_model_that_decides_remembers(tmp_path: Path, kind: str) -> None:
    """The regime's memory and who ran which block go on with the cache: a text in pieces has the logits of one pass, and generation goes on."""
    kernel = random_kernel(tiny_config(**DEPTHS[kind], context_length=128), 4)
    checkpoint.write(tmp_path / "m", kernel, tiny_tokenizer(), None)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "m", trust_remote_code=False)
    ids = torch.randint(5, VOCAB, (2, 40), generator=torch.Generator().manual_seed(6))
    with torch.no_grad():
        told = kernel(ids, observe=True).telemetry
        assert len(told.blocks_run.unique()) > 1 or kind in ("routing", "decoherence"), "no token took another way than others: nothing was tested"
        whole = model(ids, use_cache=False).logits
        cache, rows = DynamicCache(), []
        for piece in ids.split([17, 1, 1, 21], 1):
            rows.append(model(piece, past_key_values=cache, use_cache=True).logits)
        assert (torch.cat(rows, 1) - whole).abs().max() <= 1e-4
    begun = model.generate(ids, max_new_tokens=12, do_sample=False, use_cache=True, return_dict_in_generate=True)
    on = model.generate(begun.sequences, past_key_values=begun.past_key_values, max_new_tokens=12, do_sample=False, use_cache=True)
    off = model.generate(ids, max_new_tokens=24, do_sample=False, use_cache=False)
    assert torch.equal(on, off) and on.shape == (2, 64)
    if kernel.skips:
        begun.past_key_values.crop(20)
        with pytest.raises(ConfigError, match="cropped, reordered or made elsewhere"):
            model(ids[:, 20:21], past_key_values=begun.past_key_values, use_cache=True)


def test_loss_is_cross_entropy_of_the_next_token_and_trains(golden: hf.QigForCausalLM) -> None:
    model = hf.QigForCausalLM(golden.config)
    model.load_state_dict(golden.state_dict())
    model.train()
    ids = ids_of("Once upon a time, a fox went home.")
    labels = ids.clone()
    labels[:, :4] = -100
    out = model(ids, labels=labels)
    assert out.past_key_values is None
    expected = torch.nn.functional.cross_entropy(out.logits[0, 3:-1], ids[0, 4:])
    torch.testing.assert_close(out.loss, expected)
    out.loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_padding(golden: hf.QigForCausalLM) -> None:
    """On the right it is harmless without a cache; anywhere else it would give wrong numbers, so it is an error."""
    ids = ids_of("Once upon a time, a fox")
    n = ids.shape[1]
    padded = torch.cat((ids, torch.zeros(1, 3, dtype=torch.long)), 1)
    right = torch.tensor([[1] * n + [0] * 3])
    with torch.no_grad():
        out = golden(padded, attention_mask=right, use_cache=False)
        torch.testing.assert_close(out.logits[:, :n], golden(ids, use_cache=False).logits, rtol=0, atol=1e-5)
    for mask, cache, message in (
        (right.flip(1), False, "padding on the left"),
        (torch.tensor([[1] * 2 + [0] + [1] * n]), False, "on the left or between tokens"),
        (right, True, "which a cache does not support"),
        (right[:, :-1], False, "attention_mask is"),
    ):
        with pytest.raises(ConfigError, match=message):
            golden(padded, attention_mask=mask, use_cache=cache)
    tokenizer = AutoTokenizer.from_pretrained(GOLDEN / "checkpoint", padding_side="left")
    batch = tokenizer(["a fox", "Once upon a time, a fox"], padding=True, return_tensors="pt")
    with pytest.raises(ConfigError, match="padding on the left"):
        golden.generate(**batch, max_new_tokens=2)


def test_what_is_not_supported_is_said(golden: hf.QigForCausalLM) -> None:
    ids = ids_of("a fox")
    with pytest.raises(ConfigError, match="StaticCache"):
        golden(ids, past_key_values=StaticCache(config=golden.config, max_cache_len=16))
    with pytest.raises(ConfigError, match="position_ids must count from 0"):
        golden(ids, position_ids=torch.arange(1, 1 + ids.shape[1])[None])
    with pytest.raises(ConfigError, match="input_ids, not inputs_embeds"):
        golden(inputs_embeds=torch.zeros(1, 2, 64))
    with pytest.raises(ConfigError, match="cannot be resized"):
        golden.resize_token_embeddings(600)
    with pytest.raises(ConfigError, match="n_kv_heads"):
        hf.QigConfig(n_kv_heads=3)


def test_half_precision_keeps_float32_weights() -> None:
    model = AutoModelForCausalLM.from_pretrained(GOLDEN / "checkpoint", dtype=torch.bfloat16)
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_a_checkpoint_with_weights_missing_does_not_open(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    checkpoint.write(tmp_path / "a", random_kernel(tiny_config(), 4), tiny_tokenizer(), None)
    file = tmp_path / "a" / "model.safetensors"
    weights = load_file(file)
    del weights["kernel.blocks.1.ffn.up.weight"]
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="lacks 1 of this model's tensors: kernel.blocks.1.ffn.up.weight"):
        AutoModelForCausalLM.from_pretrained(tmp_path / "a")


def test_a_fresh_model_is_initialized_as_kernel_does_it() -> None:
    config = AutoConfig.from_pretrained(GOLDEN / "checkpoint")
    assert (config.hidden_size, config.num_hidden_layers, config.vocab_size) == (64, 2, 512)
    model = AutoModelForCausalLM.from_config(config)
    assert not model.kernel.blocks[0].attn.o.weight.any()
    assert model.kernel.head.down.weight.std().item() == pytest.approx(64**-0.5, rel=0.1)


def test_chat_template_tokenizer_and_libqig_agree() -> None:
    tokenizer, raw = AutoTokenizer.from_pretrained(GOLDEN / "checkpoint"), load_tokenizer(GOLDEN / "checkpoint")
    assert (tokenizer.eos_token_id, tokenizer.pad_token_id, len(tokenizer)) == (0, 0, 512)
    turns = (("system", "Be kind."), ("user", " What is it?\n"), ("assistant", "A fox — ünïcode 日本."))
    messages = [{"role": role, "content": text} for role, text in turns]
    ids = tokenizer.apply_chat_template(messages)
    cued = tokenizer.apply_chat_template(messages, add_generation_prompt=True)
    assert [*ids, 0] == encode_documents(raw, [Document(turns)])[0]
    with NativeModel(GOLDEN / "golden-f32.gguf") as native:
        assert ids == [i for role, text in turns for i in native.chat_turn(role, text)]
        assert cued == [*ids, *native.chat_turn("assistant", None)]
        text = "Once, in “Ünïcode” — 12,345 foxes\tran.\n\n  Yes."
        assert tokenizer(text).input_ids == native.tokenize(text)
        assert tokenizer.decode(tokenizer(text).input_ids) == text
    assert "token_type_ids" not in tokenizer(text)
