"""Shard descriptors: described in a child or in place, and sent to children by value.

A descriptor named in the configuration is never constructed in the agent: importing what it needs can cost hundreds of
megabytes. One passed to `Envoy(...)` is a live object already.
"""

from __future__ import annotations

import logging
import os
import pickle
import re
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedenvoy.engines.process import child_environment
from fedenvoy.engines.supervise import StartError, supervise
from fedenvoy.errors import ShardError
from fedenvoy.events import ShardDescription

if TYPE_CHECKING:
    from fedenvoy.cancel import Cancel
    from fedenvoy.config import ShardSource
    from fedenvoy.ports import Confinement

__all__ = ["check_sendable", "describe", "describe_instance", "import_places", "pickle_descriptor"]

logger = logging.getLogger(__name__)

_MISSING_MODULE = re.compile(r"ModuleNotFoundError: No module named ")
_MISSING_VARIABLE = re.compile(r"KeyError: '(\w+)'")
GRACE = 2.0
"""Seconds between asking a descriptor's process to end and ending it."""


def describe(
    source: ShardSource,
    home: Path,
    python: Path,
    cancel: Cancel,
    *,
    env: Mapping[str, str] | None = None,
    timeout: float | None = None,
    meanwhile: Callable[[], object] = lambda: None,
    confinement: Confinement | None = None,
) -> ShardDescription:
    """Construct a descriptor in a child of its own and read what the director is told.

    Args:
        source: Where it is and what it is constructed with.
        home: First working directory and import path of the child.
        python: The interpreter to construct it in.
        cancel: Ends the child; `Cancelled` is raised.
        env: Its environment variables; None: what an experiment gets of this process's.
        timeout: Seconds it may take; None: as long as it wants, for the first time it may have data to download.
        meanwhile: Called once the child runs: something short to do beside it.
        confinement: What the child may see; None: all that this process may.

    Raises:
        ShardError: It could not be constructed or described; in one sentence, with the exception's last line.

    """
    logger.info("describing the shard: constructing %s", source.template)
    scratch = Path(tempfile.mkdtemp(prefix="fedenvoy-shard-"))
    content = {
        "mode": "describe",
        "home": str(home),
        "shard": {"template": source.template, "params": dict(source.params)},
    }
    try:
        ending = supervise(
            content,
            scratch,
            python,
            env=child_environment(os.environ) if env is None else env,
            grace=GRACE,
            cancel=cancel,
            timeout=timeout,
            meanwhile=meanwhile,
            confinement=confinement,
        )
    except StartError as error:
        raise ShardError(f"the shard descriptor {source.template} cannot be constructed: {error}") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    result = ending.result or {}
    if result.get("ok") is True and isinstance(result.get("shard"), dict):
        return _description(source.template, result["shard"])
    if ending.timed_out:
        reason = f"it took longer than {timeout or 0:g} seconds"
    elif "exit" in result:
        said = str(result.get("error") or "")
        reason = f"it exited with {result['exit']}{': ' if said else ''}{said}"
    else:
        lines = ending.tail.splitlines()
        printed = f", after printing {lines[-1][:300]!r}" if lines else ""
        reason = str(result.get("error") or f"its process ended with {ending.status}{printed}")
    raise ShardError(
        f"the shard descriptor {source.template} cannot be constructed: {reason}{_advice(reason, home, env)}"
    )


def _advice(reason: str, home: Path, env: Mapping[str, str] | None) -> str:
    """Say what to do where a module or a variable is missing; about anything else, its own words must say it."""
    variable = _MISSING_VARIABLE.match(reason)
    if variable and variable[1] in os.environ and variable[1] not in (env or child_environment(os.environ)):
        return f"; the environment variable {variable[1]} is not handed on unless agent.child.env names it"
    missing = _MISSING_MODULE.match(reason)
    if missing is None:
        return ""
    return f"; put it into {home}, install it beside fedenvoy, or name it in requirements.txt beside the configuration"


def describe_instance(descriptor: Any) -> ShardDescription:
    """Read what the director is told from a live descriptor.

    Raises:
        ShardError: An attribute is missing or not what it should be.

    """
    name = type(descriptor).__qualname__
    try:
        return _description(
            name,
            {
                "sample_shape": descriptor.sample_shape,
                "target_shape": descriptor.target_shape,
                "dataset_description": str(getattr(descriptor, "dataset_description", "")),
            },
        )
    except ShardError:
        raise
    except Exception as error:
        raise ShardError(f"the shard descriptor {name} cannot be described: {type(error).__name__}: {error}") from error


