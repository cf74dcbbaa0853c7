"""How the agent speaks to people and log collectors: one line per transition, escaped, bounded, never in a flood.

The library never configures logging; `setup` is for the command line. What comes from outside (an experiment's name,
a director's words) passes `escape`, so that no byte of it can start a line of its own or steer a terminal.
"""

from __future__ import annotations

import copy
import logging
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TextIO

from fedenvoy_statecharts import Event

from fedenvoy.commands import Record
from fedenvoy.errors import ConfigurationError

__all__ = [
    "FORMATS",
    "LEVELS",
    "TOLD_ALTHOUGH_INTERNAL",
    "RateLimited",
    "bounded",
    "escape",
    "log_transition",
    "setup",
    "words",
]

LEVELS = ("debug", "info", "warning", "error", "critical")
"""What `setup` takes as a level, in any case."""

FORMATS = ("console", "json")
"""What `setup` takes as a format."""

_NAME_LIMIT = 100
_CAUSE_LIMIT = 400
TOLD_ALTHOUGH_INTERNAL = frozenset(
    {
        Event.STOP_REQUESTED,
        Event.SHARD_FORGOTTEN,
        Event.DIRECTOR_LOST,
        Event.LINK_REJECTED,
        Event.REGISTRATION_ACCEPTED,
        Event.REGISTRATION_REFUSED,
    }
)
"""Steps within a state that people are told of nevertheless."""


def escape(text: str) -> str:
    r"""Write everything that a terminal would not print as itself (controls, direction marks) as `\x..` or `\u....`."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def bounded(text: str, limit: int) -> str:
    """Cut `text` to `limit` characters, the last of which then says that it was cut."""
    return text if len(text) <= limit else text[: limit - 1] + "\N{HORIZONTAL ELLIPSIS}"


def words(error: BaseException, limit: int = _CAUSE_LIMIT) -> str:
    """Give an error as `Class: message` for a log line: escaped, cut, and even when its own `__str__` fails."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - an error that cannot be written must not hide itself by raising another
        text = "(its text cannot be had)"
    name = type(error).__name__
    return bounded(escape(f"{name}: {text}" if text else name), limit)


def log_transition(logger: logging.Logger, record: Record) -> None:
    """Write the one line of a step, with its parts as fields for the JSON format.

    Transitions are INFO, and so are the few internal steps that people ask about; the rest is DEBUG. An internal step
    that repeats itself (redialling beside a training) is told at tries 1, 2, 4, 8 and so on; the journal has all.
    """
    level = _level(record)
    if not logger.isEnabledFor(level):
        return
    source = str(record.source) if record.source is not None else "*"
    target = "-" if record.internal else str(record.target)
    experiment = bounded(record.experiment, _NAME_LIMIT)
    cause = bounded(record.cause, _CAUSE_LIMIT)
    parts = [f"{source} --{record.event}--> {target}"]
    if record.experiment:
        parts.append(f"experiment={experiment!r}")
    if record.attempt:
        parts.append(f"attempt={record.attempt}")
    if record.cause:
        parts.append(f"cause={escape(cause)}")
    fields = {
        "event": str(record.event),
        "from": str(record.source) if record.source is not None else None,
        "to": str(record.target),
        "experiment": experiment,
        "digest": record.digest,
        "attempt": record.attempt,
        "entry": record.entry,
        "run": record.run,
        "link": record.link,
        "cause": cause,
        "row": record.row,
    }
    logger.log(level, "%s", " ".join(parts), extra=fields)


def _level(record: Record) -> int:
    if record.internal and record.event not in TOLD_ALTHOUGH_INTERNAL:
        return logging.DEBUG
    is_power_of_two = record.attempt & (record.attempt - 1) == 0
    return logging.DEBUG if record.internal and not is_power_of_two else logging.INFO


