"""The command `config`: every setting as it counts, and where it was given."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from fedenvoy.cli_errors import Command
from fedenvoy.cli_options import file_options, set_option, state_dir_option

if TYPE_CHECKING:
    from fedenvoy.config import AgentSettings

__all__ = ["config"]

_HIDDEN = "***"


@click.command(cls=Command)
@file_options(tls_default=None)
@state_dir_option
@set_option
@click.option("--print", "printed", is_flag=True, help="Print it, which is what happens anyway.")
@click.option("--changed", is_flag=True, help="Only what is not the default.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for a program.")
def config(*, printed: bool, changed: bool, as_json: bool, **arguments: Any) -> None:  # noqa: ARG001 - see its help
    """Print every setting of the `agent:` section as it counts for this node, and where it was given.

    What wins: --set, then an environment variable (FEDENVOY_LINK_TRIES for agent.link.tries), then the file, then the
    default. Addresses and variables that may hold a secret are shown without it.

    \b
    Example:
      FEDENVOY_HTTP_LISTEN=9464 fedenvoy config -ec envoy_config.yaml --changed
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    from fedenvoy.cli_load import load  # noqa: PLC0415 - slow, and wanted by some commands only

    origins: dict[str, str] = {}
    loaded = load(shard_name=None, director_host=None, director_port=None, trace=origins.__setitem__, **arguments)
    if arguments["state_dir"] is not None:
        origins["agent.state_dir"] = "--state-dir"
    rows = [
        (name, shown(name, value), origins.get(name, "default"))
        for name, value in values(loaded.agent)
        if not changed or name in origins
    ]
    if as_json:
        click.echo(json.dumps({name: {"value": value, "origin": origin} for name, value, origin in rows}, indent=2))
        return
    width = max((len(name) for name, _, _ in rows), default=0)
    for name, value, origin in rows:
        click.echo(f"{name:<{width}}  {_text(value)}  ({origin})")


def values(settings: AgentSettings, prefix: str = "agent") -> Iterator[tuple[str, Any]]:
    """Give every setting by its dotted name."""
    import attrs  # noqa: PLC0415 - as above

    for attribute in attrs.fields(type(settings)):
        value = getattr(settings, attribute.name)
        name = f"{prefix}.{attribute.name}"
        if attrs.has(type(value)):
            yield from values(value, name)
        else:
            yield name, value


def shown(name: str, value: Any) -> Any:
    """Give a value as JSON can hold it, without what may be a secret.

    Args:
        name: The setting's dotted name.
        value: What the node uses.

    """
    if isinstance(value, (list, tuple)):
        return [shown(name, part) for part in value]
    if isinstance(value, Mapping):
        return {key: shown(name, part) for key, part in value.items()}
    if value is None or isinstance(value, (bool, int, float)):
        return value
    text = str(value)
    if name == "agent.child.env" and "=" in text:
        return f"{text.partition('=')[0]}={_HIDDEN}"
    if name == "agent.review.webhook" and text:
        parts = urlsplit(text)  # the path of many such addresses is the secret
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/{_HIDDEN}"
    return re.sub(r"(?<=://)[^/@\s]+@", f"{_HIDDEN}@", text)


def _text(value: Any) -> str:
    if value is None or value in ("", [], {}):
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.12g}"
    return " ".join(map(_text, value)) if isinstance(value, list) else str(value)
