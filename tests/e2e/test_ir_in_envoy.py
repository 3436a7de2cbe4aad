"""What the IR says of HTTP, in a real Envoy: matches, actions, options, tunnels, protocols, and what clients may not do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import grpc
import grpc.aio
import h2.config
import h2.connection
import h2.events
import h2.exceptions
import httpx2 as httpx
import pytest
import pytest_asyncio
from tests.support.http_client import Answer
from tests.support.ir_envoy import (
    GREETING,
    GUARDED,
    OPEN,
    OUTBOUND_PORT,
    URL,
    IrEnvoy,
    forward,
    gateway,
    guarded,
    host,
    outbound,
    route,
    routes,
    run_ir_envoy,
    under,
)
from tests.support.tokens import DEV, public_jwks, sign

from meshpass.ir import (
    Abort,
    Backend,
    Cors,
    Delay,
    DirectResponse,
    Endpoint,
    Forward,
    HeaderChanges,
    HeaderValue,
    HttpChain,
    InboundListener,
    OriginKind,
    OriginMatch,
    PathExact,
    PathPrefix,
    PathRegex,
    PrefixRewrite,
    Proxy,
    Redirect,
    RegexRewrite,
    Retries,
    Route,
    RouteMatch,
    RouteOptions,
    WeightedBackend,
)

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]


KEYS = public_jwks("main")
POLICIES = guarded(KEYS)
BEARER = {"authorization": f"Bearer {sign(DEV)}"}
MISSING = "Jwt is missing"
GATEWAY_PORT = 8080


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def envoy() -> AsyncIterator[IrEnvoy]:
    async with run_ir_envoy() as running:
        yield running


async def serve(envoy: IrEnvoy, *routes: Route, **rest: Any) -> None:
    """These routes of www.example.com by the outbound listener."""
    await envoy.serve(outbound(host("www.example.com", *routes), policies=POLICIES, **rest))


def plain_gateway(*routes_of_host: Route, options: dict[str, RouteOptions] | None = None, **rest: Any) -> Proxy:
    """These routes of www.example.com by a gateway in plain HTTP."""
    table = routes("http", host("www.example.com", *routes_of_host, **rest), options=options)
    chain = HttpChain(name="http", route_configuration="http")
    return gateway(GATEWAY_PORT, chain, tables=(replace(table, ignore_port=True),), policies=POLICIES)


def path_of(answer: Answer) -> str:
    assert answer.status == 200, answer.text
    return str(answer.json["path"])


# Matches


async def test_further_conditions_hold_on_the_path_alone(envoy: IrEnvoy) -> None:
    """A prefix beside an expression, two expressions, and case that is ignored; what a query says does not count."""
    both = RouteMatch(path=PathRegex("/a/.*"), also=(PathRegex(".*/z"), PathPrefix("/A/B", ignore_case=True)))
    exact = RouteMatch(path=PathPrefix("/e"), also=(PathExact("/E/x.y", ignore_case=True),))
    await serve(envoy, route(forward("other"), both), route(forward("other"), exact), route())
    for path, name in {
        "/a/b/z": "other",
        "/a/b/z?q=/z": "other",
        "/a/b/c?q=/z": "web",
        "/a/c/z": "web",
        "/b/b/z": "web",
        "/e/X.y?z": "other",
        "/e/xzy": "web",
        "/e/x.y/": "web",
    }.items():
        assert (await envoy.request(URL + path)).upstream == name, path


@pytest.mark.parametrize(
    "path", ["/x/../admin", "//admin", "/x%2f..%2fadmin", "/%61dmin", "/x/..%2Fadmin", "/a%5c..%5cadmin", "/admin%2f"]
)
async def test_no_other_way_of_writing_a_path_passes_by_its_route(envoy: IrEnvoy, path: str) -> None:
    """Routes are matched when the path is in its one form; the application gets that form."""
    await serve(envoy, route(match=under("/admin"), selection_class=GUARDED), route())
    answer = await envoy.request(URL + path)
    assert (answer.status, answer.text) == (401, MISSING)
    assert path_of(await envoy.request(URL + path, headers=BEARER)).startswith("/admin")


# Actions


@pytest.mark.parametrize(
    ("match", "rewrite", "asked", "sent"),
    [
        (under("/a"), PrefixRewrite("/b"), "/a/x?q=1", "/b/x?q=1"),
        (RouteMatch(path=PathExact("/a")), PrefixRewrite("/b"), "/a?q=1", "/b?q=1"),
        (RouteMatch(path=PathPrefix("/a", ignore_case=True)), PrefixRewrite("/b"), "/A/x", "/b/x"),
        (RouteMatch(path=PathRegex("/a/[0-9]+")), RegexRewrite("/a/([0-9]+)", r"/n/\1/x"), "/a/12?q=1", "/n/12/x?q=1"),
        (RouteMatch(), RegexRewrite("a", "b"), "/a/a", "/b/b"),
    ],
)
async def test_a_path_is_rewritten(
    envoy: IrEnvoy, match: RouteMatch, rewrite: PrefixRewrite | RegexRewrite, asked: str, sent: str
) -> None:
    """What the match says is replaced, or what the expression finds; the query stays."""
    await serve(envoy, route(replace_path(forward(), rewrite), match))
    answer = await envoy.request(URL + asked)
    assert path_of(answer) == sent
    assert "X-Envoy-Original-Path" not in answer.json["headers"]


def replace_path(action: Forward, rewrite: PrefixRewrite | RegexRewrite) -> Forward:
    return Forward(backends=action.backends, path_rewrite=rewrite)


async def test_each_share_rewrites_its_own_host(envoy: IrEnvoy) -> None:
    """One backend gets a new Host, the other the client's."""
    shares = (
        WeightedBackend(backend="web", weight=50, host_rewrite="web.internal"),
        WeightedBackend(backend="other", weight=50),
    )
    await serve(envoy, route(Forward(backends=shares)))
    answers = [await envoy.request(URL) for _ in range(40)]
    assert {(one.upstream, *one.seen("host")) for one in answers} == {
        ("web", "web.internal"),
        ("other", "www.example.com"),
    }
    await serve(envoy, route(Forward(backends=shares[:1])))
    assert (await envoy.request(URL)).seen("host") == ["web.internal"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_changes_what_it_names(envoy: IrEnvoy, status: int) -> None:
    """Host, path, both or nothing but the status; the query stays; a policy of the route holds."""
    await serve(
        envoy,
        route(Redirect(status=status, host="new.example.com"), under("/host")),
        route(Redirect(status=status, path="/new"), under("/path")),
        route(Redirect(status=status), under("/guarded"), GUARDED),
    )
    answer = await envoy.request(f"{URL}/host/x?q=1")
    assert (answer.status, answer.header("location")) == (status, "http://new.example.com/host/x?q=1")
    assert (await envoy.request(f"{URL}/path/x?q=1")).header("location") == f"{URL}/new?q=1"
    assert (await envoy.request(f"{URL}/guarded")).status == 401


async def test_a_host_is_redirected_to_https_as_a_whole(envoy: IrEnvoy) -> None:
    """301, without a token, and the port of plain HTTP does not stay in the URL; clients do not say what they speak."""
    await envoy.serve(plain_gateway(route(selection_class=GUARDED), redirect_to_https=True))
    for url in (URL, f"{URL}:80"):
        for headers in ({}, {"x-forwarded-proto": "https"}):
            answer = await envoy.request(f"{url}/get?a=b", port=GATEWAY_PORT, headers=headers)
            assert (answer.status, answer.header("location")) == (301, "https://www.example.com/get?a=b")


# Options


async def test_what_fails_is_sent_again_as_often_as_it_says(envoy: IrEnvoy) -> None:
    """With the conditions that are named, or with the proxy's own; a class without retries has none."""
    two = RouteOptions(retries=Retries(attempts=2))
    reset = RouteOptions(retries=Retries(attempts=2, retry_on="reset"))
    listed = RouteOptions(retries=Retries(attempts=2, retry_on="retriable-status-codes", status_codes=(503,)))
    await serve(
        envoy,
        *(route(match=under(f"/flaky/{times}/two"), selection_class=OPEN) for times in (2, 3)),
        route(),
        options={OPEN: two},
    )
    assert (await envoy.request(f"{URL}/flaky/2/two")).status == 200
    assert (await envoy.request(f"{URL}/flaky/3/two")).status == 503
    for options, status in ((reset, 503), (listed, 200), (None, 503)):
        await serve(envoy, route(), options={OPEN: options} if options else None)
        answer = await envoy.request(f"{URL}/flaky/1/{id(options)}", headers={"x-envoy-retry-on": "5xx"})
        assert answer.status == status


async def test_an_answer_that_is_late_is_given_up(envoy: IrEnvoy) -> None:
    """504 after the timeout; what a client asks for by Envoy's own headers counts for nothing."""
    async with silent_backend() as backend:
        await serve(
            envoy, route(forward("silent")), options={OPEN: RouteOptions(timeout_milliseconds=80)}, backends=(backend,)
        )
        begun = time.monotonic()
        answer = await envoy.request(URL, headers={"x-envoy-upstream-rq-timeout-ms": "9000"})
        assert (answer.status, time.monotonic() - begun < 5) == (504, True)
        tries = RouteOptions(retries=Retries(attempts=1, per_try_timeout_milliseconds=50, retry_on="5xx"))
        await serve(envoy, route(forward("silent")), options={OPEN: tries}, backends=(backend,))
        assert (await envoy.request(URL)).status == 504
    await serve(envoy, route())
    headers = {"x-envoy-upstream-rq-timeout-ms": "1", "x-envoy-foo": "1", "x-meshpass-path": "/?x"}
    seen = (await envoy.request(URL, headers=headers)).json["headers"]
    assert not [name for name in seen if name.startswith(("X-Envoy", "X-Meshpass"))]


def silent_backend() -> Any:
    return serving("silent", _read_on)


async def _read_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.read(65536):
        pass
    writer.close()


class serving:  # noqa: N801
    """Inside, an application listens; it is the backend of this name."""

    def __init__(self, name: str, application: Any, **rest: Any) -> None:
        self._name, self._application, self._rest = name, application, rest

    async def __aenter__(self) -> Backend:
        self._server = await asyncio.start_server(self._application, "127.0.0.1", 0)
        address = Endpoint(*self._server.sockets[0].getsockname()[:2])
        return Backend(name=self._name, endpoints=(address,), **self._rest)

    async def __aexit__(self, *_: object) -> None:
        self._server.close()


async def test_headers_are_removed_then_written_literally(envoy: IrEnvoy) -> None:
    """Of the request and of the answer; a per cent sign is one, not the beginning of a command."""
    changes = HeaderChanges(
        add_to_request=(
            HeaderValue(name="x-one", value="%REQ(x-secret)%"),
            HeaderValue(name="x-two", value="2", append=False),
            HeaderValue(name="x-three", value="3"),
        ),
        remove_from_request=("x-secret", "x-three"),
        add_to_response=(HeaderValue(name="x-answer", value="100%", append=False),),
        remove_from_response=("x-powered-by",),
    )
    await serve(envoy, route(), options={OPEN: RouteOptions(headers=changes)})
    sent = {"x-one": "0", "x-two": "0", "x-three": "0", "x-secret": "s"}
    answer = await envoy.request(URL, headers=sent)
    assert [answer.seen(name) for name in sent] == [["0", "%REQ(x-secret)%"], ["2"], ["3"], []]
    assert (answer.header("x-answer"), answer.header("x-powered-by")) == ("100%", None)


async def test_faults_meet_those_who_may_pass(envoy: IrEnvoy) -> None:
    """An abort, a delay; who has no token is refused at once, and other classes know nothing of it."""
    faults = RouteOptions(abort=Abort(percent=100, status=418), delay=Delay(percent=100, milliseconds=60))
    guarded_route = route(match=under("/guarded"), selection_class=GUARDED)
    await serve(envoy, guarded_route, route(), options={GUARDED: faults})
    begun = time.monotonic()
    assert (await envoy.request(f"{URL}/guarded", headers=BEARER)).status == 418
    # Envoy's timers are not exact to the millisecond.
    assert time.monotonic() - begun >= 0.05
    assert (await envoy.request(f"{URL}/guarded")).status == 401
    assert (await envoy.request(URL, headers={"x-envoy-fault-abort-request": "500"})).status == 200
    await serve(envoy, route(), options={OPEN: RouteOptions(abort=Abort(percent=50, status=418))})
    statuses = [(await envoy.request(URL)).status for _ in range(60)]
    assert 10 <= statuses.count(418) <= 50


CORS = RouteOptions(
    cors=Cors(
        allow_origins=(
            OriginMatch(OriginKind.EXACT, "https://app.example.com"),
            OriginMatch(OriginKind.REGEX, r"https://[a-z]+\.dev\.example\.com"),
        ),
        allow_methods=("GET", "PUT"),
        allow_headers=("authorization",),
        expose_headers=("x-total",),
        max_age_seconds=600,
        allow_credentials=True,
    )
)


@pytest.mark.parametrize("origin", ["https://app.example.com", "https://one.dev.example.com"])
async def test_a_preflight_is_answered_before_any_token_is_asked_for(envoy: IrEnvoy, origin: str) -> None:
    """By the proxy, from the route's policy; the request itself needs its token, and its answer may be read."""
    await serve(envoy, route(selection_class=GUARDED), options={GUARDED: CORS})
    preflight = {"origin": origin, "access-control-request-method": "PUT"}
    answer = await envoy.request(URL, method="OPTIONS", headers=preflight)
    assert (answer.status, answer.upstream) == (200, None)
    told = {name: value for name, value in answer.headers if name.startswith("access-control-")}
    assert told == {
        "access-control-allow-origin": origin,
        "access-control-allow-methods": "GET,PUT",
        "access-control-allow-headers": "authorization",
        "access-control-expose-headers": "x-total",
        "access-control-allow-credentials": "true",
        "access-control-max-age": "600",
    }
    assert (await envoy.request(URL, headers={"origin": origin})).status == 401
    answer = await envoy.request(URL, headers={"origin": origin, **BEARER})
    assert (answer.upstream, answer.header("access-control-allow-origin")) == ("web", origin)
    assert answer.header("access-control-expose-headers") == "x-total"


async def test_a_cors_policy_opens_nothing(envoy: IrEnvoy) -> None:
    """Strange origins get no permission and never reach the application; OPTIONS that is no preflight needs its token."""
    await serve(
        envoy,
        route(match=under("/cors"), selection_class=GUARDED),
        route(match=under("/plain"), selection_class="other"),
        options={GUARDED: CORS},
    )
    for origin in ("https://evil.example.com", "https://app.example.com.evil.com", "null"):
        preflight = {"origin": origin, "access-control-request-method": "GET"}
        answer = await envoy.request(f"{URL}/cors", method="OPTIONS", headers=preflight)
        assert (answer.upstream, answer.header("access-control-allow-origin")) == (None, None)
    for headers in ({}, {"origin": "https://app.example.com"}):
        assert (await envoy.request(f"{URL}/cors", method="OPTIONS", headers=headers)).status == 401
    assert (await envoy.request(f"{URL}/plain", method="OPTIONS")).status == 403


# Protocols


async def read_head(reader: asyncio.StreamReader) -> tuple[int, str]:
    """Status and head of an answer."""
    head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)).decode()
    return int(head.split(" ")[1]), head


