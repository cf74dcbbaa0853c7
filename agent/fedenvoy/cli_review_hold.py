"""The commands of `fedenvoy review` for what waits at a node: list, show, approve, reject, and the tokens of people.

Each asks a node that runs, through its control socket; what is approved is what was shown: a vote names the case by the
digest of all that it is for.
"""

from __future__ import annotations

import json
import os
import pwd
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from fedenvoy.cli_errors import Command
from fedenvoy.cli_nodes import ask, find, which_node
from fedenvoy.control.protocol import TEXT_LIMIT
from fedenvoy.errors import AbsentError, AmbiguousError, ConfigurationError

if TYPE_CHECKING:
    from fedenvoy.control.places import Place

__all__ = ["HOLD_COMMANDS"]

F = TypeVar("F", bound=Callable[..., Any])
_SHORT = 12
_SHORTEST = 6
_TOKEN = "FEDENVOY_REVIEW_TOKEN"  # noqa: S105 - the name of a variable


@click.command("list", cls=Command)
@which_node
@click.option("--json", "as_json", is_flag=True, help="One JSON object, as docs/review.md describes it.")
def list_waiting(as_json: bool, **which: Any) -> None:
    """List the experiments that wait for people, and those that were approved and have not run to their end.

    \b
    Example:
      fedenvoy review list
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    place = find(**which)
    answer = ask(place, "review_list")
    if as_json:
        click.echo(json.dumps({"waiting": answer["waiting"], "reviewers": answer["reviewers"]}, indent=2))
        return
    if not answer["waiting"]:
        click.echo(f"{place}: nothing waits")
    for case in answer["waiting"]:
        click.echo(f"{case['id'][:_SHORT]}  {_quoted(case['experiment'])}: {_state(case)}")
        for line in _votes(case):
            click.echo(f"  {line}")


@click.command(cls=Command)
@which_node
@click.argument("experiment", metavar="NAME")
@click.option("--diff", is_flag=True, help="Also what changed since the last archive of this name that was approved.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, as docs/review.md describes it.")
def show(experiment: str, diff: bool, as_json: bool, **which: Any) -> None:
    """Show what an experiment that waits holds: its plan, its requirements, its pickles and files.

    NAME is the experiment's, or the first digits of the id that `list` gives. Nothing of it is loaded or run. Without
    an archive of that name that was approved before, --diff shows all of its source.

    \b
    Example:
      fedenvoy review show brain_tumours_2 --diff
    """  # noqa: D301
    place = find(**which)
    answer = ask(place, "review_show", _case(place, experiment)["id"])
    case, texts = answer["case"], answer["texts"]
    if not diff:
        texts.pop("changes", None)
    if as_json:
        click.echo(json.dumps({"case": case, "texts": texts}, indent=2))
        return
    lines = [*_facts(case), *(line for name, text in texts.items() for line in _section(name, text))]
    if case["decision"] == "waiting":
        lines += ["", f"Approve exactly this with: fedenvoy review approve {case['id'][:_SHORT]} --reason ..."]
    click.echo("\n".join(lines))


def _vote_options(command: F) -> F:
    for option in (
        click.option("--token-file", type=click.Path(path_type=Path), help=f"Your token.  [default: ${_TOKEN}]"),
        click.option("--as", "name", help="Your name, as it is written down.  [default: your login]"),
        click.option("--reason", required=True, metavar="TEXT", help="Why; written down with your name."),
        click.argument("experiment", metavar="NAME"),
        which_node,
    ):
        command = option(command)
    return command


@click.command(cls=Command)
@_vote_options
def approve(**options: Any) -> None:
    """Let an experiment that waits run.

    NAME is the experiment's, or the first digits of the id that `list` gives. What is approved is this archive with
    these locked requirements under this policy, for one run.

    \b
    Example:
      fedenvoy review approve brain_tumours_2 --reason "as agreed on 12 May" --as "Anna Berg"
    """  # noqa: D301
    place, case, seen = _vote("review_approve", **options)
    name = _quoted(case["experiment"])
    count = f"{_approvals(case)} of {case['needed']}"
    what = f"archive sha256 {case['archive'][:_SHORT]}" + (f", lock {case['lock'][:_SHORT]}" if case["lock"] else "")
    if case["decision"] != "approved":
        click.echo(f"{place}: {name} has {count} approvals ({what}); it waits for more")
    elif seen["in_hand"]:
        click.echo(f"{place}: {name} is approved, {count} ({what}): it goes on")
    else:
        click.echo(f"{place}: {name} is approved, {count} ({what}): it runs when the director offers it again")


@click.command(cls=Command)
@_vote_options
def reject(**options: Any) -> None:
    """Refuse an experiment that waits; the director is told that it was rejected, and not by whom or why.

    One rejection is enough. It also takes back approvals that no run has used yet; what runs is ended by `cancel`.

    \b
    Example:
      fedenvoy review reject brain_tumours_2 --reason "it reads the whole shard into a pickle"
    """  # noqa: D301
    place, case, seen = _vote("review_reject", **options)
    later = "" if seen["in_hand"] else ": it is refused when the director offers it again"
    click.echo(f"{place}: {_quoted(case['experiment'])} is rejected{later}")


@click.command(cls=Command)
@which_node
@click.argument("name", metavar="PERSON")
@click.option("--revoke", is_flag=True, help="Take the token away; what was approved with it stays.")
def token(name: str, revoke: bool, **which: Any) -> None:
    """Make a token for a person, by which an approval is that person's whoever is logged in.

    It is shown once and stored as a hash; a second one takes the first one's place. As soon as somebody has a token,
    approvals need one.

    \b
    Example:
      fedenvoy review token "Anna Berg" > anna.token
    """  # noqa: D301
    place = find(**which)
    if revoke:
        ask(place, "review_revoke", name)
        click.echo(f"{place}: {_quoted(name)} has no token any more")
        return
    click.echo(ask(place, "review_token", name)["token"])


HOLD_COMMANDS = (list_waiting, show, approve, reject, token)
"""In the order in which they are listed."""


def _vote(
    command: str, *, experiment: str, reason: str, name: str | None, token_file: Path | None, **which: Any
) -> tuple[Place, dict[str, Any], dict[str, Any]]:
    """Vote; give the node, the case as it is now, and as it was in the list."""
    for option, text in (("--reason", reason), ("--as", name or "x")):
        if not text.strip() or len(text) > TEXT_LIMIT:
            raise click.BadParameter(f"expected 1 to {TEXT_LIMIT} characters", param_hint=option)
    secret = _token(token_file)
    if secret and not name:
        raise click.UsageError("with a token, --as names the person whose it is")
    place = find(**which)
    seen = _case(place, experiment)
    case = dict(ask(place, command, seen["id"], reason, name or _login(), secret)["case"])
    return place, case, seen


def _token(path: Path | None) -> str:
    if path is None:
        return os.environ.get(_TOKEN, "").strip()
    try:
        return path.read_text(encoding="utf-8").strip()[:TEXT_LIMIT]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: the token cannot be read: {error}") from None


def _login() -> str:
    """Give the name that people know this user by; the one behind `sudo`, where it is one."""
    try:
        return os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _case(place: Place, name: str) -> dict[str, Any]:
    """Find what is meant.

    Raises:
        AbsentError: Nothing of that name or id waits.
        AmbiguousError: Several could be meant.

    """
    waiting = ask(place, "review_list")["waiting"]
    named = [case for case in waiting if case["experiment"] == name]
    by_id = [case for case in waiting if len(name) >= _SHORTEST and case["id"].startswith(name) and case not in named]
    if len(named) + len(by_id) > 1:
        raise AmbiguousError(f"{place}: {_quoted(name)} is the name of one and the id of another: give the whole id")
    if not named and not by_id:
        others = ", ".join(_quoted(case["experiment"]) for case in waiting)
        raise AbsentError(
            f"{place}: no experiment {_quoted(name)} waits; {f'there is {others}' if others else 'no one'}"
        )
    return dict((named or by_id)[0])


# ---- For people


def _state(case: Mapping[str, Any]) -> str:
    count = f"{_approvals(case)} of {case['needed']}"
    if case["decision"] == "rejected":
        return "rejected, when the director offers it again"
    if case["decision"] == "approved":
        return f"approved, {count}"
    left = _span(case["deadline"] - time.time())
    offered = "" if case.get("in_hand", True) else "; the director has not offered it again"
    return f"waits for approval for {_span(time.time() - case['since'])}, {count}, rejected in {left}{offered}"


def _facts(case: Mapping[str, Any]) -> Iterator[str]:
    yield f"{_quoted(case['experiment'])}: {_state(case)}"
    for name, text in (
        ("id", case["id"]),
        ("archive", f"sha256 {case['archive']}, {case['size']} bytes"),
        ("lock", f"sha256 {case['lock']}" if case["lock"] else "nothing is installed"),
        ("policy", case["policy"] or "none"),
        ("engine", case["engine"]),
        ("waits", _safe(case["why"])),
        ("told", _safe(case["told"]) or "nobody"),
    ):
        yield f"  {name:9} {text}"
    yield from (f"  {line}" for line in _votes(case))


def _votes(case: Mapping[str, Any]) -> Iterator[str]:
    for vote in case["votes"]:
        word = "approved" if vote["approve"] else "rejected"
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(vote["at"]))
        yield f"{word} by {_safe(vote['name'])} [{_safe(vote['identity'])}] at {at}: {_safe(vote['reason'])}"
    if case["void"]:
        yield _safe(case["void"])


def _section(name: str, text: str) -> Iterator[str]:
    yield ""
    yield f"----- {name} -----"
    yield from (_safe(line) for line in text.splitlines())


def _approvals(case: Mapping[str, Any]) -> int:
    return sum(bool(vote["approve"]) for vote in case["votes"])


def _span(seconds: float) -> str:
    from fedenvoy.status.text import span  # noqa: PLC0415 - not for every command

    return span(seconds)


def _quoted(name: str) -> str:
    return f"'{_safe(name)[:200]}'"


def _safe(text: str) -> str:
    from fedenvoy.logs import escape  # noqa: PLC0415 - not for every command

    return escape(text)
