"""qig-edge convert of a Jarvis checkpoint: a folder, a run, or FILE.npz with its config.json and tokenizer.json."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qig_edge.errors import ConfigError, MissingExtra
from qig_edge.jarvis import files

if TYPE_CHECKING:
    from qig_edge.cli.convert_ollama import Converted
    from qig_edge.convert.jarvis_verify import StockReport
    from qig_edge.convert.keys import Origin
    from qig_edge.convert.recipe import Recipe
    from qig_edge.convert.verify import Report


def is_jarvis(path: Path) -> bool:
    """Whether a path is a .npz file, or a checkpoint or run of a Jarvis model."""
    if path.suffix == ".npz":
        return True
    newest = sorted(p for p in path.glob("step-*") if p.name[5:].isdigit())[-1:]
    return any((folder / files.NPZ).is_file() for folder in (path, *newest))


def convert_jarvis(
    source: Path,
    recipe: Recipe,
    layout: str,
    output: Path | None,
    name: str | None,
    force: bool,
    verify: bool,
    text: Path | None,
    licence: str | None,
    ollama: bool,
    as_json: bool,
) -> None:
    """Writes the file, or a folder for Ollama, whole or not at all, and says what it costs against the checkpoint. layout: "jarvis" or "gpt2"."""
    try:
        import tokenizers  # noqa: F401
        import torch  # noqa: F401
    except ImportError:
        raise MissingExtra("qig-edge convert", "train") from None
    from qig_edge.cli.convert import check_output, run_name
    from qig_edge.cli.convert_ollama import converted
    from qig_edge.convert.jarvis_gguf import LAYOUTS
    from qig_edge.convert.origin import origin
    from qig_edge.train import checkpoint

    if layout not in LAYOUTS:
        raise ConfigError(f"--layout '{layout}' must be one of {', '.join(LAYOUTS)}")
    stock = layout == "gpt2"
    if stock and text is not None:
        raise ConfigError("--verify-text is for files that libqig runs, not for --layout gpt2")
    npz = source if source.suffix == ".npz" else checkpoint.find(source) / files.NPZ
    folder = npz.parent
    name = name if name is not None else run_name(folder)
    out = output or Path(f"{name}{'-gpt2' if stock else ''}-{recipe.suffix}{'-ollama' if ollama else '.gguf'}")
    source_of = origin(folder, recipe.name, licence, npz.name)
    check_output(out, force, "folder" if ollama else "file")
    asked = {"checkpoint": str(npz), "recipe": recipe.name, "layout": layout}
    converted(
        out, source_of, ollama, None, as_json, asked, lambda target: _convert(npz, target, name, recipe, layout, source_of, verify, text)
    )


def _convert(
    npz: Path, out: Path, name: str, recipe: Recipe, layout: str, source_of: Origin, verify: bool, text: Path | None
) -> Converted:
    import torch

    from qig_edge.cli.convert import _written, check_kl, stoppable
    from qig_edge.cli.progress import Steps
    from qig_edge.convert import verify as verification
    from qig_edge.convert.gguf_writer import Written
    from qig_edge.convert.jarvis_gguf import MODEL_TYPE, write_jarvis
    from qig_edge.convert.jarvis_verify import compare_stock
    from qig_edge.runtime.files import replacing
    from qig_edge.runtime.native import NativeModel
    from qig_edge.train.tokenizer import load_tokenizer

    stock, folder = layout == "gpt2", npz.parent
    torch.set_num_threads(1)
    report: Report | StockReport | None = None
    with stoppable(), Steps(f"reading {npz}") as steps:
        network, tokenizer = files.read_network(npz), load_tokenizer(folder)
        with replacing(out) as partial:

            def write() -> Written:
                notes = write_jarvis(
                    partial,
                    network,
                    tokenizer,
                    recipe,
                    name,
                    source_of,
                    layout,
                    progress=lambda done, total: steps(done, total, f"writing {out.name}"),
                )
                return Written({}, notes)

            notes = _written(out, partial, write).notes
            facts: dict[str, Any] = {"file_bytes": partial.stat().st_size, "parameters": network.config.param_counts()["total"]}
            if stock and verify:
                report = compare_stock(network, tokenizer, partial, lambda done, total: steps(done, total, "comparing"))
            if not stock:
                with NativeModel(partial) as opened:
                    facts["bits_per_weight"] = verification.size(opened)[2]
                    if verify:
                        held_out = verification.held_out(folder, opened, tokenizer, text)
                        model = files.torch_model(network)
                        report = verification.compare(model, opened, held_out, progress=lambda done, total: steps(done, total, "comparing"))
            if report is not None:
                check_kl(report, recipe)
        if stock and verify and report is None:
            notes = ["not compared: libqig does not run this layout, and llama-cpp-python, which does, is not installed (extra llama)", *notes]
        for line in [*_table(name, recipe, facts, report), *notes]:
            steps.say(line)
    shape = {"architecture": "gpt2" if stock else MODEL_TYPE, "context_length": network.config.context_length}
    return notes, report, {**facts, **shape, "parameters_of_qig": {}}


def _table(name: str, recipe: Recipe, facts: dict[str, Any], report: Report | StockReport | None) -> list[str]:
    """The result in aligned lines."""
    from qig_edge.convert.verify import Report

    bits = f", {facts['bits_per_weight']:.2f} bits a weight" if "bits_per_weight" in facts else ""
    rows = [
        ("model", f"{name}, {facts['parameters'] / 1e6:.2f}M parameters"),
        ("types", recipe.what),
        ("size", f"{facts['file_bytes'] / 1e6:.2f} MB{bits}"),
    ]
    if report is not None:
        rows += [
            ("compared on", f"{report.tokens} tokens, {report.text}"),
            ("KL divergence", f"{report.kl:.3g} nats a token, at most {recipe.max_kl:g}"),
            ("same top token", f"{report.top1:.2%}"),
        ]
    if isinstance(report, Report):
        change = report.file_bits_per_byte / report.checkpoint_bits_per_byte - 1
        rows.append(("bits per byte", f"{report.file_bits_per_byte:.4f}, checkpoint {report.checkpoint_bits_per_byte:.4f} ({change:+.2%})"))
    return [f"{key:<16}{value}" for key, value in rows]
