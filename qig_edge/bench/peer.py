"""libqig and llama.cpp by turns, in one process: the same number of threads, the same tests, ratios pair by pair.

A test is the prefill of an empty cache, or decoding at a depth. Before a test llama.cpp tries each of SETTINGS and keeps its fastest; one that was
clearly slower than another in a DEEP test is not tried at greater depths, where filling its cache can take an hour. Then the engines take turns, and
who begins changes from pair to pair, so that what else the machine does meets both alike. Tokens are the same for both, random or a text's (nothing
is sampled). The clock runs over evaluation with the last token's logits made, nothing else.

Where both read the same file, the text that each continues greedily is compared too: how many tokens are the same before the first that differs.
Where libqig left keys out that the gate cuts, the logits at the greatest depth are compared with those of a session that reads every key.
"""

from __future__ import annotations

import contextlib
import dataclasses
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from qig_edge.bench.llama_cpp_engine import SETTINGS, LlamaCpp, Setting
from qig_edge.bench.machine import machine, machine_state
from qig_edge.bench.timing import Test, random_tokens, tests, text_tokens
from qig_edge.errors import ConfigError
from qig_edge.runtime.native import NativeModel, NativeSession

TRIAL = 8  # decoded tokens of a setting's trial
CLEARLY, DEEP = 1.3, 1024  # times as slow; tokens
SAME = 32  # tokens of the greedy comparison


def compare(
    ours: Path,
    theirs: Path | None,
    *,
    threads: int,
    prefill: int,
    decode: int,
    depths: Sequence[int],
    repeat: int,
    isa: str = "auto",
    settings: dict[str, str] | None = None,
    text: Path | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> dict[str, Any]:
    """Times libqig on `ours` against llama.cpp on `theirs` (None: the same file); returns the row. threads 0: as libqig chooses, for both.

    text: evaluate this file's tokens, from its start again where it is short, in place of random ones. Raises ConfigError where llama.cpp needs
    a file of its own, or lacks ids of the text, ModelFileError for files that do not open, MissingExtra without llama.cpp.
    """
    tell = progress or (lambda done, total, what: None)
    plan = tests(prefill, decode, sorted(depths))
    n_ctx = max(prefill, max(depths) + max(decode, SAME))
    with contextlib.ExitStack() as stack:
        model = stack.enter_context(NativeModel(ours, isa, settings=settings or {}))
        if theirs is None and model.info.architecture == "qig":
            raise ConfigError(f"llama.cpp does not run '{ours}' (architecture qig): --peer-model FILE names the model to hold it against")
        if not threads:  # the count that decode begins with; given, so that ours does not go on to another than the peer's
            with model.session(n_ctx=1) as probe:
                threads = probe.n_threads
        session = stack.enter_context(model.session(n_ctx=n_ctx, n_threads=threads))
        tell(0, len(plan), "opening")
        peer = LlamaCpp(theirs or ours, n_ctx, session.n_threads)
        stack.callback(peer.close)
        before = machine_state()
        ids = _ids(model, peer, n_ctx, text)
        rows, candidates = [], list(SETTINGS)
        for i, test in enumerate(plan):
            tell(i, len(plan), str(test))
            rows.append(_pairs(session, peer, candidates, test, ids, repeat))
            if test.one_by_one and test.depth >= DEEP:
                took = rows[-1]["tried"]
                candidates = [s for s in candidates if took[str(s)] <= CLEARLY * min(took.values())]
        left_out = any(test["keys"] and test["keys"]["sketched"] for test in rows)
        exact = _same_logits(model, session, ids, rows[-1]["depth"]) if left_out else None
        same = _same_text(session, peer, ids) if theirs is None else None
        return {
            "peer": {"name": "llama.cpp", "llama_cpp_python": peer.lib.__version__, "file": str(theirs or ours)},
            "model": {"file": str(ours), "name": model.info.name, "file_type": model.info.file_type, "isa": model.info.isa},
            "threads": session.n_threads,
            "machine": machine(),
            "state_before": before,
            "state_after": machine_state(),
            "settings": settings or {},
            "tests": rows,
            "text": str(text) if text else None,
            "same_greedy_tokens": same,
            "equal_to_all_keys": exact,
        }


def _ids(model: NativeModel, peer: LlamaCpp, n: int, text: Path | None) -> list[int]:
    """n tokens that both models have: of the text, or random ones."""
    if text is None:
        return random_tokens(min(model.info.vocab_size, peer.vocab_size), n)
    found = text_tokens(model, n, text)
    if max(found) >= peer.vocab_size:
        raise ConfigError(f"--text {text}: its token {max(found)} is beyond the peer's vocabulary of {peer.vocab_size}")
    return found


def _pairs(
    session: NativeSession, peer: LlamaCpp, candidates: list[Setting], test: Test, ids: list[int], repeat: int
) -> dict[str, Any]:
    """One test: the peer's fastest setting of `candidates`, then `repeat` pairs. Both engines stand at the test's depth before and after."""
    _stand_at(session, test.depth, ids)
    tried = {}
    for setting in candidates:
        peer.rollback(setting, test.depth)
        peer.eval(setting, ids[peer.pos(setting) : test.depth])  # llama.cpp is slow in great depths: what stands there stays
        trial = test if not test.one_by_one else dataclasses.replace(test, tokens=min(TRIAL, test.tokens))
        tried[setting] = min(_theirs(peer, setting, trial, ids) for _ in range(2))
    best = min(tried, key=lambda s: tried[s])
    _ours(session, test, ids)  # warm, as the peer is from its trials
    keys = _keys(session, test, ids) if test.one_by_one else None
    ours, theirs = [], []
    for i in range(repeat):
        for mine in (True, False) if i % 2 == 0 else (False, True):
            if mine:
                ours.append(test.tokens / _ours(session, test, ids))
            else:
                theirs.append(test.tokens / _theirs(peer, best, test, ids))
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    return {
        "test": str(test),
        "tokens": test.tokens,
        "depth": test.depth,
        "setting": str(best),
        "tried": {str(setting): seconds for setting, seconds in tried.items()},
        "ours": ours,
        "theirs": theirs,
        "ratios": ratios,
        "keys": keys,
        "ratio": {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)},
    }


