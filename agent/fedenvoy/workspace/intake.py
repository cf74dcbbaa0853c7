"""Takes an experiment in: the stream onto the disk, the archive apart, the plan and the requirements out of it.

Nothing of the experiment is run or imported, and its name is never part of a path.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import yaml

from fedenvoy.ports import ExperimentFiles
from fedenvoy.workspace import requirements as requirement_lines
from fedenvoy.workspace.archive import extract
from fedenvoy.workspace.refusals import ArchiveError, storage_error
from fedenvoy.workspace.runs import remove_run
from fedenvoy.workspace.sink import Sink, SinkError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from fedenvoy.cancel import Cancel
    from fedenvoy.config import ArchiveSettings

__all__ = ["ArchiveError", "read_plan", "receive", "unpack"]

MAX_PLAN_BYTES = 2**18
"""The largest plan that is read; real ones have a few thousand bytes."""
MAX_PLAN_WEIGHT = 2**20
"""Values and signs in a plan, each alias counted as what it stands for; so many do not fit in without aliases."""
_LARGEST_NUMBER = 1024
"""Bits of a whole number."""
_GREATEST_DEPTH = 100
"""Mappings and lists within each other."""


def receive(chunks: Iterator[bytes | memoryview], path: Path, limits: ArchiveSettings, cancel: Cancel) -> str:
    """Write a stream to `path` (mode 0600) and give its SHA-256, hexadecimal; memory use is a few chunks.

    Whatever goes wrong, also an error that `chunks` raises, `path` is removed and the error raised.

    Raises:
        ArchiveError: The stream is empty or larger than the limits allow, or the disk did not take it.
        Cancelled: When `cancel` was cancelled meanwhile; noticed between two chunks.

    """
    size = 0
    try:
        with Sink(path) as sink:
            for chunk in chunks:
                cancel.raise_if_cancelled()
                size += len(chunk)
                if limits.max_bytes and size > limits.max_bytes:
                    raise ArchiveError(
                        f"the archive is larger than the {limits.max_bytes} bytes that are accepted "
                        "(agent.archive.max_bytes)"
                    )
                sink.put(chunk)
        cancel.raise_if_cancelled()
        if not size:
            raise ArchiveError("the director sent an empty archive")
    except BaseException as error:
        with contextlib.suppress(OSError):
            path.unlink()
        if isinstance(error, SinkError):
            raise storage_error(error.reason, "the archive") from error.reason
        raise
    return sink.digest


def unpack(
    archive: Path, digest: str, workspace: Path, limits: ArchiveSettings, cancel: Cancel | None = None
) -> ExperimentFiles:
    """Take a received archive apart into `workspace`, which is made, and read what it asks for.

    Whatever goes wrong, nothing of `workspace` stays.

    Raises:
        ArchiveError: In one sentence: what is wrong with the archive, its plan or its requirements.
        Cancelled: When `cancel` was cancelled meanwhile.

    """
    try:
        workspace.mkdir(mode=0o700)
    except OSError as error:
        raise storage_error(error, "the experiment's workspace") from error
    try:
        extract(archive, workspace, limits, cancel)
        plan_path = workspace / "plan" / "plan.yaml"
        return ExperimentFiles(
            archive=archive,
            digest=digest,
            workspace=workspace,
            plan=read_plan(plan_path),
            plan_path=plan_path,
            requirements=_read_requirements(workspace / "requirements.txt"),
        )
    except BaseException:
        remove_run(workspace)
        raise


def read_plan(path: Path) -> Mapping[str, Any]:
    """Read a plan; raises ArchiveError where it is missing, too large, no YAML or no mapping."""
    data = _read_bounded(path, MAX_PLAN_BYTES, "plan/plan.yaml")
    if data is None:
        raise ArchiveError("the archive has no plan/plan.yaml")
    try:
        plan = yaml.load(data.decode("utf-8-sig"), Loader=_PlanLoader)  # noqa: S506 - a SafeLoader
        _weigh(plan)
    except yaml.YAMLError as error:
        raise ArchiveError(f"plan/plan.yaml is not YAML: {' '.join(str(error).split())[:300]}") from error
    except (ValueError, RecursionError, ArithmeticError, TypeError, LookupError, AttributeError) as error:
        raise ArchiveError(f"plan/plan.yaml cannot be read: {str(error)[:300] or type(error).__name__}") from error
    if not isinstance(plan, dict) or not all(isinstance(key, str) for key in plan):
        raise ArchiveError("plan/plan.yaml is not a mapping of section names to sections")
    return plan


def _weigh(plan: object) -> None:
    """Refuse a plan that is small on paper and endless when it is walked through: aliases of aliases, or of itself.

    Numbers that Python would not write out as text again are refused, too.
    """
    known: dict[int, int] = {}

    def weight(value: object) -> int:
        if isinstance(value, (str, bytes)):
            return 1 + len(value)
        if isinstance(value, int) and value.bit_length() > _LARGEST_NUMBER:
            raise ValueError(f"it holds a number of {value.bit_length()} bits")
        if not isinstance(value, (dict, list, tuple, set)):
            return 1
        if id(value) not in known:
            known[id(value)] = MAX_PLAN_WEIGHT  # what it holds of itself
            parts = [*value, *value.values()] if isinstance(value, dict) else value
            known[id(value)] = 1 + sum(map(weight, parts))
        return known[id(value)]

    if weight(plan) > MAX_PLAN_WEIGHT:
        raise ValueError(f"its aliases stand for more than {MAX_PLAN_WEIGHT} values and signs")


class _PlanLoader(yaml.SafeLoader):
    """YAML's safe loader without merge keys, a few lines of which expand to more than any memory holds.

    The time that it takes grows with the square of the depth, so that is bounded, too.
    """

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self._depth += 1
        if self._depth > _GREATEST_DEPTH:
            raise yaml.composer.ComposerError(problem=f"it is nested more than {_GREATEST_DEPTH} deep")
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(None, None, "merge keys (<<) are not accepted", key.start_mark)
        super().flatten_mapping(node)


def _read_requirements(path: Path) -> str:
    data = _read_bounded(path, requirement_lines.MAX_BYTES, "requirements.txt")
    try:
        return requirement_lines.normalise(data) if data else ""
    except ValueError as error:
        raise ArchiveError(f"requirements.txt: {error}") from error


def _read_bounded(path: Path, limit: int, name: str) -> bytes | None:
    """Give a file's bytes; None where there is no such file."""
    if not path.is_file():
        return None
    if path.stat().st_size > limit:
        raise ArchiveError(f"{name} is larger than the {limit} bytes that are accepted")
    return path.read_bytes()
