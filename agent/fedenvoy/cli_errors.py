"""How a command ends when something is wrong: one sentence on the standard error, and the exit code that goes with it.

A traceback is shown to those who ask for it with `--log-level debug`, and to nobody else.
"""

from __future__ import annotations

import errno
import traceback
from typing import Any

import click

from fedenvoy.errors import ConfigurationError, Exit, FedenvoyError

__all__ = ["Command", "Group", "complain", "log_level"]

_LEVEL = "fedenvoy.log_level"


def complain(sentence: str) -> None:
    """Print one sentence about what is wrong."""
    click.echo(f"fedenvoy: error: {sentence}", err=True)


def log_level(ctx: click.Context) -> str:
    """Give the level asked for on the command line."""
    return str(ctx.find_root().meta.get(_LEVEL, "info"))


class Command(click.Command):
    """A command with `--log-level`, whose long-named short options (`-dh`) take their value with or without a space."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.append(
            click.Option(
                ["--log-level"],
                type=click.Choice(["debug", "info", "warning", "error", "critical"], case_sensitive=False),
                default="info",
                show_default=True,
                expose_value=False,
                callback=_note_level,
                help="How much is told; debug shows tracebacks.",
            )
        )

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Separate `-dhHOST` into `-dh HOST`, as start scripts write it, then parse as click does."""
        names = [name for param in self.params for name in param.opts if name[0] == "-" != name[1] and len(name) > 2]
        separate: list[str] = []
        for position, arg in enumerate(args):
            if arg == "--":
                separate += args[position:]
                break
            name = next((name for name in names if arg.startswith(name) and arg[len(name) :][:1] not in ("", "=")), "")
            separate += [name, arg[len(name) :]] if name else [arg]
        return super().parse_args(ctx, separate)


class Group(click.Group):
    """The group of all commands, listed in the order they are defined in; turns errors into sentences."""

    command_class = Command

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Give the names in the order of definition: what is used first stands first."""
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; end with the exit code of whatever goes wrong."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except FedenvoyError as error:
            for problem in error.problems if isinstance(error, ConfigurationError) else (str(error),):
                complain(problem)
            ctx.exit(int(error.exit_code))
        except KeyboardInterrupt:
            complain("interrupted")
            ctx.exit(int(Exit.ABORTED))
        except Exception as error:
            if isinstance(error, OSError) and error.errno == errno.EPIPE:
                raise  # the reader of the output went away; click ends quietly
            _unexpected(ctx, error)
            ctx.exit(int(Exit.FAILED))


def _note_level(ctx: click.Context, _param: click.Parameter, value: str) -> str:
    ctx.find_root().meta[_LEVEL] = value.lower()
    return value


def _unexpected(ctx: click.Context, error: Exception) -> None:
    if log_level(ctx) == "debug":
        click.echo("".join(traceback.format_exception(error)), err=True, nl=False)
        hint = "please report it with the traceback above"
    else:
        hint = "run with --log-level debug for the traceback"
    text = " ".join(str(error).split())
    complain(f"unexpected {type(error).__name__}{': ' if text else ''}{text}; {hint}")
