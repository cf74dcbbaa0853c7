"""A large message to an aggregator and back: directly with the key, and over the relay without it. Three processes.

Both ends are gRPC's; the relay runs in this process, as it runs in an agent. What is compared is one call with one
large message, as a collaborator sends the weights of its model.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedenvoy.config import TlsFiles
from fedenvoy.relay import AggregatorRelay
from fedenvoy.testing import ThrowawayAuthority

from bench.bed import Bed
from bench.records import FEDENVOY, Series

MIB = 200
"""Of the message."""
DIRECT = "a process that dials itself"

SERVER = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import grpc
large = [("grpc.max_send_message_length", 2**30), ("grpc.max_receive_message_length", 2**30)]
answer = bytes(int(sys.argv[1]) * 2**20)
exchange = grpc.unary_unary_rpc_method_handler(lambda said, context: b"" if said else answer)
server = grpc.server(ThreadPoolExecutor(2), options=large)
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench.Aggregator", {"Exchange": exchange}),))
root, key, chain = (Path(name).read_bytes() for name in sys.argv[2:])
port = server.add_secure_port("localhost:0", grpc.ssl_server_credentials([(key, chain)], root, True))
server.start()
print(port, flush=True)
sys.stdin.read()
"""

CLIENT = """
import sys, time
from pathlib import Path
import grpc
size, target, authority, *files = sys.argv[1:]
large = [("grpc.max_send_message_length", 2**30), ("grpc.max_receive_message_length", 2**30)]
if files:
    credentials = grpc.ssl_channel_credentials(*(Path(name).read_bytes() for name in files))
    channel = grpc.secure_channel(target, credentials, options=large)
else:
    channel = grpc.insecure_channel(target, options=[*large, ("grpc.default_authority", authority)])
exchange = channel.unary_unary("/bench.Aggregator/Exchange")
message = bytes(int(size) * 2**20)
exchange(b"x", timeout=60)
for said in (message, b""):
    begun = time.perf_counter()
    exchange(said, timeout=600)
    print(time.perf_counter() - begun, flush=True)
"""


def measure(bed: Bed) -> tuple[Series, ...]:
    """Take turns; each sample has a client process of its own, whose connection is made before."""
    authority, place = ThrowawayAuthority(), bed.directory("relay")
    node = authority.issue("node").write(place, "node")
    sent: dict[str, list[float]] = {FEDENVOY: [], DIRECT: []}
    received: dict[str, list[float]] = {FEDENVOY: [], DIRECT: []}
    server = _server(authority.issue("aggregator").write(place, "aggregator"))
    with server as port, AggregatorRelay(place / "s", "localhost", port, tls=node, environ={}):
        ways = {
            DIRECT: (f"localhost:{port}", "", *map(str, _files(node))),
            FEDENVOY: (f"unix:{place / 's'}", f"localhost:{port}"),
        }
        for _ in range(bed.runs):
            for name, way in ways.items():
                up, down = _client(*way)
                sent[name].append(up)
                received[name].append(down)
    note = "over the relay the work of encryption is the agent's, and the experiment's process is spared it"
    return (
        Series(f"{MIB} MiB sent with mutual TLS", "s", sent, note=note),
        Series(f"{MIB} MiB received with mutual TLS", "s", received),
    )


@contextmanager
def _server(files: TlsFiles) -> Iterator[int]:
    argv = [sys.executable, "-c", SERVER, str(MIB), *map(str, _files(files))]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        yield int(server.stdout.readline())
        server.stdin.close()


def _client(*way: str) -> tuple[float, float]:
    argv = [sys.executable, "-c", CLIENT, str(MIB), *way]
    told = subprocess.run(argv, capture_output=True, text=True, timeout=600, check=True).stdout.split()
    return round(float(told[0]), 3), round(float(told[1]), 3)


def _files(files: TlsFiles) -> tuple[Path, Path, Path]:
    """Give the three in the order that gRPC takes."""
    return files.root_certificate, files.private_key, files.certificate
