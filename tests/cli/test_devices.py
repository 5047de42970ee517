"""qig-edge devices: the table, one device, and names that are not there."""

from __future__ import annotations

import json

import pytest

from qig_edge.cli import main
from qig_edge.devices.profile import device_names


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[str, str, int]:
    with pytest.raises(SystemExit) as left:
        main(["devices", *arguments])
    return (*capsys.readouterr(), int(left.value.code or 0))


def test_all_devices_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    out, err, code = run(capsys)
    listed = [line.split()[0] for line in out.splitlines()[1:]]
    assert code == 0 and not err and listed == device_names() and len(listed) == 6
    told = json.loads(run(capsys, "list", "--json")[0])
    assert [d["name"] for d in told] == listed


def test_one_device_is_shown_with_the_source_of_its_bandwidth(capsys: pytest.CaptureFixture[str]) -> None:
    out, err, code = run(capsys, "show", "rpi4")
    assert code == 0 and not err
    assert "Cortex-A72" in out and "5.5 GB/s (4.8 to 5.6), copy, 1 thread: https://" in out and "vcgencmd get_throttled" in out
    told = json.loads(run(capsys, "show", "rpi4", "--json")[0])
    assert told["bandwidth"][0]["source"].startswith("https://") and told["clusters"][0]["mhz"] == 1800
    assert "this machine" in run(capsys, "show", "laptop")[0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["show", "c64"], "unknown device 'c64' (devices: android, laptop, old-laptop, rpi-zero2w, rpi4, rpi5; or a profile's FILE.toml)"),
        (["show", "../profiles/rpi4"], "unknown device '../profiles/rpi4'"),
        (["show"], "devices show needs a name (devices: android, laptop"),
        (["shw", "rpi4"], "unknown action 'shw' (actions: list, show, add)"),
        (["list", "rpi4"], "devices list takes no name, 'rpi4' was given: qig-edge devices show rpi4"),
    ],
)
def test_what_is_not_there_is_named(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    out, err, code = run(capsys, *arguments)
    assert code == 2 and not out and said in err and len(err.splitlines()) == 1
