"""Every error that a user can cause. The CLI prints its one line on stderr and exits with code 2."""


class QigError(Exception):
    """Base of what a user can cause: the message is one line that names the bad value and, where there is a choice, the accepted ones."""


class ConfigError(QigError):
    """An unknown preset, or a model or training setting out of its range."""


class DataError(QigError):
    """A data file that is missing, empty, damaged or of a kind that is not read."""


class CheckpointError(QigError):
    """A checkpoint that is missing, incomplete, or does not fit what is asked of it."""


class ModelFileError(QigError):
    """A model file that cannot be opened: no GGUF, damaged, or of an architecture that is not run."""


class UnsupportedModel(ModelFileError):
    """A sound model file that asks for something that libqig does not run."""


class SessionFileError(QigError):
    """A kept session that cannot be read or written: missing, damaged, of another model or settings, too long, or a full disk."""


class DeviceError(QigError):
    """A device, target or tool that is unknown, missing or not reachable."""


class RuntimeFault(QigError):
    """The native library refused a call (context full, out of memory, bad argument)."""


class HubError(QigError):
    """A model hub that cannot be reached, or a repository or file that it does not have or does not give whole."""


class MissingExtra(QigError):
    """A command needs an optional part of the installation."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs the '{extra}' extra: pip install 'qig-edge[{extra}]'")
