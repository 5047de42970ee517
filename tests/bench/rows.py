"""A bench row in which everything is known, made up: a Raspberry Pi 5 that got warm. Tests change what they are about."""

from __future__ import annotations

import math
from typing import Any


def series(middle: float, n: int = 5, spread: float = 0.02) -> dict[str, Any]:
    """n samples around a middle, `spread` of it from lowest to highest."""
    samples = [middle * (1 + spread * (i / (n - 1) - 0.5)) for i in range(n)]
    return {
        "median": middle,
        "min": samples[0],
        "max": samples[-1],
        "spread": samples[-1] - samples[0],
        "samples": samples,
    }


def decode(depth: int, rate: float, bytes_per_token: float, bandwidth: float) -> dict[str, Any]:
    """One decode test."""
    return {
        "depth": depth, "tokens": 128, "fits": True, "tokens_per_second": series(rate), "bytes_per_token": bytes_per_token,
        "blocks_run": 7.25, "agency": 0.22, "bytes_per_second": rate * bytes_per_token, "ceiling_fraction": rate * bytes_per_token / bandwidth,
    }  # fmt: skip


def state(**changes: Any) -> dict[str, Any]:
    """A quiet Pi."""
    return {
        "governor": "performance", "temperature_c": 48.5, "temperature_sensor": "cpu-thermal", "frequency_mhz": 2400.0, "frequency_limit_mhz": 2400.0,
        "throttle": {"source": "firmware, through /sys", "now": [], "since_start": [], "count": None, "reason": None},
        "load": 0.1, "memory_available_bytes": 7 << 30, "swapped_in_pages": 0, "busy_cores": 0.05, **changes,
    }  # fmt: skip


def full_row() -> dict[str, Any]:
    """Schema 5, every field filled."""
    bandwidth = 11.8e9
    tests = [decode(d, 11.8e9 * 0.8 / (60e6 + d * 5e3), 60e6 + d * 5e3, bandwidth) for d in (0, 1024, 4096)]
    samples = []
    for i in range(120):
        warm = 1 - 0.3 * max(0.0, math.tanh((i - 40) / 20))
        samples.append(
            {
                "seconds": 5.0 * (i + 1),
                "tokens": int(700 * warm),
                "tokens_per_second": 140 * warm + (i % 3 - 1),
                "temperature_c": 85 - 35 * math.exp(-i / 25),
                "frequency_mhz": 2400 * warm,
                "throttled": ["soft temperature limit"] if warm < 0.9 else [],
                "throttle_count": None,
                "watts": 7.5 * warm,
            }  # fmt: skip
        )
    wave = [0.5 + 0.4 * math.sin(i / 5) for i in range(128)]
    return {
        "schema": 5, "kind": "MEASURED", "suite": "sustained", "interrupted": False, "device": "rpi5",
        "profile": {"name": "rpi5", "description": "Raspberry Pi 5 (Cortex-A76, 4 cores)"}, "version": "0.1.0", "commit": "0123456789ab",
        "time": "2026-11-23T10:00:00+00:00",
        "machine": {
            "system": "Linux", "release": "6.12.25", "arch": "aarch64", "cpu": "Cortex-A76", "board": "Raspberry Pi 5 Model B Rev 1.0", "cores": 4,
            "physical_cores": 4, "features": ["fp", "asimd", "asimdhp", "asimddp"], "memory_bytes": 8 << 30, "last_cache_bytes": 2 << 20,
            "python": "3.11.2",
        },
        "model_sha256": "0d34c9613cb9ec1833c0d4c39b86eced73d63571db9c31e456c1b59a38dabe77", "backend": "native", "state_before": state(),
        "state_after": state(temperature_c=84.9, load=3.9),
        "throttling": {"throttled": False, "why": "firmware, through /sys: nothing during the run"},
        "settings": {},
        "result": {
            "version": "0.1.0", "model": "qig-100m-q4_0.gguf", "tokens": "random", "name": "qig-100m", "architecture": "qig", "file_type": "Q4_0",
            "n_params": 101_000_000, "file_bytes": 61 << 20, "weight_bytes": 60 << 20, "cache_bytes": 24 << 20, "n_layers": 8, "context": 4224,
            "isa": "neon_dotprod", "threads": 4, "threads_batch": 4, "cpu": "Cortex-A76", "load_ms": series(3.1),
            "first_token": {"prompt": 32, "ms": series(45.0)}, "prefill": {"tokens": 512, "fits": True, "tokens_per_second": series(900.0)},
            "decode": tests, "peak_rss_bytes": 98 << 20, "bandwidth_buffer_bytes": 61 << 20, "bandwidth_bytes_per_second": bandwidth,
        },
        "load_cold_ms": {"median": 220.0, "samples": [215.0, 220.0, 231.0]},
        "first_token_cold_ms": {"median": 410.0, "samples": [402.0, 410.0, 433.0]},
        "first_token_warm_ms": {"median": 61.0, "samples": [60.0, 61.0, 63.0]},
        "energy": {"joules_per_token": 0.051, "watts": 7.4, "idle_watts": 2.9, "source": "the Pi 5's supplies (pmic_read_adc)", "reason": None},
        "hw": {"ipc": 1.31, "instructions_per_token": 8.7e7, "cycles_per_token": 6.6e7, "reason": None},
        "ipc": {"value": None, "reasoning": None, "adaptability": None, "parameters": 101_000_000, "seconds_per_token": 0.0064,
                "reason": "no reasoning factor"},
        "own_state": {
            "of": "'Once upon a time' and the model's own continuation", "phi": wave, "surprise": [1 - w for w in wave], "confidence": wave,
            "agency": [0.2 + w / 10 for w in wave], "regime": [1] * 128, "blocks_run": [8 if w > 0.5 else 6 for w in wave],
            "bytes_read": [60e6 if w > 0.5 else 45e6 for w in wave],
        },
        "sustained": {
            "minutes": 10.0, "interval_seconds": 5.0, "decode": 128, "interrupted": False, "samples": samples, "kept": 0.7,
            "energy_source": "the Pi 5's supplies (pmic_read_adc)", "energy_reason": None,
        },
    }  # fmt: skip


def predicted() -> dict[str, Any]:
    """What a prediction has of a row: no samples but intervals, no states."""
    row = full_row()
    row |= {"kind": "PREDICTED", "suite": None, "state_before": {}, "state_after": {}, "throttling": {"throttled": None, "why": "nothing ran"}}
    row |= {"own_state": None, "sustained": None, "load_cold_ms": None, "first_token_cold_ms": None, "first_token_warm_ms": None}
    row["energy"] |= {"joules_per_token": None, "reason": "nothing ran"}
    row["hw"] |= {"ipc": None, "reason": "nothing ran"}
    for rate in (row["result"]["prefill"]["tokens_per_second"], *(d["tokens_per_second"] for d in row["result"]["decode"])):
        del rate["samples"], rate["spread"]
        rate |= {"min": 0.8 * rate["median"], "max": 1.2 * rate["median"]}
    row["result"]["load_ms"] = row["result"]["first_token"] = None
    return row
