"""`meshpass identity` with control sockets behind it, at which real authorities are shown and rotated."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from starlette.applications import Starlette
from tests.support.identities import certificates
from typer.testing import CliRunner, Result

from meshpass.cli.main import build_app
from meshpass.control import listen_privately
from meshpass.httpserver import HttpServer
from meshpass.identity.acknowledged import AcknowledgedTrust
from meshpass.identity.http import identity_routes
from meshpass.identity.intermediate import IntermediateStore
from meshpass.identity.pem import fingerprint
from meshpass.identity.roots import RootStore
from meshpass.identity.view import view_identity
from meshpass.identity.workload import WorkloadIssuer
from meshpass.localmesh.directory import ClusterRecord, MeshRecord, StateDirectory
from meshpass.localmesh.processrecord import ProcessRecord, Role

NAME = "spiffe://cluster.local/ns/a/sa/b"


class Plane:
    """A management server and the agent of cluster1, in one loop; each has its socket."""

    def __init__(self, directory: Path) -> None:
        self.state = StateDirectory(path=directory / "state")
        self.state.prepare()
        self.sockets = {role: directory / f"{role.value}.sock" for role in (Role.MANAGEMENT_SERVER, Role.AGENT)}
        self.roots = RootStore(directory / "server", "cluster.local", settle_seconds=0)
        self.store = IntermediateStore(directory / "agent", "cluster1")
        self.issuer = WorkloadIssuer(self.store)
        self.trust = AcknowledgedTrust(self.store, self.issuer)
        self.connected = True

    def views(self) -> dict[Role, dict[str, object]]:
        states = [self.trust.state()] if self.connected else []
        return {
            Role.MANAGEMENT_SERVER: view_identity(self.roots.bundle, states, self.roots.late),
            Role.AGENT: view_identity(self.store.bundle, [self.trust.state()]),
        }

    @asynccontextmanager
    async def running(self, *roles: Role, alone: bool = False) -> AsyncIterator[None]:
        routes = {
            Role.MANAGEMENT_SERVER: identity_routes(
                lambda: self.views()[Role.MANAGEMENT_SERVER], self.roots, {"mgmt": self.store} if alone else {}
            ),
            Role.AGENT: identity_routes(lambda: self.views()[Role.AGENT], None, {"cluster1": self.store}),
        }
        self.write_record(alone=alone)
        async with asyncio.TaskGroup() as tasks:
            servers = []
            for role in roles or tuple(self.sockets):
                server = HttpServer(Starlette(routes=routes[role]))
                servers.append((server, await server.start(listen_privately(self.sockets[role]), tasks)))
            self.store.trust(self.roots.bundle)
            running = [
                tasks.create_task(one)
                for one in (
                    self.store.run(self.roots.signer("cluster1")),
                    self.issuer.run(),
                    self.roots.run(),
                    self.relay(),
                )
            ]
            await self.issuer.wait_ready()
            self.issuer.follow(frozenset({NAME}))
            with self.state.lock():
                yield
            for task in running:
                task.cancel()
            for server, serving in servers:
                await server.stop(serving)

    async def relay(self) -> None:
        while True:
            if self.connected:
                self.store.trust(self.roots.bundle)
                self.roots.observe({"cluster1": self.trust.state()}, frozenset({"cluster1"}))
            await asyncio.sleep(0.01)

    def write_record(self, *, alone: bool) -> None:
        names = {Role.MANAGEMENT_SERVER: "mgmt", Role.AGENT: "cluster1"}
        processes = [
            ProcessRecord(role=role, cluster=names[role], control_socket=str(path), log="", pid=os.getpid())
            for role, path in self.sockets.items()
        ]
        if alone:
            one = processes[0]
            processes = [
                ProcessRecord(role=Role.ALONE, cluster="mgmt", control_socket=one.control_socket, log="", pid=one.pid)
            ]
        self.state.write_record(
            MeshRecord(
                pid=os.getpid(),
                ready=True,
                run_directory=str(self.state.path),
                clusters=tuple(
                    ClusterRecord(name=name, management=name == "mgmt", port=1) for name in ("mgmt", "cluster1")
                ),
                # The agent first: commands have to find the process with the root by its role.
                processes=tuple(reversed(processes)),
            )
        )

    async def command(self, *arguments: str) -> Result:
        words = [*("identity", arguments[0], "--dir", str(self.state.path)), *arguments[1:]]
        return await asyncio.to_thread(CliRunner().invoke, build_app(), words)


@pytest.fixture
def plane(tmp_path: Path) -> Plane:
    return Plane(tmp_path)


async def test_show_says_who_stands_for_whom(plane: Plane) -> None:
    """Roots, intermediates and how many workloads; as text, and as JSON whose keys stay. No key is in either."""
    async with plane.running():
        text = await plane.command("show")
        data = await plane.command("show", "-o", "json")

    assert text.exit_code == data.exit_code == 0, text.output
    (root,) = certificates(plane.roots.bundle.roots)
    told = json.loads(data.stdout)
    assert told["trustDomain"] == "cluster.local"
    assert told["rotation"] == {"phase": "steady", "waitingFor": []}
    assert told["roots"] == [
        {
            "fingerprint": fingerprint(root),
            "subject": root.subject.rfc4514_string(),
            "notAfter": f"{root.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}",
            "signing": True,
        }
    ]
    (one,) = told["intermediates"]
    assert set(one) == {"cluster", "fingerprint", "issuer", "notAfter", "problem", "workloads"}
    assert (one["cluster"], one["issuer"], one["problem"]) == ("cluster1", fingerprint(root), "")
    assert one["workloads"]["count"] == 1
    assert re.search(rf"(?m)^{fingerprint(root)[:16]} +CN=Meshpass root .* yes$", text.stdout)
    assert re.search(rf"(?m)^cluster1 +{one['fingerprint'][:16]} .* 1 ", text.stdout)
    assert "PRIVATE" not in text.output + data.output


async def test_an_agent_answers_where_the_management_server_does_not(plane: Plane) -> None:
    """With what it knows; who did not answer is told beside it."""
    async with plane.running(Role.AGENT):
        shown = await plane.command("show")

    assert shown.exit_code == 0
    assert "management-server does not answer" in shown.stderr
    assert "cluster1" in shown.stdout


async def test_a_root_is_rotated_while_the_command_waits(plane: Plane) -> None:
    """When it is done, there is another root, and everyone has certificates of it."""
    async with plane.running():
        before, shown = plane.roots.bundle.signing, plane.issuer.identities.certificates[NAME]
        done = await plane.command("rotate-root")

        assert done.exit_code == 0, done.output
        assert plane.roots.bundle.signing != before
        assert before not in plane.roots.bundle.trusts
        assert plane.issuer.identities.certificates[NAME] != shown
        assert plane.issuer.trust.issuer == plane.roots.bundle.signing
    assert done.stderr.splitlines()[-1].endswith("the root is the new one")


async def test_who_is_late_is_told(plane: Plane) -> None:
    """The command gives up waiting, the rotation goes on; a second one is refused in words of where the first is."""
    async with plane.running():
        plane.connected = False
        done = await plane.command("rotate-root", "--timeout", "500ms")
        again = await plane.command("rotate-root")
        shown = await plane.command("show")
        plane.connected = True
        async with asyncio.timeout(10):
            while plane.roots.bundle.phase.value != "steady":
                await plane.roots.wait_changed(plane.roots.revision)

    assert done.exit_code == again.exit_code == 1
    assert "all of cluster1" in done.stderr
    assert "trust-both" in again.stderr
    assert "Waits for:     all of cluster1" in shown.stdout


async def test_nobody_has_to_wait(plane: Plane) -> None:
    """The command only begins it, then."""
    async with plane.running():
        plane.connected = False
        done = await plane.command("rotate-root", "--timeout", "0s")
        assert done.exit_code == 0
        assert plane.roots.bundle.phase.value == "trust-both"


async def test_the_intermediate_of_a_cluster_is_rotated_by_its_agent(plane: Plane) -> None:
    """And the root stays."""
    async with plane.running():
        before, root = plane.store.authority, plane.roots.bundle
        done = await plane.command("rotate-intermediate", "cluster1")

        assert done.exit_code == 0, done.output
        assert plane.store.authority is not before
        assert plane.roots.bundle is root


async def test_a_process_alone_has_one_intermediate_for_all_clusters(plane: Plane) -> None:
    """Whichever is named; one that there is not is an error."""
    async with plane.running(Role.MANAGEMENT_SERVER, alone=True):
        before = plane.store.authority
        done = await plane.command("rotate-intermediate", "cluster1")
        wrong = await plane.command("rotate-intermediate", "cluster7")

        assert done.exit_code == 0, done.output
        assert plane.store.authority is not before
    assert wrong.exit_code == 1
    assert "cluster7" in wrong.stderr


async def test_what_a_process_cannot_do_is_answered_with_a_reason(plane: Plane) -> None:
    """409 where there is no root, 404 for a cluster that another process signs for."""
    import httpx2 as httpx

    async with (
        plane.running(),
        httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(uds=str(plane.sockets[Role.AGENT])), base_url="http://meshpass"
        ) as agent,
    ):
        root = await agent.post("/v1/identity/rotate-root")
        other = await agent.post("/v1/identity/rotate-intermediate?cluster=cluster2")
        nothing = await agent.post("/v1/identity/rotate-intermediate")

    assert (root.status_code, other.status_code, nothing.status_code) == (409, 404, 404)
    assert root.json()["hint"] == "the management server rotates it"
    assert "cluster2" in other.json()["message"]


def test_without_a_bundle_there_is_nothing_to_show() -> None:
    """An agent before it has ever been connected."""
    from meshpass.cli.identity import render_identity

    told = view_identity(None, [])

    assert told["roots"] == []
    assert render_identity(told) == "no root is known yet"
