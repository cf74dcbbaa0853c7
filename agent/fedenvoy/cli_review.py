"""The commands of `fedenvoy review`: what an experiment holds, and what would be decided about it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from fedenvoy.cli_errors import Command, Group, complain
from fedenvoy.cli_review_hold import HOLD_COMMANDS
from fedenvoy.errors import ConfigurationError, Exit

if TYPE_CHECKING:
    from fedenvoy.config import AgentSettings
    from fedenvoy.review.case import ReviewCase
    from fedenvoy.review.explanation import Explanation
    from fedenvoy.review.policy import Policy

__all__ = ["review"]

_PATH = click.Path(path_type=Path)
_LARGEST_LOCK = 2**22


@click.group(cls=Group)
def review() -> None:
    """Look at experiments before anything of them runs, and decide about them."""


@review.command(cls=Command)
@click.argument("archive", type=_PATH)
@click.option("--policy", "policy_path", type=_PATH, help="The policy to judge by; default: the configuration's.")
@click.option(
    "-ec",
    "--envoy-config-path",
    "config_path",
    type=_PATH,
    help="The node's configuration: its policy and its limits on archives apply.  [default: none]",
)
@click.option("--name", help="The experiment's name, as the director would send it; default: the file's name.")
@click.option("--lock", "lock_path", type=_PATH, help="Its locked requirements, as `uv pip compile` writes them.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, as docs/review.md describes it.")
@click.pass_context
def explain(
    ctx: click.Context,
    /,
    *,
    archive: Path,
    policy_path: Path | None,
    config_path: Path | None,
    name: str | None,
    lock_path: Path | None,
    as_json: bool,
) -> None:
    """Say what an archive holds, and what a policy would decide about it.

    A dry run: the archive is unpacked into a temporary directory and read; nothing of it is loaded, installed or run,
    and no node is asked. Ends with 0 where the policy approves or none was named, with 11 where it rejects or the
    archive is refused as such, and with 12 where it holds.

    \b
    Example:
      fedenvoy review explain brain_tumours.zip --policy policy.yaml
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    import json  # noqa: PLC0415
    import tempfile  # noqa: PLC0415

    from fedenvoy.workspace.intake import ArchiveError  # noqa: PLC0415

    settings = _settings(config_path)
    policy = _policy(policy_path, settings)
    lock = _text(lock_path)
    with tempfile.TemporaryDirectory(prefix="fedenvoy-explain-") as directory:
        try:
            case = _case(archive, Path(directory) / "workspace", settings, archive.stem if name is None else name, lock)
        except (ArchiveError, ValueError) as error:
            complain(f"{archive}: {error}")
            ctx.exit(int(Exit.REJECTED))
        found = _explanation(case, policy)
    click.echo(json.dumps(found.as_dict(), indent=2) if as_json else found.text())
    decision = found.judgement.decision if found.judgement else ""
    ctx.exit(int({"reject": Exit.REJECTED, "hold": Exit.HELD}.get(decision, Exit.OK)))


def _settings(path: Path | None) -> AgentSettings:
    """Take what the configuration says, less its certificates and director."""
    from fedenvoy.config import AgentSettings  # noqa: PLC0415

    if path is None:
        return AgentSettings()
    from fedenvoy.cli_load import load  # noqa: PLC0415

    config = load(
        shard_name=None,
        director_host=None,
        director_port=None,
        config_path=path,
        tls=False,
        root_certificate=None,
        private_key=None,
        certificate=None,
        warn=lambda _: None,
    )
    return config.agent


def _policy(path: Path | None, settings: AgentSettings) -> Policy | None:
    from fedenvoy.review.policy import load  # noqa: PLC0415

    if path is not None:
        return load(path)
    return None if settings.review.policy is None else load(settings.review.policy)


def _text(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        if path.stat().st_size > _LARGEST_LOCK:
            raise ConfigurationError(f"{path}: expected locked requirements, but the file is larger than 4 MiB")
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "expected UTF-8 text"
        raise ConfigurationError(f"{path}: cannot be read: {reason}") from None


def _case(archive: Path, workspace: Path, settings: AgentSettings, name: str, lock: str) -> ReviewCase:
    """Take the archive in as the node would.

    Raises:
        ArchiveError: It would be refused.
        ValueError: No engine takes its plan.

    """
    import hashlib  # noqa: PLC0415
    import time  # noqa: PLC0415

    from fedenvoy.engines.registry import choose  # noqa: PLC0415
    from fedenvoy.review.case import ReviewCase  # noqa: PLC0415
    from fedenvoy.workspace.intake import ArchiveError, unpack  # noqa: PLC0415

    digest = hashlib.sha256()
    try:
        size = archive.stat().st_size
        with archive.open("rb") as file:
            while chunk := file.read(2**20):
                digest.update(chunk)
    except OSError as error:
        raise ConfigurationError(f"{archive}: cannot be read: {error.strerror}") from None
    limit = settings.archive.max_bytes
    if limit and size > limit:
        raise ArchiveError(f"the archive is larger than the {limit} bytes that are accepted")
    files = unpack(archive, digest.hexdigest(), workspace, settings.archive)
    engine = choose(files.plan)
    engine.check(files.plan, files.workspace)
    return ReviewCase(
        experiment=name,
        digest=files.digest,
        size=size,
        plan=files.plan,
        plan_path=files.plan_path,
        workspace=files.workspace,
        requirements=files.requirements,
        lock=lock,
        lock_digest=hashlib.sha256(lock.encode()).hexdigest() if lock else "",
        engine=engine.name,
        received_at=time.time(),
    )


def _explanation(case: ReviewCase, policy: Policy | None) -> Explanation:
    from fedenvoy.review.explanation import Explanation  # noqa: PLC0415
    from fedenvoy.review.inspection import inspect  # noqa: PLC0415

    found = inspect(case.workspace, case.plan)
    notes = []
    if case.requirements and not case.lock:
        notes.append("the requirements are not locked here (--lock FILE), as they are when the director sends them")
    if policy is not None and any(key == "runs" for rule in policy.rules for key, _ in (*rule.when, *rule.unless)):
        notes.append("runs of the past are not counted here")
    return Explanation(case, found, policy, policy.judge(case, (), found) if policy else None, tuple(notes))


for _command in HOLD_COMMANDS:
    review.add_command(_command)
