"""Makes the golden Jarvis model: a tiny one trained by the normal loop on a few generated facts, and what NumPy computes with it.

    python tests/golden/make_jarvis.py train --work FOLDER       trains into tests/golden/jarvis (minutes on one core)
    python tests/golden/make_jarvis.py expect                    expected.json and logits.npz, from model.npz by NumPy alone
Training again gives another model where torch or the corpus changed: commit all the files together.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

HERE = Path(__file__).resolve().parent
FOLDER = HERE / "jarvis"
PROMPTS = ("A forest is a large", "Crows, owls, and", "Milk should be", "Xylophone 42")
NEW_TOKENS = 32
NEAR_TIE = 0.05  # of the two likeliest tokens' logits; stock llama.cpp's GELU has the precision of a table of half-precision numbers
TEXT_TOKENS = 12


def train(work: Path, tokens: int) -> None:
    """Trains on facts of qig_edge.corpus; what a run needs to go on is left out."""
    import torch

    from qig_edge.corpus.generate import records
    from qig_edge.model.jarvis import Jarvis
    from qig_edge.model.jarvis_config import JarvisConfig
    from qig_edge.train import checkpoint
    from qig_edge.train.config import TrainConfig
    from qig_edge.train.loop import Trainer, World
    from qig_edge.train.shards import prepare
    from qig_edge.train.sources import Source

    torch.set_num_threads(1)
    config = JarvisConfig(vocab_size=560, d_model=32, n_layers=2, n_heads=4, hidden_dim=64, context_length=64)
    settings = TrainConfig(
        tokens=tokens,
        batch_tokens=2048,
        micro_tokens=2048,
        context=32,
        final_context=32,
        decay_share=0.3,
        warmup_tokens=50_000,
        optimizer="adamw",
        learning_rate=5e-3,
        precision="float32",
        eval_tokens=200_000,
        save_tokens=tokens,
    )
    work.mkdir(parents=True, exist_ok=True)
    corpus = work / "facts.jsonl"
    if not corpus.is_file():
        lines = [json.dumps(r, ensure_ascii=False) for r in records(24, 5, ("facts",))]
        corpus.write_text("\n".join(lines) + "\n", "utf-8")
    source = Source(str(corpus))
    kept = (settings.validation_permille, settings.validation_bytes)
    tokenizer, shards = prepare(work / "shards", [source], None, config.vocab_size, *kept, words=True)
    torch.manual_seed(settings.seed)
    trainer = Trainer(work / "run", Jarvis(config), settings, tokenizer, shards, {source.name: 1.0}, {source.name: 1.0}, World())
    trainer.out.mkdir(exist_ok=True)
    trainer.run(lambda p: print(f"step {p.step}/{p.steps}  loss {p.loss:.3f}  {p.bits_per_byte or ''}", flush=True) if p.step % 50 == 0 else None)
    shutil.rmtree(FOLDER, ignore_errors=True)
    checkpoint.write(FOLDER, trainer.model, tokenizer, None)


def expect() -> None:
    """Writes greedy texts with their near-ties, and logits and metrics of one text."""
    import numpy as np

    from qig_edge.jarvis.files import read_network
    from qig_edge.runtime.files import replacing, written_whole
    from qig_edge.train.tokenizer import load_tokenizer

    network, tokenizer = read_network(FOLDER / "model.npz"), load_tokenizer(FOLDER)
    prompts = []
    for prompt in PROMPTS:
        start = tokenizer.encode(prompt).ids
        told = network.greedy(start, NEW_TOKENS, ends=(1,))
        logits = network.forward(np.array([start + told])).logits[0]
        rows = logits[len(start) - 1 : len(start) - 1 + len(told)]
        order = np.argsort(rows, -1)
        gaps = [float(row[i[-1]] - row[i[-2]]) for row, i in zip(rows, order, strict=True)]
        ties = [{"step": n, "second": int(order[n, -2]), "gap": round(gap, 6)} for n, gap in enumerate(gaps) if gap < NEAR_TIE]
        prompts.append({"text": prompt, "ids": start, "greedy": told, "continuation": tokenizer.decode(told), "near_ties": ties})
    text = (prompts[0]["ids"] + prompts[0]["greedy"])[:TEXT_TOKENS]
    out = network.forward(np.array([text]), observe=True)
    assert out.metrics is not None
    metrics = {name: [round(float(v), 6) for v in values[0]] for name, values in out.metrics.items()}
    table = {"prompts": prompts, "text_ids": text, "metrics": metrics}
    with replacing(FOLDER / "logits.npz") as partial, partial.open("wb") as file:
        np.savez_compressed(file, logits=out.logits[0])
    with written_whole(FOLDER / "expected.json") as file:
        file.write(json.dumps(table, ensure_ascii=False, indent=None, separators=(",", ":")).replace('},{"', '},\n{"') + "\n")
    for prompt in prompts:
        print(repr(prompt["text"]), "->", repr(prompt["continuation"]), "near-ties:", prompt["near_ties"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("train", "expect"))
    parser.add_argument("--work", type=Path, default=Path("build/golden-jarvis"), help="folder for the corpus, shards and run [build/golden-jarvis]")
    parser.add_argument("--tokens", type=int, default=800_000)
    args = parser.parse_args()
    train(args.work, args.tokens) if args.what == "train" else expect()


if __name__ == "__main__":
    main()
