"""Tiny random models as GGUF files, and docs/formats.md's forward pass in float64 over the same weights: the engine's oracle.

Rounding that the format defines (activation blocks, int8 cache) is done here in float32 as there; everything else is float64.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import gguf
import numpy as np

CONTROL = ("<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
REGIME_KEYS = ("low", "high", "smoothing", "hysteresis", "curvature")
ARRAY, U32 = gguf.GGUFValueType.ARRAY, gguf.GGUFValueType.UINT32
TYPES = {t: getattr(gguf.GGMLQuantizationType, t) for t in ("F32", "F16", "Q8_0", "Q4_0")}


@dataclasses.dataclass(frozen=True)
class Tiny:
    """Shape and mathematics of one tiny model; type: of its matrices, types: exceptions by tensor name."""

    vocab: int = 293
    d: int = 64
    layers: int = 2
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 16
    hidden: int = 96
    basin: int = 32  # 0: an embedding without factors
    rank: int = 32
    context: int = 64
    state: str = "pure"
    phases: bool = True
    metric: str = "bures"
    decay: bool = True
    threshold: float = 0.0
    margin: float = 0.0
    beta: float = 0.43
    ref: float = 4.0
    type: str = "F32"
    types: tuple[tuple[str, str], ...] = ()
    seed: int = 1
    gate_learnt: bool = False
    code_rate: bool = False
    mandatory: int = 0  # 0: the file does not say, so all blocks
    shallow: int = 0
    route: tuple[float, float] = (0.0, 0.0)  # weight of phi, threshold
    regime: tuple[float, float, float, float, float] | None = None  # low, high, smoothing, hysteresis, curvature
    factors: tuple[float, float, float] | None = None
    exits: tuple[int, ...] = ()
    thresholds: tuple[float, ...] = ()
    rule: str = "bures"
    collapse: float = 0.0
    modes: int = 24
    loops: tuple[int, int] = (0, 0)
    min_phi: float = 0.0
    symmetry: int = 0
    confidence: tuple[float, float] | None = None
    on_breakdown: str = "mark"
    draft: tuple[int, int, int] | None = None  # lag, hidden units, words
    draft_strength: float = 0.3  # of what it adds to the embedding; 0: it reads that out as the model would
    strength: float = 1.0  # of what the blocks add to the state
    transposed: tuple[str, ...] = ()  # blocks whose second feed-forward matrix is stored so

    @property
    def m(self) -> int:
        return self.mandatory or self.layers

    @property
    def blocks(self) -> list[str]:
        """Prefixes of the tensors of every block, the integrator last."""
        return [f"blk.{n}" for n in range(self.layers)] + ["integrator"] * (self.loops[1] > 0)

    def routed(self, prefix: str) -> bool:
        return self.shallow > 0 and prefix != "integrator" and int(prefix[4:]) >= self.m

    @property
    def state_dim(self) -> int:
        return 2 * self.head_dim if self.state == "diagonal" and self.phases else self.head_dim

    @property
    def slopes(self) -> np.ndarray:
        n = self.heads
        return np.array([2.0 ** (-8.0 * (h + 1) / n) for h in range(n)] if self.decay else [0.0] * n, np.float32)


@dataclasses.dataclass
class Weights:
    """name -> float64 [out, in] as the file's blocks say, and the names whose products quantize their input."""

    by_name: dict[str, np.ndarray]
    quantized: set[str]
    bytes: dict[str, int] = dataclasses.field(default_factory=dict)


