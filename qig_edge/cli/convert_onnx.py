"""qig-edge convert --onnx: a checkpoint as a folder that onnxruntime runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qig_edge.errors import CheckpointError, ConfigError, MissingExtra

if TYPE_CHECKING:
    from qig_edge.convert.keys import Origin
    from qig_edge.convert.recipe import OnnxRecipe
    from qig_edge.devices.profile import Profile


def recipe_name(profile: Profile) -> str:
    """The recipe of --int8 for the machine of a profile."""
    from qig_edge.convert.onnx_int8 import host_recipe

    return host_recipe() if profile.is_host else "int8-arm64"


def convert(
    folder: Path,
    output: Path | None,
    name: str,
    int8: OnnxRecipe | None,
    static: bool,
    calibration: Path | None,
    gates: dict[str, str],
    verify: bool,
    text: Path | None,
    force: bool,
    as_json: bool,
    origin: Origin,
) -> None:
    """Writes, opens and compares under a partial name; only then the folder appears. static: ranges of activations from text, `calibration` or what
    calibration.sample finds.

    Raises ConfigError for an output that is taken, MissingExtra without the packages, CheckpointError for a checkpoint that does not convert or a
    disk that refuses.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401

        if int8:
            import optimum.onnxruntime  # noqa: F401
    except ImportError:
        raise MissingExtra(f"qig-edge convert --{'int8' if int8 else 'onnx'}", "onnx") from None
    import dataclasses
    import json

    import torch

    from qig_edge.cli.convert import SMALL, check_kl, compared, stoppable
    from qig_edge.cli.progress import Steps
    from qig_edge.convert import calibration as calibrating
    from qig_edge.convert import onnx_folder
    from qig_edge.convert import verify as verification
    from qig_edge.convert.gates import with_gates
    from qig_edge.convert.gguf_writer import vocabulary
    from qig_edge.convert.recipe import load_recipe
    from qig_edge.runtime.files import replacing_folder
    from qig_edge.runtime.onnx_model import OnnxModel
    from qig_edge.train import checkpoint as checkpoints
    from qig_edge.train.tokenizer import load_tokenizer

    out = output or Path(f"{name}-onnx{'-int8' if int8 else ''}")
    _check_output(out, force)
    if checkpoints.read_config(folder).param_counts()["total"] < SMALL:
        torch.set_num_threads(1)  # threads of small products wait for each other more than they compute
    report, notes, recipe = None, [], int8 or load_recipe("f32")
    windows, calibrated_on = None, None
    with stoppable(), Steps(f"reading {folder}") as steps:
        trained, tokenizer = checkpoints.load_model(folder), load_tokenizer(folder)
        model = with_gates(trained, gates)
        if model.config.draft_lag:
            notes.append("the draft is left out: it is of libqig's speculation and changes no text")
        if static:
            vocabulary(tokenizer, model.config.vocab_size)  # before text makes ids that the model does not have
            sample = calibrating.sample(folder, tokenizer, model.config.context_length, calibration)
            windows, calibrated_on = [w[:-1] for w in sample.windows], sample.source
        try:
            with replacing_folder(out) as partial:
                steps(0, 2, f"exporting {out.name}" + (f" ({recipe.name})" if int8 else ""))
                onnx_folder.write(partial, model, tokenizer, name, int8, origin, windows)
                steps(1, 2, "opening")
                with OnnxModel(partial) as opened:
                    file_bytes, parameters, bits = verification.size(opened)
                    if verify:
                        held_out = verification.held_out(folder, opened, tokenizer, text)
                        report = verification.compare(
                            trained, opened, held_out, progress=lambda done, total: steps(done, total, "comparing")
                        )
                        check_kl(report, recipe)
        except OSError as e:
            why = e.strerror or "the disk took only a part of it: it is full, or a limit holds"
            raise CheckpointError(f"cannot write '{out}': {why}; nothing was left there") from None
        rows = [
            ("model", f"{name}, {parameters / 1e6:.2f}M parameters"),
            ("types", recipe.what + (f"; ranges of activations from {calibrated_on}" if static else "")),
            ("size", f"{file_bytes / 1e6:.2f} MB, {bits:.2f} bits a weight"),
            *(compared(report, f", at most {recipe.max_kl:g}") if report else []),
        ]
        for line in [*(f"{key:<16}{value}" for key, value in rows), *notes]:
            steps.say(line)
    if as_json:
        facts = {"file_bytes": file_bytes, "parameters": parameters, "bits_per_weight": bits, "calibrated_on": calibrated_on}
        shown = facts | (dataclasses.asdict(report) if report else {})
        print(json.dumps({"folder": str(out), "checkpoint": str(folder), "recipe": recipe.name, "static": static, **shown, "notes": notes}))
    else:
        print(out)


def _check_output(out: Path, force: bool) -> None:
    """Raises ConfigError for a place that is taken, or that --force may not clear: only a folder of an ONNX model is replaced."""
    from qig_edge.convert.onnx_folder import FILES

    if not out.absolute().parent.is_dir():
        raise ConfigError(f"--output '{out}': there is no folder '{out.parent}'")
    if not out.exists():
        return
    if not out.is_dir():
        raise ConfigError(f"--output '{out}': is a file, an ONNX model is a folder")
    others = sorted(p.name for p in out.iterdir() if p.name not in FILES)
    if others:
        raise ConfigError(f"--output '{out}': holds '{others[0]}', which is no part of an ONNX model: choose another name")
    if not force:
        raise ConfigError(f"'{out}' exists: choose another name with -o, or replace it with --force")
