"""Takes an archive in by one side's own code: `take_archive.py SIDE PORT`, in an empty directory.

It connects first, so that only what the archive costs is measured. Prints seconds of the download, seconds of
unpacking, and the megabytes by which the process grew meanwhile, as JSON.
"""

# A file that is run by either side's interpreter, never a module of this package.
# mypy: disable-error-code="import-not-found,import-untyped,unused-ignore"
# ruff: noqa: PLC0415, SLF001 - each interpreter has its own side only; OpenFL's step is a private method

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

HOST, NAME, SMALL = "127.0.0.1", "bench", "small"
ARCHIVE = Path("archive.zip")
Steps = tuple[Callable[[], object], Callable[[], object]]


def fedenvoy(port: int) -> Steps:
    """Give the two steps of fedenvoy: it hashes while it downloads, and judges the archive before it unpacks."""
    from fedenvoy.cancel import Cancel
    from fedenvoy.config import ArchiveSettings, DirectorAddress, FetchSettings, LinkSettings, PollSettings
    from fedenvoy.link.director import DirectorLink
    from fedenvoy.workspace.intake import receive, unpack

    director = DirectorAddress(HOST, port)
    link = DirectorLink(
        shard_name=NAME,
        director=director,
        tls=None,
        settings=LinkSettings(),
        poll=PollSettings(),
        fetch=FetchSettings(),
    )
    limits, cancel = ArchiveSettings(), Cancel()
    receive(link.experiment_data(SMALL, lambda _call: None), ARCHIVE, limits, cancel)
    return (
        lambda: receive(link.experiment_data(NAME, lambda _call: None), ARCHIVE, limits, cancel),
        lambda: unpack(ARCHIVE, "", Path("workspace").absolute(), limits, cancel),
    )


def openfl(port: int) -> Steps:
    """Give the two steps of OpenFL's envoy."""
    from openfl.component.envoy.envoy import Envoy
    from openfl.transport.grpc.director_client import ShardDirectorClient
    from openfl.utilities.workspace import ExperimentWorkspace

    client = ShardDirectorClient(director_host=HOST, director_port=port, shard_name=NAME, tls=False)
    Envoy._save_data_stream_to_file(client.get_experiment_data(SMALL)).unlink()
    saved: list[Path] = []
    return (
        lambda: saved.append(Envoy._save_data_stream_to_file(client.get_experiment_data(NAME))),
        lambda: ExperimentWorkspace(NAME, saved[0]).__enter__(),
    )


def raw(port: int) -> Steps:
    """Give the least there is: a gRPC stream whose chunks are written to a file. Nothing is hashed or unpacked."""
    import grpc
    from fedenvoy.wire import openfl16_pb2 as wire

    options = (("grpc.max_receive_message_length", 2**30),)
    call = grpc.insecure_channel(f"{HOST}:{port}", options=options).unary_stream(
        "/openfl.director.Director/GetExperimentData",
        request_serializer=wire.GetExperimentDataRequest.SerializeToString,
        response_deserializer=wire.ExperimentData.FromString,
    )

    def download(name: str) -> None:
        with ARCHIVE.open("wb") as out:
            for message in call(wire.GetExperimentDataRequest(experiment_name=name)):
                out.write(message.npbytes)

    download(SMALL)
    return lambda: download(NAME), lambda: None


def memory(field: str) -> float:
    """Give megabytes."""
    return int(Path("/proc/self/status").read_text("ascii").split(field + ":")[1].split()[0]) / 1024


def main(side: str, port: int) -> None:
    """Take it in, and tell."""
    steps = {"fedenvoy": fedenvoy, "openfl": openfl, "raw": raw}[side](port)
    Path("/proc/self/clear_refs").write_text("5", "ascii")
    idle = memory("VmRSS")
    told = []
    for step in steps:
        begun = time.perf_counter()
        step()
        told.append(time.perf_counter() - begun)
    print(json.dumps([*told, memory("VmHWM") - idle]))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