def write(path: Path, t: Tiny) -> Weights:
    """Writes the model and returns what its weights are once read back."""
    rng = np.random.default_rng(t.seed)
    matrices = {"token_embd": (t.vocab, t.basin or t.d)}
    if t.basin:
        matrices["basin_proj"] = (t.d, t.basin)
    vectors: dict[str, np.ndarray] = {}
    for prefix in t.blocks:
        p = prefix + "."
        width, kv = t.heads * t.head_dim, t.kv_heads * t.head_dim
        matrices |= {
            p + "attn_q": (width, t.d),
            p + "attn_k": (kv, t.d),
            p + "attn_v": (kv, t.d),
            p + "attn_output": (t.d, width),
        }
        down = {"ffn_down_t": (t.hidden, t.d)} if prefix in t.transposed else {"ffn_down": (t.d, t.hidden)}
        matrices |= {p + "ffn_up": (t.hidden, t.d), **{p + name: shape for name, shape in down.items()}}
        if t.routed(prefix):
            matrices |= {p + "ffn_shallow_up": (t.shallow, t.d), p + "ffn_shallow_down": (t.d, t.shallow)}
        vectors |= {p + "attn_norm": rng.uniform(0.5, 1.5, t.d), p + "ffn_norm": rng.uniform(0.5, 1.5, t.d)}
        vectors[p + "attn_temp"] = rng.uniform(0.08, 0.4, t.heads)
        if t.state == "diagonal":
            vectors |= {p + "attn_q_gain": rng.uniform(1, 3, t.heads), p + "attn_k_gain": rng.uniform(1, 3, t.kv_heads)}
    if t.rank or t.basin:
        matrices["output_down"] = (t.rank or t.basin, t.d)
    if t.rank:
        matrices["output"] = (t.vocab, t.rank)
    vectors["output_norm"] = rng.uniform(0.5, 1.5, t.d)

    vectors |= _depth_vectors(t)
    if t.draft:
        lag, hidden, _ = t.draft
        matrices |= {"draft_input": (t.d, lag * t.d), "draft_up": (hidden, t.d), "draft_down": (t.d, hidden)}
        vectors |= {"draft_norm": np.linspace(0.5, 1.5, t.d), "draft_output_norm": vectors["output_norm"]}

    writer = gguf.GGUFWriter(str(path), "qig")
    _keys(writer, t)
    _depth_keys(writer, t)
    out, quantized, exceptions, sizes = {}, set(), dict(t.types), {}
    for name, shape in matrices.items():
        kind = exceptions.get(name, t.type)
        values = (rng.standard_normal(shape) * (1.5 / shape[1] ** 0.5 if name != "token_embd" else 1)).astype(
            np.float32
        )
        if name in ("draft_input", "draft_down"):
            values *= t.draft_strength
        if name.startswith("blk.") and name.endswith(("attn_output", "ffn_down", "ffn_down_t", "ffn_shallow_down")):
            values *= t.strength
        if name == "output":
            values[: len(CONTROL)] = 0  # logits of 0: a greedy text does not end
        data = gguf.quants.quantize(values, TYPES[kind])
        writer.add_tensor(name + ".weight", data, raw_dtype=TYPES[kind])
        out[name], sizes[name] = (
            gguf.quants.dequantize(data, TYPES[kind]).astype(np.float64).reshape(shape),
            data.nbytes,
        )
        if kind.startswith("Q"):
            quantized.add(name)
    for name, vector in vectors.items():
        writer.add_tensor(name + ".weight", vector.astype(np.float32))
        out[name], sizes[name] = vector.astype(np.float32).astype(np.float64), 4 * vector.size
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    if not t.rank:
        out["output"] = out["token_embd"]
        if "token_embd" in quantized:
            quantized.add("output")
        sizes["output"] = sizes["token_embd"]
    return Weights(out, quantized, sizes)


def _depth_vectors(t: Tiny) -> dict[str, np.ndarray]:
    """F32 tensors of the components that the model has beyond a plain one, from a generator of their own."""
    rng = np.random.default_rng(t.seed + 1000)
    out: dict[str, np.ndarray] = {}
    for prefix in t.blocks:
        if t.gate_learnt:
            out[prefix + ".attn_gate"] = rng.uniform(0.1, 0.3, t.heads) * (np.arange(t.heads) != 1)  # one head without
        if t.routed(prefix):
            out[prefix + ".ffn_route"] = np.array(t.route)
    if t.rule == "probe":
        for n in t.exits:
            out[f"blk.{n - 1}.exit_probe"] = rng.standard_normal(t.d + 1) / t.d**0.5
    if t.code_rate:
        out["token_scale"] = rng.uniform(1, 2, t.vocab)
    if t.collapse:
        out["decoherence_modes"] = np.linalg.qr(rng.standard_normal((t.d, t.modes)))[0].T
    if t.symmetry:
        out["symmetry"] = np.linalg.qr(rng.standard_normal((t.d, t.symmetry)))[0].T
    return out


