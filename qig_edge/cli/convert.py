"""qig-edge convert: a checkpoint as a GGUF file, with --onnx (convert_onnx.py) as a folder for onnxruntime, or with --distil (convert_distil.py) as a
student in llama.cpp's layout; the types of another model's file (convert_file.py)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qig_edge.cli import convert_distil
from qig_edge.cli import options as opt
from qig_edge.errors import CheckpointError, ConfigError, MissingExtra, ModelFileError

if TYPE_CHECKING:
    from qig_edge.convert.gguf_writer import Written
    from qig_edge.convert.jarvis_verify import StockReport
    from qig_edge.convert.keys import Origin
    from qig_edge.convert.recipe import OnnxRecipe, Recipe
    from qig_edge.convert.verify import Report
    from qig_edge.devices.profile import Profile

SMALL = 20_000_000  # parameters


def command(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            metavar="DIR|FILE",
            help="Checkpoint, or a run's folder: then its newest checkpoint. Or a Jarvis .npz, or another model's GGUF file to change its types.",
        ),
    ],
    q4: Annotated[bool, typer.Option("--q4", help="4 bits, what is sensitive 8 (the default).")] = False,
    q8: Annotated[bool, typer.Option("--q8", help="8 bits.")] = False,
    f16: Annotated[bool, typer.Option("--f16", help="16-bit floats.")] = False,
    f32: Annotated[bool, typer.Option("--f32", help="32-bit floats, as trained.")] = False,
    recipe: Annotated[
        str | None,
        typer.Option("--recipe", metavar="NAME|FILE.toml", help="Types by tensor: a recipe that ships (q4-small, int8-arm64), or your own file."),
    ] = None,
    onnx: Annotated[
        bool, typer.Option("--onnx", help="Instead of GGUF: a folder for onnxruntime, in 32-bit floats (needs the onnx extra).")
    ] = False,
    int8: Annotated[
        bool, typer.Option("--int8", help="Of --onnx, which goes without saying: 8-bit weights and activations.")
    ] = False,
    static: Annotated[
        bool,
        typer.Option("--static", help="Of --int8: ranges of activations are fixed from calibration text, not found anew in each call."),
    ] = False,
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
    calibration: Annotated[
        Path | None,
        typer.Option(
            "--calibration",
            metavar="TEXT",
            help="Text that 4-bit rounding, or --static, is fitted to [default: training text of the run, or generated text].",
        ),
    ] = None,
    licence: Annotated[
        str | None,
        typer.Option(
            "--license",
            metavar="NAME",
            help="Licence that the file names, as in Apache-2.0 [default: that of the checkpoint's README.md].",
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="A gate chosen after training, which the file holds from then on: gate.margin=4. What it costs is part of the comparison.",
        ),
    ] = None,
    ollama: Annotated[
        bool,
        typer.Option("--ollama", help="Write the folder that `ollama create` takes: the file and a Modelfile; -o names it. Also of --distil."),
    ] = False,
    system: Annotated[str | None, typer.Option("--system", help="Of --ollama: the system prompt in the Modelfile.")] = None,
    measure: Annotated[
        bool,
        typer.Option(
            "--measure",
            help="Write no model: show what rounding each tensor costs, and propose a recipe for --budget (a .toml file with -o).",
        ),
    ] = False,
    budget: Annotated[
        str | None,
        typer.Option(metavar="BITS|BYTES", help="Of --measure: bits a weight up to 32 (4.8), or bytes (1.9MB) [default: 5]."),
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
    """Convert a checkpoint to GGUF or ONNX, and show what it costs against the checkpoint: a GGUF file that costs more than its recipe allows is not
    kept. The file or folder appears whole or not at all.

    A QIG model becomes a file of libqig's own architecture, a dense twin one of llama.cpp's (arcee), which both run. --distil llama trains a
    student of a QIG model that is of that architecture too, and measures it against its teacher. The types of another model's GGUF file are
    changed by llama.cpp's quantizer (extra llama).
    """
    from qig_edge.cli import convert_file
    from qig_edge.cli.convert_jarvis import convert_jarvis, is_jarvis
    from qig_edge.cli.convert_ollama import converted
    from qig_edge.convert.gates import gated
    from qig_edge.convert.names import check_format
    from qig_edge.convert.ollama import check_system
    from qig_edge.convert.orientation import check_choice
    from qig_edge.convert.origin import origin
    from qig_edge.convert.recipe import OnnxRecipe, Recipe, any_recipe, load_onnx_recipe
    from qig_edge.devices.profile import load_profile
    from qig_edge.runtime.store import found

    check_choice(ffn_down)
    profile = load_profile(device)
    flags = (("q4", q4), ("q8", q8), ("f16", f16), ("f32", f32), ("recipe", recipe))
    chosen = [r for r, given in flags if given]
    if len(chosen) > 1:
        raise ConfigError(f"--{' and --'.join(chosen)} exclude each other: give one of --q4, --q8, --f16, --f32, --recipe")
    types = any_recipe(recipe if recipe is not None else chosen[0] if chosen else "q4")
    by_recipe = isinstance(types, OnnxRecipe)
    folder_kind = "--int8" if int8 else f"--recipe {types.name}" if by_recipe else "--onnx"
    onnx = onnx or int8 or by_recipe
    if onnx and chosen and not by_recipe and (chosen != ["f32"] or int8):
        raise ConfigError(f"{folder_kind} and --{chosen[0]} exclude each other: an ONNX folder holds 32-bit floats, --int8 or a recipe of its own")
    if static and not (int8 or by_recipe):
        raise ConfigError("--static is of 8-bit activations: it goes with --int8")
    if measure and chosen:
        raise ConfigError(f"--measure tries every type: it goes without --{chosen[0]}")
    if system is not None and not ollama:
        raise ConfigError("--system is of --ollama: a GGUF file holds no system prompt")
    check_system(system)
    if budget is not None and not measure:
        raise ConfigError("--budget is of --measure: without it a recipe decides")
    if verify_text is not None and not verify:
        raise ConfigError("--verify-text and --no-verify exclude each other")
    if distil is not None:
        convert_distil.check(distil, tokens)
    elif data or tokens != convert_distil.TOKENS:
        raise ConfigError("--data and --tokens say what a student learns from: they go with --distil llama")
    gates = opt.settings(settings)
    roads = {"--distil": distil is not None, folder_kind: onnx, "--ollama": ollama, "--measure": measure}
    if len(both := [road for road, given in roads.items() if given]) > 1 and both != ["--distil", "--ollama"]:
        raise ConfigError(f"{' and '.join(both)} exclude each other: each makes something of its own")
    if onnx and calibration is not None and not static:
        raise ConfigError(f"--calibration is of 4-bit rounding and of --static: {folder_kind} has no use for it")
    checkpoint = found(checkpoint)
    unfit = {"--ffn-down": ffn_down != "auto", "--calibration": calibration is not None, "--set": bool(gates), **roads}
    if convert_file.is_gguf(checkpoint):
        named = {"--name": name is not None, "--recipe": recipe is not None, "--license": licence is not None, "--layout": layout is not None}
        if wrong := next((option for option, given in (named | unfit).items() if given), None):
            raise ConfigError(f"{wrong} is for checkpoints: the file '{checkpoint}' keeps what it has")
        convert_file.convert_file(checkpoint, types.name, output, force, verify, verify_text, as_json)
        return
    if is_jarvis(checkpoint):
        if wrong := next((option for option, given in unfit.items() if given and option != "--ollama"), None):
            raise ConfigError(f"{wrong} is for QIG models and dense twins, not for a Jarvis model")
        if system is not None:
            raise ConfigError("--system: a Jarvis model goes on with a text, it has no roles")
        assert isinstance(types, Recipe)  # one of ONNX models is a road of its own
        layout = layout or ("gpt2" if ollama else "jarvis")
        convert_jarvis(checkpoint, types, layout, output, name, force, verify, verify_text, licence, ollama, as_json)
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
    if gates:
        if measure or distil is not None:
            raise ConfigError(f"--set gives a file its gate: it goes without {'--measure' if measure else '--distil'}")
        gated(checkpoints.read_config(folder), gates)  # a wrong key or value is said before anything is read
    if onnx:
        from qig_edge.cli import convert_onnx

        if ffn_down != "auto":
            raise ConfigError(f"--ffn-down {ffn_down} is of GGUF files: an ONNX graph has one form")
        own = types if isinstance(types, OnnxRecipe) else load_onnx_recipe(convert_onnx.recipe_name(profile)) if int8 else None
        source = origin(folder, (own.name if own else "f32") + (" static" if static else ""), licence)
        called = name or run_name(folder)
        convert_onnx.convert(folder, output, called, own, static, calibration, gates, verify, verify_text, force, as_json, source)
        return
    assert isinstance(types, Recipe)
    config = checkpoints.read_config(folder)
    if distil is None:
        check_format(config)
    if measure:
        from qig_edge.cli.convert_measure import measured

        measured(folder, output, budget or "5", calibration, force, as_json)
        return
    name = name if name is not None else run_name(folder)
    source = origin(folder, types.name, licence)
    asked = {"checkpoint": str(folder), "recipe": types.name}
    if distil is not None:
        if ffn_down != "auto" or verify_text is not None or not verify:
            raise ConfigError("--distil goes without --ffn-down, --verify-text and --no-verify: its student has one form and is always measured")
        out = output or Path(f"{name}-llama-{types.suffix}{'-ollama' if ollama else '.gguf'}")
        check_output(out, force, "folder" if ollama else "file")
        converted(
            out, source, ollama, system, as_json, asked,
            lambda target: convert_distil.convert(folder, target, types, name, data or (), tokens, calibration, source),
        )  # fmt: skip
        return
    if types.dense_down_only(config):
        if ffn_down == "sparse":
            raise ConfigError(f"--ffn-down sparse: recipe '{types.name}' stores ffn_down as q4_1, which only the dense product reads")
        ffn_down = "dense"
    if config.attention == "dot" and ffn_down == "sparse":
        raise ConfigError("--ffn-down sparse is for QIG models: the llama layout of a dense twin has no such matrix")
    out = output or Path(f"{name}-{types.suffix}{'-ollama' if ollama else '.gguf'}")
    check_output(out, force, "folder" if ollama else "file")

    converted(
        out, source, ollama, system, as_json, asked,
        lambda target: _convert(folder, target, types, name, verify, verify_text, ffn_down, profile, calibration, gates, source, ollama),
    )  # fmt: skip


def check_output(out: Path, force: bool, kind: str = "file") -> None:
    """Raises ConfigError where `out`, a file or a folder, cannot be written, or is there and must not be replaced."""
    if not out.parent.is_dir():
        raise ConfigError(f"--output '{out}': there is no folder '{out.parent}'")
    if kind == "file" and out.is_dir():
        raise ConfigError(f"--output '{out}': is a folder, a file name is needed")
    if kind == "folder" and out.exists() and not (out / "Modelfile").is_file():
        raise ConfigError(f"--output '{out}': is there and is no folder that --ollama wrote, so it is not replaced")
    if out.exists() and not force:
        raise ConfigError(f"'{out}' exists: choose another name with -o, or replace it with --force")


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
    calibration: Path | None,
    gates: dict[str, str],
    origin: Origin,
    ollama: bool,
) -> tuple[list[str], Report | None, dict[str, Any]]:
    """Writes, opens and compares under a partial name; only then `out` appears. Returns notes, the comparison, and size and orientation."""
    import dataclasses

    import torch

    from qig_edge.cli.progress import Steps
    from qig_edge.convert import calibration as calibrating
    from qig_edge.convert import orientation
    from qig_edge.convert import verify as verification
    from qig_edge.convert.gates import with_gates
    from qig_edge.convert.gguf_writer import vocabulary, write_gguf
    from qig_edge.convert.names import architecture
    from qig_edge.convert.ollama import parameters as own_parameters
    from qig_edge.runtime.files import replacing
    from qig_edge.runtime.native import NativeModel
    from qig_edge.train import checkpoint as checkpoints
    from qig_edge.train.tokenizer import load_tokenizer

    report = None
    if checkpoints.read_config(folder).param_counts()["total"] < SMALL:
        torch.set_num_threads(1)  # threads of small products wait for each other more than they compute
    with stoppable(), Steps(f"reading {folder}") as steps:
        trained, tokenizer = checkpoints.load_model(folder), load_tokenizer(folder)
        model = with_gates(trained, gates)
        twin = model.config.attention == "dot"
        if ollama:
            origin = dataclasses.replace(origin, parameters=own_parameters(model))
        moments, calibrated_on = None, None
        if any(kind != "f32" for _, kind in recipe.types):
            vocabulary(tokenizer, model.config.vocab_size)  # before text makes ids that the model does not have
            sample = calibrating.sample(folder, tokenizer, model.config.context_length, calibration)
            moments = calibrating.moments(model, sample, lambda done, total: steps(done, total, "calibrating"))
            calibrated_on = sample.source

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
                    moments=moments,
                    origin=origin,
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
                        trained, opened, held_out, progress=lambda done, total: steps(done, total, "comparing")
                    )
                    check_kl(report, recipe)
        worst = max(written.lost.items(), key=lambda entry: entry[1], default=None)
        for line in [*_table(name, recipe, file_bytes, parameters, bits, choice.why, report, worst), *written.notes]:
            steps.say(line)
    facts: dict[str, Any] = {"file_bytes": file_bytes, "parameters": parameters, "bits_per_weight": bits, "calibrated_on": calibrated_on}
    facts |= {"architecture": architecture(model.config), "context_length": model.config.context_length}
    if ollama:
        facts["parameters_of_qig"] = dict(origin.parameters)
    if worst is not None:
        facts |= {"worst_tensor": worst[0], "worst_tensor_lost": worst[1]}
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


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """SIGTERM and SIGHUP unwind like Ctrl-C while this lasts, so that the partial file goes away; what torch's exporter makes of any of the three,
    other exceptions now and then, becomes KeyboardInterrupt again."""
    import signal

    seen = []

    def stop(number: int, frame: Any) -> None:
        seen.append(number)
        raise KeyboardInterrupt

    with contextlib.ExitStack() as stack:
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            if number is not None and (before := signal.getsignal(number)) in (signal.SIG_DFL, signal.default_int_handler):
                signal.signal(number, stop)
                stack.callback(signal.signal, number, before)
        try:
            yield
        except Exception:
            if seen:
                raise KeyboardInterrupt from None
            raise


def check_kl(report: Report | StockReport, recipe: Recipe | OnnxRecipe) -> None:
    """Raises ModelFileError where the file is further from the checkpoint than its recipe allows."""
    from qig_edge.convert.recipe import OnnxRecipe

    if not report.kl <= recipe.max_kl:
        onnx = isinstance(recipe, OnnxRecipe)
        advice = "leave tensors in f32 by a recipe of your own" if onnx else "give it more bits (--q8), train the last part 4-bit aware"
        raise ModelFileError(
            f"the file's KL divergence of {report.kl:.3g} nats a token passes max_kl = {recipe.max_kl:g} of recipe '{recipe.name}': it is not kept;"
            f" {advice}, or keep it all the same with --no-verify"
        )


def _table(
    name: str,
    recipe: Recipe,
    file_bytes: int,
    parameters: int,
    bits: float,
    orientation: str,
    report: Report | None,
    worst: tuple[str, float] | None,
) -> list[str]:
    """The result in aligned lines."""
    rows = [
        ("model", f"{name}, {parameters / 1e6:.2f}M parameters"),
        ("types", recipe.what),
        ("size", f"{file_bytes / 1e6:.2f} MB, {bits:.2f} bits a weight"),
        ("ffn_down", orientation),
    ]
    if worst is not None:
        rows.append(("worst tensor", f"{worst[0]}: rounding changed {worst[1]:.2%} of its outputs' energy"))
    if report is not None:
        rows += compared(report, f", at most {recipe.max_kl:g}")
    return [f"{key:<16}{value}" for key, value in rows]


def compared(report: Report, against: str) -> list[tuple[str, str]]:
    """The comparison in words; against: what follows the divergence."""
    change = report.file_bits_per_byte / report.checkpoint_bits_per_byte - 1
    return [
        ("compared on", f"{report.tokens} tokens, {report.text}"),
        ("KL divergence", f"{report.kl:.3g} nats a token{against}"),
        ("largest error", f"{report.max_error:.3g}, of a logit"),
        ("same top token", f"{report.top1:.2%}"),
        (
            "bits per byte",
            f"{report.file_bits_per_byte:.4f}, checkpoint {report.checkpoint_bits_per_byte:.4f} ({change:+.2%})",
        ),
    ]
