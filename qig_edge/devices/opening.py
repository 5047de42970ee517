"""Which way leads to a device: its profile and the host that was named decide."""

from __future__ import annotations

from qig_edge.devices.adb import AdbTransport
from qig_edge.devices.local import LocalTransport
from qig_edge.devices.profile import Profile
from qig_edge.devices.ssh import SshTransport
from qig_edge.devices.transport import Transport
from qig_edge.errors import DeviceError

ONLY_PHONE = "auto"


def is_emulated(profile: Profile, host: str | None) -> bool:
    """Whether nothing but qemu is left to run this device's programs: no host, and another machine than this one."""
    return not (host or profile.host) and not profile.is_host and profile.transport != "local"


def open_transport(profile: Profile, host: str | None = None) -> Transport:
    """The way to a device, logged in where it needs that; close() it. host: what ssh takes, or a phone's serial, "auto" for the only
    one, or the profile's own where it is None.

    Without a host: this machine where the profile is this machine's, else an emulation here. Raises DeviceError where the device cannot be reached.
    """
    host = host or profile.host or None
    if profile.transport == "local" or (host is None and profile.is_host):
        if host:
            raise DeviceError(f"device '{profile.name}' is this machine: --host goes with a device whose transport is ssh")
        return LocalTransport()
    if is_emulated(profile, host):
        return LocalTransport(f"{profile.name} (emulated)")
    if profile.transport == "ssh":
        assert host
        way = SshTransport(host)
        try:
            way.connect()
        except BaseException:
            way.close()
            raise
        return way
    return AdbTransport(None if host == ONLY_PHONE else host)
