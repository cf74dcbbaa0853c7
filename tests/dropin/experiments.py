"""Experiments that tell their test something, through a pipe of the file system."""

from __future__ import annotations

import os
import select
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from support.archives import archive

if TYPE_CHECKING:
    from typing_extensions import Self


class Told:
    """What experiments write for their test; use it as a context manager.

    Args:
        directory: Where the pipe lies.

    Attributes:
        path: The pipe.

    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.path = directory / "told"
        os.mkfifo(self.path)
        self._pipe = os.open(self.path, os.O_RDWR | os.O_NONBLOCK)  # both ways: it never reads as ended

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._pipe)

    def archive(self, expression: str, then: str = "pass", **options: str) -> bytes:
        """Make an experiment that writes the text of an expression over `shard`, `devices`, `plan` and `os`.

        Args:
            expression: What it writes.
            then: What it does after that.
            options: For `support.archives.archive`.

        """
        code = (
            "import os\n\ndef run(shard, devices, plan):\n"
            f"    with open({str(self.path)!r}, 'w') as pipe:\n        pipe.write(str({expression}) + chr(10))\n"
            f"    {then}\n"
        )
        return archive(code, **options)

    def wait(self, timeout: float = 20.0) -> str:
        """Wait until an experiment wrote; give its text."""
        ready, _, _ = select.select([self._pipe], [], [], timeout)
        assert ready, f"no experiment told anything within {timeout:g} s"
        return os.read(self._pipe, 65536).decode("utf-8").strip()


def gated(gate: Path) -> bytes:
    """Make an experiment that runs until a file is there."""
    return archive(
        "import pathlib, time\n\ndef run(*_):\n"
        f"    while not pathlib.Path({str(gate)!r}).exists():\n        time.sleep(0.02)\n"
    )
