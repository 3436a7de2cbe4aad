"""Http2Client: one HTTP/2 connection with many streams; resets and GOAWAYs on it are counted.

async with Http2Client.open(place) as client:                    # with prior knowledge (RFC 9113 §3.3)
    answer = await client.request("www.example.com", "/get")
async with Http2Client.open(place, context, "www.example.com"):  # over TLS, by ALPN (RFC 7301)
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.events

ANSWER_SECONDS = 10.0
Place = tuple[str, int]


@dataclass(kw_only=True)
class Http2Stream:
    """A request, and as much of the answer as has come."""

    number: int
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    trailers: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    ended: bool = False
    reset: int | None = None
    """The error code with which the other side ended the stream before its time."""

    @property
    def text(self) -> str:
        """The body."""
        return self.body.decode(errors="replace")


class Http2Client(asyncio.Protocol):
    """Use through ``open``."""

    def __init__(self) -> None:
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self._streams: dict[int, Http2Stream] = {}
        self._news = asyncio.Event()
        self._introduced = False
        self.goaways = 0
        self.lost = False
        """True once the connection has ended."""

    @classmethod
    @asynccontextmanager
    async def open(
        cls, place: Place, context: ssl.SSLContext | None = None, server_name: str | None = None
    ) -> AsyncIterator[Http2Client]:
        """Inside, the connection is open. AssertionError if the other side does not choose h2."""
        loop = asyncio.get_running_loop()
        transport, client = await loop.create_connection(cls, *place, ssl=context, server_hostname=server_name)
        chosen = transport.get_extra_info("ssl_object")
        try:
            assert chosen is None or chosen.selected_alpn_protocol() == "h2", chosen.selected_alpn_protocol()
            yield client
        finally:
            transport.close()

    @property
    def resets(self) -> int:
        """How many streams were reset; one that was answered before it was all sent ends with NO_ERROR (RFC 9113 §8.1)."""
        return sum(stream.reset not in {None, 0} for stream in self._streams.values())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._h2.initiate_connection()
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self._news.set()

    def data_received(self, data: bytes) -> None:
        for event in self._h2.receive_data(data):
            self._take(event)
        self._flush()
        self._news.set()

    def _take(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.ResponseReceived():
                stream = self._stream(event.stream_id)
                stream.headers = _headers(event.headers)
                stream.status = int(stream.headers[":status"])
            case h2.events.TrailersReceived():
                self._stream(event.stream_id).trailers = _headers(event.headers)
            case h2.events.DataReceived():
                self._stream(event.stream_id).body += event.data
                self._h2.acknowledge_received_data(event.flow_controlled_length, self._stream(event.stream_id).number)
            case h2.events.StreamEnded():
                self._stream(event.stream_id).ended = True
            case h2.events.StreamReset():
                self._stream(event.stream_id).reset = int(event.error_code)
            case h2.events.RemoteSettingsChanged():
                self._introduced = True
            case h2.events.ConnectionTerminated():
                self.goaways += 1
            case _:
                pass

    def _stream(self, number: int | None) -> Http2Stream:
        assert number is not None
        return self._streams[number]

    def _flush(self) -> None:
        self._transport.write(self._h2.data_to_send())

    def start(
        self,
        authority: str,
        path: str | None,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: bytes | None = b"",
        protocol: str | None = None,
    ) -> Http2Stream:
        """A request is under way; with ``body`` None its end is still to come.

        ``path`` None is CONNECT (RFC 9113 §8.5); with ``protocol`` it is extended CONNECT (RFC 8441 §4).
        """
        number = self._h2.get_next_available_stream_id()
        fields = [(":method", method), (":authority", authority)]
        if path is not None:
            fields += [(":scheme", "http"), (":path", path)]
        if protocol is not None:
            fields.append((":protocol", protocol))
        fields += [(name.lower(), value) for name, value in (headers or {}).items()]
        stream = self._streams[number] = Http2Stream(number=number)
        self._h2.send_headers(number, fields, end_stream=body == b"")
        if body:
            self.send(stream, body, end=True)
        self._flush()
        return stream

    def send(self, stream: Http2Stream, data: bytes, *, end: bool = False) -> None:
        """More of the body; h2.exceptions.FlowControlError if the other side has not that much room."""
        size = self._h2.max_outbound_frame_size
        pieces = [data[start : start + size] for start in range(0, len(data), size)] or [b""]
        for piece in pieces[:-1]:
            self._h2.send_data(stream.number, piece)
        self._h2.send_data(stream.number, pieces[-1], end_stream=end)
        self._flush()

    async def until(self, stream: Http2Stream, *, size: int | None = None, status: bool = False) -> Http2Stream:
        """Returns when the answer has begun (``status``), has so many bytes, or is there as a whole.

        ConnectionError if the connection ends before that; the stream may have been reset.
        """
        async with asyncio.timeout(ANSWER_SECONDS):
            while not (
                stream.ended
                or stream.reset is not None
                or (status and stream.status)
                or (size is not None and len(stream.body) >= size)
            ):
                if self.lost:
                    raise ConnectionResetError("the connection ended before the answer was there")
                self._news.clear()
                await self._news.wait()
        return stream

    async def request(
        self,
        authority: str,
        path: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Http2Stream:
        """The whole answer to a request."""
        return await self.until(self.start(authority, path, method=method, headers=headers, body=body))

    async def speaks_extended_connect(self) -> bool:
        """Whether the other side has said that it takes WebSockets (SETTINGS_ENABLE_CONNECT_PROTOCOL, RFC 8441 §3)."""
        async with asyncio.timeout(ANSWER_SECONDS):
            while not self._introduced:
                self._news.clear()
                await self._news.wait()
        return bool(self._h2.remote_settings.enable_connect_protocol)


def _headers(pairs: object) -> dict[str, str]:
    return {str(name): str(value) for name, value in pairs}  # type: ignore[attr-defined]
