"""MeshTrust: the identities of one process, and, in the process that has the root, those of the mesh."""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, NoReturn

from meshpass.api.admin import KubernetesCluster
from meshpass.api.core import Secret
from meshpass.api.objectset import ObjectKey
from meshpass.app.settings import ControlPlaneSettings, Role
from meshpass.errors import MeshpassError
from meshpass.identity.acknowledged import AcknowledgedTrust
from meshpass.identity.intermediate import IntermediateStore, Sign
from meshpass.identity.roots import RootStore
from meshpass.identity.trust import (
    IntermediateState,
    TrustBundle,
    decode_bundle,
    decode_intermediate_state,
    encode_trust,
)
from meshpass.identity.view import view_identity
from meshpass.identity.workload import WorkloadIssuer
from meshpass.kube.event import EventRecorder
from meshpass.kube.store import ObjectStore
from meshpass.relay.facts import Facts
from meshpass.translate.rootsecret import root_secret

logger = logging.getLogger(__name__)

BUNDLE = "trust-bundle"
"""The fact that the management server tells: whom to believe."""
STATE = "intermediate-state"
"""The fact that each agent tells: how far it and its proxies are."""
RETRY_SECONDS = 5.0
"""Until a trust bundle that could not be written is tried again."""


class MeshTrust:
    """Who signs for this process's workloads, whom they believe, and what others are told of that.

    The management server, and a process that is alone, have the root; agents get what it signs by ``sign``.
    """

    def __init__(
        self,
        settings: ControlPlaneSettings,
        store: ObjectStore,
        facts: Facts,
        events: EventRecorder,
        *,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        directory = settings.directory / "identity"
        self._settings = settings
        self._store = store
        self._facts = facts
        self._events = events
        self._sleep = sleep
        self._given: Secret | None = None
        self.roots = None if settings.role is Role.AGENT else RootStore(directory, settings.trust_domain)
        self.intermediate = IntermediateStore(directory, settings.cluster)
        self.issuer = WorkloadIssuer(self.intermediate)
        self.acknowledged = AcknowledgedTrust(self.intermediate, self.issuer)

    def tasks(self, sign: Sign | None = None) -> list[Coroutine[Any, Any, NoReturn]]:
        """What has to run; ``sign`` has an agent's intermediate signed."""
        roots = self.roots
        if roots is None:
            assert sign is not None, "an agent has no root of its own"
            return [self._follow_server(), self.intermediate.run(sign), self.issuer.run()]
        return [
            self._follow_roots(roots),
            self._follow_objects(roots),
            self._follow_agents(roots),
            roots.run(),
            self.intermediate.run(roots.signer(self._settings.cluster)),
            self.issuer.run(),
        ]

    def tell(self) -> None:
        """Whoever waits in a rotation of the root knows how far this process is. Cheap where nothing changed."""
        if self.roots is None:
            self._facts.publish(STATE, encode_trust(self.acknowledged.state()))
        else:
            self._observe(self.roots)

    def view(self) -> dict[str, object]:
        """What there is to say of identities."""
        if self.roots is None:
            return view_identity(self.intermediate.bundle, self._states().values())
        return view_identity(self.roots.bundle, self._states().values(), self.roots.late)

    def _states(self) -> Mapping[str, IntermediateState]:
        """How far every process is that this one knows of, by cluster."""
        known = {self._settings.cluster: self.acknowledged.state()}
        for cluster, facts in self._facts.received.items():
            if self.roots is not None and STATE in facts:
                try:
                    known[cluster] = _read_state(cluster, facts[STATE])
                except MeshpassError as error:
                    logger.warning(
                        "what an agent tells of its identities", extra={"cluster": cluster, "error": str(error)}
                    )
        return known

    def _observe(self, roots: RootStore) -> None:
        if not self._store.synced:
            return
        alone = self._settings.role is Role.ALONE
        registered = {
            key.name
            for key in self._store.objects.all(KubernetesCluster)
            if key.cluster == self._settings.management_cluster
        }
        roots.observe(self._states(), frozenset({self._settings.cluster, *(() if alone else registered)}))

    async def _follow_roots(self, roots: RootStore) -> NoReturn:
        while True:
            seen, bundle = roots.revision, roots.bundle
            if not self._believe(bundle):
                await self._sleep(RETRY_SECONDS)
                continue
            self._facts.publish(BUNDLE, encode_trust(bundle))
            await roots.wait_changed(seen)

    async def _follow_server(self) -> NoReturn:
        """An agent believes whom the management server says, as soon as it says so."""
        while True:
            seen = self._facts.revision
            told = self._facts.received.get(self._settings.management_cluster, {}).get(BUNDLE)
            try:
                bundle = None if told is None else decode_bundle(told)
            except MeshpassError as error:
                logger.warning("the trust bundle is not taken over", extra={"error": str(error)})
                bundle = None
            if bundle is not None and not self._believe(bundle):
                await self._sleep(RETRY_SECONDS)
                continue
            await self._facts.wait_changed(seen)

    def _believe(self, bundle: TrustBundle) -> bool:
        """False where the bundle cannot be written: then the one before stays, here and for whoever waits for this."""
        try:
            self.intermediate.trust(bundle)
        except OSError as error:
            logger.warning("the trust bundle is not on disk", extra={"error": str(error)})
            return False
        return True

    async def _follow_agents(self, roots: RootStore) -> NoReturn:
        seen = self._facts.revision
        while True:
            self._observe(roots)
            seen = await self._facts.wait_changed(seen)

    async def _follow_objects(self, roots: RootStore) -> NoReturn:
        """The user's authority is in a Secret; clusters are registered by their KubernetesClusters."""
        await self._store.wait_synced()
        key = root_secret(self._settings.management_cluster)
        while True:
            seen = self._store.revision
            secret = self._store.objects.all(Secret).get(key)
            if secret is not None and secret is not self._given:
                self._take(roots, key, secret)
            self._observe(roots)
            await self._store.wait_changed(seen)

    def _take(self, roots: RootStore, key: ObjectKey, secret: Secret) -> None:
        self._given = secret
        try:
            roots.use(*(_decode(secret, name) for name in ("tls.crt", "tls.key", "ca.crt")))
        except MeshpassError as error:
            logger.warning("the Secret has no root that can be used", extra={"object": str(key), "error": str(error)})
            self._events.record(key, reason="Rejected", message=str(error))


def _read_state(cluster: str, data: bytes) -> IntermediateState:
    state = decode_intermediate_state(data)
    if state.cluster != cluster:
        raise MeshpassError(f"it is of cluster {state.cluster!r}, for which this agent does not speak")
    return state


def _decode(secret: Secret, name: str) -> str:
    try:
        return base64.b64decode(secret.data.get(name, ""), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise MeshpassError(f"{name} is no text in base64") from error
