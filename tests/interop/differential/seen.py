"""What a director saw of a node, as words that two nodes can be compared by. Knows no script and no node.

Health checks come from a thread of their own in one of the two programs, so their place among the other calls means
nothing; they are an aspect by themselves.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Sequence
from itertools import groupby, pairwise
from typing import Any

from fedenvoy.testing import RecordedCall

__all__ = ["CHECK", "calls_of", "checks_of", "pace_of", "words_of"]

CHECK = "UpdateEnvoyStatus"
EXPECTED = "one: 20 points near a plane, 4 to 1, 0 samples"
"""What the shard of every script is: fields of a registration that are as they should be are not told."""


def calls_of(calls: Iterable[RecordedCall], limit: int) -> str:
    """Tell the calls that are no health checks, in order, up to a number of them."""
    return ", ".join([_call(call) for call in calls if call.method != CHECK][:limit]) or "none"


def _call(call: RecordedCall) -> str:
    request = call.request
    if call.method == "UpdateShardInfo":
        return f"register{_registered(request.shard_info)}"
    if call.method == "WaitExperiment":
        return f"poll{_named(request.collaborator_name)}"
    if call.method == "GetExperimentData":
        return f"fetch {request.experiment_name}{_named(request.collaborator_name)}"
    return f"report {request.experiment_name} with code {request.error_code}{_named(request.collaborator_name)}"


def _named(name: str) -> str:
    """Say under which name a call came, where it is not the shard's."""
    return "" if name == "one" else f" as {name!r}"


def _registered(shard: Any) -> str:
    """Tell what a registration said of the shard, where it is not what is expected, and of its GPUs."""
    shapes = f"{' '.join(shard.sample_shape)} to {' '.join(shard.target_shape)}"
    said = f"{shard.node_info.name}: {shard.shard_description}, {shapes}, {shard.n_samples} samples"
    devices = "; ".join(_device(device) for device in shard.node_info.cuda_devices)
    return f"{'' if said == EXPECTED else f' {said}'}{f' with GPUs {devices}' if devices else ''}"


def _device(device: Any) -> str:
    """Tell the fields of a GPU that are not zero or empty."""
    told = ", ".join(f"{field.name} {value}" for field, value in device.ListFields() if field.name != "index")
    return f"{device.index}{f' ({told})' if told else ''}"


def checks_of(calls: Iterable[RecordedCall]) -> str:
    """Tell what the health checks said, each change once; of GPUs only their number: readings change."""
    told = []
    for call in calls:
        if call.method == CHECK:
            busy = "running" if call.request.is_experiment_running else "free"
            gpus = f" with {len(call.request.cuda_devices)} GPUs" if call.request.cuda_devices else ""
            told.append(f"{busy}{gpus}{_named(call.request.name)}")
    return ", ".join(word for word, _ in groupby(told)) or "none"


def pace_of(calls: Sequence[RecordedCall]) -> str:
    """Tell the usual time between two health checks, to half a second."""
    times = [call.at for call in calls if call.method == CHECK]
    if len(times) < 4:
        return "too few to tell"
    return f"every {round(statistics.median(b - a for a, b in pairwise(times)) * 2) / 2:g} s"


def words_of(calls: Iterable[RecordedCall]) -> str:
    """Tell the kind of words that the failure reports had: a traceback with its last line, or a sentence."""
    texts = [call.request.error_description.strip() for call in calls if call.method == "SetExperimentFailed"]
    return ", ".join(kind for kind, _ in groupby(map(_kind, texts))) or "none"


def _kind(text: str) -> str:
    lines = text.splitlines()
    if lines and lines[0].startswith("Traceback"):
        return f"a traceback, at the end {re.split(r'[:(]', lines[-1])[0]}"
    return "one line" if len(lines) == 1 else f"{len(lines)} lines"
