"""The end of every GGUF file that is written here: all of it on the disk, and the writer's files closed whatever happened."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gguf import GGUFWriter


@contextlib.contextmanager
def written(writer: GGUFWriter) -> Iterator[None]:
    """Keys and tensors are added within; leaving writes the file. Raises OSError where the disk refuses."""
    try:
        yield
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.flush()
    finally:
        for file in writer.fout or []:
            with contextlib.suppress(OSError):  # after a full disk the buffer refuses a second time
                file.close()
