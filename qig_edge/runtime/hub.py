"""Fetches models from the Hugging Face hub into the user's model folder (qig_edge.runtime.store), by huggingface_hub.

A file is written to a folder beside the models, continued there when a pull was broken off, checked against the hash that the hub tells, and only
then moved to its place.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from qig_edge.errors import ConfigError, HubError, MissingExtra
from qig_edge.runtime import store

INCOMING = ".incoming"
CHECKPOINT = ("config.json", "model.safetensors", "tokenizer.json")
BESIDE = ("tokenizer_config.json", "generation_config.json", "README.md")  # taken where the repository has them
PART = 1 << 20


def parse(source: str) -> tuple[str, str | None]:
    """("OWNER/REPO", file or None) of "hf:OWNER/REPO[/FILE]". Raises ConfigError for anything else."""
    part = r"[A-Za-z0-9_][A-Za-z0-9._-]*"
    match = re.fullmatch(rf"hf:({part}/{part})(?:/(.+))?", source)
    file = match.group(2) if match else None
    if not match or (file is not None and not _stays_inside(file)):
        raise ConfigError(f"'{source}' is no model of a hub: hf:OWNER/REPO or hf:OWNER/REPO/FILE")
    return match.group(1), file


def pull(source: str, quiet: bool) -> Path:
    """Fetches what `source` names and returns where it lies. Without a file the repository's only GGUF file, or its checkpoint; quiet: without a bar.

    Raises ConfigError, HubError, and MissingExtra without huggingface_hub.
    """
    repo, file = parse(source)
    try:
        from huggingface_hub import HfApi
        from huggingface_hub.utils import disable_progress_bars
    except ImportError:
        raise MissingExtra("qig-edge pull", "hub") from None
    if quiet:
        disable_progress_bars()
    with _told(repo, file):
        info = HfApi().model_info(repo)
    files = [s.rfilename for s in info.siblings or []]
    wanted = [file] if file is not None else _chosen(repo, files)
    if file is not None and file not in files:
        raise HubError(f"'{repo}' has no file '{file}': it has {_listed(files)}")
    for name in wanted:
        if not _stays_inside(name):
            raise HubError(f"'{repo}' has a file '{name}', which is no name inside a folder: it is not fetched")
    for name in wanted:
        _fetch(repo, name, info.sha)
    shutil.rmtree(store.folder() / INCOMING / repo, ignore_errors=True)
    target = store.folder() / repo
    return target / wanted[0] if wanted[0].endswith(".gguf") or file is not None else target


def _stays_inside(name: str) -> bool:
    """Whether a file's name, of the user or of a hub, leads nowhere but into its repository's folder."""
    return not any(p in ("", ".", "..") for p in name.split("/")) and not set(name) & set("\\:\0")


def _chosen(repo: str, files: list[str]) -> list[str]:
    """The files of a repository that is given without one."""
    models = [f for f in files if f.endswith(".gguf")]
    if len(models) == 1:
        return models
    if models:
        raise ConfigError(f"'{repo}' has {len(models)} GGUF files: give one, as in hf:{repo}/{models[0]}; it has {_listed(models)}")
    if all(name in files for name in CHECKPOINT):
        return [*CHECKPOINT, *(name for name in BESIDE if name in files)]
    raise HubError(f"'{repo}' has neither a GGUF file nor a checkpoint ({', '.join(CHECKPOINT)}): it has {_listed(files)}")


def _listed(files: list[str]) -> str:
    more = f" and {len(files) - 8} more" if len(files) > 8 else ""
    return ", ".join(files[:8]) + more if files else "no files"


def _fetch(repo: str, name: str, revision: str | None) -> Path:
    """One file, checked, at its place. The file at its place already is taken as it is where its hash is the hub's."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

    top = store.folder()
    target = top / repo / PurePosixPath(name)
    with _told(repo, name):
        tag = get_hf_file_metadata(hf_hub_url(repo, name, revision=revision)).etag or ""
        if target.is_file() and digest(target, tag) == tag:
            return target
        incoming = top / INCOMING / repo
        fetched = Path(hf_hub_download(repo, name, revision=revision, local_dir=incoming))
    ours = digest(fetched, tag)
    if ours != tag:
        fetched.unlink()
        raise HubError(f"'{repo}/{name}' came damaged: its hash is {ours[:16]}..., the hub says {tag[:16]}...; pull it again")
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(fetched, target)
    return target


def digest(file: Path, tag: str) -> str:
    """The file's hash of the kind that a hub's tag is: SHA-256 of large files, of others git's SHA-1. Raises HubError for a tag of neither kind."""
    if re.fullmatch(r"[0-9a-f]{64}", tag):
        made = hashlib.sha256()
    elif re.fullmatch(r"[0-9a-f]{40}", tag):
        made = hashlib.sha1(b"blob %d\0" % file.stat().st_size)
    else:
        raise HubError(f"'{file.name}' cannot be checked: the hub's tag '{tag[:80]}' is no hash")
    with file.open("rb") as stream:
        while part := stream.read(PART):
            made.update(part)
    return made.hexdigest()


@contextlib.contextmanager
def _told(repo: str, file: str | None) -> Iterator[None]:
    """What goes wrong between here and the hub, as HubError; a full disk stays an OSError."""
    from huggingface_hub import errors

    what = f"'{repo}/{file}'" if file else f"'{repo}'"
    kinds: tuple[tuple[Any, str], ...] = (
        (errors.GatedRepoError, "is only given to those who accepted its terms: log in with `hf auth login`"),
        (errors.RepositoryNotFoundError, "is not on the hub, or not for everybody: log in with `hf auth login` if it is yours"),
        (errors.EntryNotFoundError, "is not on the hub"),
        (errors.OfflineModeIsEnabled, "cannot be fetched: HF_HUB_OFFLINE is set"),
        (errors.HfHubHTTPError, "cannot be fetched"),
    )
    try:
        yield
    except HubError:
        raise
    except Exception as e:
        for kind, text in kinds:
            if isinstance(e, kind):
                more = f": {str(e).splitlines()[0]}" if kind is errors.HfHubHTTPError else ""
                raise HubError(f"{what} {text}{more}") from None
        if isinstance(e, OSError) and e.errno is not None and not _is_network(e):
            raise
        raise HubError(f"{what} cannot be fetched: {(str(e).splitlines() or [type(e).__name__])[0]}") from None


def _is_network(e: BaseException) -> bool:
    """Errors of sockets and of the HTTP client are OSErrors too."""
    return isinstance(e, (ConnectionError, TimeoutError)) or type(e).__module__.partition(".")[0] in ("requests", "urllib3", "httpx")
