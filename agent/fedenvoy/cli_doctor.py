"""The command `doctor`, which says why a node does not work."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from fedenvoy.cli_errors import Command
from fedenvoy.cli_options import file_options, node_options, set_option, state_dir_option
from fedenvoy.errors import ConfigurationError

if TYPE_CHECKING:
    from fedenvoy.doctor.findings import Finding

__all__ = ["doctor"]


@click.command(cls=Command)
@node_options(required=False)
@file_options(tls_default=True)
@state_dir_option
@set_option
@click.option(
    "--timeout", type=click.FloatRange(min=0.1), default=5.0, show_default=True, help="Seconds for each step."
)
@click.option("--no-shard", is_flag=True, help="Do not construct the shard descriptor.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for a program.")
@click.pass_context
def doctor(ctx: click.Context, /, *, timeout: float, no_shard: bool, as_json: bool, **arguments: Any) -> None:
    """Examine a node: its configuration, this machine, its certificates, the way to the director and who answers there.

    Takes the arguments of `start`; without -n nothing is said about the shard's name. Nothing is registered and nothing
    is kept: a node of this name may go on running. Ends with the exit code that a start would end with, or with 0 where
    nothing keeps a node from working.

    \b
    Example:
      fedenvoy doctor -n hospital_1 -dh director.example -dp 50051 \\
          -rc cert/root_ca.crt -pk cert/hospital_1.key -oc cert/hospital_1.crt
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    from fedenvoy.doctor.findings import exit_code, rendered, rendered_json  # noqa: PLC0415 - one command of many

    if arguments["director_host"] is None or arguments["director_port"] is None:
        raise click.UsageError("the director's host and port are needed: -dh HOST -dp PORT")
    findings = _examined(arguments, timeout=timeout, describe=not no_shard)
    click.echo(rendered_json(findings) if as_json else rendered(findings))
    ctx.exit(int(exit_code(findings)))


def _examined(arguments: dict[str, Any], *, timeout: float, describe: bool) -> list[Finding]:
    """Read the configuration and look at everything; where only the certificates are wrong, at all that needs none."""
    from fedenvoy.cli_load import load  # noqa: PLC0415 - as above
    from fedenvoy.doctor import examine  # noqa: PLC0415
    from fedenvoy.doctor.findings import fault, good, warning  # noqa: PLC0415
    from fedenvoy.errors import Exit  # noqa: PLC0415

    subject = "configuration"
    told: list[str] = []
    findings = []
    try:
        config = load(**arguments, warn=told.append)
        findings.append(good(subject, f"{arguments['config_path']} has no problems"))
    except ConfigurationError as error:
        findings += [fault(subject, problem, Exit.CONFIGURATION) for problem in error.problems]
        told.clear()
        try:
            config = load(**{**arguments, "tls": False}, warn=told.append)
        except ConfigurationError:
            return findings
    reach = any(finding.exit for finding in findings)
    findings += [warning(subject, sentence) for sentence in told]
    findings += examine(config, os.environ, timeout=timeout, describe=describe, only_reach=reach)
    return findings
