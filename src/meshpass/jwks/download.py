"""Download: one request for a key set, bounded in time, size and reach. Does IO."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import time
import zlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol

import httpx2 as httpx

from meshpass.ir import Endpoint
from meshpass.jwks.address import IpAddress, check_address, check_name, read_address
from meshpass.jwks.failure import FetchError
from meshpass.jwks.freshness import read_lifetime
from meshpass.jwks.mutualtls import MutualTls, check_peer
from meshpass.jwks.schedule import MAX_TIMEOUT_SECONDS, MIN_TIMEOUT_SECONDS
from meshpass.jwks.url import parse_redirect, parse_source_url, port_of
from meshpass.translate.keysource import KeyFetch, KeyPeer, KeySource

MAX_BODY_BYTES = 1_048_576
MAX_REDIRECTS = 3
MAX_ADDRESSES = 8
"""How many addresses are tried for one request."""

_MAX_VALIDATOR = 1024
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_TRANSIENT = frozenset({408, 425, 429})


class Validators(NamedTuple):
    """What a server recognises its own answer by (RFC 9110 §8.8); empty where it gave none."""

    etag: str = ""
    last_modified: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a server said."""

    body: bytes | None
    """None: what was known is still right (304)."""
    lifetime: float | None = None
    """Seconds, as in ``read_lifetime``."""
    validators: Validators


class Download(Protocol):
    """Asks for a key set once."""

    async def __call__(self, source: KeySource, fetch: KeyFetch, validators: Validators) -> Answer:
        """The server's answer. Raises FetchError. Validators that are not empty allow a 304."""


Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""The addresses of a host; raises OSError."""


async def resolve_host(host: str, port: int) -> Sequence[str]:
    """The addresses that the system's resolver knows, in its order."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(address[0]) for *_, address in found))


