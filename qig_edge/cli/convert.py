"""qig-edge convert: a checkpoint as a GGUF file, with --onnx (convert_onnx.py) as a folder for onnxruntime, or with --distil (convert_distil.py) as a
student in llama.cpp's layout; the types of another model's file (convert_file.py)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qig_edge.cli import convert_distil
from qig_edge.errors import CheckpointError, ConfigError, MissingExtra

if TYPE_CHECKING:
    from qig_edge.convert.gguf_writer import Written
    from qig_edge.convert.recipe import Recipe
    from qig_edge.convert.verify import Report
    from qig_edge.devices.profile import Profile

SMALL = 20_000_000  # parameters


def command(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            metavar="DIR|FILE.gguf",
            help="Checkpoint folder, or a run's folder: then its newest checkpoint. Or a GGUF file of another model, to change its types.",
        ),
    ],
    q4: Annotated[bool, typer.Option("--q4", help="4-bit blocks, 8-bit embedding and head (the default).")] = False,
    q8: Annotated[bool, typer.Option("--q8", help="8 bits.")] = False,
    f16: Annotated[bool, typer.Option("--f16", help="16-bit floats.")] = False,
    f32: Annotated[bool, typer.Option("--f32", help="32-bit floats, as trained.")] = False,
    onnx: Annotated[
        bool, typer.Option("--onnx", help="Instead of GGUF: a folder for onnxruntime, in 32-bit floats (needs the onnx extra).")
    ] = False,
    int8: Annotated[
        bool, typer.Option("--int8", help="Of --onnx, which goes without saying: 8-bit weights and activations.")
    ] = False,
    int8_for: Annotated[
        str,
        typer.Option(
            "--int8-for", metavar="SET", help="Of --int8: arm64, avx2 or avx512_vnni; auto is what suits --device."
        ),
    ] = "auto",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="File, or with --onnx folder, to write; without it NAME-TYPE.gguf or NAME-onnx here."
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option("--name", help="Name of the model inside the file [default: that of the run's folder]."),
    ] = None,
    ffn_down: Annotated[
        str,
        typer.Option(
            "--ffn-down",
            metavar="auto|dense|sparse",
            help="How the feed-forward's second matrix is stored: dense is read whole, sparse by active units, auto measures which is faster.",
        ),
    ] = "auto",
    device: Annotated[
        str,
        typer.Option(
            help="Where the file will run: laptop (this machine), rpi4, rpi5 or android; for --ffn-down auto and --int8."
        ),
    ] = "laptop",
    force: Annotated[bool, typer.Option("--force", help="Replace the file or ONNX folder where it exists.")] = False,
    verify: Annotated[
        bool, typer.Option("--verify/--no-verify", help="Compare the file with the checkpoint on held-out text.")
    ] = True,
    verify_text: Annotated[
        Path | None, typer.Option("--verify-text", help="Text to compare on [default: held-out documents of the run].")
    ] = None,
    layout: Annotated[
        str | None,
        typer.Option(
            metavar="jarvis|gpt2",
            help="Of a Jarvis checkpoint (folder or FILE.npz): jarvis, its own, which libqig runs [default], or gpt2 for stock llama.cpp and Ollama.",
        ),
    ] = None,
    distil: Annotated[
        str | None,
        typer.Option(
            "--distil",
            metavar="LAYOUT",
            help="Train a student of a QIG model for stock llama.cpp: llama. It learns from --data, or the run's own text.",
        ),
    ] = None,
    data: Annotated[
        list[str] | None, typer.Option("--data", metavar="PATH[=WEIGHT]", help="Of --distil: text, as train takes it. Repeatable.")
    ] = None,
    tokens: Annotated[int, typer.Option("--tokens", metavar="N", help="Of --distil: tokens to learn from.")] = convert_distil.TOKENS,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout instead of the path.")] = False,
) -> None:
    """Convert a checkpoint to GGUF or ONNX, and show what it costs against the checkpoint. The file or folder appears whole or not at all.

    A QIG model becomes a file of libqig's own architecture, a dense twin one of llama.cpp's (arcee), which both run. --distil llama trains a
    student of a QIG model that is of that architecture too, and measures it against its teacher. The types of another model's GGUF file are
    changed by llama.cpp's quantizer (extra llama).
    """
    from qig_edge.cli import convert_file
    from qig_edge.cli.convert_jarvis import convert_jarvis, is_jarvis
    from qig_edge.convert.names import check_format
    from qig_edge.convert.orientation import check_choice
    from qig_edge.convert.recipe import load_recipe
    from qig_edge.devices.profile import load_profile

    check_choice(ffn_down)
    profile = load_profile(device)
    onnx = onnx or int8
    if int8_for != "auto" and not int8:
        raise ConfigError(f"--int8-for {int8_for} says what --int8 is for: it goes with it")
    chosen = [r for r, given in (("q4", q4), ("q8", q8), ("f16", f16), ("f32", f32)) if given] or ["q4"]
    if len(chosen) > 1:
        raise ConfigError(f"--{' and --'.join(chosen)} exclude each other: give one of --q4, --q8, --f16, --f32")
    if onnx and (chosen != ["f32"] or int8) and (q4 or q8 or f16 or f32):
        raise ConfigError(f"--{'int8' if int8 else 'onnx'} and --{chosen[0]} exclude each other: an ONNX folder holds 32-bit floats or --int8")
    if verify_text is not None and not verify:
        raise ConfigError("--verify-text and --no-verify exclude each other")
    if distil is not None:
        convert_distil.check(distil, tokens)
    elif data or tokens != convert_distil.TOKENS:
        raise ConfigError("--data and --tokens say what a student learns from: they go with --distil llama")
    if onnx and distil is not None:
        raise ConfigError(f"--distil and --{'int8' if int8 else 'onnx'} exclude each other: the student is a GGUF file")
    if convert_file.is_gguf(checkpoint):
        for option, given in (
            ("--name", name is not None),
            ("--ffn-down", ffn_down != "auto"),
            ("--distil", distil is not None),
            ("--int8" if int8 else "--onnx", onnx),
            ("--layout", layout is not None),
        ):
            if given:
                raise ConfigError(f"{option} is for checkpoints: the file '{checkpoint}' keeps what it has")
        convert_file.convert_file(checkpoint, chosen[0], output, force, verify, verify_text, as_json)
        return
    if is_jarvis(checkpoint):
        if ffn_down != "auto":
            raise ConfigError("--ffn-down is for QIG models: a Jarvis model has no such choice")
        if onnx:
            raise ConfigError(f"--{'int8' if int8 else 'onnx'} is for QIG models and dense twins, not for a Jarvis model")
        if distil is not None:
            raise ConfigError("--distil is for QIG models: --layout gpt2 makes a file of a Jarvis model that stock llama.cpp runs")
        convert_jarvis(checkpoint, load_recipe(chosen[0]), layout or "jarvis", output, name, force, verify, verify_text, as_json)
        return
    if layout is not None:
        raise ConfigError(f"--layout {layout} is for Jarvis checkpoints")
    try:
        import safetensors  # noqa: F401
        import tokenizers  # noqa: F401
        import torch  # noqa: F401
    except ImportError:
        raise MissingExtra("qig-edge convert", "train") from None
    from qig_edge.train import checkpoint as checkpoints

    folder = checkpoints.find(checkpoint)
    if onnx:
        from qig_edge.cli import convert_onnx

        if ffn_down != "auto":
            raise ConfigError(f"--ffn-down {ffn_down} is of GGUF files: an ONNX graph has one form")
        kind = convert_onnx.instruction_set(int8_for, profile) if int8 else None
        convert_onnx.convert(folder, output, name or run_name(folder), kind, verify, verify_text, force, as_json)
        return
    recipe = load_recipe(chosen[0])
    config = checkpoints.read_config(folder)
    if distil is None:
        check_format(config)
    if config.attention == "dot" and ffn_down == "sparse":
        raise ConfigError("--ffn-down sparse is for QIG models: the llama layout of a dense twin has no such matrix")
    name = name if name is not None else run_name(folder)
    out = output or Path(f"{name}-{'llama-' if distil else ''}{recipe.suffix}.gguf")
    if out.is_dir() or not out.parent.is_dir():
        raise ConfigError(
            f"--output '{out}': "
            + ("is a folder, a file name is needed" if out.is_dir() else f"there is no folder '{out.parent}'")
        )
    if out.exists() and not force:
        raise ConfigError(f"'{out}' exists: choose another name with -o, or replace it with --force")
    if distil is not None:
        if ffn_down != "auto" or verify_text is not None or not verify:
            raise ConfigError("--distil goes without --ffn-down, --verify-text and --no-verify: its student has one form and is always measured")
        convert_distil.convert(folder, out, recipe, name, data or (), tokens, as_json)
        return
    notes, report, facts = _convert(folder, out, recipe, name, verify, verify_text, ffn_down, profile)
    if as_json:
        import dataclasses
        import json

        shown = facts | (dataclasses.asdict(report) if report else {})
        print(json.dumps({"file": str(out), "checkpoint": str(folder), "recipe": recipe.name, **shown, "notes": notes}))
    else:
        print(out)


def run_name(folder: Path) -> str:
    """Name of a model from where its checkpoint lies: the run's folder, without the step."""
    folder = folder.resolve()
    return folder.parent.name if folder.name.startswith("step-") and folder.parent.name else folder.name


