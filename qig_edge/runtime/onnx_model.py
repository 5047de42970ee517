"""A folder written by `qig-edge convert --onnx`, run by onnxruntime: the back end beside libqig.

    with OnnxModel("run-onnx") as model, model.session() as session:
        session.eval(model.tokenize("Once upon a time"))
        session.logits()            # float32[vocab]

Texts become tokens by the folder's tokenizer.json. Inputs and outputs of the graph are those of docs/formats.md, "ONNX".
"""

from __future__ import annotations

import os
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qig_edge.config import ModelConfig
from qig_edge.errors import ConfigError, MissingExtra, ModelFileError, QigError, RuntimeFault
from qig_edge.runtime.folder_tokens import FolderTokens
from qig_edge.runtime.native import ModelInfo
from qig_edge.runtime.onnx_names import Names, names_of
from qig_edge.runtime.onnx_session import OnnxSession

if TYPE_CHECKING:
    import onnxruntime
    from tokenizers import Tokenizer

GRAPH = "model.onnx"
NEEDED = (GRAPH, "config.json", "tokenizer.json")
MOST_THREADS = 4  # of the automatic choice, as in libqig
SILENT = 4  # onnxruntime's severity "fatal": errors come back as exceptions


def is_onnx(path: Path) -> bool:
    """Whether a path names an ONNX model: its folder, or the graph in it."""
    return path.suffix == ".onnx" or (path / GRAPH).is_file()


class OnnxModel(FolderTokens):
    """An ONNX folder opened by onnxruntime, shared by its sessions, closed by close() or at the end of a with block.

    path: the folder, or its model.onnx. Raises MissingExtra without onnxruntime or tokenizers, ModelFileError for a folder that is not whole, a
    graph that does not load, or one that is not its config.json's.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        try:
            import onnxruntime
            import tokenizers  # noqa: F401
        except ImportError:
            raise MissingExtra("running an ONNX model", "onnx") from None
        self.path = Path(path)
        folder = self.path.parent if self.path.suffix == ".onnx" else self.path
        missing = [name for name in NEEDED if not (folder / name).is_file()]
        if missing:
            raise ModelFileError(f"'{folder}' is no ONNX model of qig-edge: it has no {', '.join(missing)}")
        self._graph = folder / GRAPH
        self._engine: tuple[int, onnxruntime.InferenceSession] | None = None
        self._sessions: weakref.WeakSet[OnnxSession] = weakref.WeakSet()
        self._closed = False
        self.config, tokenizer = _described(folder)
        self.names: Names = names_of(self.config)
        _check_graph(self.engine(default_threads()), self.names, self._graph)
        super().__init__(tokenizer, self.config.vocab_size)
        self._metadata: dict[str, str] = dict(self.engine(default_threads()).get_modelmeta().custom_metadata_map)
        self.info = _info(self.config, self._metadata, folder, onnxruntime.__version__)

    def engine(self, n_threads: int) -> onnxruntime.InferenceSession:
        """The graph loaded for a number of threads, which onnxruntime fixes when it loads; only the last one is kept, sessions keep theirs.

        Raises ModelFileError where onnxruntime refuses the graph, RuntimeFault after close().
        """
        import onnxruntime

        if self._closed:
            raise RuntimeFault("the model is closed")
        if self._engine is None or self._engine[0] != n_threads:
            self._engine = None  # its memory first
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = n_threads
            options.inter_op_num_threads = 1
            options.log_severity_level = SILENT
            try:
                engine = onnxruntime.InferenceSession(str(self._graph), options, providers=["CPUExecutionProvider"])
            except Exception as e:  # onnxruntime's own exceptions share no base but this one
                raise ModelFileError(f"{self._graph}: onnxruntime does not load it: {_first_line(e)}") from None
            self._engine = n_threads, engine
        return self._engine[1]

    def close(self) -> None:
        """Closes what sessions are left; closing twice is allowed."""
        for session in list(self._sessions):
            session.close()
        self._engine, self._closed = None, True

    def __enter__(self) -> OnnxModel:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def decides(self) -> bool:
        """Whether the model decides token by token what it computes: regimes, exits, routing, recursion."""
        return self.config.adaptive or bool(self.config.recursion_max_loops)

    def tensor_bytes(self) -> int:
        """Bytes of all weights in the graph."""
        return self.info.weight_bytes

    def metadata(self, key: str) -> str | None:
        """A string of the model's description by its GGUF key; None where there is none."""
        return self._metadata.get(key)

    def session(self, *, n_ctx: int = 0, n_threads: int = 0, n_threads_batch: int = 0) -> OnnxSession:
        """A fresh timeline. n_ctx 0: the model's context length; n_threads 0: the big cores, at most 4; n_threads_batch, of prompts: onnxruntime
        has one count for everything, so 0 or the same.

        Raises RuntimeFault for values out of range, ConfigError for two thread counts.
        """
        if n_threads_batch not in (0, n_threads):
            raise ConfigError(f"--threads-batch {n_threads_batch}: onnxruntime has one number of threads for everything, give --threads")
        if n_ctx < 0:
            raise RuntimeFault(f"n_ctx = {n_ctx} must be at least 0, 0 being the model's context of {self.config.context_length}")
        if not 0 <= n_threads <= 256:
            raise RuntimeFault(f"n_threads = {n_threads} must be in [0, 256], 0 being automatic")
        threads = n_threads or default_threads()
        session = OnnxSession(
            self.engine(threads), self.config, self.names, n_ctx or self.config.context_length, threads, self.info.weight_bytes
        )
        self._sessions.add(session)
        return session


