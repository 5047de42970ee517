"""Jarvis checkpoints: written and read again, files of other origin, and hostile ones, each refused in one line."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qig_edge.errors import CheckpointError
from qig_edge.jarvis.files import CONFIG, NPZ, config_json, from_torch_state, read_network, torch_state, write_npz
from qig_edge.jarvis.network import Network, shapes
from qig_edge.model.jarvis_config import JarvisConfig
from tests.jarvis.models import PLAIN, TINY, network


def saved(folder: Path, made: Network | None = None, **config: Any) -> Path:
    made = made or network()
    folder.mkdir(exist_ok=True)
    (folder / CONFIG).write_text(json.dumps(config_json(made.config) | config))
    write_npz(folder / NPZ, made.config, made.weights)
    return folder / NPZ


@pytest.mark.parametrize("config", [TINY, PLAIN], ids=["tiny", "without a final norm"])
def test_what_is_written_is_read(tmp_path: Path, config: JarvisConfig) -> None:
    made = network(config)
    again = read_network(saved(tmp_path, made))
    assert again.config == config and list(again.weights) == [name for name, _ in shapes(config)]
    assert all((again.weights[n] == w).all() for n, w in made.weights.items())
    back = from_torch_state(config, torch_state(config, made.weights))
    assert all((back[n] == w).all() for n, w in made.weights.items())
    with np.load(tmp_path / NPZ, allow_pickle=False) as plain:
        assert int(plain["d_ff"]) == config.hidden_dim and plain["layer_0_ffn1"].shape == (config.d_model, config.hidden_dim)
        assert plain["output_projection"].shape == (config.d_model, config.vocab_size)
    first = (tmp_path / NPZ).read_bytes()
    write_npz(tmp_path / NPZ, config, made.weights)
    assert (tmp_path / NPZ).read_bytes() == first


def test_a_file_of_other_origin(tmp_path: Path) -> None:
    """No model_type, norm_eps or final norm told; float64, compressed, columns first; queries and keys turned by a matrix a head."""
    made = network(PLAIN)
    rng = np.random.default_rng(2)
    c = PLAIN.head_dim
    turns = {
        f"layer_{i}_rot_{h}": np.linalg.qr(rng.standard_normal((c, c)))[0]
        for i in range(PLAIN.n_layers)
        for h in range(PLAIN.n_heads)
    }
    names = {"hidden_dim": "d_ff", "context_length": "max_seq_len"}
    table = {names.get(k, k): v for k, v in PLAIN.to_dict().items() if k not in ("norm_eps", "final_norm")}
    (tmp_path / CONFIG).write_text(json.dumps(table | {"training": {"framework": "numpy"}}))
    arrays = {n: np.asfortranarray(w.astype(np.float64)) for n, w in made.weights.items()}
    np.savez_compressed(tmp_path / "any name.npz", **arrays, **turns, n_layers=np.array(PLAIN.n_layers))
    found = read_network(tmp_path / "any name.npz")
    assert found.config == PLAIN and found.weights["embedding"].dtype == np.float32
    ids = rng.integers(0, PLAIN.vocab_size, (1, 20))
    # a rotation leaves every product of a query and a key as it is
    np.testing.assert_allclose(found.forward(ids).logits, made.forward(ids).logits, atol=2e-4, rtol=1e-4)
    assert np.abs(found.weights["layer_0_q"] - made.weights["layer_0_q"]).max() > 0.01


def test_a_turn_that_is_no_rotation_is_not_lost(tmp_path: Path) -> None:
    made = network(PLAIN)
    turns = {f"layer_{i}_rot_{h}": 2 * np.eye(PLAIN.head_dim) for i in range(PLAIN.n_layers) for h in range(PLAIN.n_heads)}
    path = saved(tmp_path, made)
    np.savez(path, **made.weights, **turns)
    assert np.array_equal(read_network(path).weights["layer_1_k"], 2 * made.weights["layer_1_k"])


def member(name: str, data: bytes) -> Callable[[Path], None]:
    """Replaces one array of the archive by these bytes."""

    def change(path: Path) -> None:
        with zipfile.ZipFile(path) as archive:
            kept = {i.filename: archive.read(i) for i in archive.infolist()}
        with zipfile.ZipFile(path, "w") as archive:
            for key, value in (kept | {f"{name}.npy": data}).items():
                archive.writestr(key, value)

    return change


def array(name: str, value: np.ndarray) -> Callable[[Path], None]:
    buffer = io.BytesIO()
    np.save(buffer, value, allow_pickle=True)
    return member(name, buffer.getvalue())


def header(name: str, text: str, rest: bytes = b"") -> Callable[[Path], None]:
    line = text.encode().ljust(118) + b"\n"
    return member(name, b"\x93NUMPY\x01\x00" + len(line).to_bytes(2, "little") + line + rest)


def without(name: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        with zipfile.ZipFile(path) as archive:
            kept = {i.filename: archive.read(i) for i in archive.infolist() if i.filename != f"{name}.npy"}
        with zipfile.ZipFile(path, "w") as archive:
            for key, value in kept.items():
                archive.writestr(key, value)

    return change


def twice(path: Path) -> None:
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning):
        archive.writestr("embedding.npy", b"x")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def turned(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[3000] ^= 0xFF
    path.write_bytes(bytes(data))


NORM = np.ones(32, np.float32)
WITH_NAN = np.full(32, np.nan, np.float32)
HOSTILE: dict[str, tuple[Callable[[Path], None], str]] = {
    "objects": (array("layer_0_g1", np.array([{"a": 1}] * 32, object)), "layer_0_g1 holds Python objects"),
    "no floats": (array("layer_0_g1", np.ones(32, np.int32)), "layer_0_g1 holds int32, expected floats"),
    "text": (array("layer_0_g1", np.array(["x"] * 32)), "layer_0_g1 holds <U1, expected floats"),
    "complex": (array("layer_0_g1", np.ones(32, np.complex64)), "layer_0_g1 holds complex64, expected floats"),
    "nan": (array("layer_0_g1", WITH_NAN), "layer_0_g1 holds values that are not finite"),
    "too large for a float32": (array("layer_0_g1", np.full(32, 1e300)), "layer_0_g1 holds values that are not finite"),
    "another shape": (array("layer_1_ffn2", np.ones((32, 48), np.float32)), "layer_1_ffn2 is [32, 48], the configuration says [48, 32]"),
    "another rank": (array("layer_0_b2", np.ones((32, 1), np.float32)), "layer_0_b2 is [32, 1], the configuration says [32]"),
    "another size told": (array("d_model", np.array(64)), "says d_model = 64, its config.json 32"),
    "a size that is none": (array("d_model", np.array(32.0)), "d_model holds float64, expected a whole number"),
    "a key missing": (without("layer_2_v"), "lacks layer_2_v"),
    "half of a final norm": (without("final_b"), "lacks final_b"),
    "a key too many": (array("layer_3_q", np.ones((32, 32), np.float32)), "holds 'layer_3_q', which has no place"),
    "a rotation too few": (array("layer_0_rot_0", np.eye(8)), "has 1 rotations (layer_i_rot_j), expected one a head or none"),
    "not an array": (member("layer_0_g1", b"hello"), "is no .npz file or damaged"),
    "a header that lies": (
        header("layer_0_g1", "{'descr': '<f4', 'fortran_order': False, 'shape': (32,), }", b"\0" * 8),
        "layer_0_g1 has not the bytes that its header tells of",
    ),
    "bytes behind an array": (
        header("layer_0_g1", "{'descr': '<f4', 'fortran_order': False, 'shape': (32,), }", b"\0" * 129),
        "layer_0_g1 has not the bytes that its header tells of",
    ),
    "a header that is code": (header("layer_0_g1", "__import__('os').abort()"), "is no .npz file or damaged"),
    "an enormous shape": (
        header("layer_0_g1", "{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775807,), }"),
        "layer_0_g1 is [9223372036854775807], the configuration says [32]",
    ),
    "a name with a line end": (member("a\nb", b""), "holds 'a?b.npy"[:-4]),
    "no .npy": (lambda p: zipfile.ZipFile(p, "a").writestr("readme.txt", "x"), "holds 'readme.txt', which is no array"),
    "a name twice": (twice, "holds 'embedding.npy', which is no array of its own"),
    "cut off": (cut, "is no .npz file or damaged"),
    "a byte turned": (turned, "is no .npz file or damaged"),
    "no archive": (lambda p: p.write_bytes(b"\x93NUMPY"), "is no .npz file or damaged"),
    "empty": (lambda p: p.write_bytes(b""), "is no .npz file or damaged"),
    "gone": (lambda p: p.unlink(), "No such file"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_files_are_refused_in_one_line(tmp_path: Path, what: str) -> None:
    change, message = HOSTILE[what]
    path = saved(tmp_path)
    assert read_network(path).config == TINY
    change(path)
    with pytest.raises(CheckpointError) as e:
        read_network(path)
    told = str(e.value)
    assert message in told and "\n" not in told and len(told) < 400, told


CONFIGS: dict[str, tuple[Any, str]] = {
    "no object": ([1], "is of model_type 'None'"),
    "another model": ({"model_type": "gpt2"}, "is of model_type 'gpt2', expected 'jarvis-quantum'"),
    "a size missing": ({"vocab_size": 61, "d_model": 32}, "lacks n_layers, n_heads, d_ff"),
    "a size of another type": ({**config_json(TINY), "d_model": "32"}, "d_model = '32' is not of type int"),
    "a negative size": ({**config_json(TINY), "n_layers": -1}, "n_layers = -1 must be a positive number"),
    "heads that do not divide": ({**config_json(TINY), "n_heads": 3}, "n_heads = 3 must be a divisor"),
    "a nan": ({**config_json(TINY), "norm_eps": float("nan")}, "norm_eps = nan is not a finite number"),
    "enormous": ({**config_json(TINY), "vocab_size": 1 << 40}, "weights in 3 layers (read are up to"),
    "many layers": ({**config_json(TINY), "n_layers": 1 << 20}, "weights in 1048576 layers (read are up to"),
    "a final norm that is not there": ({**config_json(TINY), "final_norm": False}, "which has no place in a model"),
}


@pytest.mark.parametrize("what", CONFIGS)
def test_bad_configurations_are_refused_in_one_line(tmp_path: Path, what: str) -> None:
    table, message = CONFIGS[what]
    path = saved(tmp_path)
    (tmp_path / CONFIG).write_text(json.dumps(table))
    with pytest.raises(CheckpointError) as e:
        read_network(path)
    assert message in str(e.value) and "\n" not in str(e.value), e.value
    (tmp_path / CONFIG).write_text("{" * 100_000)
    with pytest.raises(CheckpointError, match="is damaged"):
        read_network(path)


def test_damage_at_random_is_refused_or_read_whole(tmp_path: Path) -> None:
    """Any bytes turned, cut out or put in: one line, or the very weights (names and times in a .zip have no checksum)."""
    seed = 20261123
    print("seed", seed)
    rng = np.random.default_rng(seed)
    small = JarvisConfig(vocab_size=5, d_model=4, n_layers=1, n_heads=2, hidden_dim=4, context_length=8)
    made = network(small)
    path = saved(tmp_path, made)
    whole, refused = path.read_bytes(), 0
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(rng.integers(1, 4)):
            at = int(rng.integers(0, len(data)))
            kind = rng.integers(0, 3)
            if kind == 0:
                data[at] ^= 1 << int(rng.integers(0, 8))
            elif kind == 1:
                del data[at : at + int(rng.integers(1, 40))]
            else:
                data[at:at] = rng.bytes(int(rng.integers(1, 40)))
        path.write_bytes(bytes(data))
        try:
            found = read_network(path)
        except CheckpointError as e:
            refused += 1
            assert "\n" not in str(e) and str(e).isprintable(), str(e)
            continue
        assert all((found.weights[n] == w).all() for n, w in made.weights.items())
    assert refused > 200
