"""What an error of the GPU library says: of one field, of one device, or of the library as a whole.

Errors are told apart by the names of their classes, so that nothing here loads the vendor's library.
"""

from __future__ import annotations

from enum import Enum

__all__ = ["Trouble", "trouble"]


class Trouble(Enum):
    """How far an error reaches."""

    UNSUPPORTED = "this GPU, driver or monitor does not have the field"
    DENIED = "this user may not read the field"
    LOST = "the device is gone"
    BROKEN = "the library must be opened anew before it answers again"
    OTHER = "the field could not be read this time"


_OF_NVML = {
    Trouble.UNSUPPORTED: ("NotSupported", "FunctionNotFound", "VgpuEccNotSupported", "ArgumentVersionMismatch"),
    Trouble.DENIED: ("NoPermission",),
    Trouble.LOST: ("GpuIsLost", "ResetRequired", "GpuNotFound"),
    Trouble.BROKEN: ("Uninitialized", "DriverNotLoaded", "LibRmVersionMismatch", "LibraryNotFound"),
}
_BY_NAME = {f"NVMLError_{name}": kind for kind, names in _OF_NVML.items() for name in names}
_BY_NAME["NVMLLibraryMismatchError"] = Trouble.UNSUPPORTED  # the binding's own: it is newer than the driver


def trouble(error: BaseException) -> Trouble:
    """Tell how far an error reaches; a method or function that is not there is an unsupported field."""
    if isinstance(error, AttributeError | NotImplementedError):
        return Trouble.UNSUPPORTED
    return _BY_NAME.get(type(error).__name__, Trouble.OTHER)