async def talk(envoy: IrEnvoy, request: str, port: int = OUTBOUND_PORT) -> tuple[int, Any, Any]:
    """The status of the answer, and the connection."""
    reader, writer = await asyncio.open_connection(envoy.address, port)
    writer.write(request.replace("\n", "\r\n").encode())
    status, _ = await read_head(reader)
    return status, reader, writer


UPGRADE = "GET {target} HTTP/1.1\nHost: www.example.com\nConnection: Upgrade\nUpgrade: {protocol}\n{more}\n"


async def test_a_websocket_passes_with_its_token(envoy: IrEnvoy) -> None:
    """Through sidecar and gateway; without a token it is refused before it is one, and other upgrades are none."""
    token = f"Authorization: {BEARER['authorization']}\n"
    for proxy, port, target in (
        (
            outbound(host("www.example.com", route(selection_class=GUARDED)), policies=POLICIES),
            OUTBOUND_PORT,
            URL + "/",
        ),
        (plain_gateway(route(selection_class=GUARDED)), GATEWAY_PORT, "/"),
    ):
        await envoy.serve(proxy)
        status, reader, writer = await talk(
            envoy, UPGRADE.format(target=target, protocol="websocket", more=token), port
        )
        assert (status, await reader.readline()) == (101, GREETING)
        writer.write(b"\x81\x00 frames\n")
        assert await asyncio.wait_for(reader.readline(), 5) == b"\x81\x00 frames\n"
        writer.close()
        for protocol, more, expected in (("websocket", "", 401), ("other", token, 403)):
            status, _, writer = await talk(envoy, UPGRADE.format(target=target, protocol=protocol, more=more), port)
            assert status == expected
            writer.close()


