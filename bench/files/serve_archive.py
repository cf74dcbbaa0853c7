"""Streams one file to whoever asks for an experiment, as OpenFL's director does: asyncio, 2 MiB at a time.

Run by fedenvoy's interpreter; prints its port, and serves until it is ended.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any

import grpc
from fedenvoy.link.channel import server_options
from fedenvoy.wire import openfl16_pb2 as wire

CHUNK = 2 * 2**20
SMALL = "small"
"""The experiment of a single byte, by which a side connects before it is measured."""


async def main(path: str) -> None:
    """Serve the file."""

    async def send(request: wire.GetExperimentDataRequest, _context: object) -> AsyncIterator[Any]:
        if request.experiment_name == SMALL:
            yield wire.ExperimentData(size=1, npbytes=b"x")
            return
        with open(path, "rb") as file:  # noqa: ASYNC230, PTH123 - as OpenFL's director reads it
            while chunk := file.read(CHUNK):
                yield wire.ExperimentData(size=len(chunk), npbytes=chunk)

    method = grpc.unary_stream_rpc_method_handler(
        send,
        request_deserializer=wire.GetExperimentDataRequest.FromString,
        response_serializer=wire.ExperimentData.SerializeToString,
    )
    service = grpc.method_handlers_generic_handler("openfl.director.Director", {"GetExperimentData": method})
    server = grpc.aio.server(options=server_options())
    server.add_generic_rpc_handlers((service,))
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
