"""The commands of `fedenvoy review`: what an experiment holds, and what would be decided about it."""

from __future__ import annotations

import click

from fedenvoy.cli_errors import Group
from fedenvoy.cli_review_hold import HOLD_COMMANDS

__all__ = ["review"]


@click.group(cls=Group)
def review() -> None:
    """Look at experiments before anything of them runs, and decide about them."""


for _command in HOLD_COMMANDS:
    review.add_command(_command)
