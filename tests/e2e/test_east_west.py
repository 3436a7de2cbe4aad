"""From one cluster to the other, by real Envoys: references, hosts, virtual destinations, and gateways in between."""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import pytest_asyncio
from tests.support.jwt_objects import LABEL, MISSING, bearer, policy, provider, table
from tests.support.load import Load, Timeline
from tests.support.mesh_issuer import MeshIssuer, account
from tests.support.objects import CLUSTER_ANNOTATION, forward, jwt_policy
from tests.support.tokens import DEV, sign
from tests.support.two_clusters import (
    CLIENT,
    EAST,
    FAR,
    NEAR,
    SERVICE_PORT,
    SUFFIX,
    TLS_PORT,
    TwoClusters,
    accepting,
    endpoints,
    pod,
    run_two_clusters,
    settings,
    virtual,
    workspace,
)

from meshpass.translate.sidecar import OUTBOUND_PORT

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(90)]

HOST = "www.example.com"
FEDERATED = f"web.httpbin.cluster2.{SUFFIX}:{SERVICE_PORT}"
GLOBAL = "web.global"
XFCC = "x-forwarded-client-cert"
SERVICE_NAME = f"{SERVICE_PORT}.web.httpbin.cluster2.svc.meshpass.internal"
VIRTUAL_NAME = "80.web.httpbin.cluster1.vd.meshpass.internal"
VIRTUAL = "virtual/cluster1/httpbin/web:80~failover"
GET = b"GET http://web.global/get HTTP/1.1\r\nHost: web.global\r\n\r\n"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh() -> AsyncIterator[TwoClusters]:
    async with run_two_clusters(EAST, issuer=MeshIssuer()) as running:
        await running.apply(settings())
        await accepting(running.address(EAST), TLS_PORT)
        yield running


def to_cluster(cluster: str = "cluster2", **labels: str) -> dict[str, Any]:
    """A route to the Service of a cluster."""
    route = forward("web", SERVICE_PORT, **labels)
    route["forwardTo"]["destinations"][0]["ref"]["cluster"] = cluster
    return route


async def passed(mesh: TwoClusters, name: str) -> int:
    """How many connections the gateway has passed on for a server name."""
    return (await mesh.sent(EAST, f"east-west/{name}"))["cx_total"]


async def ask(mesh: TwoClusters, name: str) -> None:
    """Speak TLS to the gateway, and ask for a server name. ConnectionError if it closes the connection before its pod answers."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    async with asyncio.timeout(10):
        _, writer = await asyncio.open_connection(mesh.address(EAST), TLS_PORT, ssl=context, server_hostname=name)
        writer.close()


@asynccontextmanager
async def load(mesh: TwoClusters, *requests: bytes) -> AsyncIterator[Load]:
    """Inside, four clients of the pod ``client`` send all the time."""
    async with Load((mesh.address(CLIENT), OUTBOUND_PORT), Timeline(), requests or [GET], clients=4, seed=1) as running:
        yield running


async def test_a_federated_host_leads_through_the_gateway(mesh: TwoClusters) -> None:
    """Which passes on the caller's own TLS: the application is told who called, not who passed it on."""
    answer = await mesh.answers(FEDERATED, "far")

    assert f"URI={account('client')}" in answer.seen(XFCC)[0]
    assert await passed(mesh, SERVICE_NAME)


async def test_a_reference_with_a_cluster_leads_through_the_gateway(mesh: TwoClusters) -> None:
    """Beside one without, of the own cluster."""
    async with mesh.having(table(to_cluster())):
        await mesh.answers(HOST, "far")
        assert await passed(mesh, SERVICE_NAME)
    async with mesh.having(table(forward("web", SERVICE_PORT))):
        await mesh.answers(HOST, "near")


async def test_a_subset_of_another_cluster_is_asked_for_by_a_name_of_its_own(mesh: TwoClusters) -> None:
    """Nobody is in one whose labels no pod has."""
    for label, upstream in (("web", "far"), ("nobody", None)):
        route = to_cluster()
        route["forwardTo"]["destinations"][0]["subset"] = {"app": label}
        async with mesh.having(table(route)):
            await mesh.answers(HOST, upstream)


