"""The command line: reads the arguments, hands them to the parts that do the work, and ends with their exit code.

The commands import what they need when they run, so that `fedenvoy --help` answers at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fedenvoy import __version__
from fedenvoy.cli_audit import audit as audit_group
from fedenvoy.cli_config import config as config_command
from fedenvoy.cli_control import COMMANDS
from fedenvoy.cli_doctor import doctor as doctor_command
from fedenvoy.cli_errors import Group, log_level
from fedenvoy.cli_exit import ending_for_sure, keep_code
from fedenvoy.cli_load import load
from fedenvoy.cli_options import file_options, log_format_option, node_options, set_option, state_dir_option
from fedenvoy.cli_review import review as review_group
from fedenvoy.cli_service import systemd_unit
from fedenvoy.cli_types import DIAGRAM
from fedenvoy.errors import ConfigurationError

if TYPE_CHECKING:
    from fedenvoy.config import ReviewSettings

__all__ = ["cli", "main"]

_PATH = click.Path(path_type=Path)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, "-V", "--version", prog_name="fedenvoy", message="%(prog)s %(version)s")
def cli() -> None:
    """A federated-learning node: it offers a shard of data to a director and runs the experiments that it sends.

    Drop-in for OpenFL's Envoy: `fedenvoy start` takes the arguments and the configuration of `fx envoy start`.
    """


@cli.command()
@node_options(required=True)
@file_options(tls_default=True)
@state_dir_option
@set_option
@log_format_option
@click.pass_context
def start(ctx: click.Context, /, log_format: str, **arguments: Any) -> None:
    """Start the node and work until it is stopped.

    Ctrl-C or SIGTERM ends it in order: nothing new is begun, and a running experiment may finish. A second one ends it
    at once; the next start takes up what was unfinished.

    \b
    Example, without encryption:
      fedenvoy start -n hospital_1 -dh director.example -dp 50051 --disable-tls
    Example, with it:
      fedenvoy start -n hospital_1 -dh director.example -dp 50051 \\
          -rc cert/root_ca.crt -pk cert/hospital_1.key -oc cert/hospital_1.crt
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    from fedenvoy import logs  # noqa: PLC0415

    logs.setup(log_level(ctx), log_format)
    config = load(**arguments)
    review = None
    if config.agent.review.mode == "prompt":
        from fedenvoy.review import TerminalReview  # noqa: PLC0415

        review = TerminalReview()
    from fedenvoy.app import run_node  # noqa: PLC0415

    ctx.exit(int(run_node(config, review=review, handle_signals=True, ended=keep_code)))


for _command in COMMANDS:
    cli.add_command(_command)
cli.add_command(review_group)
cli.add_command(audit_group)
cli.add_command(doctor_command)
cli.add_command(config_command)


@cli.command()
@node_options(required=False)
@file_options(tls_default=None)
@set_option
def check(**arguments: Any) -> None:
    """Check a configuration and name everything that is wrong in it; nothing is started.

    Takes the arguments of `start`. Certificates are checked when any is named.

    \b
    Example:
      fedenvoy check -ec envoy_config.yaml
    """  # noqa: D301
    warnings: list[str] = []
    try:
        config = load(**arguments, warn=warnings.append)
    finally:
        for sentence in warnings:
            click.echo(f"fedenvoy: warning: {sentence}", err=True)
    source = config.shard
    click.echo(f"{arguments['config_path']}: no problems")
    click.echo(f"  shard descriptor   {getattr(source, 'template', source)}")
    click.echo(f"  GPUs offered       {', '.join(map(str, config.cuda_devices)) or 'none'}")
    click.echo(f"  experiments        {_reviewed(config.agent.review)}")
    click.echo(f"  TLS                {'on; the files fit each other' if config.tls else 'off, or no files named'}")


def _reviewed(review: ReviewSettings) -> str:
    """Say who decides about experiments; raises ConfigurationError where that is a policy that cannot be read."""
    if review.mode == "policy" and review.policy is not None:
        from fedenvoy.review.policy import load  # noqa: PLC0415

        return f"decided by {len(load(review.policy).rules)} rules in {review.policy}"
    people = f"{review.required_approvals} people" if review.required_approvals > 1 else "somebody"
    return {"prompt": "asked about first", "hold": f"held until {people} approved"}.get(review.mode, "all accepted")


@cli.command()
@click.option("-p", "--envoy-path", "directory", type=_PATH, required=True, help="The directory to fill.")
@click.option("--force", is_flag=True, help="Replace files of the same names.")
def init(directory: Path, force: bool) -> None:
    """Write a node's directory: configuration, an example shard descriptor, places for data and certificates.

    \b
    Example:
      fedenvoy init -p hospital_1
    """  # noqa: D301
    from fedenvoy.cli_init import write_workspace  # noqa: PLC0415

    write_workspace(directory, replace=force)
    click.echo(f"{directory} is ready: describe your data in shard_descriptor.py, then run `fedenvoy start` in it.")


# What `fx envoy create-workspace` becomes in a script where `fx envoy` was replaced.
cli.add_command(click.Command("create-workspace", callback=init.callback, params=init.params, hidden=True))
cli.add_command(systemd_unit)


@cli.command()
@click.option("--director", type=click.Choice(["sandbox", "openfl"]), default="sandbox", show_default=True)
@click.option("--keep", type=_PATH, help="Keep everything the demonstration writes, in this directory.")
@click.option("--timeout", type=click.FloatRange(min=1), default=900, show_default=True, help="Seconds it may take.")
@click.pass_context
def demo(ctx: click.Context, /, director: str, keep: Path | None, timeout: float) -> None:
    """Show a whole federation on this machine: a director, nodes and an experiment.

    `sandbox` needs nothing else; `openfl` installs OpenFL in an environment of its own and runs its director.

    \b
    Example:
      fedenvoy demo --keep /tmp/demo
    """  # noqa: D301
    from fedenvoy.demo import run  # noqa: PLC0415

    ctx.exit(int(run(director, keep, timeout)))


@cli.command()
@click.option("--format", "name", type=DIAGRAM, default="mermaid", show_default=True, help="How it is written.")
@click.option("--out", type=_PATH, help="Write to this file instead of the standard output.")
def diagram(name: str, out: Path | None) -> None:
    """Draw what the node may do: the state machine that it runs.

    \b
    Example:
      fedenvoy diagram --format mermaid --out lifecycle.mmd
    """  # noqa: D301
    from fedenvoy_statecharts import LIFECYCLE  # noqa: PLC0415
    from fedenvoy_statecharts.render import render  # noqa: PLC0415

    text = render(LIFECYCLE, name)
    if out is None:
        click.echo(text, nl=not text.endswith("\n"))
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{out}: cannot be written: {error.strerror}") from None


def main() -> None:
    """Run the command line; the entry point of the script."""
    with ending_for_sure():
        cli(prog_name="fedenvoy")
