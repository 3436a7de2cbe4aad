"""IrEnvoy: a task in words of the IR in, answers of a real Envoy out.

    async with run_ir_envoy() as envoy:
        await envoy.serve(outbound(host("www.example.com", route(forward("web")))))
        answer = await envoy.request("http://www.example.com/get")

The applications behind: ``web`` and ``other`` speak HTTP/1.1 and say what they were asked, ``echo`` is no HTTP: it says
``hello`` and then what it is told.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from tests.support.envoy import NODE, SETTLE_SECONDS, EnvoyUnderTest, run_envoy
from tests.support.http_client import UPSTREAM, Answer, Headers, HttpClient, Request

from meshpass.envoy.build import build_snapshot
from meshpass.ir import (
    Backend,
    Endpoint,
    Forward,
    GatewayListener,
    HttpChain,
    JwtProvider,
    JwtRequirement,
    OutboundListener,
    PathPrefix,
    PhasePolicies,
    PolicySet,
    Proxy,
    Route,
    RouteAction,
    RouteConfiguration,
    RouteMatch,
    RouteOptions,
    TcpChain,
    TokenHeader,
    VirtualHost,
    WeightedBackend,
)
from meshpass.memo import Memo

OPEN = "open"
"""A class that requires nothing."""
GUARDED = "guarded"
"""A class that requires a token."""
OUTBOUND_PORT = 15001
URL = "http://www.example.com"
GREETING = b"hello\n"


class IrEnvoy:
    """One Envoy, and applications. ``address`` is where its listeners are to be."""

    def __init__(self, envoy: EnvoyUnderTest, address: str, backends: tuple[Backend, ...]) -> None:
        self._envoy = envoy
        self._memo = Memo()
        self.address = address
        self.backends = backends
        self.client = HttpClient()

    async def serve(self, proxy: Proxy) -> None:
        """Returns when the Envoy has taken the task over and listens. AssertionError if it rejects any of it."""
        listeners = tuple(replace(one, address=self.address) for one in proxy.listeners)
        backends = tuple(sorted((*self.backends, *proxy.backends), key=lambda backend: backend.name))
        self._memo.next_generation()
        told = replace(proxy, node=NODE, listeners=listeners, backends=backends)
        self._envoy.cache.set(build_snapshot(told, self._memo))
        async with asyncio.timeout(SETTLE_SECONDS):
            while not (state := self._envoy.cache.state(NODE)).in_sync:
                assert not state.rejections, [(one.names, one.message) for one in state.rejections]
                await self._envoy.cache.wait_changed(self._envoy.cache.revision)
            for listener in listeners:
                await self._accepting(listener.port)

    async def _accepting(self, port: int) -> None:
        while True:
            with suppress(ConnectionRefusedError):
                (await asyncio.open_connection(self.address, port))[1].close()
                return
            await asyncio.sleep(0.01)

    async def request(
        self, url: str, *, method: str = "GET", headers: Headers = (), port: int = OUTBOUND_PORT
    ) -> Answer:
        """The answer to a request by way of the outbound listener, or, at another port, as a server's."""
        pairs = tuple(headers.items() if isinstance(headers, Mapping) else headers)
        asked = Request(url=url, method=method, headers=pairs, proxied=port == OUTBOUND_PORT)
        return await self.client.send((self.address, port), asked)


@asynccontextmanager
async def run_ir_envoy() -> AsyncIterator[IrEnvoy]:
    """Inside, an Envoy and the applications run."""
    async with AsyncExitStack() as stack:
        backends = []
        for name in ("echo", "other", "web"):
            application = _echo if name == "echo" else _Web(name).answer
            server = await stack.enter_async_context(await asyncio.start_server(application, "127.0.0.1", 0))
            backends.append(Backend(name=name, endpoints=(Endpoint(*server.sockets[0].getsockname()[:2]),)))
        running = IrEnvoy(await stack.enter_async_context(run_envoy()), _free_address(), tuple(backends))
        stack.callback(running.client.close)
        yield running


