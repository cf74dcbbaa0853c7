"""The command for those who run a node under systemd."""

from __future__ import annotations

import click

from fedenvoy.cli_errors import Command

__all__ = ["systemd_unit"]


@click.command("systemd-unit", cls=Command)
def systemd_unit() -> None:
    """Print a unit file for systemd, with which each node of this machine is an instance: fedenvoy@NAME.

    \b
    Example:
      fedenvoy systemd-unit | sudo tee /etc/systemd/system/fedenvoy@.service
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    from fedenvoy.service.unit import unit_text  # noqa: PLC0415

    click.echo(unit_text(), nl=False)
