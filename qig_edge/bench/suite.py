"""Suites: what a bench run measures, one TOML file each in suites/. Options of the command override single values."""

from __future__ import annotations

import dataclasses
import sys
from importlib import resources

from qig_edge.config import build
from qig_edge.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DEFAULT = "standard"


@dataclasses.dataclass(frozen=True)
class Suite:
    """prefill: tokens of the prefill test; decode: of each decode test; depths: positions already in the cache; repeat: samples a test;
    minutes: of decoding without a pause afterwards, 0 for none."""

    name: str
    description: str
    prefill: int
    decode: int
    depths: list[int]
    repeat: int
    minutes: float = 0.0


def suite_names() -> list[str]:
    """Names of the suites, sorted."""
    folder = resources.files("qig_edge") / "bench" / "suites"
    return sorted(p.name.removesuffix(".toml") for p in folder.iterdir() if p.name.endswith(".toml"))


def load_suite(name: str, **changes: object) -> Suite:
    """A suite with the changes that are not None. Raises ConfigError for an unknown name."""
    names = suite_names()
    if name not in names:
        raise ConfigError(f"--suite '{name}' must be one of {', '.join(names)}")
    text = (resources.files("qig_edge") / "bench" / "suites" / f"{name}.toml").read_text("utf-8")
    suite: Suite = build(Suite, tomllib.loads(text), f"suite '{name}'")
    return dataclasses.replace(suite, **{key: value for key, value in changes.items() if value is not None})  # type: ignore[arg-type]
