"""FakeKube: an API server in memory, behind an httpx transport, which fails in every way a test asks for."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import httpx2 as httpx

from meshpass.kube.client import KubeClient
from meshpass.kube.resource import ResourceKind, group_version

JSON = dict[str, Any]
Address = tuple[str, str, str]
"""Plural, namespace, name."""


async def wait_for(condition: Callable[[], bool]) -> None:
    """Returns once ``condition`` holds; it is looked at in every turn of the event loop."""
    while not condition():  # noqa: ASYNC110 (what tests look at tells of nothing by itself)
        await asyncio.sleep(0)


class FakeClock:
    """Time that passes only by sleeping, and then at once; ``delays`` are the sleeps so far."""

    def __init__(self) -> None:
        self.now = 0.0
        self.delays: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.delays.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


@dataclass
class Refusal:
    """One request of ``method`` (any, if empty) is answered with ``code``."""

    code: int
    method: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    watches: bool | None = None
    """True: hits watches only; False: everything but watches."""
    continued: bool = False
    """True: hits only requests for a later page of a list."""


class _Stream(httpx.AsyncByteStream):
    """The body of one watch: lines until None (the end) or an exception (the connection is lost)."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.items: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (item := await self.items.get()) is not None:
            if isinstance(item, Exception):
                raise item
            yield item