def _free_address() -> str:
    while True:
        address = f"127.{random.SystemRandom().randint(64, 126)}.{random.SystemRandom().randint(1, 254)}.9"
        with socket.socket() as probe:
            try:
                probe.bind((address, OUTBOUND_PORT))
            except OSError:
                continue
            return address


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(GREETING)
    with suppress(ConnectionError):
        while told := await reader.read(65536):
            writer.write(told)
            await writer.drain()
    writer.close()


class _Web:
    """An HTTP/1.1 application. ``/flaky/<n>/<key>`` is answered 503 n times for each key, then 200."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._failures: dict[str, int] = {}

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                first, *lines = head.rstrip().split("\r\n")
                headers: dict[str, list[str]] = {}
                for line in lines:
                    name, _, value = line.partition(": ")
                    headers.setdefault("-".join(part.capitalize() for part in name.split("-")), []).append(value)
                if "Upgrade" in headers:
                    writer.write(
                        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
                    )
                    await _echo(reader, writer)
                    return
                await reader.readexactly(int(headers.get("Content-Length", ["0"])[0]))
                method, path, _ = first.split(" ")
                status = self._status(path)
                body = json.dumps({"method": method, "path": path, "headers": headers}).encode()
                writer.write(
                    f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\n{UPSTREAM}: {self._name}\r\n"
                    "x-powered-by: tests\r\n\r\n".encode()
                )
                writer.write(body)
        writer.close()

    def _status(self, path: str) -> int:
        match path.split("/"):
            case [_, "flaky", times, *_] if self._failures.get(path, 0) < int(times):
                self._failures[path] = self._failures.get(path, 0) + 1
                return 503
        return 200


def forward(backend: str = "web", **rest: Any) -> Forward:
    """All requests to one backend."""
    return Forward(backends=(WeightedBackend(backend=backend, weight=100),), **rest)


def route(
    action: RouteAction | None = None, match: RouteMatch | None = None, selection_class: str = OPEN, name: str = "r"
) -> Route:
    """A route; of all requests to ``web`` unless told otherwise."""
    return Route(name=name, match=match or RouteMatch(), action=action or forward(), selection_class=selection_class)


def under(prefix: str, **rest: Any) -> RouteMatch:
    """Requests whose path begins so."""
    return RouteMatch(path=PathPrefix(prefix), **rest)


def host(name: str, *routes: Route, **rest: Any) -> VirtualHost:
    """The routes of one host."""
    return VirtualHost(name=name, domains=(name,), routes=routes, **rest)


def routes(name: str, *hosts: VirtualHost, options: Mapping[str, RouteOptions] | None = None) -> RouteConfiguration:
    """A route configuration."""
    return RouteConfiguration(name=name, virtual_hosts=hosts, options=MappingProxyType(dict(options or {})))


def outbound(*hosts: VirtualHost, options: Mapping[str, RouteOptions] | None = None, **rest: Any) -> Proxy:
    """A task with an outbound listener."""
    listener = OutboundListener(name="outbound", address="", port=OUTBOUND_PORT, route_configuration="outbound")
    return Proxy(node=NODE, listeners=(listener,), routes=(routes("outbound", *hosts, options=options),), **rest)


def gateway(
    port: int, *chains: HttpChain | TcpChain, tables: tuple[RouteConfiguration, ...] = (), **rest: Any
) -> Proxy:
    """A task with a gateway listener."""
    listener = GatewayListener(name=f"gateway-{port}", address="", port=port, chains=chains)
    return Proxy(node=NODE, listeners=(listener,), routes=tables, **rest)


def guarded(jwks: str, **rest: Any) -> PolicySet:
    """Requires a token that these keys verify on class GUARDED, and nothing on class OPEN."""
    provider = JwtProvider(
        name="p",
        issuer="",
        audiences=(),
        jwks=jwks,
        headers=(TokenHeader("authorization", "Bearer "),),
        query_parameters=(),
        keep_token=False,
        clock_skew_seconds=60,
        payload_header="",
        payload_key="payload",
    )
    return PolicySet(
        pre=PhasePolicies(
            providers=(provider,),
            requirements=MappingProxyType({OPEN: (), GUARDED: (JwtRequirement(providers=("p",)),)}),
        ),
        post=PhasePolicies(requirements=MappingProxyType({OPEN: (), GUARDED: ()})),
        **rest,
    )
