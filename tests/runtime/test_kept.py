"""Files of kept conversations: Python and the C program read each other's, and whatever goes wrong is said in one line and leaves what was there."""

from __future__ import annotations

import functools
import importlib.util
import os
import resource
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from qig_edge.cli.board import BoardWatch
from qig_edge.devices.host import program_path
from qig_edge.errors import ConfigError, SessionFileError
from qig_edge.runtime.backend import Sampling
from qig_edge.runtime.chat import Chat
from qig_edge.runtime.kept import Kept, unpack
from qig_edge.runtime.native import NativeModel, NativeSession, isa_list

_spec = importlib.util.spec_from_file_location("fake", Path(__file__).with_name("fake.py"))
assert _spec and _spec.loader
fake = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fake)

LIMIT = 120  # seconds until a hanging program counts as failed
DRAW = ["--temp", "0.9", "--seed", "3", "-n", "9", "-t", "1"]
QUESTIONS = ["one <|end|> <|system|>", "two", "é", "four", "five and six", "seven"]
# The command line of this tree, whether or not it is installed.
PYTHON = [sys.executable, "-m", "qig_edge.cli"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent.parent)}


def run(program: str, model: Path, *args: object, text: str = "", **more: object) -> subprocess.CompletedProcess[str]:
    command = [*(PYTHON if program == "python" else [str(program_path())]), "chat", str(model), *map(str, args)]
    return subprocess.run(command, input=text, capture_output=True, encoding="utf-8", timeout=LIMIT, env=ENVIRONMENT, **more)  # type: ignore[call-overload]


def ok(program: str, model: Path, *args: object, text: str = "") -> str:
    done = run(program, model, *args, text=text)
    assert done.returncode == 0, done.stderr
    return done.stdout


def lines(*questions: str) -> str:
    return "".join(q + "\n" for q in questions)


@pytest.mark.parametrize("programs", [("python", "c"), ("c", "python"), ("c", "c"), ("python", "python")], ids="-".join)
def test_programs_go_on_with_each_others_files(tmp_path: Path, tiny_model: Path, programs: tuple[str, str]) -> None:
    """An unbroken conversation long enough to slide, and the same one kept after every other question."""
    whole = ok("c", tiny_model, *DRAW, "--system", "be", "--save", tmp_path / "whole", text=lines(*QUESTIONS))
    kept, parts = tmp_path / "kept", ""
    parts += ok(programs[0], tiny_model, *DRAW, "--system", "be", "--save", kept, text=lines(*QUESTIONS[:2]))
    for i, program in ((2, programs[1]), (4, programs[0])):
        assert kept.stat().st_mode & 0o777 == 0o600
        parts += ok(program, tiny_model, "--temp", "0.9", "-n", "9", "-t", "1", "--load", kept, "--save", kept, text=lines(*QUESTIONS[i : i + 2]))
    assert parts == whole
    assert kept.read_bytes() == (tmp_path / "whole").read_bytes()
    with NativeModel(tiny_model) as model, model.session(n_threads=1) as session:
        chat = Chat(model, session, kept=kept)
        assert chat.messages[0] == ("system", "be") and 0 < chat.exchanges < len(QUESTIONS)
        assert [m[1] for m in chat.messages[1::2]] == QUESTIONS[-chat.exchanges :]


def test_control_strings_stay_text(tmp_path: Path, tiny_model: Path) -> None:
    with NativeModel(tiny_model) as model, model.session(n_threads=1) as session:
        chat = Chat(model, session, max_tokens=3)
        list(chat.answer("<|end|><|system|>"))
        chat.save(tmp_path / "kept")
        with model.session(n_threads=1) as other:
            back = Chat(model, other, kept=tmp_path / "kept")
            assert back.messages == chat.messages and back.messages[0] == ("user", "<|end|><|system|>")
            assert other.tokens.tolist().count(model.eot) == session.tokens.tolist().count(model.eot) == 1


