"""Makes the golden model: a tiny QIG model really trained on generated text, its files, and what every executor must compute with it.

    python tests/golden/make.py train --work FOLDER       trains into tests/golden/checkpoint (some minutes on one core)
    python tests/golden/make.py expect                    the GGUF files, logits.npz and expected.json, from the checkpoint by torch
runs/golden.sh does both. Training again gives another model where torch or the corpus changed: commit all the files together.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qig_edge.model.kernel import Kernel

HERE = Path(__file__).resolve().parent
CHECKPOINT = HERE / "checkpoint"
RECIPES = ("f32", "q8", "q4")
RECIPE_FILES = {"q4": str(HERE / "q4.toml")}  # not the one that ships: that may change, and these files stay
PROMPTS = ("Once upon a time", "The little fox", "One day")
CHAT = "What is your name?"
NEW_TOKENS = 40
TEXT_TOKENS = 40
# top-2 logits closer than this are listed as a near-tie: float32 sums in another order, and for quantized files one rounding of an activation turned
NEAR_TIE = {"f32": 1e-3, "q8": 0.15, "q4": 0.15}
DOCUMENTS = 6000


def file_of(recipe: str) -> Path:
    return HERE / f"golden-{ {'f32': 'f32', 'q8': 'q8_0', 'q4': 'q4_0'}[recipe] }.gguf"


def train(work: Path, tokens: int) -> None:
    """Trains the model on tales and talk of qig_edge.corpus and writes the checkpoint folder."""
    import torch

    from qig_edge.config import ModelConfig
    from qig_edge.corpus.generate import records
    from qig_edge.model.kernel import Kernel
    from qig_edge.train import checkpoint
    from qig_edge.train.config import TrainConfig
    from qig_edge.train.loop import Trainer, World
    from qig_edge.train.shards import prepare
    from qig_edge.train.sources import Source

    torch.set_num_threads(1)
    config = ModelConfig(
        vocab_size=512,
        d_model=64,
        n_layers=2,
        n_heads=4,
        n_kv_heads=2,
        head_dim=32,
        hidden_dim=192,
        basin_dim=32,
        context_length=128,
        gate_margin=6.0,
    )
    settings = TrainConfig(
        tokens=tokens,
        batch_tokens=2048,
        micro_tokens=2048,
        context=128,
        final_context=128,
        decay_share=0.3,
        quantize_share=0.1,
        warmup_tokens=50_000,
        matrix_learning_rate=0.02,
        precision="float32",
        eval_tokens=200_000,
        save_tokens=tokens,
    )
    work.mkdir(parents=True, exist_ok=True)
    corpus = work / "corpus.jsonl"
    if not corpus.is_file():
        lines = [json.dumps(r, ensure_ascii=False) for r in records(DOCUMENTS, 5, ("tales", "talk"))]
        corpus.write_text("\n".join(lines) + "\n", "utf-8")
    source = Source(str(corpus))
    tokenizer, shards = prepare(
        work / "shards", [source], None, config.vocab_size, settings.validation_permille, settings.validation_bytes
    )
    torch.manual_seed(settings.seed)
    trainer = Trainer(
        work / "run", Kernel(config), settings, tokenizer, shards, {source.name: 1.0}, {source.name: 1.0}, World()
    )
    trainer.out.mkdir(exist_ok=True)
    trainer.run(
        lambda p: (
            print(f"step {p.step}/{p.steps}  loss {p.loss:.3f}  {p.bits_per_byte or ''}", flush=True)
            if p.step % 50 == 0
            else None
        )
    )
    trainer.model.fake_quantize(None, False)
    checkpoint.write(CHECKPOINT, trainer.model, tokenizer, None)


def expect() -> None:
    """Writes the GGUF files, and from torch: greedy texts and near-ties for each recipe, logits and telemetry of a text."""
    import numpy as np
    import torch

    from qig_edge.convert.gguf_writer import write_gguf
    from qig_edge.convert.recipe import load_recipe, parts
    from qig_edge.runtime.files import replacing, written_whole
    from qig_edge.train.checkpoint import load_model
    from qig_edge.train.tokenizer import load_tokenizer

    torch.set_num_threads(1)
    model, tokenizer = load_model(CHECKPOINT), load_tokenizer(CHECKPOINT)
    chat = [2, *tokenizer.encode(CHAT).ids, 4, 3]
    prompts = [{"text": text, "ids": tokenizer.encode(text).ids} for text in PROMPTS] + [{"chat": CHAT, "ids": chat}]
    logits, expected = {}, {"prompts": prompts, "near_tie": NEAR_TIE, "greedy": {}}
    text: list[int] = []
    for name in RECIPES:
        recipe = load_recipe(RECIPE_FILES.get(name, name))
        with replacing(file_of(name)) as partial:
            write_gguf(partial, model, tokenizer, recipe, "golden")
        model.fake_quantize(parts(model.config, recipe), name != "f32")
        expected["greedy"][name] = [_greedy(model, tokenizer, p["ids"], NEAR_TIE[name]) for p in prompts]
        if not text:  # what the model itself would go on to say, as the text of all logits
            text = (prompts[0]["ids"] + expected["greedy"]["f32"][0]["ids"])[:TEXT_TOKENS]
        with torch.no_grad():
            out = model(torch.tensor([text]), observe=True)
        logits[name] = out.logits[0].numpy()
        seen = out.telemetry
        fields = ("phi", "surprise", "confidence", "agency", "curvature", "kappa")
        expected.setdefault("telemetry", {})[name] = {f: [float(v) for v in getattr(seen, f)[0]] for f in fields}
    expected["text_ids"] = text
    expected["blocks_run"] = model.config.n_layers
    with replacing(HERE / "logits.npz") as partial, partial.open("wb") as file:
        np.savez_compressed(file, **logits)
    with written_whole(HERE / "expected.json") as file:
        file.write(_lines(expected) + "\n")
    for name in RECIPES:
        for prompt, answer in zip(prompts, expected["greedy"][name], strict=True):
            print(
                name,
                repr(prompt.get("text") or prompt["chat"]),
                "->",
                repr(answer["text"]),
                "near-ties:",
                answer["near_ties"],
            )


def _greedy(model: Kernel, tokenizer: Any, prompt: list[int], near: float) -> dict[str, Any]:
    """NEW_TOKENS likeliest tokens without a cache (fewer at an end), and the steps where the second was within `near`, with its id and distance."""
    import torch

    ids, ties = list(prompt), []
    with torch.no_grad():
        while len(ids) < len(prompt) + NEW_TOKENS:
            top = model(torch.tensor([ids])).logits[0, -1].topk(2)
            gap = (top.values[0] - top.values[1]).item()
            if gap < near:
                ties.append({"step": len(ids) - len(prompt), "second": top.indices[1].item(), "gap": round(gap, 6)})
            if top.indices[0].item() in (0, 4):
                break
            ids.append(top.indices[0].item())
    new = ids[len(prompt) :]
    return {"ids": new, "text": tokenizer.decode(new), "near_ties": ties}


def _lines(table: dict[str, Any]) -> str:
    """JSON with one innermost list or record a line: small, and a diff shows what changed."""
    return (
        json.dumps(table, ensure_ascii=False, indent=None, separators=(",", ":"))
        .replace('],"', '],\n"')
        .replace('},{"', '},\n{"')
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("train", "expect"))
    parser.add_argument(
        "--work", type=Path, default=Path("build/golden"), help="folder for the corpus, shards and run [build/golden]"
    )
    parser.add_argument("--tokens", type=int, default=1_500_000)
    args = parser.parse_args()
    train(args.work, args.tokens) if args.what == "train" else expect()


if __name__ == "__main__":
    main()
