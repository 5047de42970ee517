"""The ONNX graph: equal to torch, in one pass, in pieces and in padded batches, for every kind of model; its 8-bit form; its contract.

Tolerances. Both sum float32 products of at most 96 terms in other orders: about 3e-6 was measured, 1e-4 is stated here (1e-3 is what is promised).
A decision compares a measured number with a threshold; seeds are fixed, so that none of them is a near-tie.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from qig_edge.config import ModelConfig
from qig_edge.convert.onnx_graph import Graph, smoothed, switch
from qig_edge.errors import CheckpointError
from qig_edge.model.kernel import Kernel
from qig_edge.runtime.onnx_names import BATCH, TELEMETRY, Names, names_of
from tests.convert.tiny import DEPTHS, KINDS, TWINS, random_kernel, tiny_config

TOKENS, CLOSE = 40, 1e-4
PIECES = (9, 1, 1, 14, 1, 14)
ALL = KINDS | TWINS | DEPTHS
EXPORTED = ["golden", "gates, roles", "twin", "depth", "depth, diagonal, probed"]

Arrays = dict[str, np.ndarray]


def start(names: Names, batch: int) -> Arrays:
    """The state before a text."""
    return {
        name: np.zeros([d if isinstance(d, int) else batch if d == BATCH else 0 for d in dims], kind)
        for name, (dims, kind) in names.past.items()
    }


class Eager:
    """The graph's module run by torch, through the interface that onnxruntime has."""

    def __init__(self, model: Kernel) -> None:
        self.graph = Graph(model).eval()
        self.names = self.graph.names

    def __call__(self, ids: np.ndarray, mask: np.ndarray, past: Arrays) -> Arrays:
        with torch.no_grad():
            out = self.graph(*(torch.from_numpy(x) for x in (ids, mask, *past.values())))
        return {name: value.numpy() for name, value in zip(self.names.outputs, out, strict=True)}


class Exported:
    """The same of an exported file."""

    def __init__(self, path: Path, config: ModelConfig) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 3
        self.session = onnxruntime.InferenceSession(str(path), options)
        self.names = names_of(config)

    def __call__(self, ids: np.ndarray, mask: np.ndarray, past: Arrays) -> Arrays:
        out = self.session.run(self.names.outputs, {"input_ids": ids, "attention_mask": mask, **past})
        return dict(zip(self.names.outputs, out, strict=True))


Runner = Eager | Exported


def in_pieces(run: Runner, ids: np.ndarray, mask: np.ndarray, pieces: tuple[int, ...]) -> Arrays:
    """Outputs a token of several calls, each continuing the last."""
    past, at, found = start(run.names, len(ids)), 0, list[Arrays]()
    for n in pieces:
        out = run(ids[:, at : at + n], mask[:, : at + n], past)
        at += n
        past = {name: out[run.names.present(name)] for name in run.names.past}
        found.append(out)
    assert at == ids.shape[1] and len(found) > 1
    return {name: np.concatenate([f[name] for f in found], 1) for name in found[0] if "present" not in name}


def text(config: ModelConfig, rows: int = 3) -> np.ndarray:
    return torch.randint(5, config.vocab_size, (rows, TOKENS), generator=torch.Generator().manual_seed(1)).numpy()


def assert_alike(found: Arrays, expected: Arrays, what: str, tolerance: float = CLOSE) -> None:
    assert found["logits"].shape == expected["logits"].shape
    for name in ("logits", *(f"telemetry.{t}" for t in TELEMETRY)):
        scale = max(1.0, np.abs(expected[name]).max())
        error = np.abs(found[name].astype(np.float64) - expected[name]).max()
        assert error <= tolerance * scale, (what, name, error)


def torch_outputs(model: Kernel, ids: np.ndarray) -> Arrays:
    with torch.no_grad():
        out = model(torch.from_numpy(ids), observe=True)
    told = {f"telemetry.{t}": getattr(out.telemetry, t).numpy() for t in TELEMETRY}
    if model.config.attention == "dot":  # no coupling: docs/formats.md, "The llama layout"
        told["telemetry.kappa"] = np.zeros_like(told["telemetry.kappa"])
    return {"logits": out.logits.numpy(), **told}


def assert_equal_to_torch(run: Runner, model: Kernel) -> None:
    """In one pass, in pieces, and in a batch of unequal texts with padding on the left, in pieces too."""
    ids = text(model.config)
    expected, ones = torch_outputs(model, ids), np.ones_like(ids)
    assert_alike(run(ids, ones, start(run.names, 3)), expected, "one pass")
    assert_alike(in_pieces(run, ids, ones, PIECES), expected, "pieces")
    missing, extra = (0, 7, 31), 11  # tokens that rows are shorter by; padding before all of them
    padded = np.full((3, TOKENS + extra), 3)
    mask = np.zeros_like(padded)
    for row, (n, tokens) in enumerate(zip(missing, ids, strict=True)):
        padded[row, extra + n :], mask[row, extra + n :] = tokens[: TOKENS - n], 1
    for pieces in ((TOKENS + extra,), (20, 1, 30)):
        whole = in_pieces(run, padded, mask, pieces) if len(pieces) > 1 else run(padded, mask, start(run.names, 3))
        for row, n in enumerate(missing):
            mine = {k: v[row : row + 1, extra + n :] for k, v in whole.items() if "present" not in k}
            theirs = {k: v[row : row + 1, : TOKENS - n] for k, v in expected.items()}
            assert_alike(mine, theirs, f"padded, {pieces}, row {row}")


