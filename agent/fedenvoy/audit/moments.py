"""Times as an auditor needs them: in UTC, whatever the machine's own zone, and read from what people type."""

from __future__ import annotations

import re
import time
from datetime import datetime, timedelta, timezone

__all__ = ["iso", "moment", "parse", "span"]

_AGO = re.compile(r"(\d+(?:\.\d+)?)\s*(d|h|min|s)")
_SECONDS = {"d": 86400.0, "h": 3600.0, "min": 60.0, "s": 1.0}
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_UNITS = ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s"))


def iso(at: float) -> str:
    """Write wall-clock seconds as programs read them: `2026-05-12T08:30:00.123456Z`."""
    return f"{datetime.fromtimestamp(at, timezone.utc):%Y-%m-%dT%H:%M:%S.%f}Z"


def moment(at: float) -> str:
    """Write wall-clock seconds for people: `2026-05-12 08:30:00`, in UTC."""
    return f"{datetime.fromtimestamp(at, timezone.utc):%Y-%m-%d %H:%M:%S}"


def span(seconds: float) -> str:
    """Write a duration with its two largest units: `3 s`, `0.25 s`, `2 h 13 min`; negative where a clock was set."""
    if seconds < 0:
        return f"-{span(-seconds)}"
    if seconds < 10:
        return f"{seconds:.2f} s"
    whole = round(seconds)
    for large, name, small, smaller in _UNITS:
        if whole >= large:
            rest = whole % large // small
            return f"{whole // large} {name}" + (f" {rest} {smaller}" if rest else "")
    return f"{whole} s"


def parse(text: str, *, end: bool = False, now: float | None = None) -> float:
    """Read a time: a date, a date with a time of day, or how long ago (`7d`, `12h`, `30min`).

    What names no zone is in UTC.

    Args:
        text: What was typed.
        end: Whether a date alone means the end of that day.
        now: The present, wall-clock seconds; None: what the clock says.

    Returns:
        Wall-clock seconds since the epoch.

    Raises:
        ValueError: With what was expected.

    """
    text = text.strip()
    if ago := _AGO.fullmatch(text):
        return (time.time() if now is None else now) - float(ago[1]) * _SECONDS[ago[2]]
    # Python 3.10 reads no Z.
    plain = f"{text[:-1]}+00:00" if text[-1:] in {"Z", "z"} else text
    try:
        found = datetime.fromisoformat(plain)
        if found.tzinfo is None:
            found = found.replace(tzinfo=timezone.utc)
        if end and _DATE.fullmatch(text):
            found += timedelta(days=1)
        return found.timestamp()
    except (ValueError, OverflowError):
        raise ValueError(
            f"{text!r}: expected a date (2026-05-12), a date and a time in UTC (2026-05-12T08:30), or how long ago "
            "(7d, 12h, 30min)"
        ) from None