TUNNEL = RouteMatch(connect=True)


async def test_a_tunnel_ends_at_the_backend_of_its_route(envoy: IrEnvoy) -> None:
    """CONNECT needs the token of its class; where the backend speaks first, so does the tunnel."""
    tunnelled = route(forward("echo"), TUNNEL, GUARDED)
    await envoy.serve(outbound(host("db.example.com:3306", tunnelled), policies=POLICIES))
    connect = "CONNECT db.example.com:3306 HTTP/1.1\nHost: db.example.com:3306\n{more}\n"
    status, reader, writer = await talk(envoy, connect.format(more=f"Authorization: {BEARER['authorization']}\n"))
    assert (status, await asyncio.wait_for(reader.readline(), 5)) == (200, GREETING)
    writer.write(b"CONNECT is over\n")
    assert await asyncio.wait_for(reader.readline(), 5) == b"CONNECT is over\n"
    writer.close()
    status, _, writer = await talk(envoy, connect.format(more=""))
    assert status == 401
    writer.close()


@pytest.mark.parametrize("target", ["www.example.com:80", "www.example.com:443", "strange.example.com:80"])
async def test_connect_takes_no_route_that_is_not_for_it(envoy: IrEnvoy, target: str) -> None:
    """404 on known hosts, and whatever unknown hosts are answered; and a tunnel's route takes nothing but CONNECT."""
    ordinary = host("www.example.com", route(), route(forward("echo")))
    both = replace(ordinary, domains=("www.example.com", "www.example.com:80", "www.example.com:443"))
    lost = replace(host("*", route(DirectResponse(status=502, body="lost"))), name="lost")
    await envoy.serve(outbound(both, lost, host("db.example.com", route(forward("echo"), TUNNEL)), policies=POLICIES))
    status, _, writer = await talk(envoy, f"CONNECT {target} HTTP/1.1\nHost: {target}\n\n")
    assert status == 404
    writer.close()
    assert (await envoy.request("http://db.example.com/")).status == 404