def pickle_descriptor(descriptor: Any, path: Path) -> None:
    """Write a live descriptor to `path` (mode 0600, whole or not at all), for the child to take it from there.

    A class that can be imported goes by its name, with the directory it is imported from; anything else by value.

    Raises:
        ShardError: It cannot be sent; names the attribute that is in the way.

    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.name, delete=False) as file:
        temporary = Path(file.name)
        try:
            pickle.dump(import_places(descriptor), file)
            _dump(descriptor, file)
            file.flush()
            temporary.replace(path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise ShardError(f"the shard descriptor cannot be written to {path}: {error.strerror or error}") from error
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def check_sendable(descriptor: Any) -> None:
    """Try whether `pickle_descriptor` could write a descriptor, without keeping what it would write.

    Raises:
        ShardError: It cannot be sent; names the attribute that is in the way.

    """
    _dump(descriptor, _Nowhere())


class _Nowhere:
    """A file that keeps nothing: a descriptor may hold its whole data in memory."""

    def write(self, data: Any) -> int:
        return memoryview(data).nbytes

    def tell(self) -> int:
        return 0

    def seek(self, position: int) -> int:
        return position

    def truncate(self) -> int:
        return 0


def _dump(descriptor: Any, file: Any) -> None:
    start = file.tell()
    if _importable(type(descriptor)):
        try:
            pickle.dump(descriptor, file)
            return
        except Exception:  # noqa: BLE001 - whatever stands in the way, by value may do
            file.seek(start)
            file.truncate()
    import cloudpickle  # noqa: PLC0415 - only where it is needed

    try:
        cloudpickle.dump(descriptor, file)
    except Exception as error:
        name = type(descriptor).__qualname__
        attribute = _unpicklable(descriptor)
        place = f"its attribute {attribute!r}" if attribute else "it"
        raise ShardError(
            f"the shard descriptor {name} cannot be sent to the experiment's process: {place} cannot be pickled "
            f"({type(error).__name__}: {error}); create such objects in get_dataset() instead"
        ) from error


def _unpicklable(descriptor: Any) -> str:
    """Give the name of the first attribute that cannot be pickled; empty when it is none by itself."""
    import cloudpickle  # noqa: PLC0415

    for name, value in getattr(descriptor, "__dict__", {}).items():
        try:
            cloudpickle.dumps(value)
        except Exception:  # noqa: BLE001, PERF203 - this is the question
            return str(name)
    return ""


def _importable(kind: type) -> bool:
    """Whether another process gets the same class by its name."""
    found: Any = None if kind.__module__ == "__main__" else sys.modules.get(kind.__module__)
    for part in kind.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is kind


def import_places(descriptor: Any) -> list[str]:
    """Give the directories that another interpreter needs to import what the descriptor is made of.

    The one of its module (for a class of the script itself: the script's) comes first, then what this process has on
    its path beyond what every interpreter has.
    """
    module = sys.modules.get(type(descriptor).__module__.partition(".")[0])
    file = getattr(module, "__file__", None)
    own = [] if file is None else [Path(file).absolute().parent]
    if own and hasattr(module, "__path__"):
        own = [own[0].parent]
    paths = [Path(entry or ".").absolute() for entry in sys.path]
    installed = {Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    installed.add(Path(sysconfig.get_path("platstdlib")) / "lib-dynload")
    places = [place for place in (*own, *paths) if place not in installed and place.is_dir()]
    return list(dict.fromkeys(map(str, places)))


def _description(name: str, found: Mapping[str, Any]) -> ShardDescription:
    return ShardDescription(
        sample_shape=_shape(name, "sample_shape", found.get("sample_shape")),
        target_shape=_shape(name, "target_shape", found.get("target_shape")),
        description=str(found.get("dataset_description", "")),
    )


def _shape(name: str, attribute: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, str | bytes):
        raise ShardError(f"the shard descriptor {name} has a wrong {attribute}: expected a list, not {value!r}")
    try:
        shape = tuple(str(part) for part in value)
    except TypeError:
        raise ShardError(
            f"the shard descriptor {name} has a wrong {attribute}: expected a list, not {value!r}"
        ) from None
    if not shape:
        raise ShardError(f"the shard descriptor {name} has an empty {attribute}; no director accepts that")
    return shape
