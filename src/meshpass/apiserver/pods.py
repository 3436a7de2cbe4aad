"""PodConnections: what a Pod answers itself: ``exec`` and ``log``; and that ``attach`` and ``portforward`` are not served."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import aclosing, contextmanager
from datetime import UTC, datetime
from typing import Any, Final

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from meshpass.apiserver.channel import ChannelProtocol, choose_protocol
from meshpass.apiserver.podexec import ExecSession
from meshpass.apiserver.podexecrequest import parse_command_request
from meshpass.apiserver.podlog import render_log
from meshpass.apiserver.podlogoptions import parse_log_options
from meshpass.apiserver.podruntime import CommandRequest, ContainerName, PodRuntime
from meshpass.apiserver.reader import get_object
from meshpass.apiserver.registry import Registry
from meshpass.apiserver.rest import WatchResponse
from meshpass.apiserver.status import StatusError, bad_request, method_not_allowed, unknown_path
from meshpass.apiserver.storage import Storage
from meshpass.apiserver.target import Target

POD_SUBRESOURCES: Final = ("attach", "exec", "log", "portforward")
_MOST_SESSIONS: Final = 64
"""Programs and followed logs at a time, of one API server."""
_PROTOCOLS: Final = ", ".join(protocol.value for protocol in ChannelProtocol)


class PodConnections:
    """The subresources of Pods that are no part of the stored object."""

    def __init__(self, storage: Storage, registry: Registry, runtime: PodRuntime | None) -> None:
        self._storage = storage
        self._registry = registry
        self._runtime = runtime
        self._sessions = 0

    async def answer(self, request: Request, namespace: str, pod: str, subresource: str) -> Response:
        """The response to a plain request. Raises StatusError."""
        if subresource == "log":
            return self._log(request, namespace, pod)
        if request.method not in {"GET", "POST"}:
            raise method_not_allowed(("GET", "POST"))
        # What is wrong with the request comes first: kubectl shows the answer to its last attempt, which is by SPDY.
        if subresource == "exec":
            self._prepare_exec(namespace, pod, request.query_params)
        else:
            raise self._refuse(namespace, pod, subresource)
        raise _upgrade_required(request.headers.get("upgrade", ""))

    async def connect(self, scope: Scope, receive: Receive, send: Send, parts: tuple[str, ...]) -> None:
        """A WebSocket was asked for and has come to its end. Raises StatusError before it is accepted."""
        socket = WebSocket(scope, receive, send)
        match parts:
            case ("api", "v1", "namespaces", namespace, "pods", pod, "exec"):
                container, request = self._prepare_exec(namespace, pod, socket.query_params)
            case ("api", "v1", "namespaces", namespace, "pods", pod, "attach" | "portforward" as subresource):
                raise self._refuse(namespace, pod, subresource)
            case _:
                raise unknown_path()
        protocol = choose_protocol(scope["subprotocols"])
        if protocol is None:
            raise bad_request(f"none of the requested subprotocols is served; served are {_PROTOCOLS}")
        with self._session():
            await socket.accept(subprotocol=protocol.value)
            await ExecSession(socket, protocol, request).run(self._running(), container)

    def _prepare_exec(self, namespace: str, pod: str, query: QueryParams) -> tuple[ContainerName, CommandRequest]:
        runtime = self._running()
        container = self._find(namespace, pod, query)
        request = parse_command_request(query)
        if why := runtime.refuses(container):
            raise bad_request(why)
        self._admit()
        return container, request

    def _log(self, request: Request, namespace: str, pod: str) -> Response:
        if request.method not in {"GET", "HEAD"}:
            raise method_not_allowed(("GET", "HEAD"))
        runtime = self._running()
        options = parse_log_options(request.query_params, pod, datetime.now(UTC))
        container = self._find(namespace, pod, request.query_params)
        if request.method == "HEAD":
            return Response(media_type="text/plain")
        self._admit()
        cursor = runtime.open_log(container, previous=options.previous)
        if cursor is None:
            raise bad_request(f'previous terminated container "{container.container}" in pod "{pod}" not found')
        return LogResponse(self._counted(render_log(cursor, options)))

    async def _counted(self, pieces: AsyncGenerator[bytes]) -> AsyncIterator[bytes]:
        with self._session():
            async with aclosing(pieces):
                async for piece in pieces:
                    yield piece

    def _refuse(self, namespace: str, pod: str, subresource: str) -> StatusError:
        self._pod(namespace, pod)
        instead = {
            "attach": "`kubectl logs -f` shows what a program writes, `kubectl exec` runs one beside it",
            "portforward": "the address of a Pod (`kubectl get pods -o wide`) can be reached from this machine as it is",
        }
        return StatusError(f"{subresource} is not served: {instead[subresource]}", code=501, reason="NotImplemented")

    def _running(self) -> PodRuntime:
        if self._runtime is None:
            raise StatusError("this API server knows of nothing that runs Pods", code=501, reason="NotImplemented")
        return self._runtime

    def _pod(self, namespace: str, pod: str) -> Mapping[str, Any]:
        resource = self._registry.find("", "v1", "pods")
        if resource is None:  # pragma: no cover - it is built in
            raise unknown_path()
        return get_object(self._storage, Target(resource=resource, namespace=namespace, name=pod)).decode()

    def _find(self, namespace: str, pod: str, query: QueryParams) -> ContainerName:
        """The container that is meant. Raises StatusError 404 for no such Pod, 400 in Kubernetes' words for the rest."""
        containers = [entry["name"] for entry in self._pod(namespace, pod)["spec"]["containers"]]
        wanted = query.get("container") or (containers[0] if len(containers) == 1 else "")
        if not wanted:
            choices = " ".join(containers)
            raise bad_request(f"a container name must be specified for pod {pod}, choose one of: [{choices}]")
        name = ContainerName(namespace=namespace, pod=pod, container=wanted)
        if wanted not in containers:
            raise bad_request(f"container {wanted} is not valid for pod {pod}")
        if self._runtime is not None and not self._runtime.runs(name):
            raise bad_request(f"pod {pod} does not have a host assigned")
        return name

    def _admit(self) -> None:
        if self._sessions >= _MOST_SESSIONS:
            why = f"{_MOST_SESSIONS} commands and logs are in use at this API server: end some of them"
            raise StatusError(why, code=429, reason="TooManyRequests", headers={"Retry-After": "1"})

    @contextmanager
    def _session(self) -> Iterator[None]:
        self._sessions += 1
        try:
            yield
        finally:
            self._sessions -= 1


class LogResponse(WatchResponse):
    """Streams text until it ends or the client is gone."""

    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        super().__init__(pieces)
        self.headers["content-type"] = "text/plain"


def _upgrade_required(asked: str) -> StatusError:
    """400 for a client that did not ask for a WebSocket; kubectl asks for SPDY where it was told to, or is old."""
    if "spdy" in asked.lower():
        return StatusError(
            f"exec is served over WebSocket ({_PROTOCOLS}), not over SPDY: kubectl 1.31 and newer use it unless "
            "KUBECTL_REMOTE_COMMAND_WEBSOCKETS=false, 1.29 and 1.30 with KUBECTL_REMOTE_COMMAND_WEBSOCKETS=true",
            code=400,
            reason="BadRequest",
            headers={"Connection": "close"},
        )
    return StatusError("Upgrade request required", code=400, reason="BadRequest", headers={"Connection": "close"})
