"""A machine with GPUs that do what a test wants: a fake `libnvidia-ml.so.1`, under the real nvidia-ml-py.

The library is compiled from the C beside this file, and reads what it shall answer from a control file, so that a test
changes it while it is used. `machine.environment` lets a child process find it where the real one would be found;
`machine.installed()` puts it under the binding in this process.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

__all__ = ["MIG", "NAME", "UUIDS", "FakeMachine", "Gpu", "machine"]

HERE = Path(__file__).parent
GIB = 2**30
NAME = "NVIDIA H100 80GB HBM3"
UUIDS = tuple(f"GPU-{slot}a56a4bc-d184-a047-2620-be19fdf913d5" for slot in range(8))
MIG = "MIG-7c1d0b2e-5a2e-5111-9222-333344445555"
Gpu = dict[str, Any]


def gpu(slot: int) -> Gpu:
    """A card in good health, as the driver describes one."""
    return {
        "name": NAME,
        "uuid": UUIDS[slot],
        "bus": f"00000000:{0x17 + slot:02X}:00.0",
        "total": 80 * GIB,
        "used": (slot + 1) * GIB,
        "util": 37 + slot,
        "temperature": 54,
        "power": 351_500,
        "power_limit": 700_000,
        "sm_clock": 1980,
        "memory_clock": 2619,
        "ecc_corrected": 0,
        "ecc_uncorrected": 0,
        "rows_pending": 0,
        "throttle": 0,
        "processes": "-",
    }


@functools.cache
def _compiled(source: str) -> bytes:
    with tempfile.TemporaryDirectory() as place:
        out = Path(place, "lib.so")
        options = f"-shared -fPIC -O0 -D_GNU_SOURCE -o {out}"
        subprocess.run(["gcc", *options.split(), str(HERE / source), "-lpthread"], check=True, timeout=100)
        return out.read_bytes()


def _without(library: bytes, function: str) -> bytes:
    """Take a function out of a library by giving it another name in the table of names."""
    name = b"\0" + function.encode() + b"\0"
    assert name in library, f"there is no function {function}"
    return library.replace(name, b"\0" + b"x" * len(function) + b"\0")


class FakeMachine:
    """The machine; `place` gets the libraries and the control file.

    Args:
        place: An empty directory.
        gpus: How many healthy cards it has.
        hidden: Functions that its driver lacks.
        cuda: Whether there is a `libcuda.so.1`, too.

    """

    def __init__(self, place: Path, gpus: int = 2, *, hidden: tuple[str, ...] = (), cuda: bool = False) -> None:
        self.place = place
        self.control = place / "gpus.txt"
        self.library = place / "libnvidia-ml.so.1"
        self.library.write_bytes(functools.reduce(_without, hidden, _compiled("fake_nvml.c")))
        if cuda:
            (place / "libcuda.so.1").write_bytes(_compiled("fake_cuda.c"))
        self.values: dict[str, Any] = {"driver": "550.54.15", "cuda": 12040}
        for slot in range(gpus):
            self.values |= {f"{slot}.{key}": value for key, value in gpu(slot).items()}
        self.values["order"] = " ".join(map(str, range(gpus)))
        self._write()

    def set(self, **changes: Any) -> None:
        """Change what concerns the whole machine; None takes it away."""
        self._change(changes)

    def change(self, slot: int, **changes: Any) -> None:
        """Change one card; None takes a field away, so that the driver does not support it."""
        self._change({f"{slot}.{key}": value for key, value in changes.items()})

    def fail(self, function: str, error: int, slot: int | None = None) -> None:
        """Let a function fail from now on; 0 mends it."""
        self._change({f"{'' if slot is None else f'{slot}.'}error.{function}": error or None})

    def hang(self, function: str, slot: int | None = None, *, on: bool = True) -> None:
        """Let calls of a function not return until this is called with `on=False`."""
        self._change({f"{'' if slot is None else f'{slot}.'}hang.{function}": 1 if on else None})

    def mig(self, slot: int, parent: int, **changes: Any) -> None:
        """Cut a MIG instance out of a card; like the real ones it has a name and memory, and hardly anything else."""
        own = {"name": f"{NAME} MIG 1g.10gb", "uuid": MIG, "total": 10 * GIB, "used": GIB, "parent": parent}
        self.change(slot, **(own | {"processes": "-"} | changes))

    def unplug(self) -> None:
        """Every function hangs no more: what a test must do before it ends."""
        self._change(dict.fromkeys([key for key in self.values if "hang." in key]))

    def _change(self, changes: Mapping[str, Any]) -> None:
        for key, value in changes.items():
            if value is None:
                self.values.pop(key, None)
            else:
                self.values[key] = value
        self._write()

    def _write(self) -> None:
        lines = b"".join(
            f"{key} ".encode() + (value if isinstance(value, bytes) else str(value).encode()) + b"\n"
            for key, value in self.values.items()
        )
        fresh = self.control.with_suffix(".new")
        fresh.write_bytes(lines)
        fresh.replace(self.control)

    @property
    def environment(self) -> dict[str, str]:
        """What a child process needs to find the libraries."""
        return {"LD_LIBRARY_PATH": str(self.place), "FAKE_NVML": str(self.control)}

    @contextlib.contextmanager
    def installed(self) -> Iterator[FakeMachine]:
        """Put the library under the binding in this process; it begins as a freshly loaded one does."""
        import pynvml

        loaded = ctypes.CDLL(str(shutil.copy(self.library, self.place / f"loaded-{os.urandom(4).hex()}.so")))
        with (
            mock.patch.dict(os.environ, {"FAKE_NVML": str(self.control)}),
            mock.patch.object(pynvml, "nvmlLib", loaded),
            mock.patch.object(pynvml, "_nvmlGetFunctionPointer_cache", {}),
        ):
            self._loaded = loaded
            try:
                yield self
            finally:
                self.unplug()

    def calls(self, function: str) -> int:
        """Tell how often a function was called in this process."""
        return int(self._loaded.fake_calls(function.encode()))


@contextlib.contextmanager
def machine(place: Path, gpus: int = 2, *, hidden: tuple[str, ...] = ()) -> Iterator[FakeMachine]:
    """A machine whose library is installed in this process for the length of a block."""
    with FakeMachine(place, gpus, hidden=hidden).installed() as made:
        yield made
