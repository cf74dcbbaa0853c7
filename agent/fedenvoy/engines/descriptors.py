"""Shard descriptors: described in a child or in place, and sent to children by value.

A descriptor named in the configuration is never constructed in the agent: importing what it needs can cost hundreds of
megabytes. One passed to `Envoy(...)` is a live object already.
"""

from __future__ import annotations

import os
import pickle
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedenvoy.engines.process import child_environment
from fedenvoy.engines.supervise import StartError, supervise
from fedenvoy.errors import ShardError
from fedenvoy.events import ShardDescription

if TYPE_CHECKING:
    from fedenvoy.cancel import Cancel
    from fedenvoy.config import ShardSource

__all__ = ["describe", "describe_instance", "pickle_descriptor"]

DESCRIBE_TIMEOUT = 600.0
"""Seconds that a descriptor may take to be constructed: the first time it may have data to prepare."""
GRACE = 2.0


def describe(
    source: ShardSource, home: Path, python: Path, cancel: Cancel, timeout: float = DESCRIBE_TIMEOUT
) -> ShardDescription:
    """Construct a descriptor in a child of its own and read what the director is told.

    Args:
        source: Where it is and what it is constructed with.
        home: First working directory and import path of the child.
        python: The interpreter to construct it in.
        cancel: Ends the child; `Cancelled` is raised.
        timeout: Seconds it may take.

    Raises:
        ShardError: It could not be constructed or described; in one sentence, with the exception's last line.

    """
    scratch = Path(tempfile.mkdtemp(prefix="fedenvoy-shard-"))
    content = {
        "mode": "describe",
        "home": str(home),
        "shard": {"template": source.template, "params": dict(source.params)},
    }
    try:
        env = child_environment(os.environ)
        ending = supervise(content, scratch, python, env=env, grace=GRACE, cancel=cancel, timeout=timeout)
    except StartError as error:
        raise ShardError(f"the shard descriptor {source.template} cannot be constructed: {error}") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    result = ending.result or {}
    if result.get("ok") is True and isinstance(result.get("shard"), dict):
        return _description(source.template, result["shard"])
    if ending.timed_out:
        reason = f"it took longer than {timeout:g} seconds"
    elif "exit" in result:
        reason = f"it exited with {result['exit']}"
    else:
        lines = ending.tail.splitlines()
        printed = f", after printing {lines[-1][:300]!r}" if lines else ""
        reason = str(result.get("error") or f"its process ended with {ending.status}{printed}")
    raise ShardError(f"the shard descriptor {source.template} cannot be constructed: {reason}")


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
            pickle.dump(_import_places(descriptor), file)
            _dump(descriptor, file)
            file.flush()
            temporary.replace(path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise ShardError(f"the shard descriptor cannot be written to {path}: {error.strerror or error}") from error
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


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


def _import_places(descriptor: Any) -> list[str]:
    """Give the directory that the descriptor's module was imported from, unless every interpreter has it."""
    top = sys.modules.get(type(descriptor).__module__.partition(".")[0])
    file = getattr(top, "__file__", None)
    if top is None or file is None or top.__name__ == "__main__":
        return []
    place = Path(file).absolute().parent
    if hasattr(top, "__path__"):
        place = place.parent
    installed = {Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    return [] if place in installed else [str(place)]


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