def default_threads() -> int:
    """Physical cores that this process may use, at most MOST_THREADS."""
    import psutil

    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(MOST_THREADS, allowed, psutil.cpu_count(logical=False) or allowed))


def _described(folder: Path) -> tuple[ModelConfig, Tokenizer]:
    """Configuration and tokenizer of a folder. Raises ModelFileError where they are damaged or no model of this project's."""
    from qig_edge.train import checkpoint
    from qig_edge.train.tokenizer import load_tokenizer

    try:
        return checkpoint.read_config(folder), load_tokenizer(folder)
    except QigError as e:
        raise ModelFileError(str(e)) from None


def _check_graph(engine: Any, names: Names, path: Path) -> None:
    """Raises ModelFileError where inputs or outputs of the graph are not those of its configuration."""
    for what, has, wanted in (
        ("inputs", engine.get_inputs(), ["input_ids", "attention_mask", *names.past]),
        ("outputs", engine.get_outputs(), names.outputs),
    ):
        differ = sorted({x.name for x in has} ^ set(wanted))
        if differ:
            raise ModelFileError(f"{path} does not belong to its config.json: {what} differ in {', '.join(differ[:3])}")
    for given in engine.get_inputs():
        dims = names.past.get(given.name, (given.shape, ""))[0]
        if [d for d in given.shape if isinstance(d, int)] != [d for d in dims if isinstance(d, int)]:
            raise ModelFileError(f"{path} does not belong to its config.json: {given.name} is {given.shape}, expected {list(dims)}")


def _info(config: ModelConfig, metadata: dict[str, str], folder: Path, version: str) -> ModelInfo:
    return ModelInfo(
        vocab_size=config.vocab_size,
        d_model=config.d_model,
        n_layers=config.n_layers,
        n_heads=config.n_heads,
        n_kv_heads=config.n_kv_heads,
        head_dim=config.head_dim,
        hidden_dim=config.hidden_dim,
        basin_dim=config.basin_dim,
        head_rank=config.head_rank,
        context_length=config.context_length,
        draft_lag=0,
        n_params=config.param_counts()["total"],
        file_bytes=sum(p.stat().st_size for p in folder.glob(f"{GRAPH}*")),
        weight_bytes=_number(metadata, "qig.onnx.weight_bytes", folder),
        architecture="qig" if config.attention == "qfi" else "arcee",
        name=metadata.get("general.name", folder.resolve().name),
        isa=f"onnxruntime {version}",
        file_type=f"ONNX {metadata.get('qig.onnx.type', '')}".strip(),
    )


def _number(metadata: dict[str, str], key: str, folder: Path) -> int:
    value = metadata.get(key, "")
    if not value.isdecimal():
        raise ModelFileError(f"{folder / GRAPH}: its description has no {key}: it was not written by qig-edge convert")
    return int(value)


def _first_line(e: Exception) -> str:
    return (str(e).strip().splitlines() or [type(e).__name__])[0][:300]