@pytest.mark.parametrize("kind", ALL)
def test_the_graph_is_the_kernel(kind: str) -> None:
    model = random_kernel(tiny_config(**ALL[kind]), 1)
    assert_equal_to_torch(Eager(model), model)


@pytest.mark.slow
@pytest.mark.parametrize("case", EXPORTED)
def test_onnxruntime_computes_what_torch_does(case: str) -> None:
    from tests.convert.onnx_models import folder, kernel

    model = kernel(case)
    assert_equal_to_torch(Exported(folder(case) / "model.onnx", model.config), model)
    if case.startswith("depth"):  # tokens have to have taken different roads for this to have been a test
        told = torch_outputs(model, text(model.config))
        assert len(np.unique(told["telemetry.blocks_run"])) > 2 and len(np.unique(told["telemetry.regime"])) > 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "recipe", "static"),
    [
        ("golden", "int8-arm64", False),
        ("golden", "int8-x86", False),
        ("golden", "int8-x86-vnni", False),
        ("gates, roles", "int8-x86-vnni", False),
        ("golden", "int8-arm64", True),
        ("gates, roles", "int8-x86", True),
    ],
)
def test_8_bits(case: str, recipe: str, static: bool) -> None:
    """On the golden model 0.003 nats a token were measured for every set."""
    from tests.convert.onnx_models import folder, folder_int8, kernel

    model, paths = kernel(case), [f(case, *k) / "model.onnx" for f, k in ((folder, ()), (folder_int8, (recipe, static)))]
    ids = text(model.config)
    p, q = (
        torch.log_softmax(torch.from_numpy(Exported(path, model.config)(ids, np.ones_like(ids), start(names_of(model.config), 3))["logits"]), -1)
        for path in paths
    )  # fmt: skip
    kl = (p.exp() * (p - q)).sum(-1).mean().item()
    assert 1e-7 < kl <= 0.02, kl
    assert paths[1].stat().st_size < 0.5 * paths[0].stat().st_size


@pytest.mark.slow
def test_the_file_is_what_the_contract_says() -> None:
    onnx = pytest.importorskip("onnx", reason="the onnx extra is not installed")
    from tests.convert.onnx_models import folder, kernel

    path, config = folder("depth") / "model.onnx", kernel("depth").config
    onnx.checker.check_model(path, full_check=True)
    model, names = onnx.load(path), names_of(config)
    assert [i.name for i in model.graph.input] == ["input_ids", "attention_mask", *names.past]
    assert [o.name for o in model.graph.output] == names.outputs
    assert [n for n in names.past if "ran" in n] == [f"past_ran.{n}" for n in range(names.skipping_from, 5)]
    assert 0 < names.skipping_from <= 2
    shapes = {i.name: [d.dim_param or d.dim_value for d in i.type.tensor_type.shape.dim] for i in model.graph.input}
    assert shapes["input_ids"] == ["batch", "sequence"]
    assert all(shapes[name] == list(dims) for name, (dims, _) in names.past.items())
    described = {p.key: p.value for p in model.metadata_props}
    assert described["qig.regime.on_breakdown"] == "mark" and described["qig.onnx.type"] == "F32"
    stored = sum(onnx.numpy_helper.to_array(i).nbytes for i in model.graph.initializer)
    assert int(described["qig.onnx.weight_bytes"]) == stored
    assert path.stat().st_size < stored + 400_000
    assert str(Path(__file__).parents[2]).encode() not in path.read_bytes()  # no paths of the machine that wrote it


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    from qig_edge.convert import onnx_folder
    from tests.convert.tiny import tiny_tokenizer

    model = random_kernel(tiny_config(), 1)
    with torch.no_grad():
        model.blocks[1].ffn.up.weight[3, 4] = float("nan")
    with pytest.raises(CheckpointError, match=r"blocks\.1\.ffn\.up\.weight holds values that are not finite"):
        onnx_folder.write(tmp_path, model, tiny_tokenizer(), "m", None)
    assert not list(tmp_path.iterdir())


def test_recurrences_equal_their_loops() -> None:
    generator = torch.Generator().manual_seed(3)
    values = torch.rand(4, 50, generator=generator)
    for rate in (0.0, 0.25, 1.0):
        rates = torch.where(torch.rand(4, 50, generator=generator) < 0.7, rate, 0.0)
        before = torch.rand(4, generator=generator)
        m, expected = before.double(), []
        for i in range(50):
            m = m + rates[:, i].double() * (values[:, i].double() - m)
            expected.append(m)
        assert (smoothed(values, rates, before) - torch.stack(expected, 1)).abs().max() <= 1e-6
    on, off = (torch.rand(4, 50, generator=generator) < 0.1 for _ in range(2))
    off &= ~on
    before = torch.tensor([[True], [False], [True], [False]])
    state, expected = before[:, 0], []
    for i in range(50):
        state = (state | on[:, i]) & ~off[:, i]
        expected.append(state.long())
    assert torch.equal(switch(on, off, before), torch.stack(expected, 1))
    assert 0 < torch.stack(expected).float().mean() < 1