async def ask_by_http2(envoy: IrEnvoy, authority: str, protocol: str = "") -> tuple[int | None, bytes]:
    """Status and first bytes of the answer to a CONNECT over HTTP/2, an extended one (RFC 8441) if it has a protocol."""
    told = [(":method", "CONNECT"), (":authority", authority)]
    if protocol:
        told += [(":protocol", protocol), (":scheme", "http"), (":path", "/")]
    reader, writer = await asyncio.open_connection(envoy.address, OUTBOUND_PORT)
    connection = h2.connection.H2Connection(h2.config.H2Configuration(validate_outbound_headers=False))
    connection.initiate_connection()
    connection.send_headers(1, told)
    writer.write(connection.data_to_send())
    status = None
    try:
        while received := await asyncio.wait_for(reader.read(65536), 5):
            for event in connection.receive_data(received):
                match event:
                    case h2.events.ResponseReceived():
                        status = int(dict(event.headers)[b":status"])
                    case h2.events.DataReceived():
                        return status, event.data
                    case h2.events.StreamReset() | h2.events.StreamEnded():
                        return status, b""
    except h2.exceptions.ProtocolError:
        pass  # Envoy answers an unknown protocol on a connection that it has said is over.
    finally:
        writer.close()
    return status, b""


async def test_connect_over_http2(envoy: IrEnvoy) -> None:
    """As over HTTP/1.1; with a protocol it is a WebSocket, or nothing."""
    known = replace(host("www.example.com", route(forward("web"))), domains=("www.example.com", "www.example.com:80"))
    await envoy.serve(outbound(known, host("db.example.com:1", route(forward("echo"), TUNNEL)), policies=POLICIES))
    assert await ask_by_http2(envoy, "db.example.com:1") == (200, GREETING)
    assert await ask_by_http2(envoy, "www.example.com:80") == (404, b"")
    assert await ask_by_http2(envoy, "www.example.com", "websocket") == (200, GREETING)
    for authority in ("www.example.com", "db.example.com:1"):
        for protocol in ("connect-udp", "connect-tcp", "other"):
            status, _ = await ask_by_http2(envoy, authority, protocol)
            assert status in {None, 403, 404}


