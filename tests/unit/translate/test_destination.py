"""References to destinations: what one means, or why it means nothing."""

from __future__ import annotations

import pytest
from tests.support.catalog import FEDERATED, build_catalog, external_service, service, virtual_destination

from meshpass.api.common import AwsLambda, DestinationKind, DestinationReference, ObjectReference, PortSelector
from meshpass.api.objectset import ObjectKey
from meshpass.translate.destination import Destination, DestinationProblem, resolve_destination

TABLE = ObjectKey("RouteTable", "cluster1", "httpbin", "table")
EXTERNAL, VIRTUAL = DestinationKind.EXTERNAL_SERVICE, DestinationKind.VIRTUAL_DESTINATION
CATALOG = build_catalog(
    service("one", http=8000),
    service("two", http=8000, admin=9000, tcp_db=27017),
    service("none"),
    service("one", http=8000, place={"namespace": "team"}),
    service("one", http=8000, place={"namespace": "elsewhere"}),
    service("one", http=8000, place={"cluster": "cluster2"}),
    external_service(
        hosts=["api.example.com"],
        ports=[
            {"number": 80, "name": "http"},
            {"number": 443, "name": "https", "protocol": "HTTPS"},
            {"number": 444, "clientsideTls": {"mode": "MUTUAL"}},
        ],
    ),
    virtual_destination(
        hosts=["virtual.example"], services=[{"labels": {"app": "one"}}], ports=[{"number": 80, "protocol": "HTTP"}]
    ),
    virtual_destination("outside", externalServices=[{}], ports=[{"number": 80, "protocol": "HTTP"}]),
    workspaces=FEDERATED,
)


def resolve(reference: DestinationReference, *, http: bool = True) -> Destination | DestinationProblem:
    return resolve_destination(reference, TABLE, "d", CATALOG, http=http)


def to(
    name: str = "one",
    port: PortSelector | None = None,
    kind: DestinationKind = DestinationKind.SERVICE,
    subset: dict[str, str] | None = None,
    **place: str,
) -> DestinationReference:
    return DestinationReference(ref=ObjectReference(name=name, **place), port=port, kind=kind, subset=subset or {})


@pytest.mark.parametrize(
    ("reference", "backend"),
    [
        pytest.param(to(), "cluster1/httpbin/one:8000", id="beside-the-table"),
        pytest.param(to(namespace="team"), "cluster1/team/one:8000", id="namespace"),
        pytest.param(to(cluster="cluster2"), "cluster2/httpbin/one:8000", id="cluster"),
        pytest.param(to(port=PortSelector()), "cluster1/httpbin/one:8000", id="empty-port"),
        pytest.param(to("two", PortSelector(number=9000)), "cluster1/httpbin/two:9000", id="number"),
        pytest.param(to("two", PortSelector(name="http")), "cluster1/httpbin/two:8000", id="name"),
        pytest.param(to(subset={"v": "1"}), "cluster1/httpbin/one:8000{v=1}", id="subset"),
        pytest.param(
            to("outside", PortSelector(name="http"), EXTERNAL), "external/cluster1/httpbin/outside:80-", id="external"
        ),
        pytest.param(to("virtual", kind=VIRTUAL), "virtual/cluster1/httpbin/virtual:80", id="virtual"),
        pytest.param(
            to("virtual", kind=VIRTUAL, subset={"v": "1"}),
            "virtual/cluster1/httpbin/virtual:80{v=1}",
            id="virtual-subset",
        ),
    ],
)
def test_what_a_reference_means(reference: DestinationReference, backend: str) -> None:
    """What it leaves out is the referrer's own; the only port needs no name."""
    found = resolve(reference)

    assert isinstance(found, Destination)
    assert found.backend.startswith(backend)
    assert len(found.backend) == len(backend) + (16 if backend.endswith("-") else 0)


@pytest.mark.parametrize(
    ("reference", "path", "words"),
    [
        pytest.param(DestinationReference(aws_lambda=AwsLambda()), "d.awsLambda", "no effect yet", id="function"),
        pytest.param(DestinationReference(), "d.ref.name", "names no Service", id="no-reference"),
        pytest.param(to("", kind=VIRTUAL), "d.ref.name", "names no VirtualDestination", id="no-name"),
        pytest.param(to("nope"), "d.ref", "no Service nope in namespace httpbin of cluster cluster1", id="missing"),
        pytest.param(to(kind=EXTERNAL), "d.ref", "no ExternalService one", id="another-kind"),
        pytest.param(
            to(cluster="mars"), "d.ref.cluster", "no cluster mars; known: cluster1, cluster2, mgmt", id="cluster"
        ),
        pytest.param(to(namespace="elsewhere"), "d.ref", "does not export it to", id="workspace"),
        pytest.param(
            to("two"), "d.port", "is needed: Service two has the ports 8000 (http), 9000 (admin)", id="which-port"
        ),
        pytest.param(to("none"), "d.port", "is needed", id="no-ports"),
        pytest.param(to("two", PortSelector(number=1)), "d.port", "no port 1; it has 8000 (http)", id="no-such-number"),
        pytest.param(to("two", PortSelector(name="x")), "d.port", "no port x", id="no-such-name"),
        pytest.param(
            to("outside", PortSelector(number=80), EXTERNAL, {"v": "1"}), "d.subset", "no pods", id="subset-outside"
        ),
        pytest.param(
            to("outside", PortSelector(number=80), VIRTUAL, {"v": "1"}),
            "d.subset",
            "ExternalServices",
            id="subset-mixed",
        ),
        pytest.param(
            to("outside", PortSelector(number=444), EXTERNAL), "d.ref", "MUTUAL needs credentialName", id="broken-port"
        ),
    ],
)
def test_why_a_reference_means_nothing(reference: DestinationReference, path: str, words: str) -> None:
    """With the path of what is to be mended, and what there is to choose from."""
    found = resolve(reference)

    assert isinstance(found, DestinationProblem)
    assert found.path == path
    assert words in found.message


def test_requests_to_a_port_that_speaks_tls_are_sent_with_tls_and_connections_are_passed_on() -> None:
    """The two are different backends of one port: in a passed-on connection the client has its own TLS."""
    reference = to("outside", PortSelector(number=443), EXTERNAL)
    requests, passed = resolve(reference), resolve(reference, http=False)

    assert isinstance(requests, Destination)
    assert isinstance(passed, Destination)
    assert (requests.http, requests.tunnel) == (True, False)
    assert (passed.http, passed.tunnel) == (False, True)
    assert requests.backend != passed.backend


@pytest.mark.parametrize(
    ("reference", "host"),
    [
        (to(), "one.httpbin.svc.cluster.local"),
        (to("outside", PortSelector(number=80), EXTERNAL), "api.example.com"),
        (to("virtual", kind=VIRTUAL), "virtual.example"),
    ],
)
def test_a_destination_has_a_name_of_its_own(reference: DestinationReference, host: str) -> None:
    """For requests that are to have it as their host."""
    found = resolve(reference)

    assert isinstance(found, Destination)
    assert found.host == host


def test_a_port_that_is_no_http_says_so() -> None:
    """Single requests cannot be routed to it."""
    found = resolve(to("two", PortSelector(name="tcp-db")))

    assert isinstance(found, Destination)
    assert not found.http