class RateLimited:
    """Say the same thing at most once per `interval`; then with the number of times it was left out.

    The first line of a key carries the traceback, later ones only the count. Thread-safe.

    Args:
        logger: Where the lines go.
        interval: Seconds between two lines of the same key.
        clock: Seconds; never runs backwards.

    """

    _KEYS = 256

    def __init__(
        self, logger: logging.Logger, interval: float = 300.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._logger = logger
        self._interval = interval
        self._clock = clock
        self._lock = threading.Lock()
        self._said: OrderedDict[Hashable, tuple[float, int]] = OrderedDict()

    def log(
        self, level: int, key: Hashable, message: str, *args: object, exc_info: BaseException | None = None
    ) -> bool:
        """Log, unless `key` was logged less than `interval` ago; give whether a line was written."""
        with self._lock:
            at, first = self._clock(), key not in self._said
            since, left_out = self._said.get(key, (at, 0))
            if not first and at - since < self._interval:
                self._said[key] = (since, left_out + 1)
                return False
            self._said[key] = (at, 0)
            self._said.move_to_end(key)
            if len(self._said) > self._KEYS:
                self._said.popitem(last=False)
        if left_out:
            message, args = message + " (%d more like this since the last line)", (*args, left_out)
        self._logger.log(level, message, *args, exc_info=exc_info if first else None)
        return True


class _Lines(logging.Formatter):
    """`HH:MM:SS LEVEL logger message`, one line; a traceback follows indented, so that it cannot pass for a line."""

    def __init__(self, encoding: str) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s", "%H:%M:%S")
        self._encoding = encoding

    def format(self, record: logging.LogRecord) -> str:
        # A record keeps the traceback as the first formatter wrote it; ours is neither taken from nor given to another.
        own = copy.copy(record)
        own.exc_text = None
        return super().format(own)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name is logging's
        return self._safe(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802 - the name is logging's
        return self._indented(super().formatException(ei))

    def formatStack(self, stack_info: str) -> str:  # noqa: N802 - the name is logging's
        return self._indented(stack_info)

    def _indented(self, text: str) -> str:
        return "\n".join(f"    {self._safe(line)}" for line in text.splitlines())

    def _safe(self, text: str) -> str:
        return escape(text).encode(self._encoding, "backslashreplace").decode(self._encoding)


def _json() -> logging.Formatter:
    """Build the JSON formatter, which moved between the releases of python-json-logger."""
    try:
        from pythonjsonlogger import json as module  # noqa: PLC0415 - loaded only where it is asked for
    except ImportError:
        from pythonjsonlogger import jsonlogger as module  # type: ignore[no-redef]  # noqa: PLC0415
    formatter: logging.Formatter = module.JsonFormatter(
        "%(levelname)s %(name)s %(message)s",
        timestamp="time",
        rename_fields={"levelname": "level", "name": "logger"},
        reserved_attrs=_reserved(),
    )
    return formatter


def _reserved() -> list[str]:
    """Name what every record has, so that only the fields of `extra` are added."""
    blank = logging.LogRecord("", logging.INFO, "", 0, "", (), None)
    return [*vars(blank), "message", "asctime", "taskName"]


class _Handler(logging.StreamHandler):  # type: ignore[type-arg]  # not subscriptable in Python 3.10
    """Ours, so that a second `setup` replaces it and nobody else's."""


def setup(level: str, fmt: str, stream: TextIO | None = None) -> None:
    """Configure logging for the command line; calling it again replaces what it did before.

    Args:
        level: One of `LEVELS`; other libraries are held at INFO even when it is lower.
        fmt: One of `FORMATS`.
        stream: Where the lines go; standard error when None.

    Raises:
        ConfigurationError: When level or format is not one of those.

    """
    if level.lower() not in LEVELS:
        raise ConfigurationError(f"log level {level!r} is not known; use one of {', '.join(LEVELS)}")
    if fmt not in FORMATS:
        raise ConfigurationError(f"log format {fmt!r} is not known; use one of {', '.join(FORMATS)}")
    stream = stream if stream is not None else sys.stderr
    handler = _Handler(stream)
    handler.setFormatter(_json() if fmt == "json" else _Lines(getattr(stream, "encoding", None) or "utf-8"))
    root = logging.getLogger()
    for other in [known for known in root.handlers if isinstance(known, _Handler)]:
        root.removeHandler(other)
        other.close()
    root.addHandler(handler)
    number = int(getattr(logging, level.upper()))
    root.setLevel(max(number, logging.INFO))
    logging.getLogger("fedenvoy").setLevel(number)
    # The machine's library tells every step of its own at INFO; ours is told once, by `log_transition`.
    logging.getLogger("transitions").setLevel(logging.WARNING)