async def test_a_table_of_one_cluster_leads_there_from_every_other(mesh: TwoClusters) -> None:
    """Its routes are the same for all sidecars of the workspace; where a cluster has no gateway, straight to its pods."""
    async with mesh.having(table(forward("web", SERVICE_PORT))):
        answer = await mesh.request(HOST, node=FAR)

    assert answer.upstream == "near"
    assert f"URI={account('far')}" in answer.seen(XFCC)[0]


async def test_a_table_of_the_management_cluster_leads_to_any_without_federation(mesh: TwoClusters) -> None:
    """It names the cluster; what is of the caller's own is reached as ever, the rest through the gateway."""
    await mesh.apply(settings(enabled=False))
    try:
        for cluster, upstream in (("cluster1", "near"), ("cluster2", "far")):
            managed = table(to_cluster(cluster))
            managed["metadata"] |= {"annotations": {CLUSTER_ANNOTATION: "mgmt"}}
            async with mesh.having(managed):
                await mesh.answers(HOST, upstream)
                assert cluster == "cluster1" or await passed(mesh, SERVICE_NAME)
    finally:
        await mesh.apply(settings())


async def test_a_gateway_of_another_team_leads_to_ours(mesh: TwoClusters) -> None:
    """Nobody imports anything: it has the label of the gateways that are everybody's."""
    team, rest = workspace("mesh", "httpbin"), workspace("gateways", "gateways")
    async with mesh.having(rest):
        await mesh.apply(team)
        try:
            async with mesh.having(table(to_cluster())):
                await mesh.answers(HOST, "far")
                assert await passed(mesh, SERVICE_NAME)
            assert mesh.status(settings())["numSelectedEastWestGateways"] == 1
        finally:
            await mesh.apply(workspace("mesh", "*"))


async def test_without_federation_nothing_leads_to_another_cluster(mesh: TwoClusters) -> None:
    """The host is unknown, the reference is told what it needs, and the gateway closes whatever asks for the Service."""
    await ask(mesh, SERVICE_NAME)
    bad = table(to_cluster())
    async with mesh.having(bad):
        await mesh.apply(settings(enabled=False))
        try:
            assert (await mesh.answers(FEDERATED, None)).status == 502
            assert (await mesh.request(HOST)).status == 500
            assert "needs options.federation.enabled" in mesh.status(bad)["common"]["State"]["message"]
            await closed(mesh, SERVICE_NAME)
        finally:
            await mesh.apply(settings())
        await mesh.answers(HOST, "far")


async def closed(mesh: TwoClusters, name: str) -> None:
    """Returns once the gateway closes what asks for a server name: its workers follow soon after the acknowledgement."""
    async with asyncio.timeout(5):
        while True:
            try:
                await ask(mesh, name)
            except ConnectionError:
                return


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("www.example.com", id="of-no-mesh"),
        pytest.param(SERVICE_NAME.replace(str(SERVICE_PORT), "8080"), id="another-port"),
        pytest.param(SERVICE_NAME.replace("cluster2", "cluster1"), id="another-cluster"),
        pytest.param(SERVICE_NAME.replace("svc", "vd"), id="another-kind"),
        pytest.param("x." + SERVICE_NAME, id="below-it"),
    ],
)
async def test_the_gateway_closes_what_asks_for_anything_else(mesh: TwoClusters, name: str) -> None:
    """Before it passes on a byte. The Service itself it passes on."""
    await ask(mesh, SERVICE_NAME)
    with pytest.raises(ConnectionError):
        await ask(mesh, name)


async def test_the_gateway_closes_plain_text(mesh: TwoClusters) -> None:
    """It has no name to ask for."""
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection(mesh.address(EAST), TLS_PORT)
        writer.write(b"GET /get HTTP/1.1\r\nHost: web\r\n\r\n")
        with suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.close()