def _depth_keys(writer: gguf.GGUFWriter, t: Tiny) -> None:
    numbers = {
        "mandatory_blocks": t.mandatory, "shallow_length": t.shallow, "recursion.min_loops": t.loops[0],
        "recursion.max_loops": t.loops[1], "symmetry.rank": t.symmetry,
    }  # fmt: skip
    if t.draft:
        numbers |= zip(("draft.lag", "draft.feed_forward_length", "draft.vocab"), t.draft, strict=True)
    floats: dict[str, float] = {"decoherence.threshold": t.collapse, "code_rate.max_entropy": 0.9 * t.code_rate}
    if t.regime:
        floats |= {f"regime.{n}": v for n, v in zip(REGIME_KEYS, t.regime, strict=True)}
        writer.add_string("qig.regime.on_breakdown", t.on_breakdown)
    if t.factors:
        writer.add_array("qig.regime.coupling", list(t.factors))
    if t.confidence:
        floats |= {"confidence.scale": t.confidence[0], "confidence.bias": t.confidence[1]}
    for key, number in numbers.items():
        if number:
            writer.add_uint32("qig." + key, number)
    for key, value in floats.items():
        if value or not key.startswith(("decoherence", "code_rate")):
            writer.add_float32("qig." + key, value)
    if t.loops[1]:
        writer.add_float32("qig.recursion.min_phi", t.min_phi)
    if t.gate_learnt:
        writer.add_bool("qig.gate.learnt", True)
    if t.exits:
        writer.add_key_value("qig.exit.blocks", list(t.exits), ARRAY, U32)
        writer.add_array("qig.exit.thresholds", [float(v) for v in t.thresholds])
        writer.add_string("qig.exit.rule", t.rule)


def _keys(writer: gguf.GGUFWriter, t: Tiny) -> None:
    writer.add_name("tiny")
    numbers = {
        "context_length": t.context, "embedding_length": t.d, "block_count": t.layers, "feed_forward_length": t.hidden,
        "attention.head_count": t.heads, "attention.head_count_kv": t.kv_heads, "attention.key_length": t.head_dim,
        "attention.value_length": t.head_dim, "basin_length": t.basin, "head_rank": t.rank,
    }  # fmt: skip
    floats = {
        "attention.layer_norm_rms_epsilon": 1e-5, "rope.freq_base": 100.0, "coupling.beta": t.beta, "coupling.ref": t.ref,
        "coupling.min": 0.25, "coupling.max": 4.0, "coupling.kappa_0": 64.0, "gate.threshold": t.threshold, "gate.margin": t.margin,
    }  # fmt: skip
    for key, number in numbers.items():
        writer.add_uint32("qig." + key, number)
    for key, value in floats.items():
        writer.add_float32("qig." + key, value)
    writer.add_string("qig.attention.state", t.state)
    writer.add_string("qig.attention.metric", t.metric)
    if t.state == "diagonal":
        writer.add_bool("qig.attention.state_phases", t.phases)
    if t.decay:
        writer.add_array("qig.attention.decay_slopes", [float(s) for s in t.slopes])
    for role, token in zip(("system", "user", "assistant", "end"), CONTROL[1:], strict=True):
        writer.add_string("qig.chat." + role, token)
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    tokens = [*CONTROL, *(chr(c) for c in plain), *(chr(256 + i) for i in range(256 - len(plain)))]
    assert len(tokens) < t.vocab
    tokens += ["ab", *(f"filler{i}" for i in range(t.vocab - len(tokens) - 1))]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([3] * len(CONTROL) + [1] * (len(tokens) - len(CONTROL)))
    writer.add_token_merges(["a b"])
    writer.add_eos_token_id(0)
    writer.add_eot_token_id(4)


def _blocks(x: np.ndarray) -> np.ndarray:
    """Activations as an int8 product sees them: blocks of 32, amax / 127, half to even."""
    b = x.astype(np.float32).reshape(-1, 32)
    amax = np.abs(b).max(axis=1, keepdims=True)
    with np.errstate(divide="ignore"):
        q = np.where(amax > 0, np.rint(b * np.where(amax > 0, np.float32(127) / amax, 0)), 0)
    return (q.astype(np.float64) * (amax / np.float32(127))).reshape(x.shape)


