"""The commands of `fedenvoy review`: what an experiment holds, and what would be decided about it."""

from __future__ import annotations

import click

from fedenvoy.cli_errors import Group

__all__ = ["review"]


@click.group(cls=Group)
def review() -> None:
    """Look at experiments before anything of them runs, and decide about them."""