def _convert(
    folder: Path,
    out: Path,
    recipe: Recipe,
    name: str,
    verify: bool,
    text: Path | None,
    ffn_down: str,
    profile: Profile,
) -> tuple[list[str], Report | None, dict[str, Any]]:
    """Writes, opens and compares under a partial name; only then `out` appears. Returns notes, the comparison, and size and orientation."""
    import torch

    from qig_edge.cli.progress import Steps
    from qig_edge.convert import orientation
    from qig_edge.convert import verify as verification
    from qig_edge.convert.gguf_writer import write_gguf
    from qig_edge.runtime.files import replacing
    from qig_edge.runtime.native import NativeModel
    from qig_edge.train import checkpoint as checkpoints
    from qig_edge.train.tokenizer import load_tokenizer

    report = None
    if checkpoints.read_config(folder).param_counts()["total"] < SMALL:
        torch.set_num_threads(1)  # threads of small products wait for each other more than they compute
    with stoppable(), Steps(f"reading {folder}") as steps:
        model, tokenizer = checkpoints.load_model(folder), load_tokenizer(folder)
        twin = model.config.attention == "dot"

        def write(path: Path, sparse: bool) -> Written:
            kind = "sparse" if sparse else "dense"
            return _written(
                out,
                path,
                lambda: write_gguf(
                    path,
                    model,
                    tokenizer,
                    recipe,
                    name,
                    lambda done, total: steps(done, total, f"writing {out.name} ({kind})"),
                    sparse_down=sparse,
                ),
            )

        with replacing(out) as partial:
            written = write(partial, ffn_down == "sparse")
            choice = orientation.Orientation(
                ffn_down == "sparse", "dense, as the llama layout has it" if twin else f"{ffn_down}, as asked for"
            )
            if ffn_down == "auto" and not twin:
                with NativeModel(partial) as dense, _beside(partial) as second:
                    held_out = verification.held_out(folder, dense, tokenizer, text)
                    share = orientation.active_share(model, recipe, held_out.sample(orientation.SAMPLE))
                    decided = orientation.of_profile(profile, share)
                    if decided is None or decided.sparse:
                        other = write(second, True)
                    if decided is None:
                        steps(0, 1, "timing dense and sparse")
                        with NativeModel(second) as sparse:
                            decided = orientation.by_time(share, dense, sparse, held_out)
                    choice = decided
                    if choice.sparse:
                        second.replace(partial)
                        written = other
            with NativeModel(partial) as opened:
                file_bytes, parameters, bits = verification.size(opened)
                if verify:
                    held_out = verification.held_out(folder, opened, tokenizer, text)
                    report = verification.compare(
                        model, opened, held_out, progress=lambda done, total: steps(done, total, "comparing")
                    )
        for line in [*_table(name, recipe, file_bytes, parameters, bits, choice.why, report), *written.notes]:
            steps.say(line)
    facts = {"file_bytes": file_bytes, "parameters": parameters, "bits_per_weight": bits}
    stored = {"ffn_down": "sparse" if choice.sparse else "dense", "active_share": choice.share, "decode": choice.decode}
    return written.notes, report, {**facts, **stored, "ffn_down_why": choice.why}