class FakeKube(httpx.AsyncBaseTransport):
    """Stores objects of ``kinds``, numbers every change, and answers lists, watches and writes as Kubernetes does."""

    def __init__(self, kinds: Iterable[ResourceKind], *, first_version: int = 100) -> None:
        self.kinds = {kind.plural: kind for kind in kinds}
        self.version = first_version
        self.objects: dict[Address, JSON] = {}
        self.history: list[tuple[int, str, str, JSON]] = []
        self.compacted = first_version
        self.down = False
        self.refusals: deque[Refusal] = deque()
        self.requests: list[httpx.Request] = []
        self.streams: list[_Stream] = []
        self.drop_status_fields: frozenset[str] = frozenset()
        self.arrived = asyncio.Event()
        """Set by every request; a test clears it to wait for the next one."""
        self.in_flight = 0
        self.most_in_flight = 0
        self.gate: asyncio.Event | None = None
        """While set to an unset event, writes wait for it."""
        self._uid = 0

    def client(self, clock: FakeClock, *, cluster: str = "cluster1") -> KubeClient:
        """A client of this server, whose pauses are the clock's."""
        http = httpx.AsyncClient(transport=self, base_url="https://fake.test:6443")
        return KubeClient(http, cluster=cluster, sleep=clock.sleep, jitter=lambda: 0.0)

    # What a test does to the objects.

    def put(self, plural: str, name: str, namespace: str = "default", **content: Any) -> JSON:
        """Creates the object, or replaces its content."""
        kind = self.kinds[plural]
        address = (plural, namespace if kind.namespaced else "", name)
        before = self.objects.get(address)
        raw: JSON = {"apiVersion": group_version(kind), "kind": kind.kind, **deepcopy(content)}
        metadata = raw.setdefault("metadata", {})
        metadata["name"] = name
        if kind.namespaced:
            metadata["namespace"] = namespace
        if before is None:
            self._uid += 1
        metadata["uid"] = before["metadata"]["uid"] if before else f"uid-{self._uid}"
        return self._store(address, raw, "MODIFIED" if before else "ADDED")

    def remove(self, plural: str, name: str, namespace: str = "default") -> None:
        """Deletes the object."""
        kind = self.kinds[plural]
        address = (plural, namespace if kind.namespaced else "", name)
        raw = deepcopy(self.objects.pop(address))
        self._record(plural, "DELETED", raw)

    def names(self, plural: str) -> set[tuple[str, str, str]]:
        """Namespace, name and resourceVersion of every object."""
        return {
            (namespace, name, raw["metadata"]["resourceVersion"])
            for (kind, namespace, name), raw in self.objects.items()
            if kind == plural
        }

    # What a test does to the server.

    def end_watches(self) -> None:
        """Every watch ends well."""
        self._close_watches(None)

    def break_watches(self) -> None:
        """Every watch loses its connection."""
        self._close_watches(httpx.ReadError("connection reset"))

    def send_line(self, line: bytes) -> None:
        """Every watch gets these bytes as they are."""
        for stream in self.streams:
            stream.items.put_nowait(line)

    def bookmark(self) -> None:
        """Every watch gets a bookmark of the current version."""
        for stream in self.streams:
            raw = {"kind": stream.kind, "metadata": {"resourceVersion": str(self.version)}}
            stream.items.put_nowait(_line("BOOKMARK", raw))

    def expire_watches(self) -> None:
        """Every watch gets a 410 as an ERROR event, and ends."""
        self.compact()
        self.send_line(_line("ERROR", status(410, "Expired", "too old resource version")))
        self.end_watches()

    def compact(self) -> None:
        """Resuming from before now is answered with 410."""
        self.history.clear()
        self.compacted = self.version

    def restart(self, *, version: int) -> None:
        """All connections are lost, and the numbering starts again at ``version``."""
        self.break_watches()
        self.version = version
        self.history.clear()
        self.compacted = 0
        for raw in self.objects.values():
            self.version += 1
            raw["metadata"]["resourceVersion"] = str(self.version)

    # The server itself.

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        self.arrived.set()
        if self.down:
            raise httpx.ConnectError("connection refused")
        body = await request.aread()
        params = request.url.params
        watch = params.get("watch") == "true"
        if (refused := self._refused(request.method, params, watch=watch)) is not None:
            return refused
        if request.method != "GET":
            await self._pass_gate()
        plural, namespace, name, subresource = self._parse(request.url.path)
        if plural not in self.kinds:
            return self._discovery(request.url.path)
        if watch:
            return self._watch(plural, int(params["resourceVersion"]))
        if request.method == "GET":
            return self._get((plural, namespace, name)) if name else self._list(plural, namespace, params)
        return self._change(request.method, (plural, namespace, name), body, subresource)

    def _change(self, method: str, address: Address, body: bytes, subresource: str) -> httpx.Response:
        match method:
            case "POST":
                return self._create(address[0], address[1], json.loads(body))
            case "PATCH":
                return self._patch(address, json.loads(body), subresource)
            case "PUT":
                return self._replace(address, json.loads(body))
            case _:
                return self._delete(address)

    def _refused(self, method: str, params: httpx.QueryParams, *, watch: bool) -> httpx.Response | None:
        for refusal in self.refusals:
            if refusal.continued and "continue" not in params:
                continue
            if refusal.method in {"", method} and refusal.watches in {None, watch}:
                self.refusals.remove(refusal)
                content = refusal.body
                if content is None:
                    content = json.dumps(status(refusal.code, "Refused", f"refused with {refusal.code}")).encode()
                return httpx.Response(refusal.code, headers=dict(refusal.headers), content=content)
        return None

    async def _pass_gate(self) -> None:
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        if self.gate is not None:
            await self.gate.wait()
        self.in_flight -= 1

    def _delete(self, address: Address) -> httpx.Response:
        if address not in self.objects:
            return _failure(404, "NotFound", f'{address[0]} "{address[2]}" not found')
        self.remove(address[0], address[2], address[1])
        return httpx.Response(200, json={"kind": "Status", "apiVersion": "v1", "status": "Success"})

    def _parse(self, path: str) -> tuple[str, str, str, str]:
        parts = path.strip("/").split("/")
        parts = parts[2:] if parts[0] == "api" else parts[3:]
        namespace = ""
        if len(parts) > 2 and parts[0] == "namespaces" and parts[2] in self.kinds:
            namespace, parts = parts[1], parts[2:]
        plural, name, subresource = (*parts, "", "", "")[:3]
        return plural, namespace, name, subresource

    def _discovery(self, path: str) -> httpx.Response:
        groups: dict[str, str] = {kind.group: kind.version for kind in self.kinds.values() if kind.group}
        if path == "/apis":
            preferred = [
                {"name": group, "preferredVersion": {"groupVersion": f"{group}/{version}", "version": version}}
                for group, version in groups.items()
            ]
            return httpx.Response(200, json={"kind": "APIGroupList", "groups": preferred})
        wanted = path.removeprefix("/apis/").removeprefix("/api/")
        resources: list[JSON] = []
        for kind in self.kinds.values():
            if group_version(kind) == wanted:
                resources += [
                    {
                        "name": kind.plural,
                        "kind": kind.kind,
                        "namespaced": kind.namespaced,
                        "singularName": kind.kind.lower(),
                        "shortNames": list(getattr(kind, "short_names", ())),
                    },
                    {"name": f"{kind.plural}/status", "kind": kind.kind, "namespaced": kind.namespaced},
                ]
        if not resources:
            return _failure(404, "NotFound", "the server could not find the requested resource")
        return httpx.Response(200, json={"kind": "APIResourceList", "groupVersion": wanted, "resources": resources})

    def _list(self, plural: str, namespace: str, params: httpx.QueryParams) -> httpx.Response:
        offset = 0
        version = self.version
        if "continue" in params:
            offset, version = (int(part) for part in params["continue"].split(":"))
            if version < self.compacted:
                return _failure(410, "Expired", "the continue token is too old")
        kind = self.kinds[plural]
        found = sorted(
            (address, raw)
            for address, raw in self.objects.items()
            if address[0] == plural and namespace in {"", address[1]}
        )
        limit = int(params.get("limit", "0")) or len(found) or 1
        page = found[offset : offset + limit]
        metadata: JSON = {"resourceVersion": str(version)}
        if offset + limit < len(found):
            metadata["continue"] = f"{offset + limit}:{version}"
        # Lists of built-in kinds name the kind once, not in every item.
        items = [{key: value for key, value in raw.items() if key not in {"apiVersion", "kind"}} for _, raw in page]
        content = {"kind": f"{kind.kind}List", "apiVersion": group_version(kind), "metadata": metadata, "items": items}
        return httpx.Response(200, json=content)

    def _watch(self, plural: str, since: int) -> httpx.Response:
        if since < self.compacted:
            return _failure(410, "Expired", f"too old resource version: {since} ({self.compacted})")
        if since > self.version:
            return _failure(504, "Timeout", f"Too large resource version: {since}, current: {self.version}")
        stream = _Stream(plural)
        for version, kind, event, raw in self.history:
            if kind == plural and version > since:
                stream.items.put_nowait(_line(event, raw))
        self.streams.append(stream)
        return httpx.Response(200, stream=stream)

    def _get(self, address: Address) -> httpx.Response:
        if address not in self.objects:
            return _failure(404, "NotFound", f'{address[0]} "{address[2]}" not found')
        return httpx.Response(200, json=self.objects[address])

    def _create(self, plural: str, namespace: str, raw: JSON) -> httpx.Response:
        name = raw["metadata"]["name"]
        if (plural, namespace, name) in self.objects:
            return _failure(409, "AlreadyExists", f'{plural} "{name}" already exists')
        return httpx.Response(201, json=self.put(plural, name, namespace, **_content(raw)))

    def _replace(self, address: Address, raw: JSON) -> httpx.Response:
        if address not in self.objects:
            return _failure(404, "NotFound", f'{address[0]} "{address[2]}" not found')
        if (conflict := self._conflict(address, raw)) is not None:
            return conflict
        return httpx.Response(200, json=self.put(address[0], address[2], address[1], **_content(raw)))

    def _patch(self, address: Address, patch: JSON, subresource: str) -> httpx.Response:
        if address not in self.objects:
            return _failure(404, "NotFound", f'{address[0]} "{address[2]}" not found')
        if (conflict := self._conflict(address, patch)) is not None:
            return conflict
        before = self.objects[address]
        if subresource == "status":
            changed = merge({"status": patch.get("status", {})}, before)
            for name in self.drop_status_fields:
                changed["status"].pop(name, None)
        else:
            changed = merge({name: value for name, value in patch.items() if name != "status"}, before)
        changed["metadata"]["resourceVersion"] = before["metadata"]["resourceVersion"]
        if changed == before:
            return httpx.Response(200, json=before)
        return httpx.Response(200, json=self._store(address, changed, "MODIFIED"))

    def _conflict(self, address: Address, raw: JSON) -> httpx.Response | None:
        metadata, stored = raw.get("metadata") or {}, self.objects[address]["metadata"]
        for name in ("uid", "resourceVersion"):
            if metadata.get(name) and metadata[name] != stored[name]:
                return _failure(409, "Conflict", f"the object has been modified: {name}")
        return None

    def _store(self, address: Address, raw: JSON, event: str) -> JSON:
        stored = self._record(address[0], event, raw)
        self.objects[address] = stored
        return stored

    def _record(self, plural: str, event: str, raw: JSON) -> JSON:
        self.version += 1
        raw = deepcopy(raw)
        raw["metadata"]["resourceVersion"] = str(self.version)
        self.history.append((self.version, plural, event, raw))
        for stream in self.streams:
            if stream.kind == plural:
                stream.items.put_nowait(_line(event, raw))
        return raw

    def _close_watches(self, end: Exception | None) -> None:
        for stream in self.streams:
            stream.items.put_nowait(end)
        self.streams.clear()


def status(code: int, reason: str, message: str) -> JSON:
    """A metav1.Status of failure."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "code": code,
        "reason": reason,
        "message": message,
    }


def merge(patch: JSON, target: JSON) -> JSON:
    """RFC 7386, written from its pseudocode."""
    result = deepcopy(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, dict):
            result[name] = merge(value, result.get(name, {}))
        else:
            result[name] = value
    return result


def _content(raw: JSON) -> JSON:
    return {name: value for name, value in raw.items() if name not in {"apiVersion", "kind"}}


def _line(event: str, raw: JSON) -> bytes:
    return json.dumps({"type": event, "object": raw}).encode() + b"\n"


def _failure(code: int, reason: str, message: str) -> httpx.Response:
    return httpx.Response(code, json=status(code, reason, message))
