"""`fedenvoy demo`: a whole federation on one machine, in one command; two nodes, a director, one real training.

The agents run as separate processes, exactly as `fedenvoy start` would; nothing here is imported by the agent.
"""

from __future__ import annotations

import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fedenvoy.errors import ConfigurationError, Exit

if TYPE_CHECKING:
    from types import FrameType

    from fedenvoy.demo.stage import Stage

__all__ = ["DIRECTORS", "run"]

DIRECTORS = ("sandbox", "openfl")
"""What `director` may be."""


def run(director: str, keep: Path | None, timeout: float) -> int:
    """Run the demo, show it on standard output, and end everything it started.

    Args:
        director: "sandbox": a director of our own in this process, and a training on handwritten digits. "openfl": the
            real OpenFL 1.6, in an environment of its own.
        keep: A directory that keeps all files of this run, in a subdirectory; None: they are removed after a good end.
        timeout: Seconds that the whole demo may take.

    Returns:
        The exit code: 0, or 1 with one sentence on standard error.

    Raises:
        ConfigurationError: `keep` cannot be made a directory.
        KeyboardInterrupt: On Ctrl-C, after everything was ended.
        SystemExit: On SIGTERM or SIGHUP, likewise.
        ValueError: There is no such director.

    """
    from rich.console import Console  # noqa: PLC0415 - the agent does without

    from fedenvoy.demo.deadline import Deadline, DemoError  # noqa: PLC0415
    from fedenvoy.demo.stage import Stage  # noqa: PLC0415

    play = _play(director, keep)
    place = _make_place(keep)
    errors = Console(stderr=True, highlight=False)
    try:
        with _unwound_by_signals():
            play(Stage(place, Deadline(timeout), Console()))
    except DemoError as error:
        errors.print(f"The demo failed: {error}", soft_wrap=True, markup=False)
        errors.print(f"All logs are in {place}", soft_wrap=True, markup=False)
        return Exit.FAILED
    except BaseException:
        _clean(place, keep)
        raise
    _clean(place, keep)
    if keep is not None:
        Console().print(f"All files of this run are in {place}", soft_wrap=True, markup=False, highlight=False)
    return Exit.OK


def _play(director: str, keep: Path | None) -> Callable[[Stage], None]:
    if director == "sandbox":
        from fedenvoy.demo import digits  # noqa: PLC0415 - loads the director only where it is wanted

        return digits.play
    if director == "openfl":
        from platformdirs import user_cache_path  # noqa: PLC0415

        from fedenvoy.demo import openfl  # noqa: PLC0415

        cache = user_cache_path("fedenvoy") if keep is None else keep.absolute()
        return lambda stage: openfl.play(stage, cache / "openfl-1.6")
    raise ValueError(f"no director {director!r}; there are {', '.join(DIRECTORS)}")


def _make_place(keep: Path | None) -> Path:
    if keep is None:
        return Path(tempfile.mkdtemp(prefix="fedenvoy-demo-"))
    try:
        keep.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"--keep {keep}: the directory cannot be made: {error.strerror}") from None
    return Path(tempfile.mkdtemp(prefix=time.strftime("run-%Y%m%d-%H%M%S-"), dir=keep.absolute()))


def _clean(place: Path, keep: Path | None) -> None:
    if keep is None:
        shutil.rmtree(place, ignore_errors=True)


@contextmanager
def _unwound_by_signals() -> Iterator[None]:
    """Let SIGTERM and a closed terminal unwind the stack, as Ctrl-C does, so that every process is ended on the way."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