async def test_gateways_open_no_tunnels(envoy: IrEnvoy) -> None:
    """CONNECT is for sidecars."""
    await envoy.serve(plain_gateway(route()))
    status, _, writer = await talk(envoy, "CONNECT www.example.com:80 HTTP/1.1\nHost: www.example.com:80\n\n", 8080)
    assert status in {403, 404}
    writer.close()


async def test_http2_with_prior_knowledge(envoy: IrEnvoy) -> None:
    """To sidecar and gateway, with the destination as authority; tokens count as ever."""
    proxies = {
        OUTBOUND_PORT: outbound(host("www.example.com", route(selection_class=GUARDED)), policies=POLICIES),
        GATEWAY_PORT: plain_gateway(route(selection_class=GUARDED)),
    }
    for port, proxy in proxies.items():
        await envoy.serve(proxy)
        async with httpx.AsyncClient(http1=False, http2=True) as client:
            url = f"http://{envoy.address}:{port}/get"
            answer = await client.get(url, headers={"host": "www.example.com"})
            assert (answer.http_version, answer.status_code, answer.text) == ("HTTP/2", 401, MISSING)
            answer = await client.get(url, headers={"host": "www.example.com", **BEARER})
            assert (answer.status_code, answer.json()["headers"]["Host"]) == (200, ["www.example.com"])


