"""qig-edge convert --onnx: a checkpoint as a folder that onnxruntime runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qig_edge.errors import CheckpointError, ConfigError, MissingExtra

if TYPE_CHECKING:
    from qig_edge.convert.keys import Origin
    from qig_edge.devices.profile import Profile

# nats a token above which a conversion is called unusual
USUAL_KL = {False: 1e-6, True: 0.05}


def instruction_set(wanted: str, profile: Profile) -> str:
    """What --int8 is for: as named, or for "auto" what suits the machine of a profile. Raises ConfigError for an unknown name."""
    from qig_edge.convert.onnx_int8 import check_set, host_set

    check_set(wanted)
    if wanted != "auto":
        return wanted
    return host_set() if profile.is_host else "arm64"


def convert(
    folder: Path,
    output: Path | None,
    name: str,
    int8: str | None,
    verify: bool,
    text: Path | None,
    force: bool,
    as_json: bool,
    origin: Origin,
) -> None:
    """Writes, opens and compares under a partial name; only then the folder appears.

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

    from qig_edge.cli.convert import SMALL, compared, stoppable
    from qig_edge.cli.progress import Steps
    from qig_edge.convert import onnx_folder
    from qig_edge.convert import verify as verification
    from qig_edge.runtime.files import replacing_folder
    from qig_edge.runtime.onnx_model import OnnxModel
    from qig_edge.train import checkpoint as checkpoints
    from qig_edge.train.tokenizer import load_tokenizer

    out = output or Path(f"{name}-onnx{'-int8' if int8 else ''}")
    _check_output(out, force)
    if checkpoints.read_config(folder).param_counts()["total"] < SMALL:
        torch.set_num_threads(1)  # threads of small products wait for each other more than they compute
    report, notes = None, []
    with stoppable(), Steps(f"reading {folder}") as steps:
        model, tokenizer = checkpoints.load_model(folder), load_tokenizer(folder)
        if model.config.draft_lag:
            notes.append("the draft is left out: it is of libqig's speculation and changes no text")
        try:
            with replacing_folder(out) as partial:
                steps(0, 2, f"exporting {out.name}" + (f" (int8 for {int8})" if int8 else ""))
                onnx_folder.write(partial, model, tokenizer, name, int8, origin)
                steps(1, 2, "opening")
                with OnnxModel(partial) as opened:
                    file_bytes, parameters, bits = verification.size(opened)
                    if verify:
                        held_out = verification.held_out(folder, opened, tokenizer, text)
                        report = verification.compare(
                            model, opened, held_out, progress=lambda done, total: steps(done, total, "comparing")
                        )
        except OSError as e:
            why = e.strerror or "the disk took only a part of it: it is full, or a limit holds"
            raise CheckpointError(f"cannot write '{out}': {why}; nothing was left there") from None
        usual = USUAL_KL[bool(int8)]
        rows = [
            ("model", f"{name}, {parameters / 1e6:.2f}M parameters"),
            ("types", f"8-bit weights and activations, for {int8}" if int8 else "32-bit floats"),
            ("size", f"{file_bytes / 1e6:.2f} MB, {bits:.2f} bits a weight"),
            *(compared(report, "" if report.kl <= usual else f" (high: usual is at most {usual:g})") if report else []),
        ]
        for line in [*(f"{key:<16}{value}" for key, value in rows), *notes]:
            steps.say(line)
    if as_json:
        facts = {"file_bytes": file_bytes, "parameters": parameters, "bits_per_weight": bits}
        shown = facts | (dataclasses.asdict(report) if report else {})
        print(json.dumps({"folder": str(out), "checkpoint": str(folder), "int8": int8, **shown, "notes": notes}))
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
