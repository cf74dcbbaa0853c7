"""The options that several commands share, spelled as `fx envoy start` spells them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from fedenvoy.cli_types import HOST

__all__ = ["file_options", "log_format_option", "node_options", "set_option", "state_dir_option"]

F = TypeVar("F", bound=Callable[..., Any])
log_format_option = click.option(
    "--log-format",
    type=click.Choice(["console", "json"]),
    default="console",
    show_default=True,
    help="Lines for people, or one JSON object a line.",
)
_PATH = click.Path(path_type=Path)
set_option = click.option(
    "--set",
    "assignments",
    metavar="NAME=VALUE",
    multiple=True,
    help="A setting of the `agent:` section, such as link.tries=3; wins over environment variables and the file.",
)
state_dir_option = click.option(
    "--state-dir", type=_PATH, help="Where journal, outbox and runs live; wins over agent.state_dir."
)


def node_options(*, required: bool) -> Callable[[F], F]:
    """Add the options that name the node and its director."""

    def decorate(command: F) -> F:
        for option in (
            click.option("-dp", "--director-port", type=click.IntRange(1, 65535), required=required, help="Its port."),
            click.option("-dh", "--director-host", type=HOST, required=required, help="The director's host."),
            click.option("-n", "--shard-name", required=required, help="The name of this node's shard."),
        ):
            command = option(command)
        return command

    return decorate


def file_options(*, tls_default: bool | None) -> Callable[[F], F]:
    """Add the options that name files."""

    def decorate(command: F) -> F:
        for option in (
            click.option(
                "-oc", "--public-cert-path", "certificate", type=_PATH, help="This node's signed certificate, PEM."
            ),
            click.option("-pk", "--private-key-path", "private_key", type=_PATH, help="This node's private key, PEM."),
            click.option(
                "-rc",
                "--root-cert-path",
                "root_certificate",
                type=_PATH,
                help="The federation's root certificate, PEM.",
            ),
            click.option(
                "-ec",
                "--envoy-config-path",
                "config_path",
                type=_PATH,
                default="envoy_config.yaml",
                show_default=True,
                help="The node's configuration, as OpenFL has it.",
            ),
            click.option("--tls/--disable-tls", default=tls_default, help="Whether the link is encrypted."),
        ):
            command = option(command)
        return command

    return decorate