async def test_grpc_passes_with_its_trailers(envoy: IrEnvoy) -> None:
    """A status in the trailers after messages, through sidecar and gateway; without a token, UNAUTHENTICATED."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((_Doubling(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    backend = Backend(name="grpc", endpoints=(Endpoint("127.0.0.1", port),), http2=True)
    behind = route(forward("grpc"), selection_class=GUARDED)
    try:
        for listening, proxy in (
            (OUTBOUND_PORT, outbound(host("www.example.com", behind), policies=POLICIES)),
            (GATEWAY_PORT, plain_gateway(behind)),
        ):
            await envoy.serve(replace(proxy, backends=(backend,)))
            options = (("grpc.default_authority", "www.example.com"),)
            async with grpc.aio.insecure_channel(f"{envoy.address}:{listening}", options=options) as channel:
                call = channel.unary_stream("/tests.Doubling/Double")(
                    b"ab", metadata=(("authorization", BEARER["authorization"]),)
                )
                assert [await call.read(), await call.read()] == [b"ab", b"ab"]
                with pytest.raises(grpc.aio.AioRpcError):
                    await call.read()
                assert (await call.code(), await call.details()) == (grpc.StatusCode.OUT_OF_RANGE, "twice is enough")
                assert ("x-trailer", "there") in [*(await call.trailing_metadata())]
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await channel.unary_unary("/tests.Doubling/Double")(b"ab")
                assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    finally:
        await server.stop(None)


class _Doubling(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Gives a message back twice, then fails."""

    def service(self, handler_call_details: Any) -> Any:
        async def double(request: bytes, context: Any) -> AsyncIterator[bytes]:
            yield request
            yield request
            context.set_trailing_metadata((("x-trailer", "there"),))
            await context.abort(grpc.StatusCode.OUT_OF_RANGE, "twice is enough")

        return grpc.unary_stream_rpc_method_handler(double)


async def test_what_is_no_http_is_passed_on(envoy: IrEnvoy) -> None:
    """Bytes both ways through an inbound listener, the server first; beside it, one with HTTP asks for its token."""
    tcp = InboundListener(name="in-3306", address="", port=3306, backend="echo", selection_class="", tcp=True)
    http = InboundListener(name="in-8000", address="", port=8000, backend="web", selection_class=GUARDED)
    await envoy.serve(Proxy(node="", listeners=(tcp,)))
    await envoy.serve(Proxy(node="", listeners=(tcp, http), inbound_policies=POLICIES))
    reader, writer = await asyncio.open_connection(envoy.address, 3306)
    assert await asyncio.wait_for(reader.readline(), 5) == GREETING
    writer.write(b"SELECT\n")
    assert await asyncio.wait_for(reader.readline(), 5) == b"SELECT\n"
    writer.close()
    assert (await envoy.request(URL, port=8000)).status == 401
    assert (await envoy.request(URL, port=8000, headers=BEARER)).upstream == "web"


