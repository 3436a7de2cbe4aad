"""The control plane of one process, put together: what reads, what translates, what serves, what writes back."""

from __future__ import annotations

import asyncio
import signal
import ssl
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from meshpass.app.memory import settle_memory
from meshpass.app.relaying import (
    States,
    agent_tasks,
    cluster_conditions,
    make_relay_agent,
    make_relay_server,
    server_tasks,
    sign_intermediate,
    view_place,
)
from meshpass.app.settings import ControlPlaneSettings, Role
from meshpass.app.trust import MeshTrust
from meshpass.app.watched import WATCHED
from meshpass.audit.log import AuditLog
from meshpass.audit.record import DecisionRecord
from meshpass.audit.server import AccessLogService
from meshpass.audit.subject import SubjectHasher, load_salt
from meshpass.certificatefile import CertificateFiles
from meshpass.control import ControlApi, listen_privately
from meshpass.envoy.snapshot import Snapshot
from meshpass.envoy.transition import plan_transition
from meshpass.httpserver import HttpServer
from meshpass.identity.http import identity_routes
from meshpass.jwks.download import Downloader
from meshpass.jwks.fetcher import KeySetFetcher
from meshpass.jwks.mutualtls import MutualTls
from meshpass.kube.client import KubeClient
from meshpass.kube.event import EventRecorder
from meshpass.kube.informer import Informer
from meshpass.kube.objectlog import ObjectLog
from meshpass.kube.status import StatusWriter
from meshpass.kube.store import ObjectStore
from meshpass.memo import Memo
from meshpass.reconciler import Inputs, Outputs, Reconciler
from meshpass.relay.facts import Facts
from meshpass.translate import TranslateSettings
from meshpass.treestore import TreeStore
from meshpass.xds.cache import SnapshotCache
from meshpass.xds.remote import RemoteStates
from meshpass.xds.server import AdsServer


def find_system_authorities() -> str:
    """The file of authorities that programs of this machine believe, which its proxies can read; empty if there is none."""
    path = ssl.get_default_verify_paths().cafile
    known = (path, "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")
    return next((one for one in known if one and Path(one).is_file()), "")


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
        store, facts = _open_store(settings, stack)
        cache, memo = SnapshotCache(), Memo()
        states = States(own=RemoteStates(), remote=RemoteStates())
        statuses, events = StatusWriter(clients, store), EventRecorder(clients, store)
        trust = MeshTrust(settings, store, facts, events)
        server = make_relay_server(
            *(settings, store, states, facts, trust.roots),
            changed=lambda: reconciler.wake_statuses(),  # noqa: PLW0108 - it is made below
        )
        agent = make_relay_agent(settings, store, states, facts)
        translating = TranslateSettings(
            management_cluster=settings.management_cluster,
            gates=settings.gates,
            system_authorities=find_system_authorities(),
            serves=None if settings.role is Role.ALONE else frozenset({settings.cluster}),
        )
        keys = KeySetFetcher(
            settings.directory / "jwks", Downloader(mutual_tls=MutualTls(lambda: trust.issuer.identities))
        )
        files = CertificateFiles()
        trees = TreeStore(settings.directory / "frozen.db")
        trees.load()
        reconciler = Reconciler(
            Inputs(
                store=store,
                keys=keys,
                files=files,
                settings=translating,
                trees=trees,
                issuer=trust.issuer,
                remote=states.remote,
                further=partial(cluster_conditions, settings, store, server),
            ),
            Outputs(
                cache=cache,
                statuses=statuses,
                events=events,
                cluster=settings.cluster,
                clusters=settings.clusters,
                own=states.own,
                trust=trust.acknowledged,
                told=trust.tell,
            ),
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
            place=partial(view_place, settings, server, agent),
            identity=trust.view,
            routes=identity_routes(trust.view, trust.roots, {settings.cluster: trust.intermediate}),
        )
        ads = AdsServer(cache, plan, listen=settings.ads_socket, services=(access_logs.handler,))
        await stack.enter_async_context(ads)
        stack.callback(access_logs.close)
        endless = [
            settle_memory(reconciler),
            *(one.run() for one in informers),
            statuses.run(),
            events.run(),
            keys.run(),
            files.run(),
            reconciler.run(),
            *trust.tasks(partial(sign_intermediate, agent) if agent else None),
            *(server_tasks(settings, server) if server else ()),
            *(agent_tasks(settings, agent) if agent else ()),
        ]
        tasks = await stack.enter_async_context(_running(endless))
        http = HttpServer(control.application)
        serving = await http.start(listen_privately(settings.control_socket), tasks)
        try:
            yield
        finally:
            await http.stop(serving)


async def serve_control_plane(settings: ControlPlaneSettings) -> None:
    """A control plane runs until SIGTERM or SIGINT."""
    asked = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked.set)
    async with run_control_plane(settings):
        await asked.wait()


def _open_store(settings: ControlPlaneSettings, stack: AsyncExitStack) -> tuple[ObjectStore, Facts]:
    """What is known of objects, and of other processes. One of several processes begins with what it knew last."""
    if settings.role is Role.ALONE:
        return ObjectStore(), Facts()
    log = ObjectLog(settings.directory / "objects.db")
    stack.callback(log.close)
    restored = log.load()
    store = ObjectStore(keeps_essences=True, log=log)
    if settings.role is Role.AGENT:
        store.expect_relayed(settings.management_cluster)
    store.restore(restored)
    return store, Facts(log, restored.facts)


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
