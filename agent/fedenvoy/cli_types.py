"""The kinds of values that only our command line takes."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    _Text = click.ParamType[str]
else:
    _Text = click.ParamType  # has no type argument before click 8.4

__all__ = ["DIAGRAM", "HOST", "Diagram", "Host", "parse_host"]


class Host(_Text):
    """A host as gRPC takes it, which is more than a domain name: `director_1`, `d`, `::1`, `[::1]`, `host.`."""

    name = "host"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Give the host unchanged, or fail with what was expected."""
        try:
            return parse_host(str(value))
        except ValueError as error:
            self.fail(f"{str(value)!r}: {error}", param, ctx)


class Diagram(_Text):
    """A format of the lifecycle's drawing; the renderers are imported when one is asked for."""

    name = "format"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:  # noqa: ARG002
        """Give the names there are, for the command's own help; click before 8.2 passes no context."""
        from fedenvoy_statecharts.render import FORMATS  # noqa: PLC0415 - not for other commands

        return f"[{'|'.join(FORMATS)}]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Give the format's name in lower case, or fail with the names there are."""
        from fedenvoy_statecharts.render import FORMATS  # noqa: PLC0415

        if str(value).lower() not in FORMATS:
            self.fail(f"{value!r} is none of {', '.join(FORMATS)}", param, ctx)
        return str(value).lower()


HOST = Host()
DIAGRAM = Diagram()


def parse_host(text: str) -> str:
    """Check a host without asking any name server.

    Raises:
        ValueError: With what was expected; never because a name is merely unusual.

    """
    if not text or any(mark.isspace() or not mark.isprintable() for mark in text):
        raise ValueError("expected a name or an address, without blanks")
    if text.startswith("unix:"):
        raise ValueError("a unix socket has no port; expected a name or an address")
    if text.startswith("dns://"):
        return text
    if "/" in text:
        raise ValueError("expected a name or an address, without a scheme or a path")
    bracketed = text.startswith("[")
    address = text[1:-1] if bracketed and text.endswith("]") else text
    if bracketed or ":" in text:
        try:
            ipaddress.IPv6Address(address)
        except ValueError:
            raise ValueError("expected a name or an address; the port has an option of its own (-dp)") from None
    return text
