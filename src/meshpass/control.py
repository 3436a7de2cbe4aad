"""Control: what the control plane says of itself, over HTTP on a unix socket that only its user can open."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from meshpass.audit.http import audit_routes
from meshpass.audit.log import AuditLog
from meshpass.audit.metrics import ProxyCount
from meshpass.errors import ApiError, LocalMeshError
from meshpass.jwks.fetcher import KeySetFetcher
from meshpass.jwks.view import view_sources
from meshpass.kube.client import KubeClient
from meshpass.kube.informer import Informer
from meshpass.kube.observed import wait_observed
from meshpass.kube.status import StatusWriter
from meshpass.kube.store import ObjectStore
from meshpass.reconciler import Reconciler
from meshpass.translate import FeatureGates
from meshpass.translate.health import view_certificates, view_frozen, view_gates, view_key, view_statuses
from meshpass.xds.cache import SnapshotCache
from meshpass.xds.view import view_proxy

DEFAULT_TIMEOUT_SECONDS = 10.0
MAX_TIMEOUT_SECONDS = 600.0


class _Wait(msgspec.Struct, frozen=True):
    revisions: Mapping[str, str] = {}


_WAIT = msgspec.json.Decoder(_Wait)

Place = Callable[[], Mapping[str, object]]
"""Which process this is, and whom it is connected to."""


class ControlApi:
    """All routes of the control socket; those of the audit log are its own.

    ``GET /v1/status`` · ``GET /v1/check`` · ``POST /v1/observe?timeout=SECONDS`` · ``POST /v1/wait?timeout=SECONDS`` ·
    ``GET /v1/jwks`` · ``POST /v1/jwks/refresh?url=URL``
    """

    def __init__(
        self,
        *,
        clients: Iterable[KubeClient],
        store: ObjectStore,
        reconciler: Reconciler,
        cache: SnapshotCache,
        statuses: StatusWriter,
        keys: KeySetFetcher,
        audit: AuditLog,
        informers: Iterable[Informer],
        gates: FeatureGates,
        place: Place,
        identity: Callable[[], object],
        routes: Iterable[Route] = (),
    ) -> None:
        """``identity`` tells what there is to say of identities, ``routes`` are served beside those of this class."""
        self._clients = tuple(clients)
        self._store = store
        self._reconciler = reconciler
        self._cache = cache
        self._statuses = statuses
        self._keys = keys
        self._informers = tuple(informers)
        self._gates = gates
        self._place = place
        self._identity = identity
        self.application = Starlette(
            routes=[
                Route("/v1/status", self._status, methods=["GET"]),
                Route("/v1/check", self._check, methods=["GET"]),
                Route("/v1/observe", self._observe, methods=["POST"]),
                Route("/v1/wait", self._wait, methods=["POST"]),
                Route("/v1/jwks", self._jwks, methods=["GET"]),
                Route("/v1/jwks/refresh", self._refresh_jwks, methods=["POST"]),
                *audit_routes(audit, self._count_proxies),
                *routes,
            ]
        )

    async def _status(self, _request: Request) -> Response:
        unsynced = {source.cluster for source in self._store.unsynced}
        return JSONResponse(
            {
                **self._place(),
                "synced": self._store.synced,
                "revision": self._reconciler.translated,
                "clusters": [
                    {"name": client.cluster, "synced": client.cluster not in unsynced} for client in self._clients
                ],
                "proxies": self._proxies(),
            }
        )

    async def _check(self, _request: Request) -> Response:
        return JSONResponse(
            {
                **self._place(),
                "synced": self._store.synced,
                "revision": self._reconciler.translated,
                "identity": self._identity(),
                "storeRevision": self._store.revision,
                "failingWatches": [
                    {"cluster": cluster, "kind": kind}
                    for cluster, kind in sorted(one.source for one in self._informers if one.failing)
                ],
                "failingStatuses": [view_key(key) for key in self._statuses.failing],
                "proxies": self._proxies(),
                "keySets": view_sources(self._keys.report())["sources"],
                "certificates": view_certificates(self._reconciler.proxies),
                "objects": view_statuses(self._statuses.desired, self._reconciler.report),
                "frozen": view_frozen(self._reconciler.report),
                "featureGates": view_gates(self._gates),
            }
        )

    def _proxies(self) -> list[dict[str, object]]:
        now = time.time()
        return [view_proxy(node, self._cache.state(node), now) for node in self._reconciler.nodes]

    def _count_proxies(self) -> ProxyCount:
        states = [self._cache.state(node) for node in self._reconciler.nodes]
        return ProxyCount(
            known=len(states),
            connected=sum(state.streams > 0 for state in states),
            in_sync=sum(state.in_sync for state in states),
        )

    async def _jwks(self, _request: Request) -> Response:
        return JSONResponse(view_sources(self._keys.report()))

    async def _refresh_jwks(self, request: Request) -> Response:
        """Answers once every source with the URL, or every one, was asked; with none if no policy names the URL."""
        return JSONResponse(view_sources(await self._keys.refresh(request.query_params.get("url"))))

    async def _observe(self, request: Request) -> Response:
        """Answers with the revisions of the clusters that are read here, once all is seen that was stored before."""
        try:
            async with asyncio.timeout(_read_timeout(request)):
                await self._store.wait_synced()
                await wait_observed(self._clients, self._store)
        except ValueError:
            return _no_timeout()
        except TimeoutError:
            return JSONResponse({"late": list(self._late())}, status_code=504)
        except ApiError as error:
            return JSONResponse({"message": str(error)}, status_code=502)
        revisions = self._store.revisions
        return JSONResponse({"revisions": {client.cluster: revisions[client.cluster] for client in self._clients}})

    async def _wait(self, request: Request) -> Response:
        """Answers once every proxy has acknowledged what was made from all that was stored before the request.

        A body ``{"revisions": {cluster: label}}`` names what other processes have observed: that is waited for as well.
        """
        try:
            body = _WAIT.decode(await request.body() or b"{}")
        except msgspec.MsgspecError as error:
            return JSONResponse({"message": str(error)}, status_code=400)
        try:
            async with asyncio.timeout(_read_timeout(request)):
                await self._store.wait_synced()
                await self._reconciler.wait_translated(await wait_observed(self._clients, self._store))
                await self._reconciler.wait_includes(body.revisions)
                await self._wait_in_sync()
                self._reconciler.write_statuses()
                await self._statuses.wait_idle()
        except ValueError:
            return _no_timeout()
        except TimeoutError:
            return JSONResponse({"late": list(self._late())}, status_code=504)
        except ApiError as error:
            return JSONResponse({"message": str(error)}, status_code=502)
        return JSONResponse({"late": []})

    async def _wait_in_sync(self) -> None:
        while self._reconciler.late():
            await self._cache.wait_changed(self._cache.revision)

    def _late(self) -> tuple[str, ...]:
        """What has not been heard of in time: proxies; else what is between them and the objects."""
        if not self._store.synced:
            return tuple(f"API server of {source.cluster}: {source.kind}" for source in self._store.unsynced)
        return self._reconciler.late() or ("control plane",)


def _read_timeout(request: Request) -> float:
    """Raises ValueError for what is no number."""
    seconds = float(request.query_params.get("timeout", DEFAULT_TIMEOUT_SECONDS))
    return min(max(seconds, 0.0), MAX_TIMEOUT_SECONDS)


def _no_timeout() -> Response:
    return JSONResponse({"message": "timeout is no number of seconds"}, status_code=400)


def listen_privately(path: Path) -> socket.socket:
    """A unix socket of mode 0600 at ``path``; a stale one is replaced. Raises LocalMeshError if it cannot be made."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    previous = os.umask(0o177)
    try:
        path.unlink(missing_ok=True)
        listener.bind(str(path))
        listener.listen(64)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise LocalMeshError(f"cannot listen on {path}: {error}") from error
    finally:
        os.umask(previous)
    return listener
