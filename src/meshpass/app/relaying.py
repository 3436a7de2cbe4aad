"""Relaying: the process's end of the relay, if it has one."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from meshpass.app.settings import ControlPlaneSettings, RelayConnect, RelayListen
from meshpass.identity.relay import (
    credentials_in,
    ensure_server_credentials,
    keep_agent_credentials,
    sign_agent_credentials,
)
from meshpass.identity.roots import RootStore
from meshpass.kube.store import ObjectStore
from meshpass.relay.facts import Facts
from meshpass.xds.remote import RemoteStates

if TYPE_CHECKING:
    from meshpass.relay.agent import RelayAgent
    from meshpass.relay.credentials import RelayCredentials
    from meshpass.relay.purpose import SignPurpose
    from meshpass.relay.server import RelayServer


@dataclass(frozen=True, slots=True, kw_only=True)
class States:
    """How far proxies are."""

    own: RemoteStates
    """Those that this process serves."""
    remote: RemoteStates
    """Those of others."""


def make_relay_server(
    settings: ControlPlaneSettings, store: ObjectStore, states: States, facts: Facts, roots: RootStore
) -> RelayServer | None:
    """The end to which agents connect; None in other roles."""
    if not isinstance(settings.relay, RelayListen):
        return None
    from meshpass.relay.credentials import SERVER_NAME, read_relay_credentials
    from meshpass.relay.purpose import SignPurpose
    from meshpass.relay.server import RelayServer, RelayServerSettings

    directory = settings.directory

    def read_credentials() -> RelayCredentials:
        # Looked at for every connection, and so made anew in time.
        ensure_server_credentials(directory, (SERVER_NAME,))
        return read_relay_credentials(directory / "relay")

    async def sign(cluster: str, purpose: SignPurpose, csr_pem: bytes) -> bytes:
        text = csr_pem.decode("ascii", errors="replace")
        if purpose is SignPurpose.CREDENTIALS:
            return sign_agent_credentials(directory, text, settings.trust_domain, cluster).encode()
        return roots.sign(text, cluster).encode()

    return RelayServer(
        store,
        settings=RelayServerSettings(
            management_cluster=settings.management_cluster,
            listen=settings.relay.address,
            trust_domain=settings.trust_domain,
        ),
        credentials=read_credentials,
        own=states.own,
        remote=states.remote,
        facts=facts,
        sign=sign,
    )


def make_relay_agent(
    settings: ControlPlaneSettings, store: ObjectStore, states: States, facts: Facts
) -> RelayAgent | None:
    """The end that connects to the management server; None in other roles."""
    if not isinstance(settings.relay, RelayConnect):
        return None
    from meshpass.relay.agent import RelayAgent, RelayAgentSettings
    from meshpass.relay.credentials import read_relay_credentials

    directory = settings.relay.credentials
    return RelayAgent(
        store,
        settings=RelayAgentSettings(
            cluster=settings.cluster, management_cluster=settings.management_cluster, server=settings.relay.server
        ),
        credentials=lambda: read_relay_credentials(directory),
        own=states.own,
        remote=states.remote,
        facts=facts,
    )


def agent_tasks(settings: ControlPlaneSettings, agent: RelayAgent) -> list[Coroutine[Any, Any, NoReturn]]:
    """What runs in an agent beside everything else: its connection, and the renewal of its credentials."""
    from meshpass.relay.purpose import SignPurpose

    assert isinstance(settings.relay, RelayConnect)

    async def renew(csr_pem: str) -> str:
        return (await agent.sign(csr_pem.encode(), SignPurpose.CREDENTIALS)).decode()

    return [agent.run(), keep_agent_credentials(credentials_in(settings.relay.credentials), renew)]


async def sign_intermediate(agent: RelayAgent, csr_pem: str) -> str:
    """The chain that the management server signs for an agent's intermediate. Raises RelayError."""
    from meshpass.relay.purpose import SignPurpose

    return (await agent.sign(csr_pem.encode(), SignPurpose.INTERMEDIATE)).decode()


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