def _keys(session: NativeSession, test: Test, ids: list[int]) -> dict[str, float]:
    """What the test's tokens read of the cache, means: shares of the keys that stood there, and of the pairs that the gates let through."""
    session.eval(ids[test.depth : test.depth + test.tokens])
    at = range(test.depth, test.depth + test.tokens)
    reads, records = [session.cache_reads(i) for i in at], [session.telemetry(i) for i in at]
    session.rollback(test.depth)
    seen = sum(r.keys_seen for r in reads)
    return {
        "active": statistics.fmean(t.agency for t in records),
        "sketched": sum(r.keys_sketched for r in reads) / seen,
        "read": sum(r.keys_read for r in reads) / seen,
        "values_read": sum(r.values_read for r in reads) / seen,
    }


def _same_logits(model: NativeModel, session: NativeSession, ids: list[int], depth: int) -> bool:
    """Whether the logits of the token at a depth are, bit for bit, those of a session that reads every key."""
    with model.session(n_ctx=depth + 1, n_threads=session.n_threads, all_keys=True) as dense:
        dense.eval(ids[: depth + 1])
        _stand_at(session, depth, ids)
        session.eval(ids[depth : depth + 1])
        same = dense.logits().tobytes() == session.logits().tobytes()
    session.rollback(depth)
    return same


def _stand_at(session: NativeSession, depth: int, ids: list[int]) -> None:
    if session.pos > depth:
        session.rollback(depth)
    if session.pos < depth:
        session.eval(ids[session.pos : depth])


def _ours(session: NativeSession, test: Test, ids: list[int]) -> float:
    """Seconds; the session is left where it was."""
    tokens = ids[test.depth : test.depth + test.tokens]
    began = time.perf_counter()
    if test.one_by_one:
        for token in tokens:
            session.eval([token])
    else:
        session.eval(tokens)
    took = time.perf_counter() - began
    session.rollback(test.depth)
    return took


def _theirs(peer: LlamaCpp, setting: Setting, test: Test, ids: list[int]) -> float:
    tokens = ids[test.depth : test.depth + test.tokens]
    began = time.perf_counter()
    if test.one_by_one:
        for token in tokens:
            peer.eval(setting, [token])
    else:
        peer.eval(setting, tokens)
    took = time.perf_counter() - began
    peer.rollback(setting, test.depth)
    return took


def _same_text(session: NativeSession, peer: LlamaCpp, ids: list[int]) -> dict[str, int]:
    """Tokens that both continue alike, greedily, after the same 16."""
    setting = SETTINGS[0]
    start = ids[:16]
    session.rollback(0)
    peer.rollback(setting, 0)
    session.eval(start)
    peer.eval(setting, start)
    for same in range(SAME - len(start)):
        token = int(session.logits().argmax())
        if token != int(peer.logits(setting).argmax()):
            return {"same": same, "of": SAME - len(start)}
        session.eval([token])
        peer.eval(setting, [token])
    return {"same": SAME - len(start), "of": SAME - len(start)}


def lines(row: dict[str, Any]) -> list[str]:
    """What a terminal shows."""
    out = [
        f"{row['model']['name']}  {row['model']['file_type']}, libqig ({row['model']['isa']}) against llama.cpp"
        f" (llama-cpp-python {row['peer']['llama_cpp_python']}) on {Path(row['peer']['file']).name}, {row['threads']} threads",
        f"{'test':<26}{'libqig':>12}{'llama.cpp':>12}   ratio, pair by pair      llama.cpp's fastest setting (of those tried)",
    ]
    for test in row["tests"]:
        ratio = test["ratio"]
        spread = f"{ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f})"
        speeds = "".join(f"{statistics.median(test[who]):>12.1f}" for who in ("ours", "theirs"))
        out.append(f"{test['test']:<26}{speeds}   {spread:<24} {test['setting']} (of {len(test['tried'])})")
    out.append("Tokens a second, medians; ratio: libqig over llama.cpp.")
    for test in row["tests"]:
        if (keys := test["keys"]) and keys["active"] < 1:
            out.append(
                f"Depth {test['depth']}: {keys['active']:.1%} of pairs active; of the keys {keys['sketched']:.0%} were looked at by their sketch,"
                f" {keys['read']:.0%} read, values {keys['values_read']:.0%}."
            )
    if row["equal_to_all_keys"] is not None:
        out.append(f"The logits at the greatest depth are{'' if row['equal_to_all_keys'] else ' NOT'} those of reading every key, bit for bit.")
    if same := row["same_greedy_tokens"]:
        out.append(f"The same file in both: {same['same']} of {same['of']} greedy tokens are the same.")
    return out
