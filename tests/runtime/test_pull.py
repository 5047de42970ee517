"""qig-edge pull and models: the real huggingface_hub against a hub on this machine, and the names that commands then take."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from qig_edge.cli import main
from qig_edge.errors import ConfigError, HubError
from qig_edge.runtime import hub as client
from qig_edge.runtime import store
from qig_edge.runtime.assets import model_path
from tests.runtime.hub_server import Hub

pytest.importorskip("huggingface_hub")
Output = pytest.CaptureFixture[str]


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub().serving() as serving:
        yield serving


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's data folder."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    if sys.platform == "darwin":
        monkeypatch.setenv("HOME", str(tmp_path / "data"))
    return tmp_path / "data"


def environment(hub: Hub) -> dict[str, str]:
    # read when huggingface_hub is imported, so the client has to be another process
    return {**os.environ, "HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}


def pull(hub: Hub, repository: Path, source: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "qig_edge.cli", "pull", source],
        capture_output=True, text=True, cwd=repository, env=environment(hub), timeout=300,
    )  # fmt: skip


def error_of(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 2 and done.stdout == "", done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    return line


def test_a_file_is_pulled_listed_and_found(hub: Hub, home: Path, repository: Path, tiny_model: Path, capsys: Output) -> None:
    data = tiny_model.read_bytes()
    hub.repos["someone/tiny"] = {"tiny-q4_0.gguf": data, "README.md": b"# tiny"}
    done = pull(hub, repository, "hf:someone/tiny")
    assert done.returncode == 0, done.stderr
    path = Path(done.stdout.strip())
    assert path == store.folder() / "someone" / "tiny" / "tiny-q4_0.gguf" and home in path.parents
    assert path.read_bytes() == data
    assert hub.gets == ["tiny-q4_0.gguf"]
    assert not (store.folder() / client.INCOMING / "someone" / "tiny").exists()

    for name in ("someone/tiny", "hf:someone/tiny", "tiny-q4_0", "tiny-q4_0.gguf", "someone/tiny/tiny-q4_0.gguf", str(path)):
        assert model_path(Path(name)) == path
    assert model_path(Path("no-such-model")) == Path("no-such-model")
    for command in (["models", "--json"], ["models"], ["info", "tiny-q4_0", "--json"]):
        with pytest.raises(SystemExit) as stopped:
            main(command)
        assert stopped.value.code == 0
        out = capsys.readouterr().out
        if command == ["models", "--json"]:
            (row,) = json.loads(out)["models"]
            assert (row["name"], row["bytes"]) == ("someone/tiny/tiny-q4_0.gguf", len(data))
            assert (row["architecture"], row["quantization"], row["error"]) == ("qig", "Q4_0", None)
        elif command == ["models"]:
            (line,) = out.splitlines()
            assert line.startswith("someone/tiny/tiny-q4_0.gguf ") and line.endswith("Q4_0")
        else:
            assert json.loads(out)["file"] == str(path)

    again = pull(hub, repository, "hf:someone/tiny/tiny-q4_0.gguf")  # it is there, and whole: nothing is fetched
    assert again.returncode == 0 and hub.gets == ["tiny-q4_0.gguf"], again.stderr


def test_a_pull_that_was_broken_off_goes_on(hub: Hub, home: Path, repository: Path) -> None:
    hub.repos["a/b"] = {"m.gguf": os.urandom(40 << 20)}  # larger than one read of the client's
    hub.stalled.add("m.gguf")
    process = subprocess.Popen(
        [sys.executable, "-m", "qig_edge.cli", "pull", "hf:a/b"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=repository, env=environment(hub),
    )  # fmt: skip
    incoming = store.folder() / client.INCOMING
    try:
        assert hub.half.wait(120)
        for _ in range(600):  # until the client wrote some of it
            if sum(p.stat().st_size for p in incoming.rglob("*.incomplete")):
                break
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 130 and out == "" and "Traceback" not in err, err
    assert not store.pulled() and not (store.folder() / "a" / "b" / "m.gguf").exists()
    hub.stalled.clear()
    hub.go.set()
    done = pull(hub, repository, "hf:a/b")
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).read_bytes() == hub.repos["a/b"]["m.gguf"]
    assert hub.ranges[0] == "" and int(hub.ranges[-1].removeprefix("bytes=").rstrip("-")) > 0, hub.ranges


def test_what_cannot_be_pulled_is_one_line(hub: Hub, home: Path, repository: Path) -> None:
    hub.repos["a/b"] = {"m.gguf": b"x" * 5000, "n.gguf": b"y" * 50}
    hub.repos["a/none"] = {"notes.txt": b"z"}
    hub.damaged.add("m.gguf")
    cases = {
        "hf:a/b": "'a/b' has 2 GGUF files: give one, as in hf:a/b/m.gguf",
        "hf:a/b/m.gguf": "'a/b/m.gguf' came damaged: its hash is ",
        "hf:a/b/q.gguf": "'a/b' has no file 'q.gguf': it has m.gguf, n.gguf",
        "hf:a/none": "'a/none' has neither a GGUF file nor a checkpoint",
        "hf:a/missing": "'a/missing' is not on the hub",
    }
    for source, message in cases.items():
        assert message in error_of(pull(hub, repository, source))
    assert not store.pulled()
    assert not list(store.folder().rglob("*.gguf"))


def test_a_checkpoint_is_pulled_whole(hub: Hub, home: Path, repository: Path) -> None:
    files = {"config.json": b'{"model_type": "qig"}', "model.safetensors": b"w" * 3000, "tokenizer.json": b"{}", "trainer.pt": b"no"}
    hub.repos["a/ck"] = files
    done = pull(hub, repository, "hf:a/ck")
    assert done.returncode == 0, done.stderr
    folder = Path(done.stdout.strip())
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == {k: v for k, v in files.items() if k != "trainer.pt"}
    assert store.found(Path("a/ck")) == store.found(Path("ck")) == folder


def test_without_a_hub(home: Path, repository: Path) -> None:
    gone = Hub()
    gone.url = "http://127.0.0.1:9"
    assert "cannot be fetched" in error_of(pull(gone, repository, "hf:a/b"))


@pytest.mark.parametrize("source", ["a/b", "hf:a", "hf:a/b/", "hf:a/b/../c", "hf:../b", "hf:a/b/c//d", "hf:a b/c", "", "hf:a/b/c\\d"])
def test_sources_that_are_none(source: str) -> None:
    with pytest.raises(ConfigError, match="is no model of a hub: hf:OWNER/REPO or hf:OWNER/REPO/FILE"):
        client.parse(source)


def test_a_name_of_several_models(home: Path) -> None:
    for repo in ("a/b", "c/d"):
        (store.folder() / repo).mkdir(parents=True)
        (store.folder() / repo / "m.gguf").write_bytes(b"")
    with pytest.raises(ConfigError, match="model 'm' is the name of several that were pulled: give one of a/b/m.gguf, c/d/m.gguf"):
        store.found(Path("m"))
    assert store.found(Path("c/d")) == store.folder() / "c" / "d" / "m.gguf"


def test_without_the_extra(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(SystemExit) as stopped:
        main(["pull", "hf:a/b"])
    assert stopped.value.code == 2
    assert capsys.readouterr().err == "error: qig-edge pull needs the 'hub' extra: pip install 'qig-edge[hub]'\n"


def test_tags_that_are_no_hashes(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"hello")
    assert client.digest(tmp_path / "f", "0" * 40) == "b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0"  # git hash-object
    with pytest.raises(HubError, match="is no hash"):
        client.digest(tmp_path / "f", 'W/"abc"')