def _int8(x: np.ndarray, unit: bool) -> np.ndarray:
    """A vector as the int8 cache holds it: of norm 1, or at amax / 127."""
    f = x.astype(np.float32)
    amax = np.abs(f).max()
    if amax == 0:
        return np.zeros_like(x)
    q = np.rint(f * (np.float32(127) / amax)).astype(np.float64)
    return q / np.sqrt((q * q).sum()) if unit else q * np.float64(amax / np.float32(127))


@dataclasses.dataclass
class Run:
    """logits [T, V]; telemetry fields [T]; closest: how near any pair came to a gate's edge (nats, or distance);
    near: how near any decision on depth came to its threshold; stopped: tokens by what ended their run."""

    logits: np.ndarray
    phi: np.ndarray
    agency: np.ndarray
    curvature: np.ndarray
    kappa: np.ndarray
    surprise: np.ndarray
    confidence: np.ndarray
    coherence_drift: np.ndarray
    regime: np.ndarray
    blocks_run: np.ndarray
    bytes_read: np.ndarray
    closest: float
    near: float
    stopped: dict[str, int]


def forward(t: Tiny, w: Weights, tokens: list[int], cache: str, passes: list[int] | None = None) -> Run:
    """The forward pass over all tokens, block by block; cache: "f32" or "i8"; passes: how many tokens were evaluated together."""
    return _Forward(t, w, tokens, cache, passes or [1] * len(tokens)).run()