async def test_a_policy_on_a_route_holds_at_the_caller_whichever_cluster_answers(mesh: TwoClusters) -> None:
    """By reference to the other cluster, and by a virtual destination that answers from either."""
    behind = {"ref": {"name": "web"}, "kind": "VIRTUAL_DESTINATION", "port": {"number": 80}}
    over = {"name": "virtual", "labels": LABEL, "forwardTo": {"destinations": [behind]}}
    token = bearer(sign(DEV))
    async with mesh.having(virtual(), table(over), policy()):
        for ready, upstream in ((True, "near"), (False, "far")):
            await mesh.apply(endpoints(mesh, "cluster1", ready=ready))
            assert (await mesh.request(HOST)).text == MISSING
            assert (await mesh.request(HOST, headers=token)).upstream == upstream
        await mesh.apply(endpoints(mesh, "cluster1"))
    async with mesh.having(table(to_cluster(**LABEL)), policy()):
        assert (await mesh.request(HOST)).text == MISSING
        assert (await mesh.request(HOST, headers=token)).upstream == "far"


async def test_a_policy_on_a_destination_holds_at_the_callee(mesh: TwoClusters) -> None:
    """Of the cluster that it selects, wherever the caller is; by whatever name."""
    selector = {"selector": {"name": "web", "cluster": "cluster2"}}
    on_destination = jwt_policy(applyToDestinations=[selector], config={"providers": {"dev": provider()}})
    token = bearer(sign(DEV))
    async with mesh.having(on_destination, virtual()):
        assert (await mesh.request(FEDERATED)).text == MISSING
        assert (await mesh.request(FEDERATED, headers=token)).upstream == "far"
        assert (await mesh.request(GLOBAL)).upstream == "near"
        await mesh.apply(endpoints(mesh, "cluster1", ready=False))
        assert (await mesh.request(GLOBAL)).text == MISSING
        assert (await mesh.request(GLOBAL, headers=token)).upstream == "far"
        await mesh.apply(endpoints(mesh, "cluster1"))


@pytest.mark.parametrize("cluster", ["mgmt", "cluster1", "cluster2"])
async def test_a_virtual_destination_sends_to_the_own_cluster_first(mesh: TwoClusters, cluster: str) -> None:
    """From whichever cluster it comes."""
    async with mesh.having(virtual(cluster)):
        for node, upstream in ((CLIENT, "near"), (FAR, "far")):
            answers = [await mesh.request(GLOBAL, node=node) for _ in range(10)]
            assert {one.upstream for one in answers} == {upstream}


async def test_a_virtual_destination_of_another_cluster_alone_is_reached_there(mesh: TwoClusters) -> None:
    """Though nothing is near, and so nothing ever comes first."""
    async with mesh.having(virtual(services=[{"labels": {"app": "web"}, "cluster": "cluster2"}])):
        answers = [await mesh.request(GLOBAL) for _ in range(10)]

    assert {one.upstream for one in answers} == {"far"}


async def test_when_the_local_endpoint_goes_no_request_fails(mesh: TwoClusters) -> None:
    """The other cluster answers by its gateway, until it is back."""
    async with mesh.having(virtual()), load(mesh) as running:
        await running.settle()
        await mesh.apply(endpoints(mesh, "cluster1", ready=False))
        await mesh.answers(GLOBAL, "far")
        await running.settle()
        assert await passed(mesh, VIRTUAL_NAME)
        await mesh.apply(endpoints(mesh, "cluster1"))
        await mesh.answers(GLOBAL, "near")
        await running.settle()

    assert Counter((one.status, one.upstream) for one in running.exchanges) == {
        (200, True): len(running.exchanges),
    }
    assert running.closed == 0


async def test_when_the_local_application_ends_no_request_fails(mesh: TwoClusters) -> None:
    """Though its endpoint is still there: its sidecar says that it has not seen the request."""
    async with mesh.having(virtual()), load(mesh) as running:
        await running.settle()
        await mesh.stop_application("near")
        try:
            await mesh.answers(GLOBAL, "far", 50)
            await running.settle()
        finally:
            mesh.run_application("near")
            await mesh.apply(pod(mesh, NEAR, app="web"))

    failed = Counter(one.status for one in running.exchanges if not one.upstream)
    # What the application had taken in and not yet answered when it ended is lost, once for each connection at most.
    assert failed.total() <= 4, failed