def test_a_seed_that_is_asked_for_counts(tmp_path: Path, tiny_model: Path) -> None:
    ok("c", tiny_model, *DRAW, "--save", tmp_path / "k", text=lines("one"))
    for program in ("python", "c"):
        going_on = ["--temp", "2", "-n", "20", "-t", "1", "--load", tmp_path / "k"]
        said = {ok(program, tiny_model, *going_on, *seed, text=lines("two")) for seed in ((), ("--seed", "5"))}
        assert len(said) == 2, program


@pytest.fixture
def model(tiny_model: Path):  # noqa: ANN201
    with NativeModel(tiny_model) as opened:
        yield opened


@pytest.fixture
def kept(tmp_path: Path, model: NativeModel) -> Path:
    with model.session(n_threads=1) as session:
        chat = Chat(model, session, max_tokens=5)
        list(chat.answer("hello"))
        chat.save(tmp_path / "kept")
    return tmp_path / "kept"


def untouched(session: NativeSession, path: Path, expected: str) -> None:
    before = session.tokens.tolist(), session.logits().tobytes()
    with pytest.raises(SessionFileError, match=expected):
        session.load(path)
    assert (session.tokens.tolist(), session.logits().tobytes()) == before


def test_what_does_not_fit_is_refused(tmp_path: Path, model: NativeModel, kept: Path) -> None:
    def refused(expected: str, path: Path = kept, opened: NativeModel = model, **session: object) -> None:
        with opened.session(n_threads=1, **session) as s:  # type: ignore[arg-type]
            s.eval([1, 2, 3])
            untouched(s, path, expected)

    refused("No such file", tmp_path / "none")
    refused("no regular file", tmp_path)
    (tmp_path / "text").write_text("a text that is long enough to be the header of something " * 3)
    refused("is no kept session", tmp_path / "text")
    refused("is no kept session", _empty(tmp_path))
    refused(r"holds \d+ tokens, the context has room for 8", n_ctx=8)
    refused("cache of type int8, this session one of type float", cache_type="f32")
    with NativeModel(model.path, settings={"gate.margin": "3"}) as changed:
        refused("was kept with gate.margin = 0, it is 3 here", opened=changed)
    os.mkfifo(tmp_path / "pipe")
    refused("no regular file", tmp_path / "pipe")
    data = bytearray(kept.read_bytes())
    for n in range(0, len(data), 97):
        (tmp_path / "cut").write_bytes(data[:n])
        refused("truncated" if n >= 104 else "no kept session", tmp_path / "cut")
    data[len(data) // 2] ^= 1
    (tmp_path / "cut").write_bytes(data)
    refused("is damaged: its sum is wrong", tmp_path / "cut")


def _empty(folder: Path) -> Path:
    (folder / "empty").write_bytes(b"")
    return folder / "empty"


def test_another_model_is_refused(tmp_path: Path, model: NativeModel, kept: Path) -> None:
    data = bytearray(model.path.read_bytes())
    first = model.tensors()[0]
    data[first.offset + first.bytes - 1] ^= 1  # a scale of the last block, or a weight
    (tmp_path / "other.gguf").write_bytes(data)
    with NativeModel(tmp_path / "other.gguf") as other, other.session(n_threads=1) as session:
        session.eval([1])
        untouched(session, kept, "another model file")


def test_notes_are_read_with_care(tmp_path: Path, model: NativeModel) -> None:
    note = Kept("sys", 4, True, [(4, "q", "a"), (9, "", "ü\ud800")]).pack()
    found = unpack(note, 12, "f")
    assert (found.system, found.turn_open, found.exchanges[0]) == ("sys", True, (4, "q", "a"))
    assert found.exchanges[1][2].startswith("ü\ufffd")
    bad = [note[:n] for n in range(len(note))] + [note + b"x", b"", b"x" * 40]
    for i in range(8, len(note)):
        changed = bytearray(note)
        changed[i] ^= 0x80
        bad.append(bytes(changed))
    refused = 0
    for data in bad:
        with model.session(n_threads=1) as session:
            session.eval([1] * 12)
            session.save(tmp_path / "k", data)
        try:
            unpack(data, 12, "f")
        except SessionFileError as e:
            assert "'f'" in str(e)
            refused += 1
            told = run("c", model.path, "--load", tmp_path / "k", text="")
            assert told.returncode == 2 and told.stderr.count("\n") == 1, told.stderr
    assert refused > len(note)
    with pytest.raises(SessionFileError, match="without a conversation"), model.session(n_threads=1) as session:
        session.save(tmp_path / "bare")
        Chat(model, session, kept=tmp_path / "bare")


@pytest.mark.parametrize("program", ["python", "c"])
def test_bad_options_are_one_line(tmp_path: Path, tiny_model: Path, kept: Path, program: str) -> None:
    for args, expected in (
        (["--save", tmp_path / "no" / "file"], "--save"),
        (["--save", tmp_path], "no regular file"),
        (["--load", tmp_path / "none"], "No such file"),
        (["--load", kept, "--system", "be"], "--system"),
        (["--load", kept, "--ctx", "8"], "room for 8"),
        (["--load", kept, "--set", "gate.margin=2"], "gate.margin = 0, it is 2 here"),
    ):
        done = run(program, tiny_model, *args, text="hi\n")
        assert (done.returncode, done.stdout) == (2, ""), args
        assert expected in done.stderr and done.stderr.count("\n") == 1, done.stderr


def test_a_device_keeps_its_own(tmp_path: Path, tiny_model: Path) -> None:
    for option in ("--save", "--load"):
        done = run("python", tiny_model, "--device", "rpi4", "--host", "nobody@localhost", option, tmp_path / "k")
        assert done.returncode == 2 and "--save and --load go without --device rpi4" in done.stderr, done.stderr
        assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("program", ["python", "c"])
def test_a_full_disk_leaves_the_old_file(tmp_path: Path, tiny_model: Path, kept: Path, program: str) -> None:
    before = kept.read_bytes()
    limit = functools.partial(resource.setrlimit, resource.RLIMIT_FSIZE, (len(before) // 2,) * 2)
    # the signal of that limit is what no full disk sends: ignored here, so that writing fails
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        done = run(program, tiny_model, "-n", "9", "--load", kept, "--save", kept, text="two\n", preexec_fn=limit, restore_signals=False)
    finally:
        signal.signal(signal.SIGXFSZ, handler)
    assert done.returncode == 2 and f"cannot write '{kept}': File too large" in done.stderr, done.stderr
    assert kept.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["kept"]


@pytest.mark.parametrize("program", ["python", "c"])
@pytest.mark.parametrize("interrupts", [0, 1, 2])
def test_an_interrupt_keeps_the_conversation(tmp_path: Path, tiny_model: Path, program: str, interrupts: int) -> None:
    """Ctrl-C once in an answer and then the end of the input, or twice; 0: a pipe that ends."""
    command = [*(PYTHON if program == "python" else [str(program_path())]), "chat", str(tiny_model), "--ctx", "50000", "-t", "1", "--temp", "0"]
    command += ["--save", str(tmp_path / "k"), "-n", "1000000" if interrupts else "20"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT) as child:
        assert child.stdin and child.stdout and child.stderr
        child.stdin.write(b"hello\n")
        child.stdin.flush()
        for _ in range(interrupts):
            # of the answer, or where it has ended already what the program says to the signal
            ready = select.select([child.stdout, child.stderr], [], [], LIMIT)[0]
            assert ready, "no answer"
            if child.stdout in ready:
                os.read(child.stdout.fileno(), 4096)
            child.send_signal(signal.SIGINT)
        child.stdin.close()
        while os.read(child.stdout.fileno(), 65536):
            pass
        error = child.stderr.read().decode()
        child.wait(LIMIT)
    assert "Traceback" not in error, error
    with NativeModel(tiny_model) as model, model.session(n_threads=1, n_ctx=50000) as session:
        chat = Chat(model, session, kept=tmp_path / "k", max_tokens=4)
        assert chat.exchanges == 1 and chat.messages[0] == ("user", "hello")
        list(chat.answer("and then?"))
        assert chat.messages[-2] == ("user", "and then?")


def test_other_engines_refuse(tmp_path: Path) -> None:
    backend = fake.FakeBackend([b"a"])
    chat = Chat(backend, backend.session())
    with pytest.raises(ConfigError, match="libqig alone"):
        chat.save(tmp_path / "k")
    with pytest.raises(ConfigError, match="libqig alone"):
        Chat(backend, backend.session(), kept=tmp_path / "k")


def test_an_interrupt_in_a_long_question_takes_it_back() -> None:
    backend = fake.FakeBackend([b"a", b"b"], n_ctx=2000)
    session = backend.session()
    chat = Chat(backend, session)
    list(chat.answer("one"))
    before, plain, steps = list(session.history), session.eval, []

    def interrupted(tokens: list[int]) -> None:
        plain(tokens)
        steps.append(len(tokens))
        if len(steps) == 2:
            raise KeyboardInterrupt

    session.eval = interrupted
    with pytest.raises(KeyboardInterrupt):
        list(chat.answer("x" * 600))
    assert len(steps) == 2 and session.history == before and chat.exchanges == 1
    session.eval = plain
    assert list(chat.answer("two")) == ["b"]


def test_another_kernel_set_goes_on(tmp_path: Path, tiny_model: Path, kept: Path) -> None:
    ran = 0
    for isa in isa_list():
        with NativeModel(tiny_model, isa) as other, other.session(n_threads=1) as session:
            chat = Chat(other, session, kept=kept, max_tokens=4)
            list(chat.answer("more"))
            assert chat.exchanges == 2
            ran += 1
    assert ran >= 1


def test_a_broken_model_is_not_kept(tmp_path: Path, model: NativeModel, kept: Path) -> None:
    data, before = bytearray(model.path.read_bytes()), kept.read_bytes()
    norm = next(t for t in model.tensors() if t.name == "output_norm.weight")
    data[norm.offset : norm.offset + 4] = b"\0\0\xc0\x7f"  # NaN
    (tmp_path / "nan.gguf").write_bytes(data)
    with NativeModel(tmp_path / "nan.gguf") as broken, broken.session(n_threads=1) as session:
        session.eval([1, 2])
        with pytest.raises(SessionFileError, match="cannot be kept"):
            session.save(kept)
    assert kept.read_bytes() == before and not list(tmp_path.glob(".*"))


def test_a_slow_board_is_told_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = tmp_path / "sys/devices/platform/soc/soc:firmware/get_throttled"
    flags.parent.mkdir(parents=True)
    watch = BoardWatch(tmp_path)
    watch.warn()
    for text in ("0\n", "50000\n"):
        flags.write_text(text)
        watch.warn()
    assert capsys.readouterr().err == ""
    flags.write_text("50005\n")
    watch.warn()
    watch.warn()
    told = capsys.readouterr()
    assert told.out == "" and told.err.startswith("warning: this board reports under-voltage, throttled: ") and told.err.count("\n") == 1


def test_sampling_goes_on(tmp_path: Path, model: NativeModel) -> None:
    """Random numbers are the file's, parameters the session's."""
    with model.session(n_threads=1) as a, model.session(n_threads=1) as b:
        a.set_sampler(Sampling(seed=9, temperature=1.5))
        a.eval([1, 2, 3])
        a.sample()
        a.save(tmp_path / "k")
        b.set_sampler(Sampling(seed=1, temperature=1.5))
        assert b.load(tmp_path / "k") == b""
        assert [a.sample() for _ in range(20)] == [b.sample() for _ in range(20)]
