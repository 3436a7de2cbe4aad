"""Acknowledged trust: who is counted as one who has followed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.identities import ALICE, IssuingProcess, make_ca, settle

from meshpass.identity.acknowledged import AcknowledgedTrust
from meshpass.identity.trust import NodeTrust
from meshpass.ir import CALLERS, WORKLOAD_IDENTITY, Proxy, TlsCertificate, TrustedAuthorities

NODE = "sidecar~c~n~p"


class World:
    """A process with one proxy, which follows when it is told to."""

    def __init__(self, process: IssuingProcess) -> None:
        self.process = process
        self.trust = AcknowledgedTrust(process.store, process.issuer)
        self.proxies = [self.build()]
        self.in_sync = False

    def build(self, *, node: str = NODE, authorities: str | None = None, certificate: bool = True) -> Proxy:
        identities = self.process.issuer.identities
        shown = identities.certificates[ALICE]
        believed = identities.authorities if authorities is None else authorities
        mine = TlsCertificate(name=WORKLOAD_IDENTITY, chain=shown.chain, private_key=shown.private_key)
        elsewhere = TrustedAuthorities(name="elsewhere", certificates=make_ca().pem)
        callers = TrustedAuthorities(name=CALLERS, certificates=believed, identities=("spiffe://cluster.local/",))
        nobody = TrustedAuthorities(name="peers/nobody", certificates="", identities=())
        return Proxy(
            node=node,
            secrets=(*([callers] if believed else []), elsewhere, nobody, *([mine] if certificate else [])),
        )

    def observe(self) -> None:
        self.trust.observe(self.proxies, lambda _: self.in_sync)

    async def rotate_intermediate(self) -> None:
        self.process.store.rotate()
        await settle()

    async def trust_another(self) -> None:
        self.process.roots.rotate()
        self.process.store.trust(self.process.roots.bundle)
        await settle()

    @property
    def late(self) -> tuple[str, ...]:
        self.observe()
        return self.trust.state().late


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    process = IssuingProcess(tmp_path)
    async with process.running():
        process.issuer.follow(frozenset({ALICE}))
        yield World(process)


async def test_a_proxy_counts_once_it_has_acknowledged(world: World) -> None:
    """What it believes are the roots of the mesh, and not those of servers outside it."""
    assert world.late == (NODE,)
    world.in_sync = True
    assert world.late == ()

    bundle = world.process.roots.bundle
    assert world.trust.trust(NODE) == NodeTrust(trusts=bundle.trusts, issuer=bundle.signing)
    state = world.trust.state()
    assert (state.cluster, state.trusts, state.issuer) == ("agent", bundle.trusts, bundle.signing)
    assert (state.workloads, state.problem) == (1, "")
    assert state.fingerprint
    assert state.not_after > state.soonest_not_after


async def test_who_is_on_the_way_to_other_roots_is_late(world: World) -> None:
    """Until it has acknowledged them; also between the new roots and their translation."""
    world.in_sync = True
    assert world.late == ()
    await world.trust_another()
    assert world.late == (NODE,)

    world.proxies, world.in_sync = [world.build()], False
    assert world.late == (NODE,)
    world.in_sync = True
    assert world.late == ()


async def test_who_is_on_the_way_to_anything_else_is_not(world: World) -> None:
    """Both what it has and what it gets are right, so what it holds in between is: edits do not hold a rotation back."""
    world.in_sync = True
    assert world.late == ()

    await world.rotate_intermediate()
    world.proxies, world.in_sync = [world.build()], False

    assert world.late == ()


async def test_who_believes_nobody_and_shows_nothing_is_not_late(world: World) -> None:
    """But it is until it has said so: it could still hold what it had."""
    world.in_sync = True
    world.observe()
    world.proxies, world.in_sync = [world.build(authorities="", certificate=False)], False
    assert world.late == (NODE,)
    world.in_sync = True
    assert world.late == ()
    assert world.trust.trust(NODE) == NodeTrust()


async def test_a_chain_of_somebody_else_is_late(world: World) -> None:
    """Nobody knows who stands for it."""
    ca = make_ca()
    other = TlsCertificate(name=WORKLOAD_IDENTITY, chain=ca.pem, private_key=ca.key_pem)
    world.proxies, world.in_sync = [Proxy(node=NODE, secrets=(other,))], True

    assert world.late == (NODE,)


async def test_who_is_gone_is_forgotten(world: World) -> None:
    """And has to acknowledge anew when it comes back."""
    world.in_sync = True
    assert world.late == ()
    mine, world.proxies = world.proxies, []
    assert world.late == ()
    assert world.trust.trust(NODE) is None
    world.proxies, world.in_sync = mine, False
    assert world.late == (NODE,)


async def test_a_process_without_workloads_follows_too(tmp_path: Path) -> None:
    """It is one that is waited for, and whoever watches it is told, although no certificate has changed."""
    process = IssuingProcess(tmp_path)
    async with process.running():
        process.roots.rotate()
        process.store.trust(process.roots.bundle)
        await settle()
        before, identities = process.issuer.revision, process.issuer.identities

        process.roots.observe({}, frozenset())
        await process.roots._step()
        process.store.trust(process.roots.bundle)
        await settle()

        assert process.issuer.trust == NodeTrust(
            trusts=process.roots.bundle.trusts, issuer=process.roots.bundle.signing
        )
        assert process.issuer.revision == before + 1
        assert process.issuer.identities is identities

        process.store.rotate()
        await settle()
        assert process.issuer.revision == before + 1, "the same root stands for it"