def _written(out: Path, partial: Path, write: Callable[[], Written]) -> Written:
    """What `write` makes of `partial`, on the disk; a disk that refuses is told with the name of the file that was wanted, `out`."""
    import os

    try:
        written = write()
        with partial.open("rb") as file:
            os.fsync(file.fileno())
    except OSError as e:
        # numpy tells of a short write only how many bytes it was short
        why = e.strerror or "the disk took only a part of it: it is full, or a limit holds"
        raise CheckpointError(f"cannot write '{out}': {why}; nothing was left there") from None
    return written


@contextlib.contextmanager
def _beside(partial: Path) -> Iterator[Path]:
    """The name of a second partial file, removed in the end."""
    second = partial.with_name(f"{partial.name}.sparse.partial")
    try:
        yield second
    finally:
        second.unlink(missing_ok=True)


def stoppable() -> Any:
    """SIGTERM and SIGHUP unwind like Ctrl-C while this lasts, so that the partial file goes away."""
    import signal

    def stop(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    stack = contextlib.ExitStack()
    for signal_name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, signal_name, None)
        if number is not None and signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, stop)
            stack.callback(signal.signal, number, signal.SIG_DFL)
    return stack


def _table(
    name: str, recipe: Recipe, file_bytes: int, parameters: int, bits: float, orientation: str, report: Report | None
) -> list[str]:
    """The result in aligned lines."""
    rows = [
        ("model", f"{name}, {parameters / 1e6:.2f}M parameters"),
        ("types", recipe.what),
        ("size", f"{file_bytes / 1e6:.2f} MB, {bits:.2f} bits a weight"),
        ("ffn_down", orientation),
    ]
    return [f"{key:<16}{value}" for key, value in [*rows, *(compared(report, recipe.usual_kl) if report else [])]]


def compared(report: Report, usual_kl: float) -> list[tuple[str, str]]:
    """The comparison in words; a divergence above usual_kl is called high."""
    worse = " (high: train the last part 4-bit aware, or keep more bits)" if not report.kl <= usual_kl else ""
    change = report.file_bits_per_byte / report.checkpoint_bits_per_byte - 1
    return [
        ("compared on", f"{report.tokens} tokens, {report.text}"),
        ("KL divergence", f"{report.kl:.3g} nats a token{worse}"),
        ("largest error", f"{report.max_error:.3g}, of a logit"),
        ("same top token", f"{report.top1:.2%}"),
        (
            "bits per byte",
            f"{report.file_bits_per_byte:.4f}, checkpoint {report.checkpoint_bits_per_byte:.4f} ({change:+.2%})",
        ),
    ]
