"""Files of dense twins in stock llama.cpp, through llama-cpp-python: torch's logits, the same greedy text, the same tokens.

Tolerance: llama.cpp keeps keys and values in half precision and rounds the inputs of quantized products to int8 with scales in half precision,
which torch, on the file's own weights, does not. Of the logits' spread 0.1% was measured at F32 and 1 to 2% on average at Q8_0 and Q4_0; 0.5%
and 5% are stated, as in tests/kernels/test_llama.py. An angle of the wrong convention costs 10% and more.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from qig_edge.convert.gguf_writer import vocabulary
from qig_edge.convert.recipe import load_recipe, parts
from qig_edge.model.kernel import Kernel
from qig_edge.train.tokenizer import CONTROL
from tests.convert.tiny import TEXT, TWINS, VOCAB, random_kernel, tiny_config, tiny_tokenizer, write

pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
from qig_edge.runtime.llama import LlamaModel  # noqa: E402

TOKENS = 32
MEAN = {"f32": 0.005, "f16": 0.005, "q8": 0.05, "q4": 0.05}
NEAR = 5  # times the mean error: two tokens so close may fall either way
TOKENIZER = tiny_tokenizer()


def logits(model: Kernel, ids: list[int]) -> np.ndarray:
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].numpy()


def twin(kind: str, recipe: str, path: Path) -> Kernel:
    """A random twin with the weights of its file, which lies at path."""
    model = random_kernel(tiny_config(**TWINS[kind]), 3)
    write(path, model, recipe, TOKENIZER)
    model.fake_quantize(parts(model.config, load_recipe(recipe)), False)
    return model


@pytest.mark.parametrize("recipe", MEAN)
@pytest.mark.parametrize("kind", TWINS)
def test_logits_and_greedy_text_are_torchs(tmp_path: Path, kind: str, recipe: str) -> None:
    model = twin(kind, recipe, tmp_path / "twin.gguf")
    ids = [int(t) for t in np.random.default_rng(1).integers(5, VOCAB, TOKENS)]
    expected = logits(model, ids)
    with LlamaModel(tmp_path / "twin.gguf") as opened, opened.session(n_threads=1) as session:
        assert opened.info.architecture == "arcee" and opened.info.vocab_size == VOCAB
        error = np.abs(session.eval_all(ids) - expected).mean() / expected.std()
        assert error <= MEAN[recipe], error
        clear = 0
        for _ in range(24):
            row = logits(model, ids)[-1]
            second, first = np.sort(row)[-2:]
            if first - second > NEAR * MEAN[recipe] * expected.std():
                assert int(session.logits().argmax()) == int(row.argmax())
                clear += 1
            ids.append(int(row.argmax()))
            session.eval(ids[-1:])
        print(f"{kind}, {recipe}: mean error {error:.2%} of the spread, {clear} of 24 greedy tokens were no near tie, and the same")
        assert clear >= 4


def test_tokens_are_those_of_the_checkpoint(tmp_path: Path) -> None:
    """Every text gives the ids that training saw; control tokens come only where they are asked for, each by its own id."""
    twin("twin", "f32", tmp_path / "twin.gguf")
    words, kinds, _ = vocabulary(TOKENIZER, VOCAB)
    texts = [*TEXT, "a  b   c\n\n\n d", " leading", "trailing \n", "<|end|> typed", "don't we'll I'VE", "½ Å ́combining ✓", ""]
    with LlamaModel(tmp_path / "twin.gguf") as opened:
        for text in texts:
            TOKENIZER.encode_special_tokens = True
            assert opened.tokenize(text) == TOKENIZER.encode(text, add_special_tokens=False).ids, text
            assert opened.detokenize(opened.tokenize(text)) == text.encode()
        TOKENIZER.encode_special_tokens = False
        for token, name in enumerate(CONTROL):
            assert words[token] == name and kinds[token] == 3
            assert opened.tokenize(f"fox{name}hen", parse_special=True) == TOKENIZER.encode(f"fox{name}hen", add_special_tokens=False).ids
            assert opened.tokenize(name, parse_special=True) == [token] and token not in opened.tokenize(name)
            assert opened.detokenize([token]) == b"" and opened.detokenize([token], special=True) == name.encode()
        assert (opened.bos, opened.eos, opened.eot, opened.turn_end) == (None, 0, 4, [4])
        assert opened.chat_turn("user", "The fox <|end|>", first=True) == [2, *opened.tokenize("The fox <|end|>"), 4]
        assert opened.chat_turn("assistant", None) == [3]
