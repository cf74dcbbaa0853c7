"""The one error of the intake: an archive that is refused, or a disk that did not take it."""

from __future__ import annotations

from fedenvoy.errors import DISK_FULL, FedenvoyError

__all__ = ["ArchiveError", "storage_error"]


class ArchiveError(FedenvoyError):
    """The archive cannot be used.

    Attributes:
        code: `archive` when the archive itself is at fault, `disk` when this machine is.

    """

    def __init__(self, message: str, code: str = "archive") -> None:
        super().__init__(message)
        self.code = code


def storage_error(error: OSError, what: str) -> ArchiveError:
    """Give the sentence for a disk that did not take `what`."""
    if error.errno in DISK_FULL:
        return ArchiveError(
            f"the disk is full: {what} could not be written; make room or move the state directory", "disk"
        )
    return ArchiveError(f"{what} could not be written: {error.strerror or error}", "disk")
