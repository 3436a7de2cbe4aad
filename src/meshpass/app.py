"""Composition root of the control plane: frozen settings in, one TaskGroup out. Read this first.

API servers ─► Informer ─► ObjectStore ─► Reconciler ─► SnapshotCache ─► AdsServer ─► Envoys
▲                                       │  ▲                           │
└──── StatusWriter, EventRecorder ◄─────┘  └────── acknowledged ◄──────┘
"""

from __future__ import annotations

import asyncio
import gc
import ssl
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from meshpass.api.core import EndpointSlice, Namespace, Pod, Secret, Service
from meshpass.api.kind import Kind
from meshpass.api.kinds import KINDS, kind_of_type
from meshpass.api.metadata import ApiObject
from meshpass.audit.log import AuditLog
from meshpass.audit.record import DecisionRecord
from meshpass.audit.server import AccessLogService
from meshpass.audit.subject import SubjectHasher, load_salt
from meshpass.certificatefile import CertificateFiles
from meshpass.control import ControlApi, listen_privately
from meshpass.envoy.snapshot import Snapshot
from meshpass.envoy.transition import plan_transition
from meshpass.httpserver import HttpServer
from meshpass.jwks.download import Downloader
from meshpass.jwks.fetcher import KeySetFetcher
from meshpass.kube.client import KubeClient
from meshpass.kube.event import EventRecorder
from meshpass.kube.informer import Informer
from meshpass.kube.status import StatusWriter
from meshpass.kube.store import ObjectStore
from meshpass.memo import Memo
from meshpass.reconciler import Inputs, Outputs, Reconciler
from meshpass.translate import FeatureGates, TranslateSettings
from meshpass.treestore import TreeStore
from meshpass.xds.cache import SnapshotCache
from meshpass.xds.server import AdsServer


def find_system_authorities() -> str:
    """The file of authorities that programs of this machine believe, which its proxies can read; empty if there is none."""
    path = ssl.get_default_verify_paths().cafile
    known = (path, "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")
    return next((one for one in known if one and Path(one).is_file()), "")


COLLECT_AFTER = (50_000, 20, 20)
"""Objects made until the collector of cycles looks at the new ones; and how many such looks until it looks at older ones.

Python's own 700 would look at most of what ten thousand routes are made of again and again while it is being made, for
nothing: half of the time of a first translation.
"""

CORE_TYPES: tuple[type[ApiObject], ...] = (Namespace, Service, EndpointSlice, Pod, Secret)

WATCHED: tuple[Kind, ...] = (*(kind_of_type(kind) for kind in CORE_TYPES), *KINDS)
"""What is read from every API server: our kinds, and of Kubernetes' own only what translation looks at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlPlaneSettings:
    """Where the control plane reads from and listens."""

    kubeconfig: Path
    contexts: tuple[tuple[str, str], ...]
    """(cluster, context of the kubeconfig) for every cluster."""
    management_cluster: str
    ads_socket: Path
    control_socket: Path
    directory: Path
    """What has to outlive the process: the last good key sets."""
    gates: FeatureGates = field(default_factory=FeatureGates)


@asynccontextmanager
async def run_control_plane(settings: ControlPlaneSettings) -> AsyncIterator[None]:
    """Inside, both sockets accept connections and the objects of all clusters are followed."""
    async with AsyncExitStack() as stack:
        clients = {
            cluster: await stack.enter_async_context(
                KubeClient.from_kubeconfig(settings.kubeconfig, context, cluster=cluster)
            )
            for cluster, context in settings.contexts
        }
        store, cache, memo = ObjectStore(), SnapshotCache(), Memo()
        statuses, events = StatusWriter(clients, store), EventRecorder(clients, store)
        translating = TranslateSettings(
            management_cluster=settings.management_cluster,
            gates=settings.gates,
            system_authorities=find_system_authorities(),
        )
        keys = KeySetFetcher(settings.directory / "jwks", Downloader())
        files = CertificateFiles()
        trees = TreeStore(settings.directory / "frozen.db")
        trees.load()
        reconciler = Reconciler(
            Inputs(store=store, keys=keys, files=files, settings=translating, trees=trees),
            Outputs(cache=cache, statuses=statuses, events=events),
            memo=memo,
        )

        def plan(current: Snapshot | None, target: Snapshot) -> tuple[Snapshot, ...]:
            return plan_transition(current, target, memo)

        audit = AuditLog()
        access_logs = _make_access_log_service(audit, reconciler, settings.directory)
        informers = _make_informers(clients.values(), store)
        control = ControlApi(
            clients=clients.values(),
            store=store,
            reconciler=reconciler,
            cache=cache,
            statuses=statuses,
            keys=keys,
            audit=audit,
            informers=informers,
            gates=settings.gates,
        )
        ads = AdsServer(cache, plan, listen=settings.ads_socket, services=(access_logs.handler,))
        await stack.enter_async_context(ads)
        stack.callback(access_logs.close)
        endless = [
            _settle_memory(reconciler),
            *(one.run() for one in informers),
            statuses.run(),
            events.run(),
            keys.run(),
            files.run(),
            reconciler.run(),
        ]
        tasks = await stack.enter_async_context(_running(endless))
        server = HttpServer(control.application)
        serving = await server.start(listen_privately(settings.control_socket), tasks)
        try:
            yield
        finally:
            await server.stop(serving)


async def _settle_memory(reconciler: Reconciler) -> NoReturn:
    """Once all objects have been translated, the collector of cycles no longer looks at what came of them.

    They are frozen values without cycles, hundreds of thousands of them: looking at all of them now and then would
    stop everything for a fifth of a second.
    """
    gc.set_threshold(*COLLECT_AFTER)
    await reconciler.wait_translated(0)
    gc.freeze()
    await asyncio.Event().wait()
    raise AssertionError("never set")


def _make_access_log_service(audit: AuditLog, reconciler: Reconciler, directory: Path) -> AccessLogService:
    def policy_of(selection_class: str) -> str:
        policy = reconciler.policy_of(selection_class)
        return f"{policy.cluster}/{policy.namespace}/{policy.name}" if policy else ""

    def on_unknown_key(record: DecisionRecord) -> None:
        reconciler.note_unknown_key(record.selection_class)

    hasher = SubjectHasher(load_salt(directory / "audit-salt"))
    return AccessLogService(audit, policy_of, hash_subject=hasher, on_unknown_key=on_unknown_key)


def _make_informers(clients: Iterable[KubeClient], store: ObjectStore) -> list[Informer]:
    informers: list[Informer] = []
    for client in clients:
        store.expect(client.cluster, WATCHED)
        informers.extend(Informer(client, kind, store) for kind in WATCHED)
    return informers


@asynccontextmanager
async def _running(endless: Iterable[Coroutine[Any, Any, NoReturn]]) -> AsyncIterator[asyncio.TaskGroup]:
    """Inside, the endless tasks run; one that fails ends the rest. They are cancelled at the end."""
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(one) for one in endless]
        try:
            yield tasks
        finally:
            for task in running:
                task.cancel()
