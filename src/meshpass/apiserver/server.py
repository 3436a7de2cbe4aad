"""ApiServer: the embedded API server of one cluster, inside the running event loop."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from types import TracebackType
from typing import Self

from meshpass.apiserver.application import make_application
from meshpass.apiserver.auth import BearerToken
from meshpass.apiserver.bootstrap import bootstrap
from meshpass.apiserver.builtin import BUILTIN_RESOURCES
from meshpass.apiserver.collector import Collector
from meshpass.apiserver.definitions import Definitions
from meshpass.apiserver.documents import Documents
from meshpass.apiserver.pods import PodConnections
from meshpass.apiserver.registry import Registry
from meshpass.apiserver.rest import RestApi
from meshpass.apiserver.settings import ApiServerSettings
from meshpass.apiserver.storage import Storage
from meshpass.apiserver.watch import Hub
from meshpass.apiserver.websocket import QuietWebSocket, UpgradableProtocol
from meshpass.apiserver.writer import Writer
from meshpass.errors import LocalMeshError
from meshpass.httpserver import HttpServer
from meshpass.secretfile import make_private_directory

DATABASE = "state.db"
_KEEP_ALIVE_SECONDS = 120
"""Longer than clients keep idle connections (Go: 90 s), so that it is never a request that finds one closed."""
_log = logging.getLogger(__name__)


class ApiServer:
    """``async with ApiServer(settings) as server``: inside, ``server.url`` accepts connections."""

    def __init__(self, settings: ApiServerSettings) -> None:
        self._settings = settings
        self._port = settings.port
        self._group = asyncio.TaskGroup()
        self._collector: Collector | None = None

    @property
    def port(self) -> int:
        """The port that is listened on; once started never 0."""
        return self._port

    @property
    def url(self) -> str:
        """What clients connect to."""
        return f"https://{self._settings.host}:{self._port}"

    async def __aenter__(self) -> Self:
        """The definitions are stored, the standard namespaces exist and connections are accepted.

        Raises LocalMeshError when the port is taken or the database cannot be opened.
        """
        settings = self._settings
        listener = _listen(settings.host, settings.port)
        try:
            self._port = listener.getsockname()[1]
            make_private_directory(settings.directory)
            settings.directory.chmod(0o700)
            self._hub = Hub()
            self._storage = Storage(
                settings.directory / DATABASE,
                history=settings.history,
                history_seconds=settings.history_seconds,
                committed=self._committed,
            )
        except BaseException:
            listener.close()
            raise
        try:
            self._server = await self._start(listener)
        except BaseException:
            listener.close()
            self._storage.close()
            raise
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        """Watches have ended, connections are closed and the database is complete."""
        try:
            self._hub.close()
            await self._server.stop(self._serving)
            self._collecting.cancel()
            # Not told of the block's exception, the group does not wrap it: callers see what was raised.
            await self._group.__aexit__(None, None, None)
        finally:
            self._storage.close()

    async def _start(self, listener: socket.socket) -> HttpServer:
        settings = self._settings
        registry = Registry(BUILTIN_RESOURCES)
        definitions = Definitions(self._storage, registry)
        writer = Writer(self._storage, registry, definitions)
        collector = Collector(self._storage, registry, writer, event_seconds=settings.event_seconds)
        self._collector = collector
        bootstrap(self._storage, registry, writer, settings.crds)
        rest = RestApi(self._storage, registry, writer, self._hub, bookmark_seconds=settings.bookmark_seconds)
        pods = PodConnections(self._storage, registry, settings.pods)
        application = make_application(Documents(registry), rest, pods)
        server = HttpServer(
            BearerToken(application, token=settings.token),
            ssl_certfile=settings.certificate,
            ssl_keyfile=settings.private_key,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            http=UpgradableProtocol,
            ws=QuietWebSocket,
            # Bytes on loopback need no compression. Who has gone is seen by the connection; and while a program does not
            # take its input, nothing is read, pongs included.
            ws_per_message_deflate=False,
            ws_ping_interval=None,
        )
        await self._group.__aenter__()
        self._serving = await server.start(listener, self._group)
        self._collecting = self._group.create_task(collector.run())
        _log.info("API server started: cluster %s, %s", settings.cluster, self.url)
        return server

    def _committed(self, kinds: frozenset[str]) -> None:
        self._hub.publish(kinds)
        if self._collector is not None:
            self._collector.notify()


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":
            # A restarted server finds its port free although old connections still linger in TIME_WAIT.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(1024)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        taken = error.errno == errno.EADDRINUSE
        raise LocalMeshError(
            f"port {port} of {host} is already in use"
            if taken
            else f"cannot listen on {host}:{port}: {error.strerror}",
            hint="stop what listens there, or choose another port" if taken else None,
        ) from error
    return listener
