"""Every difference between OpenFL 1.6's envoy and ours, with its reason: the table that the document is made from.

`ROWS` is what a user reads; `DIFFERENCES` is what was seen of both in the scripts, each with the row that explains it.
A difference that is not here fails the test, and so does an entry that is no longer seen. Standard library only: the
document's generator reads this file without installing anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["DIFFERENCES", "ROWS", "Better", "Difference", "OnPurpose"]


@dataclass(frozen=True)
class Better:
    """What used to go wrong.

    Attributes:
        what: The occasion.
        openfl: What OpenFL 1.6 does.
        fedenvoy: What ours does.
        shown_by: The test that shows it, where no script does: file and function.

    """

    what: str
    openfl: str
    fedenvoy: str
    shown_by: str = ""


@dataclass(frozen=True)
class OnPurpose:
    """What somebody may have relied on.

    Attributes:
        what: What is different.
        why: The reason, and how to get the old behaviour where there is a way.
        shown_by: As above.

    """

    what: str
    why: str
    shown_by: str = ""


@dataclass(frozen=True)
class Difference:
    """What was seen in one script.

    Attributes:
        script: Its name.
        aspect: Of what: "calls" (all but health checks), "health" (what the checks said), "pace", "checks" (whether
            they go on), "report" (the kind of words), "review" (what the callback was given), "files" (what lies in
            the node's directory), "end" (the process).
        original: OpenFL's.
        ours: Fedenvoy's.
        row: The key of the row that explains it.

    """

    script: str
    aspect: str
    original: str
    ours: str
    row: str


ROWS: Mapping[str, Better | OnPurpose] = {
    "check fails": Better("one failed health check", "ends the health thread for good", "the next one is on time"),
    "restarted": Better(
        "director restarted",
        "shown as offline for ever, when a health check fell into the gap: the node must be restarted by hand",
        "registers again by itself",
    ),
    "not up": Better("director not up at start", "exits with 1", "waits, and says so"),
    "window": Better(
        "users of the director who list the nodes or submit",
        "get an error from a node's registration until its first poll",
        "the same, for a shorter time ([below](#listing-the-nodes))",
        shown_by="tests/integration/test_agent_loss.py::test_B20_the_first_poll_waits_for_no_health_check",
    ),
    "period": Better("health period below a second", "checks without a pause", "one check each second"),
    "download": Better(
        "cut download, or an experiment that is gone",
        "ends the main loop; the node is shown as online for ever",
        "tried again, else told in words",
    ),
    "installation": Better(
        "requirements cannot be installed",
        "tried for a minute, then trained anyway",
        "fails from InstallingRequirements with the installer's last lines",
    ),
    "review first": Better(
        "review",
        "after the requirements were installed",
        "before anything of the archive runs or is installed",
    ),
    "no plan": Better(
        "archive without a plan", "the reviewer is asked about a file that is not there", "nobody is asked"
    ),
    "second experiment": Better(
        "second experiment",
        "runs the first one's modules",
        "runs its own code",
        shown_by="tests/integration/test_agent_paths.py::test_B35_the_second_experiment_runs_its_own_code",
    ),
    "crash": Better(
        "`os._exit`, out of memory",
        "takes the node down",
        "is a failed experiment",
        shown_by="tests/integration/test_agent_paths.py::test_B36_the_agent_s_own_process_is_untouched_by_an_experiment",
    ),
    "offered again": Better(
        "failed experiment offered again",
        "run again, as fast as the disk allows",
        "declined, and looked at again after 1 to 30 minutes",
    ),
    "files": Better(
        "archive that cannot be read",
        "stays in the working directory, with an empty directory beside it",
        "is never written there",
    ),
    "Ctrl-C": Better(
        "Ctrl-C",
        "ends the work but not the process: it stays, and is shown as online",
        "ends it in order; twice: at once",
    ),
    "SIGTERM": Better("SIGTERM", "ends the process in the middle of anything", "ends it in order, with exit code 0"),
    "words": OnPurpose(
        "A failure report is one line, not a traceback.",
        "A traceback and an exception's text can quote the site's data to the whole federation; its type and the line "
        "of the archive are told. `agent.report.detail: full` sends all of it.",
    ),
    "GPUs": OnPurpose(
        "Health checks carry a reading of each GPU that is offered, with no plugin configured.",
        "OpenFL's plugin is built in; without a driver the reading is the number alone, as it was registered.",
    ),
    "forgotten": OnPurpose(
        "A director that has forgotten the node is dialled and polled anew.",
        "Every loss has one way back; the poll of the old connection may never be answered.",
    ),
    "process": OnPurpose(
        "An experiment runs in a process of its own, not in the node's.",
        "Nothing that it does can hurt the node.",
        shown_by="tests/integration/test_agent_paths.py::test_B36_the_agent_s_own_process_is_untouched_by_an_experiment",
    ),
    "environment": OnPurpose(
        "Requirements go into an environment of the experiment's own.",
        "The node's packages stay as they are.",
        shown_by="tests/integration/test_workspace_environments.py::test_B33_the_agents_own_environment_is_never_changed",
    ),
    "path": OnPurpose(
        "The review callback gets an absolute path, and the working directory is not changed.",
        "Other threads would notice.",
    ),
    "bool": OnPurpose(
        "The callback's answer must be a bool (numpy's too).",
        '"Anything that counts as true" approves by mistake.',
        shown_by="tests/unit/test_review.py::test_B41_a_bool_decides",
    ),
    "descriptor": OnPurpose(
        "A descriptor instance must be importable or picklable.",
        "It is sent to the experiment's process.",
        shown_by="tests/integration/test_engines_descriptors.py::test_a_descriptor_that_cannot_be_sent_names_the_attribute",
    ),
    "refused": OnPurpose(
        "A refused shard is offered again later.",
        "Somebody may correct the director. `agent.link.on_refused: exit` gives the old behaviour.",
    ),
    "overrides": OnPurpose(
        "Overriding `_run_collaborator` or `_save_data_stream_to_file` raises TypeError.",
        "Nothing calls them; the message names the hook to use.",
        shown_by="tests/integration/test_envoy_class.py::test_overriding_what_nothing_calls_is_refused_with_the_hook_to_use",
    ),
    "dynaconf": OnPurpose(
        "Environment variables of OpenFL's configuration library are warned about, not honoured.",
        "A node's configuration should be one file.",
        shown_by="tests/unit/test_config_file.py::test_what_only_dynaconf_honours_makes_warnings",
    ),
    "executor": OnPurpose(
        "`executor` holds nothing of the agent's.",
        "It used to hold an endless task that kept the process from ending.",
        shown_by="tests/integration/test_envoy_class.py::test_the_executor_holds_nothing_of_the_agent_s",
    ),
}

_FAILED = "register, poll, fetch exp, report exp with code 1, poll"
_STUCK = "register, poll, fetch exp"
_AGAIN = "register, poll, fetch exp, fetch exp, report exp with code 1, poll"
_RELATIVE = "plan: a relative path, the file is there, working directory the experiment's"
_ABSOLUTE = "plan: an absolute path, the file is there, working directory the node's"
_UNREADABLE = "a traceback, at the end shutil.ReadError"

DIFFERENCES = (
    Difference("two GPUs are configured", "health", "free", "free with 2 GPUs", "GPUs"),
    Difference("a shard is refused", "calls", "register", "register, register", "refused"),
    Difference("a shard is refused", "end", "exit code 1", "alive", "refused"),
    Difference("health checks twice a second", "pace", "every 0 s", "every 1 s", "period"),
    Difference("one health check fails", "checks", "have ceased", "go on", "check fails"),
    Difference(
        "the director has forgotten the shard",
        "calls",
        "register, poll, register",
        "register, poll, register, poll",
        "forgotten",
    ),
    Difference("the director is not up at start", "calls", "none", "register, poll", "not up"),
    Difference("the director is not up at start", "health", "none", "free", "not up"),
    Difference("the director is not up at start", "end", "exit code 1", "alive", "not up"),
    Difference(
        "the director is restarted", "calls", "register, poll, poll", "register, poll, register, poll", "restarted"
    ),
    Difference("the director is restarted", "checks", "have ceased", "go on", "restarted"),
    Difference("SIGINT while idle", "checks", "go on", "have ceased", "Ctrl-C"),
    Difference("SIGINT while idle", "end", "alive", "exit code 0", "Ctrl-C"),
    Difference("SIGTERM while idle", "end", "SIGTERM", "exit code 0", "SIGTERM"),
    Difference("the reviewer says no", "review", _RELATIVE, _ABSOLUTE, "path"),
    Difference("the reviewer raises", "review", _RELATIVE, _ABSOLUTE, "path"),
    Difference("the reviewer raises", "report", "a traceback, at the end RuntimeError", "one line", "words"),
    Difference(
        "the archive has no plan",
        "review",
        "plan: a relative path, the file is not there, working directory the experiment's",
        "not asked",
        "no plan",
    ),
    Difference("the archive has no plan", "report", "a traceback, at the end KeyError", "one line", "words"),
    Difference("the archive is empty", "report", _UNREADABLE, "one line", "words"),
    Difference("the archive is empty", "files", "directories, files", "none", "files"),
    Difference("the archive is no zip", "report", _UNREADABLE, "one line", "words"),
    Difference("the archive is no zip", "files", "directories, files", "none", "files"),
    Difference("the plan cannot be used", "report", "a traceback, at the end KeyError", "one line", "words"),
    Difference("requirements cannot be installed", "calls", _STUCK, _FAILED, "installation"),
    Difference("requirements cannot be installed", "report", "none", "one line", "installation"),
    Difference("requirements cannot be installed", "files", "directories, files", "none", "files"),
    Difference("review before an installation", "calls", _STUCK, _FAILED, "review first"),
    Difference("review before an installation", "report", "none", "one line", "review first"),
    Difference("review before an installation", "review", "not asked", _ABSOLUTE, "review first"),
    Difference("review before an installation", "files", "directories, files", "none", "files"),
    Difference(
        "a failed experiment is offered again", "calls", f"{_FAILED}, fetch exp", f"{_FAILED}, poll", "offered again"
    ),
    Difference("a failed experiment is offered again", "report", _UNREADABLE, "one line", "words"),
    Difference("a failed experiment is offered again", "files", "directories, files", "none", "files"),
    Difference("a chunk states a wrong size", "calls", _STUCK, _AGAIN, "download"),
    Difference("a chunk states a wrong size", "report", "none", "one line", "download"),
    Difference("a chunk states a wrong size", "files", "files", "none", "files"),
    Difference("a download is cut", "calls", _STUCK, _AGAIN, "download"),
    Difference("a download is cut", "report", "none", "one line", "download"),
    Difference("a download is cut", "files", "files", "none", "files"),
    Difference("the experiment is gone", "calls", _STUCK, f"{_STUCK}, poll", "download"),
    Difference("the experiment is gone", "files", "files", "none", "files"),
)
