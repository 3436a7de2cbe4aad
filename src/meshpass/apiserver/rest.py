"""RestApi: requests for objects, from URL to answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from meshpass.apiserver import protobuf
from meshpass.apiserver.body import media_type, parse_body, parse_configuration, parse_json, read_body
from meshpass.apiserver.options import (
    FieldValidation,
    WriteOptions,
    parse_delete_options,
    parse_list_options,
    parse_write_options,
)
from meshpass.apiserver.patch import APPLY, parse_patch_type
from meshpass.apiserver.reader import get_object, list_objects
from meshpass.apiserver.registry import Registry
from meshpass.apiserver.representation import Representation, parse_accept
from meshpass.apiserver.review import REVIEWS, answer_review
from meshpass.apiserver.status import method_not_allowed
from meshpass.apiserver.storage import Storage
from meshpass.apiserver.target import Target, parse_target
from meshpass.apiserver.unknownfields import duplicate_fields
from meshpass.apiserver.watch import Hub, Watch
from meshpass.apiserver.writer import Writer, Written

_WARNINGS_LENGTH = 4096
_WARNING_LENGTH = 256
_COLLECTION_METHODS = ("GET", "HEAD", "POST", "DELETE")
_OBJECT_METHODS = ("GET", "HEAD", "PUT", "PATCH", "DELETE")
_STATUS_METHODS = ("GET", "HEAD", "PUT", "PATCH")


class RestApi:
    """The verbs of every served resource."""

    def __init__(
        self, storage: Storage, registry: Registry, writer: Writer, hub: Hub, *, bookmark_seconds: float
    ) -> None:
        self._storage = storage
        self._registry = registry
        self._writer = writer
        self._hub = hub
        self._bookmark_seconds = bookmark_seconds

    async def answer(self, request: Request, group: str, version: str, parts: tuple[str, ...]) -> Response:
        """The response to a request for what is behind a group and version. Raises StatusError."""
        if parts[0] in REVIEWS.get((group, version), ()) and len(parts) == 1:
            return await self._review(request, group, version, parts[0])
        target = parse_target(self._registry, group, version, parts)
        if request.method in {"GET", "HEAD"}:
            return self._read(request, target)
        response = await self._write(request, target)
        await self._storage.wait_durable()
        return response

    async def _write(self, request: Request, target: Target) -> Response:
        match request.method, bool(target.name):
            case "POST", False if target.namespace is not None or not target.resource.namespaced:
                return await self._create(request, target)
            case "PUT", True:
                return await self._update(request, target)
            case "PATCH", True:
                return await self._patch(request, target)
            case "DELETE", True if not target.subresource:
                return await self._delete(request, target)
            case "DELETE", False if target.namespace is not None or not target.resource.namespaced:
                return await self._delete_collection(request, target)
        raise method_not_allowed(_allowed(target))

    # ── reads ────────────────────────────────────────────────────────────────────────────────

    def _read(self, request: Request, target: Target) -> Response:
        query = request.query_params
        watches = query.get("watch", "") not in {"", "false", "0"}
        if watches and request.method == "HEAD":
            raise method_not_allowed(("GET",))  # nobody would read what it sends
        shown = _representation(request, watch=watches)
        if target.name and not watches:
            return _json(shown, shown.one(target.resource, get_object(self._storage, target).body))
        options = parse_list_options(target.resource, query, name=target.name)
        if options.watch:
            watch = Watch(self._storage, self._hub, target, options, shown, bookmark_seconds=self._bookmark_seconds)
            return WatchResponse(watch.lines())
        page = list_objects(self._storage, target, options)
        return _json(shown, shown.many(target.resource, page.items, page.metadata))

    # ── writes ───────────────────────────────────────────────────────────────────────────────

    async def _create(self, request: Request, target: Target) -> Response:
        shown = _representation(request)
        options = _write_options(request, "CreateOptions")
        value, duplicates = await _object(request, options.field_validation)
        return _written(shown, target, self._writer.create(target, value, options, duplicates), 201)

    async def _update(self, request: Request, target: Target) -> Response:
        shown = _representation(request)
        options = _write_options(request, "UpdateOptions")
        value, duplicates = await _object(request, options.field_validation)
        return _written(shown, target, self._writer.update(target, value, options, duplicates), 200)

    async def _patch(self, request: Request, target: Target) -> Response:
        shown = _representation(request)
        if media_type(request) == APPLY:
            return await self._apply(request, target, shown)
        options = _write_options(request, "PatchOptions")
        kind = parse_patch_type(media_type(request), target.resource)
        patch = parse_json(await read_body(request))
        return _written(shown, target, self._writer.patch(target, kind, patch, options), 200)

    async def _apply(self, request: Request, target: Target, shown: Representation) -> Response:
        options = _write_options(request, "PatchOptions", applies=True)
        body = await read_body(request)
        config = parse_configuration(body)
        told = options.field_validation is not FieldValidation.IGNORE
        duplicates = duplicate_fields(body.decode(errors="replace")) if told else ()
        written, created = self._writer.apply(target, config, options, duplicates)
        return _written(shown, target, written, 201 if created else 200)

    async def _delete(self, request: Request, target: Target) -> Response:
        shown = _representation(request)
        options = parse_delete_options(request.query_params, await _optional_body(request))
        answer, gone = self._writer.delete(target, options)
        body = msgspec.json.encode(answer)
        if gone:
            return _json(Representation(yaml=shown.yaml), Representation(yaml=shown.yaml).encode(answer))
        return _json(shown, shown.one(target.resource, body))

    async def _delete_collection(self, request: Request, target: Target) -> Response:
        shown = _representation(request)
        selection = parse_list_options(target.resource, request.query_params)
        options = parse_delete_options(request.query_params, await _optional_body(request))
        deleted = self._writer.delete_collection(target, selection, options)
        metadata = {"resourceVersion": str(self._storage.revision)}
        return _json(shown, shown.many(target.resource, deleted, metadata))

    async def _review(self, request: Request, group: str, version: str, plural: str) -> Response:
        if request.method != "POST":
            raise method_not_allowed(("POST",))
        shown = Representation(yaml=_representation(request).yaml)
        value = parse_body(await read_body(request), media_type(request))
        return _json(shown, shown.encode(answer_review(group, version, plural, value)), 201)


class WatchResponse(Response):
    """Streams watch events until they end or the client is gone, whichever comes first."""

    def __init__(self, lines: AsyncIterator[bytes]) -> None:
        super().__init__(media_type="application/json")
        del self.headers["content-length"]
        self._lines = lines

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Two tasks, because an idle stream learns of the client's end from ``receive`` alone."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        async with asyncio.TaskGroup() as group:
            listener = group.create_task(_wait_disconnect(receive))
            stream = group.create_task(self._stream(send))
            await asyncio.wait({listener, stream}, return_when=asyncio.FIRST_COMPLETED)
            listener.cancel()
            stream.cancel()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _stream(self, send: Send) -> None:
        async with aclosing(self._lines) as lines:  # type: ignore[type-var]
            async for chunk in lines:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})


async def _wait_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _allowed(target: Target) -> tuple[str, ...]:
    if target.subresource:
        return _STATUS_METHODS
    if target.name:
        return _OBJECT_METHODS
    return _COLLECTION_METHODS if target.namespace is not None or not target.resource.namespaced else ("GET", "HEAD")


def _representation(request: Request, *, watch: bool = False) -> Representation:
    include = request.query_params.get("includeObject", "")
    return parse_accept(request.headers.get("accept", ""), include_object=include, watch=watch)


def _write_options(request: Request, kind: str, *, applies: bool = False) -> WriteOptions:
    user_agent = request.headers.get("user-agent", "")
    return parse_write_options(request.query_params, kind, user_agent=user_agent, applies=applies)


def _json(shown: Representation, body: bytes, code: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(body, code, headers, media_type=shown.media_type)


def _written(shown: Representation, target: Target, written: Written, code: int) -> Response:
    response = _json(shown, shown.one(target.resource, written.body), code)
    for warning in _bounded(written.warnings):
        response.headers.append("Warning", f"299 - {_quoted(warning)}")
    return response


def _bounded(warnings: Sequence[str]) -> Iterator[str]:
    """What clients can be expected to take as headers; the limits are kube-apiserver's."""
    total = sum(map(len, warnings))
    left = _WARNINGS_LENGTH
    for warning in warnings:
        shown = warning if total <= _WARNINGS_LENGTH else warning[:_WARNING_LENGTH]
        left -= len(shown)
        if left < 0:
            return
        yield shown


def _quoted(text: str) -> str:
    """An RFC 9110 quoted-string; what a header cannot carry is replaced."""
    printable = "".join(character if " " <= character <= "~" else "?" for character in text)
    escaped = printable.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


async def _object(request: Request, validation: FieldValidation) -> tuple[Any, tuple[str, ...]]:
    """The object in the body, and the strict-decoding messages that only its text can give."""
    body, media = await read_body(request), media_type(request)
    value = parse_body(body, media)
    if validation is FieldValidation.IGNORE or media == protobuf.MEDIA_TYPE:
        return value, ()
    return value, duplicate_fields(body.decode(errors="replace"))


async def _optional_body(request: Request) -> Any:
    body = await read_body(request)
    return parse_body(body, media_type(request)) if body.strip() else None