async def test_a_backend_is_looked_up_by_name(envoy: IrEnvoy) -> None:
    """An endpoint that is a host name; one that does not exist is answered 503 and holds up nothing."""
    (web,) = (one for one in envoy.backends if one.name == "web")
    named = Backend(name="named", endpoints=(Endpoint("localhost", web.endpoints[0].port),), resolve=True)
    lost = Backend(name="lost", endpoints=(Endpoint("name.invalid", 80),), resolve=True)
    await serve(envoy, route(forward("lost"), under("/lost")), route(forward("named")), backends=(named, lost))
    async with asyncio.timeout(10):
        while (answer := await envoy.request(URL)).status == 503:
            assert answer.upstream is None
    assert answer.upstream == "web"
    assert (await envoy.request(f"{URL}/lost")).status == 503


# Gateways


async def test_a_gateway_believes_no_client(envoy: IrEnvoy) -> None:
    """Who a client is and how it came is what its connection says; the port that it names does not matter."""
    await envoy.serve(plain_gateway(route()))
    lies = {"x-forwarded-for": "10.0.0.1", "x-forwarded-proto": "https", "x-envoy-original-path": "/x", "x-real": "1"}
    answer = await envoy.request(f"{URL}:1234/get", port=GATEWAY_PORT, headers=lies)
    seen = {name: values for name, values in answer.json["headers"].items() if name.startswith("X-")}
    assert seen.pop("X-Request-Id")
    assert seen.pop("X-Forwarded-For")[0].startswith("10.0.0.1,")
    assert seen == {"X-Forwarded-Proto": ["http"], "X-Envoy-External-Address": ["127.0.0.1"], "X-Real": ["1"]}
    assert (await envoy.request(URL, port=GATEWAY_PORT, headers={"x_real": "1"})).status == 400
    assert (await envoy.request("http://strange.example.com/", port=GATEWAY_PORT)).status == 404


async def test_headers_that_trickle_in_end_their_connection(envoy: IrEnvoy, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request whose headers do not come is given up; one that is being answered is not."""
    monkeypatch.setattr("meshpass.envoy.connection_manager.HEADERS_SECONDS", 1)
    await envoy.serve(replace(plain_gateway(route()), listeners=gateway_on(8081).listeners))
    reader, writer = await asyncio.open_connection(envoy.address, 8081)
    writer.write(b"GET / HTTP/1.1\r\nHost: www.example.com\r\nX-Slow: ")
    status, _ = await read_head(reader)
    assert status == 408
    writer.close()


def gateway_on(port: int) -> Proxy:
    return gateway(port, HttpChain(name="http", route_configuration="http"))


async def test_route_configurations_come_and_go_with_their_listeners(envoy: IrEnvoy) -> None:
    """A listener changes to another route configuration, and back, while requests are answered all the time."""
    first, second = (
        routes(name, host("www.example.com", route(forward(to)))) for name, to in (("a", "web"), ("b", "other"))
    )
    chains = {name: HttpChain(name="http", route_configuration=name) for name in "ab"}
    both = {
        "a": gateway(GATEWAY_PORT, chains["a"], tables=(first,), policies=POLICIES),
        "b": gateway(GATEWAY_PORT, chains["b"], tables=(second,), policies=POLICIES),
    }
    await envoy.serve(both["a"])
    seen: list[tuple[int, str | None]] = []

    async def ask() -> None:
        while True:
            answer = await envoy.request(URL, port=GATEWAY_PORT)
            seen.append((answer.status, answer.upstream))

    async with asyncio.TaskGroup() as group:
        asking = group.create_task(ask())
        for name, upstream in (("b", "other"), ("a", "web")):
            await envoy.serve(both[name])
            async with asyncio.timeout(10):
                while seen[-1:] != [(200, upstream)]:
                    await envoy.request(URL, port=GATEWAY_PORT)
        asking.cancel()
    assert {status for status, _ in seen} == {200}
