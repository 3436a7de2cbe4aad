"""KubeClient: one API server, spoken to in raw objects."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx2 as httpx
import msgspec

from meshpass.errors import ApiError, ExpiredError
from meshpass.kube.backoff import Backoff
from meshpass.kube.credentials import connect
from meshpass.kube.failure import api_error, unreachable
from meshpass.kube.resource import Raw, ResourceKind, collection_path, group_version, object_path
from meshpass.kube.watch import WatchEvent, parse_event, split_lines

PAGE_SIZE = 500
"""Objects per page of a list, as kubectl asks for."""

_READ_TRIES = 4
_LONGEST_RETRY_AFTER = 30.0
_WATCH_SILENCE = 15.0
_METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
_TABLE = "application/json;as=Table;g=meta.k8s.io;v=v1,application/json"


class PatchType(StrEnum):
    """The media types of a PATCH body."""

    JSON = "application/json-patch+json"
    MERGE = "application/merge-patch+json"
    STRATEGIC = "application/strategic-merge-patch+json"
    APPLY = "application/apply-patch+yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class RawList:
    """A consistent list: every object as of ``version``, from which a watch goes on."""

    items: tuple[Raw, ...]
    version: str


class KubeClient:
    """Reads and writes objects of one API server; ``cluster`` is the name that the mesh knows it by.

    Every method raises ApiError: with the server's code, reason and message, or with code 0 when no answer came.
    Reads are tried again after 5xx, everything after 429, a few times within seconds; failed connections are not, the
    caller knows better.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        *,
        cluster: str,
        namespace: str = "default",
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._http = http
        self._sleep = sleep
        self._jitter = jitter
        self.cluster = cluster
        self.namespace = namespace

    @classmethod
    def from_kubeconfig(cls, path: Path, context: str | None, *, cluster: str) -> Self:
        """A client for ``context`` (``None``: the current one); raises MeshpassError when the file does not tell how."""
        http, config = connect(path, context)
        return cls(http, cluster=cluster, namespace=config.namespace)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._http.aclose()

    @property
    def host(self) -> str:
        """Host and port of the API server."""
        return self._http.base_url.netloc.decode()

    async def list_raw(
        self,
        kind: ResourceKind,
        namespace: str | None = None,
        *,
        label_selector: str | None = None,
        field_selector: str | None = None,
        limit: int = PAGE_SIZE,
        metadata_only: bool = False,
    ) -> RawList:
        """Every object that matches, read in pages of ``limit``; ``namespace`` None means all.

        ``metadata_only`` asks for PartialObjectMetadata; a server that has none answers whole objects.
        """
        params = {"labelSelector": label_selector, "fieldSelector": field_selector, "limit": str(limit)}
        accept = _METADATA_LIST if metadata_only else "application/json"
        path = collection_path(kind, namespace)
        try:
            pages = [page async for page in self._pages(path, params, accept)]
        except ExpiredError:
            # The snapshot behind a continue token lives for minutes only. One request for everything needs none.
            pages = [page async for page in self._pages(path, {**params, "limit": None}, accept)]
        # Items of built-in kinds come without apiVersion and kind, because their list names both.
        named = {"apiVersion": group_version(kind), "kind": kind.kind}
        items = tuple({**named, **item} for page in pages for item in page.get("items") or ())
        return RawList(items=items, version=self._list_version(pages[-1]))

    async def get_raw(self, kind: ResourceKind, namespace: str | None, name: str) -> Raw:
        """The object; 404 is an ApiError."""
        return await self.request_json("GET", object_path(kind, namespace, name))

    async def create_raw(
        self,
        kind: ResourceKind,
        raw: Raw,
        *,
        field_manager: str | None = None,
        dry_run: bool = False,
        strict: bool = False,
    ) -> Raw:
        """Stores a new object, in the namespace that its metadata names, and returns it as stored.

        ``strict`` has the server refuse fields that the kind does not have.
        """
        path = collection_path(kind, self._namespace_of(kind, raw))
        body = msgspec.json.encode(raw)
        return await self._write("POST", path, body, field_manager=field_manager, dry_run=dry_run, strict=strict)

    async def replace_raw(
        self,
        kind: ResourceKind,
        raw: Raw,
        *,
        subresource: str | None = None,
        field_manager: str | None = None,
        dry_run: bool = False,
    ) -> Raw:
        """Replaces the whole object; 409 when the resourceVersion in ``raw`` is no longer the current one."""
        path = object_path(kind, self._namespace_of(kind, raw), str(raw["metadata"]["name"]), subresource)
        return await self._write("PUT", path, msgspec.json.encode(raw), field_manager=field_manager, dry_run=dry_run)

    async def patch_raw(
        self,
        kind: ResourceKind,
        namespace: str | None,
        name: str,
        patch: Mapping[str, Any] | list[Any],
        *,
        content_type: PatchType = PatchType.MERGE,
        subresource: str | None = None,
        field_manager: str | None = None,
        force: bool = False,
        dry_run: bool = False,
        strict: bool = False,
    ) -> Raw:
        """Changes parts of the object and returns it as stored; ``force`` takes fields over in a server-side apply.

        ``strict`` has the server refuse fields that the kind does not have.
        """
        path = object_path(kind, namespace, name, subresource)
        body = msgspec.json.encode(patch)
        return await self._write(
            "PATCH",
            path,
            body,
            content_type=content_type,
            field_manager=field_manager,
            dry_run=dry_run,
            force=force,
            strict=strict,
        )

    async def delete(
        self, kind: ResourceKind, namespace: str | None, name: str, *, propagation: str | None = None
    ) -> Raw:
        """Asks for the object's deletion; returns a Status, or the object while finalizers hold it.

        ``propagation`` is ``Background``, ``Foreground`` or ``Orphan``.
        """
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation}
        body = msgspec.json.encode(options) if propagation else b""
        return await self.request_json("DELETE", object_path(kind, namespace, name), content=body)

    async def table(
        self,
        kind: ResourceKind,
        namespace: str | None = None,
        name: str | None = None,
        *,
        label_selector: str | None = None,
        field_selector: str | None = None,
    ) -> Raw:
        """The objects (or the one) as a metav1.Table, made by the server; every page in one table."""
        if name is not None:
            return await self.request_json("GET", object_path(kind, namespace, name), accept=_TABLE)
        params = {"labelSelector": label_selector, "fieldSelector": field_selector, "limit": str(PAGE_SIZE)}
        pages = [page async for page in self._pages(collection_path(kind, namespace), params, _TABLE)]
        return {**pages[0], "rows": [row for page in pages for row in page.get("rows") or ()]}

    async def watch_raw(
        self, kind: ResourceKind, version: str, *, timeout_seconds: float
    ) -> AsyncGenerator[WatchEvent, None]:
        """What happens to the kind's objects after ``version``, until the server ends it, at ``timeout_seconds``.

        Ends without an error when the stream ended well. A server that falls silent for longer than it should live
        counts as lost. Raises MalformedEventError too.
        """
        params = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(int(timeout_seconds)),
        }
        timeout = httpx.Timeout(self._http.timeout)
        timeout.read = timeout_seconds + _WATCH_SILENCE
        try:
            path = collection_path(kind, None)
            async with self._http.stream("GET", path, params=params, timeout=timeout) as response:
                if response.status_code != 200:
                    raise api_error(response.status_code, await response.aread())
                async with aclosing(split_lines(response.aiter_bytes())) as lines:
                    async for line in lines:
                        yield parse_event(line)
        except httpx.HTTPError as error:
            raise unreachable(self.host, error) from error

    async def request_json(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | None] | None = None,
        accept: str = "application/json",
        content: bytes = b"",
        content_type: str = "application/json",
    ) -> dict[str, Any]:
        """The decoded answer to any request, for what has no method here."""
        headers = {"accept": accept}
        if content:
            headers["content-type"] = content_type
        given = {name: value for name, value in (params or {}).items() if value is not None}
        body = await self._send(method, path, params=given, headers=headers, content=content)
        try:
            decoded = msgspec.json.decode(body)
        except msgspec.DecodeError as error:
            raise unreachable(self.host, error) from error
        if not isinstance(decoded, dict):
            raise unreachable(self.host, TypeError(f"{method} {path} was answered with JSON that is no object"))
        return decoded

    async def _send(
        self, method: str, path: str, *, params: Mapping[str, str], headers: Mapping[str, str], content: bytes
    ) -> bytes:
        backoff = Backoff(self._jitter, first=0.1, limit=5.0)
        for remaining in reversed(range(_READ_TRIES)):
            try:
                response = await self._http.request(method, path, params=params, headers=headers, content=content)
            except httpx.HTTPError as error:
                raise unreachable(self.host, error) from error
            if response.is_success:
                return response.content
            failure = api_error(response.status_code, response.content)
            # A 429 was refused before it had an effect; of a 5xx nobody knows, so writes are not repeated.
            again = failure.code == 429 or (method == "GET" and failure.code >= 500)
            if not remaining or not again or isinstance(failure, ExpiredError):
                raise failure
            await self._sleep(max(_retry_after(response), backoff.next_delay()))
        raise AssertionError("the last try returns or raises")

    async def _pages(self, path: str, params: Mapping[str, str | None], accept: str) -> AsyncIterator[dict[str, Any]]:
        token: str | None = None
        while True:
            page = await self.request_json("GET", path, params={**params, "continue": token}, accept=accept)
            yield page
            token = (page.get("metadata") or {}).get("continue") or None
            if token is None:
                return

    async def _write(
        self,
        method: str,
        path: str,
        body: bytes,
        *,
        content_type: str = "application/json",
        field_manager: str | None,
        dry_run: bool,
        force: bool = False,
        strict: bool = False,
    ) -> Raw:
        params = {
            "fieldManager": field_manager,
            "dryRun": "All" if dry_run else None,
            "force": "true" if force else None,
            "fieldValidation": "Strict" if strict else None,
        }
        return await self.request_json(method, path, params=params, content=body, content_type=content_type)

    def _list_version(self, page: Raw) -> str:
        version = str((page.get("metadata") or {}).get("resourceVersion", ""))
        if not version.isdecimal():
            raise unreachable(self.host, ValueError(f"a list of resourceVersion {version!r}"))
        return version

    def _namespace_of(self, kind: ResourceKind, raw: Raw) -> str | None:
        return (raw["metadata"].get("namespace") or self.namespace) if kind.namespaced else None


def _retry_after(response: httpx.Response) -> float:
    """Seconds of a Retry-After header (RFC 9110 §10.2.3; API servers send seconds, never dates), bounded."""
    text = response.headers.get("retry-after", "")
    return min(float(text), _LONGEST_RETRY_AFTER) if text.isdecimal() else 0.0


def is_not_found(error: ApiError) -> bool:
    """True when the object, or its kind, is not there."""
    return error.code == 404
