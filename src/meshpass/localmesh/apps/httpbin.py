"""httpbin: says back what it was asked, in the JSON shape of go-httpbin. An ASGI application and its main program."""

from __future__ import annotations

import asyncio
import base64
import email.parser
import email.policy
import uuid
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from functools import cache
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs

import msgspec

from meshpass.localmesh.apps.serve import serve

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Values = dict[str, list[str]]

_LONGEST_DELAY = 10.0
_LARGEST_BODY = 1024 * 1024
_JSON = b"application/json; charset=utf-8"
_SAMPLE = {
    "slideshow": {
        "author": "Meshpass",
        "date": "date of publication",
        "slides": [{"title": "One mesh, one token", "type": "all"}],
        "title": "Sample slide show",
    }
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request as the answers need it."""

    method: str
    path: str
    args: Values
    headers: Values
    origin: str
    url: str
    body: bytes = b""

    def describe(self) -> dict[str, Any]:
        """What ``/get`` says: args, headers, method, origin, url."""
        return {
            "args": self.args,
            "headers": self.headers,
            "method": self.method,
            "origin": self.origin,
            "url": self.url,
        }

    def describe_with_body(self) -> dict[str, Any]:
        """What ``/anything`` and ``/post`` say: the same, and data, files, form, json."""
        content = _parse_content(self.body, self.headers.get("Content-Type", [""])[0])
        return self.describe() | {
            "data": content.data,
            "files": content.files,
            "form": content.form,
            "json": content.json,
        }


@dataclass(slots=True, kw_only=True)
class _Content:
    data: str = ""
    files: Values = field(default_factory=dict)
    form: Values = field(default_factory=dict)
    json: Any = None


_READ = ("GET", "HEAD")
_FIXED: Mapping[str, tuple[tuple[str, ...], Callable[[Request], Any]]] = {
    "/get": (_READ, Request.describe),
    "/headers": (_READ, lambda request: {"headers": request.headers}),
    "/ip": (_READ, lambda request: {"origin": request.origin}),
    "/user-agent": (_READ, lambda request: {"user-agent": request.headers.get("User-Agent", [""])[0]}),
    "/json": (_READ, lambda _: _SAMPLE),
    "/uuid": (_READ, lambda _: {"uuid": str(uuid.uuid4())}),
    "/post": (("POST",), Request.describe_with_body),
    "/put": (("PUT",), Request.describe_with_body),
    "/patch": (("PATCH",), Request.describe_with_body),
    "/delete": (("DELETE",), Request.describe_with_body),
}
"""The paths that are one word, with the methods that they take."""


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers one request; ASGI."""
    if scope["type"] != "http":
        return
    body = await _read_body(receive)
    if body is None:
        await _send_error(send, 413, "body is larger than 1 MiB")
        return
    request = _parse_request(scope, body)
    fixed = _FIXED.get(request.path)
    if fixed is not None:
        methods, describe = fixed
        await (_send_json(send, 200, describe(request)) if request.method in methods else _send_error(send, 405))
        return
    path, _, rest = request.path.removeprefix("/").partition("/")
    match path:
        case "anything":
            await _send_json(send, 200, request.describe_with_body())
        case "status":
            await _send_status(send, rest)
        case "delay":
            await _send_delayed(request, send, rest)
        case _:
            await _send_error(send, 404)


async def _read_body(receive: Receive) -> bytes | None:
    body = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if len(body) > _LARGEST_BODY:
            return None
        if not message.get("more_body", False):
            return body


def _parse_request(scope: Scope, body: bytes) -> Request:
    headers: Values = {}
    for name, value in scope["headers"]:
        headers.setdefault(canonical_name(name), []).append(value.decode("latin-1"))
    query = scope["query_string"].decode("latin-1")
    host = headers.get("Host", [""])[0]
    scheme = headers.get("X-Forwarded-Proto", ["http"])[0]
    raw_path = scope.get("raw_path", scope["path"].encode()).decode("latin-1").partition("?")[0]
    forwarded = headers.get("X-Forwarded-For", [""])[0].partition(",")[0].strip()
    client = scope.get("client")
    return Request(
        method=scope["method"],
        path=scope["path"],
        args=parse_qs(query, keep_blank_values=True),
        headers=dict(sorted(headers.items())),
        origin=forwarded or (client[0] if client else ""),
        url=f"{scheme}://{host}{raw_path}" + (f"?{query}" if query else ""),
        body=body,
    )


@cache
def canonical_name(name: bytes) -> str:
    """The header's name as Go writes it: ``x-org`` is ``X-Org``."""
    return "-".join(part.capitalize() for part in name.decode("latin-1").split("-"))


def _parse_content(body: bytes, content_type: str) -> _Content:
    if not body:
        return _Content()
    content = _Content(data=body.decode("utf-8", errors="replace"))
    match content_type.partition(";")[0].strip().lower():
        case "text/plain" | "text/html":
            pass
        case "application/x-www-form-urlencoded":
            content.form = parse_qs(content.data, keep_blank_values=True)
        case "multipart/form-data":
            _parse_multipart(body, content_type, content)
        case "application/json":
            try:
                content.json = msgspec.json.decode(body)
            except msgspec.DecodeError:
                content.json = None
        case kind:
            encoded = base64.urlsafe_b64encode(body).decode()
            content.data = f"data:{kind or 'application/octet-stream'};base64,{encoded}"
    return content


def _parse_multipart(body: bytes, content_type: str, content: _Content) -> None:
    head = f"Content-Type: {content_type}\r\n\r\n".encode("latin-1")
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
    for part in message.iter_parts():
        name = part.get_param("name", "", header="content-disposition")
        value = part.get_payload(decode=True)
        text = value.decode("utf-8", errors="replace") if isinstance(value, bytes) else ""
        target = content.form if part.get_filename() is None else content.files
        target.setdefault(str(name), []).append(text)


async def _send_status(send: Send, text: str) -> None:
    if not (text.isdecimal() and 200 <= int(text) <= 599):
        await _send_error(send, 400, f"invalid status code: {text!r}")
        return
    await _send(send, int(text), b"text/plain; charset=utf-8", b"")


async def _send_delayed(request: Request, send: Send, text: str) -> None:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= _LONGEST_DELAY:
        await _send_error(send, 400, f"invalid delay: {text!r}, expected 0 to 10 seconds")
        return
    await asyncio.sleep(seconds)
    await _send_json(send, 200, request.describe_with_body())


async def _send_error(send: Send, status: int, detail: str | None = None) -> None:
    problem: dict[str, Any] = {"status_code": status, "error": HTTPStatus(status).phrase}
    await _send_json(send, status, problem | ({} if detail is None else {"detail": detail}))


async def _send_json(send: Send, status: int, value: Any) -> None:
    await _send(send, status, _JSON, msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")


async def _send(send: Send, status: int, content_type: bytes, body: bytes) -> None:
    headers = [(b"content-type", content_type)]
    if status not in {204, 304}:
        headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    serve(application)
