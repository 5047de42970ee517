"""Jarvis checkpoints: FILE.npz with config.json and tokenizer.json beside it. What other programs wrote is held to docs/formats.md before it is used.

    network = read_network(Path("jarvis/model.npz"));  write_npz(path, network.config, network.weights)
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from qig_edge.errors import CheckpointError, ConfigError
from qig_edge.jarvis.network import Network, shapes
from qig_edge.model.jarvis_config import JarvisConfig

if TYPE_CHECKING:
    from qig_edge.model.jarvis import Jarvis

MODEL_TYPE = "jarvis-quantum"
NPZ, CONFIG, TOKENIZER = "model.npz", "config.json", "tokenizer.json"
SIZES = ("vocab_size", "d_model", "n_layers", "n_heads", "d_ff")  # numbers that the .npz may repeat
OURS = {"d_ff": "hidden_dim", "max_seq_len": "context_length"}  # names of config.json that are others here
OLD_EPS = 1e-10  # of files whose config.json has no norm_eps
MOST_WEIGHTS = 1 << 31
MOST_LAYERS = 512
HEADER_BYTES = 4096  # the most that an array's header may take


def config_json(config: JarvisConfig) -> dict[str, Any]:
    """What config.json holds."""
    theirs = {ours: name for name, ours in OURS.items()}
    return {"model_type": MODEL_TYPE, **{theirs.get(k, k): v for k, v in config.to_dict().items()}}


def read_config(path: Path, final_norm: bool | None = None) -> JarvisConfig:
    """The configuration in a config.json; final_norm: of the weights, for files that don't say. Raises CheckpointError."""
    try:
        table = json.loads(path.read_text("utf-8"))
    except OSError as e:
        raise CheckpointError(f"'{path}': {e.strerror}; a Jarvis checkpoint needs it") from None
    except (ValueError, RecursionError) as e:
        raise CheckpointError(f"'{path}' is damaged: {e}") from None
    if not isinstance(table, dict) or table.get("model_type", MODEL_TYPE) != MODEL_TYPE:
        kind = table.get("model_type") if isinstance(table, dict) else None
        raise CheckpointError(f"'{path}' is of model_type '{kind}', expected '{MODEL_TYPE}'")
    missing = [name for name in SIZES if name not in table]
    if missing:
        raise CheckpointError(f"'{path}' lacks {', '.join(missing)}")
    table.setdefault("norm_eps", OLD_EPS)
    table.setdefault("final_norm", True if final_norm is None else final_norm)
    table = {OURS.get(k, k): v for k, v in table.items()}
    known = JarvisConfig().to_dict()
    try:
        config = JarvisConfig.from_dict({k: v for k, v in table.items() if k in known}, f"'{path}'")
    except ConfigError as e:
        raise CheckpointError(str(e)) from None
    if config.n_layers > MOST_LAYERS or config.param_counts()["total"] > MOST_WEIGHTS:
        raise CheckpointError(
            f"'{path}' tells of {config.param_counts()['total']} weights in {config.n_layers} layers (read are up to {MOST_WEIGHTS} in {MOST_LAYERS})"
        )
    return config


def write_npz(path: Path, config: JarvisConfig, weights: dict[str, np.ndarray]) -> None:
    """Writes the weights as float32, with the sizes. Raises OSError where the disk refuses."""
    arrays: dict[str, np.ndarray] = {
        name: np.ascontiguousarray(weights[name], np.float32) for name, _ in shapes(config)
    }
    sizes = {name: np.array(getattr(config, OURS.get(name, name)), np.int64) for name in SIZES}
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays, **sizes)


def read_network(path: Path) -> Network:
    """The model of a .npz, by the config.json beside it, in float32. Raises CheckpointError, one line, for whatever is not as it should be."""
    try:
        with zipfile.ZipFile(path) as archive:
            return _read(path, archive)
    except OSError as e:
        raise CheckpointError(f"'{path}': {e.strerror or e}") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError) as e:
        raise CheckpointError(f"'{path}' is no .npz file or damaged: {str(e).splitlines()[0] if str(e) else type(e).__name__}") from None


def _read(path: Path, archive: zipfile.ZipFile) -> Network:
    members: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        name = info.filename.removesuffix(".npy")
        if name in members or name == info.filename:
            raise CheckpointError(f"'{path}' holds '{_shown(info.filename)}', which is no array of its own (NAME.npy)")
        members[name] = info
    config = read_config(path.with_name(CONFIG), "final_g" in members)
    wanted = dict(shapes(config))
    missing = [name for name in wanted if name not in members]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise CheckpointError(f"'{path}' lacks {', '.join(missing[:3])}{more}")
    turns = dict(_rotations(config))
    unknown = [name for name in members if name not in wanted and name not in turns and name not in SIZES]
    if unknown:
        raise CheckpointError(f"'{path}' holds '{_shown(unknown[0])}', which has no place in a model of this configuration")
    for name in SIZES:
        if name in members:
            _check_size(path, name, _array(path, archive, members[name], name, (), "iu"), config)
    weights = {name: _array(path, archive, members[name], name, shape, "f") for name, shape in wanted.items()}
    _turn(path, config, weights, {n: _array(path, archive, members[n], n, s, "f") for n, s in turns.items() if n in members})
    return Network(config, weights)