async def test_when_the_local_sidecar_is_killed_requests_go_on(mesh: TwoClusters) -> None:
    """Those that it had taken in fail, at most one of each client; no other."""
    async with mesh.having(virtual()), load(mesh) as running:
        await running.settle()
        await mesh.stop(NEAR)
        try:
            await mesh.answers(GLOBAL, "far")
            await running.settle()
        finally:
            await mesh.start(NEAR)
            await mesh.synced()
            await mesh.accepting()

    failed = Counter(one.status for one in running.exchanges if not one.upstream)
    assert failed.total() <= 4, failed


async def test_what_an_application_answers_is_not_sent_again(mesh: TwoClusters) -> None:
    """Not even a 503: it may have been acted on."""
    async with mesh.having(virtual()):
        before = (await mesh.sent(CLIENT, VIRTUAL))["rq_total"]
        answer = await mesh.request(GLOBAL, "/status/503", method="POST")
        after = (await mesh.sent(CLIENT, VIRTUAL))["rq_total"]

    assert (answer.status, answer.upstream) == (503, "near")
    assert after == before + 1


async def test_a_gateway_that_is_gone_closes_its_cluster_and_no_other(mesh: TwoClusters) -> None:
    """Until it is back."""
    async with mesh.having(virtual()):
        await mesh.answers(FEDERATED, "far")
        await mesh.stop(EAST)
        assert (await mesh.answers(FEDERATED, None)).status == 503
        assert (await mesh.request(GLOBAL)).upstream == "near"
        await mesh.start(EAST)
        await mesh.synced()
        await mesh.answers(FEDERATED, "far")


async def test_what_else_a_gateway_passes_on_touches_no_connection(mesh: TwoClusters) -> None:
    """It learns and forgets other destinations while it passes on requests, and none of these fails."""
    async with load(mesh, GET.replace(b"web.global", FEDERATED.encode())) as running:
        await running.settle()
        before = await passed(mesh, SERVICE_NAME)
        for _ in range(3):
            async with mesh.having(virtual()):
                await running.settle()
            await running.settle()
        assert await passed(mesh, SERVICE_NAME) == before

    assert {(one.status, one.upstream) for one in running.exchanges} == {(200, True)}
    assert running.closed == 0


async def test_a_gateway_is_reached_where_the_settings_say(mesh: TwoClusters) -> None:
    """By a host name too, which is looked up; and by its own address again when they say nothing any more. Meanwhile no
    request fails."""
    request = GET.replace(b"web.global", FEDERATED.encode())
    async with forwarding(mesh.address(EAST)) as port, load(mesh, request) as running:
        said = settings()
        said["spec"]["options"]["eastWestGateways"] = [{"hostInfoOverrides": [{"addr": "localhost", "port": port}]}]
        for used, by_name in ((settings(), False), (said, True), (settings(), False)):
            await mesh.apply(used)
            assert (await mesh.answers(FEDERATED, "far")).status == 200
            places = [
                (one.address, one.port)
                for backend in mesh.translate().proxies[CLIENT].backends
                if backend.name == f"cluster2/httpbin/web:{SERVICE_PORT}"
                for one in backend.endpoints
            ]
            assert places == [("localhost", port) if by_name else (mesh.address(EAST), TLS_PORT)]
            await running.settle()
    assert {(one.status, one.upstream) for one in running.exchanges} == {(200, True)}
    assert running.closed == 0


@asynccontextmanager
async def forwarding(address: str) -> AsyncIterator[int]:
    """Inside, connections to this port of the machine come to the port of a gateway."""

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        other_reader, other_writer = await asyncio.open_connection(address, TLS_PORT)

        async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while data := await source.read(65536):
                sink.write(data)
            sink.close()

        await asyncio.gather(copy(reader, other_writer), copy(other_reader, writer), return_exceptions=True)

    server = await asyncio.start_server(pass_on, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
