"""Relaying: the process's end of the relay, if it has one."""

from __future__ import annotations

import socket
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from meshpass.api.admin import KubernetesCluster
from meshpass.app.settings import ControlPlaneSettings, RelayConnect, RelayListen
from meshpass.identity.relay import (
    credentials_in,
    ensure_server_credentials,
    keep_agent_credentials,
    keep_server_credentials,
    sign_agent_credentials,
)
from meshpass.identity.roots import RootStore
from meshpass.kube.store import ObjectStore
from meshpass.reconciler import FurtherConditions
from meshpass.relay.facts import Facts
from meshpass.translate.status import FurtherCondition
from meshpass.xds.remote import RemoteStates

if TYPE_CHECKING:
    # A process that is alone needs none of it, and starts sooner.
    from meshpass.relay.agent import RelayAgent
    from meshpass.relay.server import RelayServer
    from meshpass.relay.signing import SignPurpose


@dataclass(frozen=True, slots=True, kw_only=True)
class States:
    """How far proxies are."""

    own: RemoteStates
    """Those that this process serves."""
    remote: RemoteStates
    """Those of others."""


def make_relay_server(
    settings: ControlPlaneSettings,
    store: ObjectStore,
    states: States,
    facts: Facts,
    roots: RootStore | None,
    *,
    changed: Callable[[], None],
) -> RelayServer | None:
    """The end to which agents connect, and which calls ``changed`` when one comes or goes; None in other roles."""
    if not isinstance(settings.relay, RelayListen) or roots is None:
        return None
    from meshpass.relay.server import RelayServer
    from meshpass.relay.settings import RelayServerSettings
    from meshpass.relay.signing import SignPurpose

    directory = settings.directory

    async def sign(cluster: str, purpose: SignPurpose, csr: str) -> str:
        match purpose:
            case SignPurpose.CREDENTIALS:
                return sign_agent_credentials(directory, csr, settings.trust_domain, cluster)
            case SignPurpose.INTERMEDIATE:
                return roots.sign(csr, cluster)

    return RelayServer(
        store,
        settings=RelayServerSettings(
            management_cluster=settings.management_cluster,
            listen=settings.relay.address,
            trust_domain=settings.trust_domain,
        ),
        credentials=ensure_server_credentials(directory, _hosts(settings.relay)),
        own=states.own,
        remote=states.remote,
        facts=facts,
        sign=sign,
        changed=changed,
    )


def server_tasks(settings: ControlPlaneSettings, server: RelayServer) -> list[Coroutine[Any, Any, NoReturn]]:
    """What runs in a management server beside everything else: its end of the relay, and its credentials' renewal."""
    assert isinstance(settings.relay, RelayListen)
    return [server.run(), keep_server_credentials(settings.directory, _hosts(settings.relay))]


def _hosts(listen: RelayListen) -> tuple[str, ...]:
    """By which agents may know the server."""
    own = listen.address.rpartition(":")[0].strip("[]")
    return tuple(dict.fromkeys((own, *listen.names, "localhost", "127.0.0.1", socket.gethostname())))


def make_relay_agent(
    settings: ControlPlaneSettings, store: ObjectStore, states: States, facts: Facts
) -> RelayAgent | None:
    """The end that connects to the management server; None in other roles."""
    if not isinstance(settings.relay, RelayConnect):
        return None
    from meshpass.relay.agent import RelayAgent
    from meshpass.relay.settings import RelayAgentSettings

    return RelayAgent(
        store,
        settings=RelayAgentSettings(
            cluster=settings.cluster, management_cluster=settings.management_cluster, server=settings.relay.server
        ),
        credentials=credentials_in(settings.relay.credentials),
        own=states.own,
        remote=states.remote,
        facts=facts,
    )


def agent_tasks(settings: ControlPlaneSettings, agent: RelayAgent) -> list[Coroutine[Any, Any, NoReturn]]:
    """What runs in an agent beside everything else: its connection, and the renewal of its credentials."""
    from meshpass.relay.signing import SignPurpose

    assert isinstance(settings.relay, RelayConnect)

    async def renew(csr_pem: str) -> str:
        return await agent.sign(SignPurpose.CREDENTIALS, csr_pem)

    return [agent.run(), keep_agent_credentials(credentials_in(settings.relay.credentials), renew)]


async def sign_intermediate(agent: RelayAgent, csr_pem: str) -> str:
    """The chain that the management server signs for an agent's intermediate. Raises RelayError."""
    from meshpass.relay.signing import SignPurpose

    return await agent.sign(SignPurpose.INTERMEDIATE, csr_pem)


def view_place(
    settings: ControlPlaneSettings, server: RelayServer | None, agent: RelayAgent | None
) -> Mapping[str, object]:
    """Which process this is, and whom it is connected to."""
    place: dict[str, object] = {"role": settings.role.value, "cluster": settings.cluster}
    if server is not None:
        place["agents"] = server.view()
    if agent is not None:
        place["server"] = agent.view()
    return place


CONNECTED = "AgentConnected"
"""The condition of a KubernetesCluster that says whether its agent is connected."""


def cluster_conditions(
    settings: ControlPlaneSettings, store: ObjectStore, server: RelayServer | None
) -> FurtherConditions:
    """What is to be said about each KubernetesCluster beside what translation has to say."""
    if server is None:
        return {}
    agents = {agent["cluster"]: bool(agent["connected"]) for agent in server.view()}
    return {
        key: (_connected(agents.get(key.name, False)),)
        for key in store.objects.all(KubernetesCluster)
        if key.cluster == settings.management_cluster
    }


def _connected(connected: bool) -> FurtherCondition:
    if connected:
        return FurtherCondition(CONNECTED, True, "Connected")
    return FurtherCondition(
        CONNECTED,
        False,
        "NotConnected",
        "its agent is not connected to the management server; its proxies go on as they are",
    )