class Downloader:
    """The Download over HTTP.

    A host is resolved once, its addresses are checked, and the connection goes to exactly one of those; the name is
    used for the Host header and for TLS. Nothing of the environment's proxies is used, and no cookie or credential sent.

    ``allow_private``: addresses that are not of the public internet may be connected to. It does not concern sources
    with a destination: those the mesh knows. Of these, what has an ``http`` URL is asked for by mutual TLS wherever a
    proxy of the mesh ends it, and who answers has to be a workload of the destination.
    """

    def __init__(
        self,
        *,
        allow_private: bool = True,
        resolve: Resolve = resolve_host,
        tls: ssl.SSLContext | None = None,
        mutual_tls: MutualTls | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._allow_private = allow_private
        self._resolve = resolve
        self._given_tls = tls
        self._mutual_tls = mutual_tls or MutualTls()
        self._clock = clock

    async def __call__(self, source: KeySource, fetch: KeyFetch, validators: Validators) -> Answer:
        """The server's answer; all of it has to be there within the source's timeout."""
        url = parse_source_url(source.url)
        seconds = min(max(fetch.timeout_seconds, MIN_TIMEOUT_SECONDS), MAX_TIMEOUT_SECONDS)
        try:
            async with asyncio.timeout(seconds):
                places = await self._places(url, fetch.endpoints)
                return await self._ask_any(url, places, fetch.peer, validators, seconds)
        except TimeoutError as error:
            raise FetchError(f"no whole answer within {seconds:g}s", transient=True) from error

    async def _places(self, url: httpx.URL, endpoints: tuple[Endpoint, ...] | None) -> tuple[_Place, ...]:
        targets = (Endpoint(url.raw_host.decode("ascii"), port_of(url)),) if endpoints is None else endpoints
        if not targets:
            raise FetchError("the destination has no endpoints", transient=True)
        allow_private = self._allow_private or endpoints is not None
        found: dict[_Place, None] = {}
        problems: list[FetchError] = []
        for target in targets[:MAX_ADDRESSES]:
            try:
                for address in await self._resolved(target):
                    try:
                        check_address(address, allow_private=allow_private)
                    except FetchError as error:
                        problems.append(error)
                    else:
                        found[_Place(str(address), target.port, target.mutual_tls)] = None
            except FetchError as error:
                problems.append(error)
        if not found:
            raise problems[0] if problems else FetchError("the host has no address", transient=True)
        return tuple(found)[:MAX_ADDRESSES]

    async def _resolved(self, target: Endpoint) -> tuple[IpAddress, ...]:
        check_name(target.address)
        literal = read_address(target.address)
        if literal is not None:
            return (literal,)
        try:
            texts = await self._resolve(target.address, target.port)
        except (OSError, UnicodeError) as error:
            raise FetchError(f"the name {target.address} cannot be resolved", transient=True) from error
        return tuple(one for one in map(read_address, texts) if one is not None)

    async def _ask_any(
        self,
        url: httpx.URL,
        places: Sequence[_Place],
        peer: KeyPeer | None,
        validators: Validators,
        seconds: float,
    ) -> Answer:
        """The first address that takes a connection answers."""
        failures: list[FetchError] = []
        for place in places:
            mutual = peer if place.mutual_tls and url.scheme == "http" else None
            tls = self._tls if mutual is None else self._mutual_tls.context
            # A transport alone: a client would follow the environment, keep cookies and log whole URLs.
            async with httpx.AsyncHTTPTransport(verify=tls, trust_env=False) as transport:
                connection = _Connection(transport, place, mutual, seconds / len(places))
                try:
                    return await self._ask(connection, url, validators)
                except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                    failures.append(FetchError(f"cannot connect: {_describe(error)}", transient=True))
                # What the client says of a broken answer may quote the answer, and is not repeated.
                except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
                    raise FetchError("the connection broke before the answer was whole", transient=True) from error
        raise failures[0]

    async def _ask(self, connection: _Connection, url: httpx.URL, validators: Validators) -> Answer:
        for _ in range(1 + MAX_REDIRECTS):
            response = await connection.get(url, validators)
            try:
                if response.status_code not in _REDIRECTS:
                    return await self._read(response, validators)
                url = parse_redirect(url, response.headers.get("location", ""))
            finally:
                await response.aclose()
        raise FetchError(f"redirects more than {MAX_REDIRECTS} times")

    async def _read(self, response: httpx.Response, validators: Validators) -> Answer:
        code = response.status_code
        lifetime = read_lifetime(response.headers, self._clock())
        if code == 304 and any(validators):
            return Answer(body=None, lifetime=lifetime, validators=_validators(response, validators))
        if code != 200:
            raise FetchError(f"the server answered {code}", transient=code >= 500 or code in _TRANSIENT)
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind in {"text/html", "application/xhtml+xml"}:
            raise FetchError("the answer is a web page")
        body = await _read_body(response)
        return Answer(body=body, lifetime=lifetime, validators=_validators(response, Validators()))

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return self._given_tls or httpx.create_ssl_context()


class _Place(NamedTuple):
    """Where a request goes."""

    address: str
    port: int
    mutual_tls: bool


class _Connection(NamedTuple):
    """Requests through it reach one place, whatever the name in their URL resolves to by then."""

    transport: httpx.AsyncHTTPTransport
    place: _Place
    peer: KeyPeer | None
    """Who has to answer; None: whoever does."""
    connect_seconds: float

    async def get(self, url: httpx.URL, validators: Validators) -> httpx.Response:
        """The answer to a GET, its body still to be read. Raises FetchError where it is somebody else's."""
        request = httpx.Request(
            "GET",
            url.copy_with(
                scheme=url.scheme if self.peer is None else "https", host=self.place.address, port=self.place.port
            ),
            headers=_headers(url, validators),
            extensions={
                "sni_hostname": self.peer.sni if self.peer else url.raw_host.decode("ascii").rstrip("."),
                "timeout": {"connect": self.connect_seconds},
            },
        )
        response = await self.transport.handle_async_request(request)
        if self.peer is not None:
            try:
                check_peer(response.extensions["network_stream"].get_extra_info("ssl_object"), self.peer)
            except FetchError:
                await response.aclose()
                raise
        return response


def _headers(url: httpx.URL, validators: Validators) -> dict[str, str]:
    headers = {
        "host": url.netloc.decode("ascii"),
        "accept": "application/json, application/jwk-set+json",
        # Other encodings cannot be unpacked within bounds by what is at hand.
        "accept-encoding": "gzip",
        "connection": "close",
        "user-agent": "meshpass",
    }
    if validators.etag:
        headers["if-none-match"] = validators.etag
    if validators.last_modified:
        headers["if-modified-since"] = validators.last_modified
    return headers


def _validators(response: httpx.Response, known: Validators) -> Validators:
    """Those of the answer; what a 304 does not repeat stays (RFC 9110 §15.4.5)."""

    def read(name: str, default: str) -> str:
        value = response.headers.get(name, default)
        return value if value.isascii() and value.isprintable() and len(value) <= _MAX_VALIDATOR else ""

    return Validators(etag=read("etag", known.etag), last_modified=read("last-modified", known.last_modified))


async def _read_body(response: httpx.Response) -> bytes:
    """The body, unpacked. Neither it nor what was sent for it is larger than the limit at any moment."""
    encoding = response.headers.get("content-encoding", "").strip().lower()
    if encoding not in {"", "identity", "gzip", "x-gzip", "deflate"}:
        raise FetchError("the answer is packed in a way that was not asked for")
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32) if encoding not in {"", "identity"} else None
    body = bytearray()
    received = 0
    async for chunk in response.aiter_raw():
        received += len(chunk)
        try:
            body += chunk if unpacker is None else unpacker.decompress(chunk, MAX_BODY_BYTES + 1 - len(body))
        except zlib.error as error:
            raise FetchError("the answer cannot be unpacked") from error
        if max(received, len(body)) > MAX_BODY_BYTES:
            raise FetchError("the answer is larger than 1 MiB")
    if unpacker is not None and not unpacker.eof:
        raise FetchError("the answer cannot be unpacked")
    return bytes(body)


def _describe(error: BaseException) -> str:
    """The system's or the TLS library's own words for why there is no connection."""
    cause: BaseException | None = error
    while cause is not None:
        match cause:
            case ssl.SSLCertVerificationError():
                return f"its certificate is not trusted: {cause.verify_message}"
            case ssl.SSLError():
                return "TLS cannot be agreed on"
            case TimeoutError() | httpx.ConnectTimeout():
                return "timed out"
            case OSError(errno=int(number)):
                return os.strerror(number)
        cause = cause.__cause__ or cause.__context__
    return "failed"
