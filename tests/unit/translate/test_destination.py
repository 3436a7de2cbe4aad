"""References to destinations: the Service port that one means, or why it means none."""

from __future__ import annotations

import pytest

from meshpass.api.common import AwsLambda, DestinationKind, DestinationReference, ObjectReference, PortSelector
from meshpass.api.objectset import ObjectKey
from meshpass.translate.destination import Destination, DestinationProblem, resolve_destination
from meshpass.translate.service import ServiceEntry, ServicePort

TABLE = ObjectKey("RouteTable", "cluster1", "httpbin", "table")
HTTP, ADMIN = ServicePort(name="http", number=8000), ServicePort(name="", number=9000)


def key(name: str, namespace: str = "httpbin", cluster: str = "cluster1") -> ObjectKey:
    return ObjectKey("Service", cluster, namespace, name)


SERVICES = {
    one: ServiceEntry(key=one, labels={}, ports=ports)
    for one, ports in {
        key("one"): (HTTP,),
        key("two"): (HTTP, ADMIN),
        key("none"): (),
        key("one", "other"): (HTTP,),
        key("one", cluster="cluster2"): (HTTP,),
    }.items()
}


def resolve(reference: DestinationReference) -> Destination | DestinationProblem:
    return resolve_destination(reference, TABLE, "d", SERVICES)


def to(name: str = "one", port: PortSelector | None = None, **place: str) -> DestinationReference:
    return DestinationReference(ref=ObjectReference(name=name, **place), port=port)


@pytest.mark.parametrize(
    ("reference", "backend"),
    [
        pytest.param(to(), "cluster1/httpbin/one:8000", id="beside-the-table"),
        pytest.param(to(namespace="other"), "cluster1/other/one:8000", id="namespace"),
        pytest.param(to(cluster="cluster2"), "cluster2/httpbin/one:8000", id="cluster"),
        pytest.param(to(port=PortSelector()), "cluster1/httpbin/one:8000", id="empty-port"),
        pytest.param(to("two", PortSelector(number=9000)), "cluster1/httpbin/two:9000", id="number"),
        pytest.param(to("two", PortSelector(name="http")), "cluster1/httpbin/two:8000", id="name"),
    ],
)
def test_what_a_reference_means(reference: DestinationReference, backend: str) -> None:
    """What it leaves out is the referrer's own; the only port needs no name."""
    found = resolve(reference)

    assert isinstance(found, Destination)
    assert found.backend == backend


@pytest.mark.parametrize(
    ("reference", "path", "words"),
    [
        pytest.param(DestinationReference(aws_lambda=AwsLambda()), "d.awsLambda", "no effect yet", id="function"),
        pytest.param(
            DestinationReference(kind=DestinationKind.VIRTUAL_DESTINATION), "d.kind", "no effect yet", id="kind"
        ),
        pytest.param(
            DestinationReference(ref=ObjectReference(name="one"), subset={"v": "1"}),
            "d.subset",
            "no effect",
            id="subset",
        ),
        pytest.param(DestinationReference(), "d.ref.name", "names no Service", id="no-reference"),
        pytest.param(to(""), "d.ref.name", "names no Service", id="no-name"),
        pytest.param(to("nope"), "d.ref", "no Service nope in namespace httpbin of cluster cluster1", id="missing"),
        pytest.param(to("two"), "d.port", "is needed: Service two has the ports 8000 (http), 9000", id="which-port"),
        pytest.param(to("none"), "d.port", "is needed", id="no-ports"),
        pytest.param(
            to("two", PortSelector(number=1)), "d.port", "no port 1; it has 8000 (http), 9000", id="no-such-number"
        ),
        pytest.param(to("two", PortSelector(name="x")), "d.port", "no port x", id="no-such-name"),
    ],
)
def test_why_a_reference_means_nothing(reference: DestinationReference, path: str, words: str) -> None:
    """With the path of what is to be mended, and what there is to choose from."""
    found = resolve(reference)

    assert isinstance(found, DestinationProblem)
    assert found.path == path
    assert words in found.message