class _Forward:
    def __init__(self, t: Tiny, w: Weights, tokens: list[int], cache: str, passes: list[int]) -> None:
        n = len(tokens)
        assert sum(passes) == n
        self.t, self.w, self.tokens, self.cache = t, w, tokens, cache
        self.in_pass = np.repeat(np.arange(len(passes)), passes)
        self.phi, self.active, self.possible, self.curvature = (np.zeros(n) for _ in range(4))
        self.angle, self.bytes, self.blocks = np.zeros(n), np.zeros(n), np.zeros(n, int)
        self.told = np.zeros(n, bool)  # whose last distribution an exit has computed already
        self.regime, self.factor, self.closest, self.near = np.ones(n, int), np.ones(n), np.inf, np.inf
        self.r = np.clip(1 + t.beta * np.log((np.arange(n) + 1) / t.ref), 0.25, 4)
        self.stopped = dict.fromkeys(("linear", "breakdown", "exit", "collapse", "loop", "shallow"), 0)

    def product(self, name: str, x: np.ndarray) -> np.ndarray:
        return (_blocks(x) if name in self.w.quantized else x) @ self.w.by_name[name].T

    def norm(self, x: np.ndarray, name: str) -> np.ndarray:
        return x * self.w.by_name[name] / np.sqrt((x * x).mean(axis=1, keepdims=True) + np.float64(np.float32(1e-5)))

    def charge(self, who: np.ndarray, *names: str) -> None:
        """These weights were read once in each pass for the tokens `who`."""
        size = sum(self.w.bytes.get(name, 0) for name in names)
        for i in who:
            self.bytes[i] += size / (self.in_pass[who] == self.in_pass[i]).sum()

    def decide(self, value: float, threshold: float) -> float:
        """The value; notes how near it stands to the edge."""
        self.near = min(self.near, abs(value - threshold))
        return value

    def run(self) -> Run:
        t, w, n = self.t, self.w, len(self.tokens)
        everyone = np.arange(n)
        z = w.by_name["token_embd"][self.tokens]
        if t.code_rate:
            z = z * w.by_name["token_scale"][self.tokens, None]
        self.bytes += w.bytes["token_embd"] // t.vocab + 4 * t.code_rate
        self.charge(everyone, "basin_proj")
        self.x, runs, before = self.product("basin_proj", z) if t.basin else z, everyone, None
        for layer in range(t.layers):
            self.block(f"blk.{layer}", runs, layer)
            if t.regime and layer + 1 == t.m:
                runs = self.regimes(runs)
            if layer + 1 in t.exits:
                runs, before = self.exit(t.exits.index(layer + 1), runs, before)
        for loop in range(1, t.loops[1] + 1):
            phi = self.block("integrator", runs, t.layers)
            if t.loops[0] <= loop < t.loops[1]:
                stay = np.array([self.decide(p, t.min_phi) < t.min_phi for p in phi], bool)
                self.stopped["loop"] += int((~stay).sum())
                runs = runs[stay]
        y = self.readout(everyone)
        alone = np.bincount(self.in_pass)[self.in_pass] == 1
        self.charge(everyone[~(alone & self.told)], "output_down", "output")
        logits = self.product("output", self.product("output_down", y) if t.rank or t.basin else y)
        return self.record(logits, y)

    def block(self, prefix: str, runs: np.ndarray, layer: int) -> np.ndarray:
        """One block on the tokens `runs`; returns their phi in it."""
        t, w, p = self.t, self.w, prefix + "."
        x_in = self.x[runs]
        if not len(runs):
            return np.zeros(0)
        h = self.norm(x_in, p + "attn_norm")
        q, k, v = (self.product(p + s, h).reshape(len(runs), -1, t.head_dim) for s in ("attn_q", "attn_k", "attn_v"))
        out, phi = np.zeros((len(runs), t.heads, t.head_dim)), np.zeros(len(runs))
        group, entry, scale = t.heads // t.kv_heads, *((1, 4) if self.cache == "i8" else (4, 0))
        wanted = np.zeros((len(runs), t.kv_heads), int)
        for head in range(t.heads):
            g = head // group
            gains = (
                (w.by_name[p + "attn_q_gain"][head], w.by_name[p + "attn_k_gain"][g])
                if t.state == "diagonal"
                else (1, 1)
            )
            queries, keys = states(t, q[:, head], gains[0], runs), states(t, k[:, g], gains[1], runs)
            values = v[:, g]
            if self.cache == "i8":
                queries, keys, values = (
                    np.stack([_int8(row, u) for row in m]) for m, u in ((queries, True), (keys, True), (values, False))
                )
            tau = w.by_name[p + "attn_temp"][head]
            threshold = w.by_name[p + "attn_gate"][head] if t.gate_learnt else t.threshold
            for i, token in enumerate(runs):
                ages, r = token - runs[: i + 1], np.float32(self.r[token]) * np.float32(self.factor[token])
                a, near = weights_of(t, keys[: i + 1] @ queries[i], r, tau, t.slopes[head], ages, threshold)
                self.closest = min(self.closest, near)
                wanted[i, g] += (a > 0).sum()
                if i:
                    phi[i] += -np.log((a * a).sum()) / np.log(i + 1) / t.heads
                out[i, head] = a @ values[: i + 1]
        for i, token in enumerate(runs):
            self.active[token] += wanted[i].sum()
            self.possible[token] += (i + 1) * t.heads
            rows = np.minimum(wanted[i], i + 1).sum()
            self.bytes[token] += t.kv_heads * (i + 1) * (t.state_dim * entry + scale) + rows * (
                t.head_dim * entry + scale
            )
        parts = ("attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "attn_temp", "attn_q_gain", "attn_k_gain")
        self.charge(runs, *(p + s for s in (*parts, "attn_gate", "ffn_norm", "ffn_route")))
        self.x[runs] = x_in + self.product(p + "attn_output", out.reshape(len(runs), -1))
        deep = np.ones(len(runs), bool)
        if t.routed(prefix):
            assert layer > 0
            rule = w.by_name[p + "ffn_route"]
            deep = np.array(
                [self.decide(a + rule[0] * f, rule[1]) >= rule[1] for a, f in zip(self.angle[runs], phi, strict=True)]
            )
        self.stopped["shallow"] += int((~deep).sum())
        self.feed_forward(p, runs[deep], "ffn_up", "ffn_down")
        self.feed_forward(p, runs[~deep], "ffn_shallow_up", "ffn_shallow_down")
        after = self.x[runs]
        cos = (x_in * after).sum(1) / np.sqrt((x_in * x_in).sum(1) * (after * after).sum(1))
        self.angle[runs] = np.arccos(np.clip(cos, -1, 1))
        self.curvature[runs] += self.angle[runs]
        self.phi[runs] += phi
        self.blocks[runs] += 1
        return phi

    def feed_forward(self, p: str, who: np.ndarray, up: str, down: str) -> None:
        if not len(who):
            return
        hidden = np.maximum(self.product(p + up, self.norm(self.x[who], p + "ffn_norm")), 0) ** 2
        self.charge(who, p + up, p + down)
        turned = p + down + "_t"
        if turned not in self.w.by_name:
            self.x[who] += self.product(p + down, hidden)
            return
        if turned in self.w.quantized:
            hidden = np.stack([_blocks(row) for row in hidden])
        self.x[who] += hidden @ self.w.by_name[turned]
        self.bytes[who] += (hidden != 0).sum(1) * (self.w.bytes[turned] // self.t.hidden)

    def regimes(self, runs: np.ndarray) -> np.ndarray:
        assert self.t.regime
        low, high, s, h, curvature = (float(np.float32(v)) for v in self.t.regime)
        mean, regime, stay = (low + high) / 2, 1, []
        for i in runs:
            if i:
                mean += s * (self.phi[i] / self.t.m - mean)
                for edge in (low - h, low + h, high - h, high + h):
                    self.decide(mean, edge)
                down = mean < low - h if regime else mean < low + h
                up = mean >= high - h if regime == 2 else mean >= high + h
                regime = 0 if down else 2 if up else 1
            self.regime[i] = regime
            self.factor[i] = self.t.factors[regime] if self.t.factors else 1
            goes = regime == 1 or (regime == 2 and self.decide(self.angle[i], curvature) >= curvature)
            stay.append(goes)
            if not goes:
                self.stopped[("linear", "", "breakdown")[regime]] += 1
        return runs[np.array(stay, bool)]

    def readout(self, who: np.ndarray) -> np.ndarray:
        x = self.x[who]
        if self.t.symmetry:
            roles = self.w.by_name["symmetry"]
            x = x - (x @ roles.T) @ roles
        self.charge(who, "output_norm", "symmetry")
        return self.norm(x, "output_norm")

    def exit(self, e: int, runs: np.ndarray, before: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
        """Who still runs after exit e, and the square roots of everyone's distribution there."""
        t, w = self.t, self.w
        threshold, later = t.thresholds[e], t.thresholds[e + 1 : e + 2]
        compares = threshold > 0 and (t.rule == "probe" or e > 0)
        if not len(runs) or not (compares or t.collapse or (t.rule == "bures" and any(later))):
            return runs, None
        y, amplitude = self.readout(runs), np.zeros((len(self.x), t.vocab))
        if t.rule == "probe":
            name = f"blk.{t.exits[e] - 1}.exit_probe"
            probe = w.by_name[name]
            distance = 1 / (1 + np.exp(-(y @ probe[:-1] + probe[-1])))
            certain = 1 - distance
            self.charge(runs, name)
        else:
            logits = self.product("output", self.product("output_down", y) if t.rank or t.basin else y)
            self.charge(runs, "output_down", "output")
            p = np.exp(logits - logits.max(1, keepdims=True))
            p /= p.sum(1, keepdims=True)
            amplitude[runs], certain = np.sqrt(p), (p * p).sum(1)
            distance = (
                np.sqrt(np.maximum(0, 1 - (amplitude[runs] * before[runs]).sum(1))) if compares else np.ones(len(runs))
            )
        stay, collapsed = [], []
        for k, i in enumerate(runs):
            stops = compares and self.decide(distance[k], threshold) < threshold
            rate = self.r[i] * self.factor[i] * (self.x[i] ** 2).mean() * certain[k]
            falls = bool(not stops and t.collapse and self.decide(rate, t.collapse) > t.collapse)
            self.stopped["exit"] += bool(stops)
            self.told[i] = stops and t.rule == "bures"
            stay.append(not stops and not falls)
            if falls:
                collapsed.append(i)
        if collapsed:
            modes = w.by_name["decoherence_modes"]
            self.x[collapsed] = (self.x[collapsed] @ modes.T) @ modes
            self.charge(np.array(collapsed), "decoherence_modes")
            self.stopped["collapse"] += len(collapsed)
        return runs[np.array(stay, bool)], amplitude

    def record(self, logits: np.ndarray, y: np.ndarray) -> Run:
        t, n = self.t, len(self.tokens)
        probabilities = np.exp(logits - logits.max(1, keepdims=True))
        probabilities /= probabilities.sum(1, keepdims=True)
        surprise, confidence, m = np.zeros(n), np.zeros(n), 0.0
        for i in range(n):
            if i:
                surprise[i] = np.sqrt(1 - np.sqrt(probabilities[i - 1, self.tokens[i]]))
                m += (surprise[i] - m) / 16
            confidence[i] = (probabilities[i] ** 2).sum() * (1 - m)
        if t.confidence:
            c = np.clip(confidence, 1e-6, 1 - 1e-6)
            confidence = 1 / (1 + np.exp(-(t.confidence[0] * np.log(c / (1 - c)) + t.confidence[1])))
        u = y / np.sqrt((y * y).sum(1, keepdims=True))
        start = np.cumsum(u, axis=0)[np.minimum(np.arange(n), 15)]
        overlap = (u * start).sum(1) / np.sqrt((start * start).sum(1))
        return Run(
            logits=logits,
            phi=self.phi / self.blocks,
            agency=self.active / self.possible,
            curvature=self.curvature / self.blocks,
            kappa=64 * self.r * self.factor,
            surprise=surprise,
            confidence=confidence,
            coherence_drift=np.sqrt(np.maximum(0, 1 - overlap)),
            regime=self.regime,
            blocks_run=self.blocks,
            bytes_read=np.rint(self.bytes).astype(int),
            closest=self.closest,
            near=self.near,
            stopped=self.stopped,
        )


def states(t: Tiny, x: np.ndarray, gain: float, positions: np.ndarray) -> np.ndarray:
    """phi of vectors [T, C] at positions [T]: [T, S]."""
    c = x.shape[1]
    if t.state == "pure":
        u, half = x / np.sqrt((x * x).sum(1, keepdims=True) + 1e-12), c // 2
        angle = positions[:, None] * 100.0 ** (-2 * np.arange(half) / c)
        cos, sin = (f(angle).astype(np.float32).astype(np.float64) for f in (np.cos, np.sin))
        a, b = u[:, :half], u[:, half:]
        return np.concatenate([a * cos - b * sin, a * sin + b * cos], axis=1)
    p = np.exp(gain * x - (gain * x).max(1, keepdims=True))
    root = np.sqrt(p / p.sum(1, keepdims=True))
    if not t.phases:
        return root
    angle = positions[:, None] * 100.0 ** (-np.arange(c) / c)
    return np.concatenate([root * np.cos(angle).astype(np.float32), root * np.sin(angle).astype(np.float32)], axis=1)


def weights_of(
    t: Tiny, overlap: np.ndarray, r: float, tau: float, slope: float, ages: np.ndarray, threshold: float
) -> tuple[np.ndarray, float]:
    """Normalised attention weights of one query from its overlaps (its own key last), and how near a pair came to an edge."""
    o = np.minimum(1, overlap)
    n, closest = len(o), np.inf
    d = np.sqrt(np.maximum(0, 2 * (1 - o)) + 1e-6)
    if t.metric == "fisher_rao":
        d = 2 * np.arcsin(np.minimum(d, 2) / 2)
    s = -r * d / tau - slope * ages
    own, passed = np.arange(n) == n - 1, np.ones(n, bool)
    if threshold:
        y = np.clip((3 + o) / 4, 1e-300, 1 - 1e-16)
        coupling = 1 + y * np.log2(y) + (1 - y) * np.log2(1 - y)
        passed = (coupling > threshold) | own
        closest = np.abs(coupling - threshold)[~own].min(initial=np.inf)
    if t.margin:
        edge = s[passed].max() - t.margin
        closest = min(closest, np.abs(s - edge)[passed & ~own].min(initial=np.inf))
        passed &= (s >= edge) | own
    a = np.where(passed, np.exp(s - s[passed].max()), 0)
    return a / a.sum(), closest