def _check_size(path: Path, name: str, value: np.ndarray, config: JarvisConfig) -> None:
    told = getattr(config, OURS.get(name, name))
    if int(value) != told:
        raise CheckpointError(f"'{path}' says {name} = {int(value)}, its {CONFIG} {told}")


def _array(
    path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str, shape: tuple[int, ...], kinds: str
) -> np.ndarray:
    """One array, whose header is held to its type and shape before anything of that size is read; floats come as float32."""
    with archive.open(info) as file:
        found, turned, dtype = _header(path, file, name)
        if found != shape:
            raise CheckpointError(f"'{path}': {name} is {list(found)}, the configuration says {list(shape)}")
        if dtype.kind not in kinds or dtype.itemsize > 8:
            raise CheckpointError(f"'{path}': {name} holds {dtype}, expected {'floats' if kinds == 'f' else 'a whole number'}")
        count = int(np.prod(shape, dtype=np.int64))
        data = file.read(count * dtype.itemsize)
        if len(data) != count * dtype.itemsize or file.read(1):
            raise CheckpointError(f"'{path}': {name} has not the bytes that its header tells of")
    values = np.frombuffer(data, dtype).reshape(shape, order="F" if turned else "C")
    if kinds != "f":
        return values
    with np.errstate(over="ignore"):
        out = np.array(values, np.float32, order="C")  # a copy: what came from bytes cannot be written to
    if not np.isfinite(out).all():
        raise CheckpointError(f"'{path}': {name} holds values that are not finite")
    return out


def _header(path: Path, file: IO[bytes], name: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether columns come first, and type. Objects are refused here: nothing is ever unpickled."""
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    version = np.lib.format.read_magic(file)
    if version not in readers:
        raise CheckpointError(f"'{path}': {name} is of .npy version {version}, this reads (1, 0) and (2, 0)")
    shape, turned, dtype = readers[version](file, max_header_size=HEADER_BYTES)
    if dtype.hasobject:
        raise CheckpointError(f"'{path}': {name} holds Python objects, which are never read")
    return shape, turned, dtype


def _rotations(config: JarvisConfig) -> Iterator[tuple[str, tuple[int, int]]]:
    """Matrices that some files have beside the weights: by one for each head its queries and keys are turned, x -> x R^T."""
    for i in range(config.n_layers):
        for head in range(config.n_heads):
            yield f"layer_{i}_rot_{head}", (config.head_dim, config.head_dim)


def _turn(path: Path, config: JarvisConfig, weights: dict[str, np.ndarray], turns: dict[str, np.ndarray]) -> None:
    """Takes rotations into the products before them: no executor has a step of its own for that."""
    if turns and len(turns) != config.n_layers * config.n_heads:
        raise CheckpointError(f"'{path}' has {len(turns)} rotations (layer_i_rot_j), expected one a head or none")
    c = config.head_dim
    for name, turn in turns.items():
        _, layer, _, head = name.split("_")
        columns = slice(int(head) * c, (int(head) + 1) * c)
        for part in ("q", "k"):
            w = weights[f"layer_{layer}_{part}"]
            w[:, columns] = w[:, columns] @ turn.T


def _shown(name: str) -> str:
    """A name that came from a file, short and in one line."""
    return "".join(c if c.isprintable() else "?" for c in name[:60])


def torch_model(network: Network) -> Jarvis:
    """The same model in torch, on the CPU, in eval mode and in the weights' precision."""
    import torch

    from qig_edge.model.jarvis import Jarvis

    model = Jarvis(network.config).to(torch.float64 if network.weights["embedding"].dtype == np.float64 else torch.float32)
    state = torch_state(network.config, network.weights)
    model.load_state_dict({name: torch.from_numpy(w.copy()) for name, w in state.items()})
    return model.eval()


def torch_state(config: JarvisConfig, weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The weights by their names in qig_edge.model.jarvis.Jarvis: matrices transposed, the embedding as it is."""
    return {_torch_name(name): w if w.ndim == 1 or name == "embedding" else w.T for name, w in weights.items()}


def from_torch_state(config: JarvisConfig, state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The reverse of torch_state."""
    found = {name: state[_torch_name(name)] for name, _ in shapes(config)}
    return {name: w if w.ndim == 1 or name == "embedding" else w.T for name, w in found.items()}


def _torch_name(name: str) -> str:
    whole = {"embedding": "table", "output_projection": "head.weight", "final_g": "norm.weight", "final_b": "norm.bias"}
    if name in whole:
        return whole[name]
    _, layer, part = name.split("_")
    parts = {
        "q": "attn.q.weight",
        "k": "attn.k.weight",
        "v": "attn.v.weight",
        "ffn1": "up.weight",
        "ffn2": "down.weight",
        "g1": "attn_norm.weight",
        "b1": "attn_norm.bias",
        "g2": "ffn_norm.weight",
        "b2": "ffn_norm.bias",
    }
    return f"blocks.{layer}.{parts[part]}"
