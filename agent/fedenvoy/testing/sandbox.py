"""A director to test against: a real gRPC server that speaks the protocol of OpenFL 1.6, and fails on demand.

It behaves as the real one was seen to behave, its mistakes included, and keeps every call that it gets. It runs no
aggregator: an experiment goes out, and what the node makes of it is seen in the calls that follow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

import grpc

from fedenvoy.config import DirectorAddress, TlsFiles
from fedenvoy.link.channel import server_options
from fedenvoy.testing.certs import Pem
from fedenvoy.testing.faults import FaultControls, Faults, known
from fedenvoy.testing.ports import ReservedPort
from fedenvoy.testing.recording import RecordedCall, Recorder
from fedenvoy.testing.registry import Experiment, Node, Registry
from fedenvoy.testing.service import Service, handlers

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["SandboxDirector"]

T = TypeVar("T")

CHUNK_SIZE = 2 * 2**20
"""Bytes in a chunk of the real director."""

_THREADS = 64


class SandboxDirector(FaultControls):
    """A director in this process; use it as a context manager.

    Args:
        host: The address to listen on, IPv4 or IPv6.
        port: The port; 0 takes a free one. It is kept over restarts, and nobody else gets it meanwhile.
        tls: Key, certificate and authority for mutual TLS; None: plain text.
        sample_shape: The shape that a shard must have to be accepted; None: any.
        target_shape: Likewise.
        period: Seconds between health checks; None: the reply names none.
        chunk_size: Bytes in a chunk of an archive.
        reoffers: Whether a node that polls again gets an unfinished experiment again, as from the real director; it is
            finished when `finish` says so.
        observe: Gets each call as it comes in, in the call's own thread, before anything is done about it.

    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: Pem | TlsFiles | None = None,
        sample_shape: Sequence[str] | None = None,
        target_shape: Sequence[str] | None = None,
        period: float | None = 60.0,
        chunk_size: int = CHUNK_SIZE,
        reoffers: bool = False,
        observe: Callable[[RecordedCall], object] | None = None,
    ) -> None:
        self._tls = Pem.read(tls) if isinstance(tls, TlsFiles) else tls
        self._reserved = ReservedPort(host, port)
        self._server: grpc.Server | None = None
        self._pool: ThreadPoolExecutor | None = None
        recorder = Recorder(observe)
        self._recorder = recorder
        self._registry = Registry(recorder.changed, sample_shape, target_shape, reoffers=reoffers)
        super().__init__(Faults(recorder.changed))
        self._service = Service(recorder, self._faults, self._registry, period=period, chunk_size=chunk_size)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # ---- Life

    @property
    def address(self) -> DirectorAddress:
        """Give where it listens, or will."""
        return DirectorAddress(self._reserved.host, self._reserved.port)

    def start(self) -> Self:
        """Begin to serve."""
        if self._server is not None:
            raise RuntimeError("the sandbox director is running already")
        self._service.stopping = False
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="sandbox-director")
        server = grpc.server(self._pool, options=server_options())
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("openfl.director.Director", handlers(self._service)),)
        )
        if self._tls is None:
            server.add_insecure_port(self.address.target)
        else:
            credentials = grpc.ssl_server_credentials(
                [(self._tls.private_key, self._tls.certificate)],
                root_certificates=self._tls.root_certificate,
                require_client_auth=True,
            )
            server.add_secure_port(self.address.target, credentials)
        server.start()
        self._server = server
        return self

    def stop(self) -> None:
        """Go down at once, as a killed process does: calls break, connections are refused, the port is kept."""
        server, self._server = self._server, None
        pool, self._pool = self._pool, None
        if server is None or pool is None:
            return
        ended = server.stop(None)
        with self._recorder.changed:
            self._service.stopping = True
            self._recorder.changed.notify_all()
        ended.wait()
        pool.shutdown()

    def restart(self, *, forget: bool = True) -> None:
        """Go down and come back on the same port.

        Args:
            forget: Whether nodes and experiments are forgotten, as the real director forgets them.

        """
        self.stop()
        if forget:
            self.forget()
        self.start()

    def close(self) -> None:
        """Go down and let go of the port; harmless when repeated."""
        self.stop()
        self._reserved.close()

    # ---- What it knows

    @property
    def nodes(self) -> dict[str, Node]:
        """Give the registered nodes by name."""
        with self._recorder.changed:
            return dict(self._registry.nodes)

    @property
    def experiments(self) -> dict[str, Experiment]:
        """Give the submitted experiments by name."""
        with self._recorder.changed:
            return dict(self._registry.experiments)

    @property
    def handed_out(self) -> tuple[tuple[str, str], ...]:
        """Give what was answered to polls so far: node and experiment, in order, heard of or not."""
        with self._recorder.changed:
            return tuple(self._registry.handed_out)

    def under_way(self, method: str) -> int:
        """Give the number of calls of a method that neither side has ended, as far as is known here."""
        with self._recorder.changed:
            return self._service.under_way[known(method)]

    def parked(self, node: str) -> int:
        """Give the number of a node's polls that wait here, those included whose end has not been noticed yet."""
        with self._recorder.changed:
            return self._registry.parked(node)

    def offer(self, name: str, archive: bytes, to: Sequence[str], *, over: Callable[[], bool] = bool) -> None:
        """Submit an experiment for some nodes; it goes to each with its next poll.

        Args:
            name: Its name; a known one is submitted anew.
            archive: The zip file's bytes.
            to: The nodes.
            over: Asked before it is offered again: whether its aggregator is through although nobody called `finish`.
                Must not block.

        """
        with self._recorder.changed:
            self._registry.offer(name, archive, to, over)

    def finish(self, name: str) -> None:
        """Let an experiment be over: it is not offered again."""
        with self._recorder.changed:
            self._registry.experiments[name].finished = True

    def remove(self, name: str) -> None:
        """Forget an experiment, as when its user removes it: its archive is no longer to be had."""
        with self._recorder.changed:
            del self._registry.experiments[name]

    def lose_archive(self, name: str) -> None:
        """Keep an experiment, but lose the file of its archive."""
        with self._recorder.changed:
            self._registry.experiments[name].archive = None

    def forget(self) -> None:
        """Forget all nodes and experiments without going down."""
        with self._recorder.changed:
            self._registry.forget()

    def set_period(self, period: float | None) -> None:
        """Set the seconds between health checks; None: the reply names none."""
        with self._recorder.changed:
            self._service.period = period

    def accept_shapes(self, sample_shape: Sequence[str] | None, target_shape: Sequence[str] | None) -> None:
        """Set the shapes that a registration must have from now on; None: any."""
        with self._recorder.changed:
            self._registry.shapes = (sample_shape, target_shape)

    def refuse_shards(self) -> None:
        """Accept no registration from now on, whatever its shapes."""
        self.accept_shapes((), ())

    # ---- What it was asked

    @property
    def calls(self) -> tuple[RecordedCall, ...]:
        """Give all calls so far, in order; those of earlier lives included."""
        return self._recorder.calls()

    def calls_of(self, method: str) -> tuple[RecordedCall, ...]:
        """Give the calls of one method so far, for example of "UpdateEnvoyStatus"."""
        return self._recorder.calls(known(method))

    @property
    def reports(self) -> tuple[Any, ...]:
        """Give the failure reports so far: `SetExperimentFailedRequest` messages."""
        return tuple(call.request for call in self.calls_of("SetExperimentFailed"))

    def wait_for(self, predicate: Callable[[tuple[RecordedCall, ...]], T], timeout: float = 10.0) -> T:
        """Wait until a question about the calls has a true answer, and give that answer.

        Args:
            predicate: Gets all calls so far; is asked again whenever anything happens here.
            timeout: Seconds.

        Raises:
            TimeoutError: It had none in time; the error names the calls there were.

        """
        return self._recorder.wait_for(predicate, timeout)

    def wait_for_calls(self, method: str, count: int = 1, timeout: float = 10.0) -> tuple[RecordedCall, ...]:
        """Wait until a method was called so many times; give its calls.

        Raises:
            TimeoutError: It was not in time.

        """
        known(method)
        self.wait_for(lambda calls: sum(1 for call in calls if call.method == method) >= count, timeout)
        return self.calls_of(method)
