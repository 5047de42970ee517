"""Model configuration: one flat dataclass, presets in presets/*.toml, every size checked before anything is built.

A preset file has a [model] table with the fields of ModelConfig and a [train] table with those of qig_edge.train.config.TrainConfig.
Where its [model] table says architecture = "jarvis", the fields are those of qig_edge.model.jarvis_config.JarvisConfig.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import sys
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qig_edge.errors import ConfigError

if TYPE_CHECKING:
    from qig_edge.model.jarvis_config import JarvisConfig

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

STATES = ("pure", "diagonal")
METRICS = ("bures", "fisher_rao")
BASIN_INITS = ("geometric", "normal")
EXIT_RULES = ("bures", "probe")
ON_BREAKDOWN = ("mark", "pause")
ATTENTIONS = ("qfi", "dot")
ARCHITECTURES = ("qig", "jarvis")
MAX_DRAFT = 8  # tokens a round of speculation may guess


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """Shape and mathematics of one model. Widths are in units (not bytes); gate and decay in nats.

    attention "qfi" is the QIG-Kernel, "dot" the scaled dot product of its dense twin. basin_dim 0 is a plain V x D embedding (twin), head_rank 0
    ties the head's vocabulary factor to the embedding table; with basin_dim 0 and head_rank = d_model the head is one matrix of its own.
    What each component of depth decides is in docs/formats.md, "Depth"; its parts are
    off where their size or threshold is 0. The shares (deep, exit, collapse, and where they are not 0 those of the linear
    and the breakdown regime) are what training steers the stored thresholds to. draft_lag is how many tokens speculation may guess in a row
    (qig_edge.model.draft), draft_vocab the number of first, most frequent words that it guesses (0: all).
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
    coupling_beta: float = 0.0
    coupling_ref: float = 128.0
    coupling_min: float = 0.25
    coupling_max: float = 4.0
    kappa_0: float = 64.0
    gate_threshold: float = 0.0
    gate_margin: float = 0.0
    gate_learnt: bool = False
    attention_grad: bool = True
    basin_init: str = "normal"
    code_rate: float = 0.0
    coupling_learnt: bool = False
    mandatory_share: float = 0.3
    shallow_dim: int = 0
    deep_share: float = 0.5
    regime: bool = False
    regime_low: float = 0.3
    regime_high: float = 0.7
    regime_smoothing: float = 0.25
    regime_hysteresis: float = 0.02
    regime_curvature: float = 0.0
    regime_linear_share: float = 0.0
    regime_breakdown_share: float = 0.0
    regime_linear_coupling: float = 1.0
    regime_geometric_coupling: float = 1.0
    regime_breakdown_coupling: float = 1.0
    on_breakdown: str = "mark"
    exit_first: int = 0
    exit_every: int = 1
    exit_rule: str = "bures"
    exit_share: float = 0.2
    decoherence_modes: int = 0
    collapse_share: float = 0.02
    recursion_min_loops: int = 0
    recursion_max_loops: int = 0
    recursion_min_phi: float = 0.5
    symmetry_rank: int = 0
    confidence_learnt: bool = False
    draft_lag: int = 0
    draft_dim: int = 0
    draft_vocab: int = 0

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
        _choice("basin_init", self.basin_init, BASIN_INITS)
        _require(0 <= self.code_rate < 1, "code_rate", self.code_rate, "in [0, 1), 0 being off")
        self._check_depth()

    def _check_depth(self) -> None:
        for name in ("shallow_dim", "exit_first", "recursion_min_loops", "draft_dim"):
            _require(getattr(self, name) >= 0, name, getattr(self, name), "0 (off) or a positive number")
        for name in (
            "mandatory_share",
            "deep_share",
            "exit_share",
            "collapse_share",
            "regime_linear_share",
            "regime_breakdown_share",
            "recursion_min_phi",
        ):
            _require(0 <= getattr(self, name) <= 1, name, getattr(self, name), "in [0, 1]")
        _require(0 <= self.regime_low < 1, "regime_low", self.regime_low, "in [0, 1)")
        _require(
            self.regime_low < self.regime_high <= 1,
            "regime_high",
            self.regime_high,
            f"above regime_low = {self.regime_low} and at most 1",
        )
        _require(0 < self.regime_smoothing <= 1, "regime_smoothing", self.regime_smoothing, "in (0, 1]")
        gap = (self.regime_high - self.regime_low) / 2
        _require(
            0 <= self.regime_hysteresis < gap,
            "regime_hysteresis",
            self.regime_hysteresis,
            f"in [0, {gap:g}), half the distance of regime_low and regime_high",
        )
        _require(0 <= self.regime_curvature <= math.pi, "regime_curvature", self.regime_curvature, "in [0, pi] radians")
        for name in ("regime_linear_coupling", "regime_geometric_coupling", "regime_breakdown_coupling"):
            _require(getattr(self, name) > 0, name, getattr(self, name), "a positive number")
        _choice("on_breakdown", self.on_breakdown, ON_BREAKDOWN)
        _choice("exit_rule", self.exit_rule, EXIT_RULES)
        _require(self.exit_every > 0, "exit_every", self.exit_every, "a positive number of blocks")
        m, blocks = self.mandatory_blocks, self.n_layers
        if self.exit_first:
            _require(
                m <= self.exit_first < blocks,
                "exit_first",
                self.exit_first,
                f"0 (off) or in [{m}, {blocks}), from the mandatory blocks to before the last",
            )
        _require(
            0 <= self.decoherence_modes <= self.d_model,
            "decoherence_modes",
            self.decoherence_modes,
            f"in [0, d_model = {self.d_model}]",
        )
        _require(
            not self.decoherence_modes or bool(self.exit_first),
            "decoherence_modes",
            self.decoherence_modes,
            "0 without exits (exit_first = 0): states collapse at exits",
        )
        low, high = self.recursion_min_loops, self.recursion_max_loops
        _require(
            low <= high <= 64 and (high == 0 or low > 0),
            "recursion_max_loops",
            high,
            f"0 with recursion_min_loops = 0 (off), else in [recursion_min_loops = {low}, 64]",
        )
        _require(
            0 <= self.symmetry_rank < self.d_model,
            "symmetry_rank",
            self.symmetry_rank,
            f"in [0, d_model = {self.d_model})",
        )
        _require(0 <= self.draft_lag <= MAX_DRAFT, "draft_lag", self.draft_lag, f"0 (off) or in [1, {MAX_DRAFT}]")
        _require(
            bool(self.draft_lag) == bool(self.draft_dim),
            "draft_dim",
            self.draft_dim,
            f"0 with draft_lag = 0 (off) and positive with another; draft_lag is {self.draft_lag}",
        )
        _require(
            0 <= self.draft_vocab <= (self.vocab_size if self.draft_lag else 0),
            "draft_vocab",
            self.draft_vocab,
            f"0 (all words) or in [1, vocab_size = {self.vocab_size}] with draft_lag on",
        )
        if self.attention == "dot":
            for name in ("gate_learnt", "coupling_learnt"):
                _require(not getattr(self, name), name, True, "false with attention = 'dot'")

    @property
    def adaptive(self) -> bool:
        """Whether some token may run less than all blocks, or another feed-forward than the deep one."""
        return bool(self.regime or self.exit_first or self.shallow_dim)

    @property
    def mandatory_blocks(self) -> int:
        """M, the blocks that every token runs: ceil(mandatory_share of the depth), at least 1."""
        return min(self.n_layers, max(1, math.ceil(self.mandatory_share * self.n_layers - 1e-9)))

    @property
    def exit_blocks(self) -> list[int]:
        """Numbers of blocks after which an exit stands."""
        return list(range(self.exit_first, self.n_layers, self.exit_every)) if self.exit_first else []

    def routed(self, block: int) -> bool:
        """Whether that block (from 0) chooses between a deep and a shallow feed-forward."""
        return self.shallow_dim > 0 and block >= max(1, self.mandatory_blocks)

    @property
    def embed_dim(self) -> int:
        """Width of a row of the embedding table: b, or D where the table is not factored."""
        return self.basin_dim or self.d_model

    @property
    def head_width(self) -> int:
        """Inner width of the head's vocabulary factor: r, or the embedding's width where the head is tied."""
        return self.head_rank or self.embed_dim

    @property
    def whole_head(self) -> bool:
        """Whether the head is one V x D matrix of its own: neither tied to the embedding nor factored."""
        return self.basin_dim == 0 and self.head_rank == self.d_model

    @property
    def state_dim(self) -> int:
        """Real entries of one query or key state."""
        return 2 * self.head_dim if self.state == "diagonal" and self.state_phases else self.head_dim

    def decay_slopes(self) -> list[float]:
        """m_h in nats a position, geometric from 2^(-8/H) to 2^-8; empty when decay is off."""
        return [2.0 ** (-8.0 * (h + 1) / self.n_heads) for h in range(self.n_heads)] if self.decay else []

    def param_counts(self) -> dict[str, int]:
        """Number of trained weights by part, and their total."""
        d, c = self.d_model, self.head_dim
        embedding = self.vocab_size * self.embed_dim + (self.basin_dim * d if self.basin_dim else 0)
        attention = 2 * d * c * (self.n_heads + self.n_kv_heads)
        if self.attention == "qfi":
            attention += self.n_heads + (self.n_heads + self.n_kv_heads if self.state == "diagonal" else 0)
            attention += self.n_heads if self.gate_learnt else 0
        feed_forward = 2 * d * self.hidden_dim
        routed = sum(self.routed(n) for n in range(self.n_layers))
        exits = len(self.exit_blocks) * (d + 1 if self.exit_rule == "probe" else 0)
        head = self.head_rank * (d + self.vocab_size) if self.head_rank else self.basin_dim * d
        if self.whole_head:
            head = d * self.vocab_size
        parts = {
            "embedding": embedding,
            "attention": self.n_layers * attention,
            "feed_forward": self.n_layers * feed_forward,
            "routing": routed * (2 * d * self.shallow_dim + 1) + exits,
            "recursion": attention + feed_forward + 2 * d if self.recursion_max_loops else 0,
            "symmetry": self.symmetry_rank * d,
            "confidence": 2 * self.confidence_learnt,
            "coupling": int(self.coupling_learnt),
            "draft": d * (self.draft_lag * d + 2 * self.draft_dim + 2) if self.draft_lag else 0,
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


def preset_names(architecture: str | None = None) -> list[str]:
    """Names of the shipped presets, sorted; only those of one architecture where it is given."""
    names = sorted(
        p.name[: -len(".toml")] for p in (resources.files("qig_edge") / "presets").iterdir() if p.name.endswith(".toml")
    )
    if architecture is None:
        return names
    return [n for n in names if _shipped(n)["model"].get("architecture", "qig") == architecture]


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
    return _shipped(name)


def _shipped(name: str) -> dict[str, Any]:
    return tomllib.loads((resources.files("qig_edge") / "presets" / f"{name}.toml").read_text("utf-8"))


def preset_config(name: str) -> ModelConfig | JarvisConfig:
    """The model configuration of one preset, of whatever architecture."""
    return model_config(load_preset(name)["model"], f"preset '{name}'")


def preset_model(name: str) -> ModelConfig:
    """The model configuration of one preset of architecture "qig" (a twin's too). Raises ConfigError for another one."""
    return qig_config(load_preset(name)["model"], f"preset '{name}'")


def model_config(table: dict[str, Any], where: str) -> ModelConfig | JarvisConfig:
    """The configuration in a [model] table; its `architecture` ("qig" where it names none) says of which kind."""
    fields = dict(table)
    kind = fields.pop("architecture", "qig")
    if kind not in ARCHITECTURES:
        raise ConfigError(f"{where}: architecture = {kind!r} must be one of {', '.join(ARCHITECTURES)}")
    if kind == "jarvis":
        from qig_edge.model.jarvis_config import JarvisConfig

        return JarvisConfig.from_dict(fields, where)
    return ModelConfig.from_dict(fields, where)


def qig_config(table: dict[str, Any], where: str) -> ModelConfig:
    """The same where only a QIG-Kernel or its twin will do."""
    config = model_config(table, where)
    if not isinstance(config, ModelConfig):
        raise ConfigError(
            f"{where} is of architecture 'jarvis': this is for models of architecture 'qig'"
        )
    return config


def _require(ok: bool, name: str, value: object, accepted: str) -> None:
    if not ok:
        raise ConfigError(f"{name} = {value!r} must be {accepted}")


def _choice(name: str, value: str, accepted: tuple[str, ...]) -> None:
    if value not in accepted:
        raise ConfigError(f"{name} = {value!r} must be one of {', '.join(accepted)}")
