"""Model configuration: one flat dataclass, presets in presets/*.toml, every size checked before anything is built.

A preset file has a [model] table with the fields of ModelConfig and a [train] table with those of qig_edge.train.config.TrainConfig.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import sys
from importlib import resources
from pathlib import Path
from typing import Any

from qig_edge.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

STATES = ("pure", "diagonal")
METRICS = ("bures", "fisher_rao")
ATTENTIONS = ("qfi", "dot")


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """Shape and mathematics of one model. Widths are in units (not bytes); gate and decay in nats.

    attention "qfi" is the QIG-Kernel, "dot" the scaled dot product of its dense twin. basin_dim 0 is a plain V x D embedding (twin), head_rank 0
    ties the head's vocabulary factor to the embedding table.
    """

    vocab_size: int = 4096
    d_model: int = 256
    n_layers: int = 4
    n_heads: int = 4
    n_kv_heads: int = 2
    head_dim: int = 64
    hidden_dim: int = 768
    basin_dim: int = 192
    head_rank: int = 0
    context_length: int = 1024
    attention: str = "qfi"
    state: str = "pure"
    state_phases: bool = True
    metric: str = "bures"
    decay: bool = True
    temperature_init: float = 0.1
    rope_base: float = 10000.0
    norm_eps: float = 1e-5
    coupling_beta: float = 0.43
    coupling_ref: float = 128.0
    coupling_min: float = 0.25
    coupling_max: float = 4.0
    kappa_0: float = 64.0
    gate_threshold: float = 0.0
    gate_margin: float = 0.0

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            check_type(field.name, value, str(field.type))
        for name in (
            "vocab_size",
            "d_model",
            "n_layers",
            "n_heads",
            "n_kv_heads",
            "head_dim",
            "hidden_dim",
            "context_length",
        ):
            _require(getattr(self, name) > 0, name, getattr(self, name), "a positive number")
        for name in ("basin_dim", "head_rank"):
            _require(getattr(self, name) >= 0, name, getattr(self, name), "0 or a positive number")
        _require(
            self.n_heads % self.n_kv_heads == 0, "n_kv_heads", self.n_kv_heads, f"a divisor of n_heads = {self.n_heads}"
        )
        _require(self.head_dim % 2 == 0, "head_dim", self.head_dim, "an even number")
        _choice("attention", self.attention, ATTENTIONS)
        _choice("state", self.state, STATES)
        _choice("metric", self.metric, METRICS)
        for name in ("temperature_init", "rope_base", "norm_eps", "coupling_ref", "coupling_min", "kappa_0"):
            _require(getattr(self, name) > 0, name, getattr(self, name), "a positive number")
        _require(
            self.coupling_max >= self.coupling_min,
            "coupling_max",
            self.coupling_max,
            f"at least coupling_min = {self.coupling_min}",
        )
        _require(0 <= self.gate_threshold < 1, "gate_threshold", self.gate_threshold, "in [0, 1), 0 being off")
        _require(self.gate_margin >= 0, "gate_margin", self.gate_margin, "0 (off) or a positive number of nats")

    @property
    def embed_dim(self) -> int:
        """Width of a row of the embedding table: b, or D where the table is not factored."""
        return self.basin_dim or self.d_model

    @property
    def head_width(self) -> int:
        """Inner width of the head's vocabulary factor: r, or the embedding's width where the head is tied."""
        return self.head_rank or self.embed_dim

    @property
    def state_dim(self) -> int:
        """Real entries of one query or key state."""
        return 2 * self.head_dim if self.state == "diagonal" and self.state_phases else self.head_dim

    def decay_slopes(self) -> list[float]:
        """m_h in nats a position, geometric from 2^(-8/H) to 2^-8; empty when decay is off."""
        return [2.0 ** (-8.0 * (h + 1) / self.n_heads) for h in range(self.n_heads)] if self.decay else []

    def param_counts(self) -> dict[str, int]:
        """Number of weights by part: embedding, attention, feed_forward, norms, head, total."""
        d, c = self.d_model, self.head_dim
        embedding = self.vocab_size * self.embed_dim + (self.basin_dim * d if self.basin_dim else 0)
        attention = 2 * d * c * (self.n_heads + self.n_kv_heads)
        if self.attention == "qfi":
            attention += self.n_heads + (self.n_heads + self.n_kv_heads if self.state == "diagonal" else 0)
        head = self.head_rank * (d + self.vocab_size) if self.head_rank else self.basin_dim * d
        parts = {
            "embedding": embedding,
            "attention": self.n_layers * attention,
            "feed_forward": self.n_layers * 2 * d * self.hidden_dim,
            "norms": (2 * self.n_layers + 1) * d,
            "head": head,
        }
        return {**parts, "total": sum(parts.values())}

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any], where: str = "model") -> ModelConfig:
        """Builds a config from a table; unknown fields and values out of range raise ConfigError naming `where`."""
        return build(cls, values, where)


def check_type(name: str, value: object, kind: str) -> None:
    """Raises ConfigError where value is not of the type named int, float (finite; whole numbers too), bool or str."""
    fits = {
        "int": isinstance(value, int) and not isinstance(value, bool),
        "float": isinstance(value, (int, float)) and not isinstance(value, bool),
        "bool": isinstance(value, bool),
        "str": isinstance(value, str),
    }
    if not fits[kind]:
        raise ConfigError(f"{name} = {value!r} is not of type {kind}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{name} = {value!r} is not a finite number")


def build(cls: type, values: dict[str, Any], where: str) -> Any:
    """Builds the dataclass cls from a table, with one clear ConfigError for a field that does not exist or a bad value."""
    known = {f.name for f in dataclasses.fields(cls)}
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            raise ConfigError(
                f"{where}: unknown field '{key}'"
                + (f", did you mean '{near[0]}'?" if near else f"; known: {', '.join(sorted(known))}")
            )
    try:
        return cls(**values)
    except ConfigError as e:
        raise ConfigError(f"{where}: {e}") from None


def preset_names() -> list[str]:
    """Names of the shipped presets, sorted."""
    return sorted(
        p.name[: -len(".toml")] for p in (resources.files("qig_edge") / "presets").iterdir() if p.name.endswith(".toml")
    )


def load_preset(name: str) -> dict[str, Any]:
    """Tables of one preset ("model", "train"):

    A shipped one by name, or a .toml file of one's own. Raises ConfigError for an unknown name or a bad file.
    """
    if name.endswith(".toml"):
        try:
            tables = tomllib.loads(Path(name).read_text("utf-8"))
        except OSError as e:
            raise ConfigError(f"preset file '{name}': {e.strerror}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
            raise ConfigError(f"preset file '{name}' is no TOML: {e}") from None
        if not isinstance(tables.get("model"), dict) or not isinstance(tables.get("train", {}), dict):
            raise ConfigError(f"preset file '{name}' needs a [model] table (and may have a [train] table)")
        return tables
    names = preset_names()
    if name not in names:
        near = difflib.get_close_matches(name, names, 1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise ConfigError(f"unknown preset '{name}'{hint} (presets: {', '.join(names)})")
    return tomllib.loads((resources.files("qig_edge") / "presets" / f"{name}.toml").read_text("utf-8"))


def preset_model(name: str) -> ModelConfig:
    """The model configuration of one preset."""
    return ModelConfig.from_dict(load_preset(name)["model"], f"preset '{name}'")


def _require(ok: bool, name: str, value: object, accepted: str) -> None:
    if not ok:
        raise ConfigError(f"{name} = {value!r} must be {accepted}")


def _choice(name: str, value: str, accepted: tuple[str, ...]) -> None:
    if value not in accepted:
        raise ConfigError(f"{name} = {value!r} must be one of {', '.join(accepted)}")
