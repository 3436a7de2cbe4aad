"""Backends: where requests go now. They keep their identity while nothing changes."""

from __future__ import annotations

from typing import Any

from tests.support.catalog import build_catalog, build_endpoints, endpoint_slice, external_service, pod, service
from tests.support.objects import object_set, read_objects

from meshpass.api.common import DestinationKind, DestinationReference, ObjectReference
from meshpass.api.objectset import ObjectKey, ObjectSet
from meshpass.ir import Backend, Endpoint
from meshpass.memo import Memo
from meshpass.translate.backend import translate_backend
from meshpass.translate.destination import Destination, resolve_destination

TABLE = ObjectKey("RouteTable", "cluster1", "httpbin", "table")
ONE, TWO = Endpoint("10.0.0.1", 8080), Endpoint("10.0.0.2", 8080)


def backend(objects: ObjectSet, name: str = "httpbin", memo: Memo | None = None, **subset: str) -> Backend:
    memo = memo or Memo()
    catalog = build_catalog(objects=objects, memo=memo)
    found = resolve_destination(
        DestinationReference(ref=ObjectReference(name=name), subset=subset), TABLE, "d", catalog
    )
    assert isinstance(found, Destination)
    return translate_backend(found, catalog, build_endpoints(objects=objects, memo=memo), memo)


def endpoints(*manifests: dict[str, Any], **subset: str) -> tuple[Endpoint, ...]:
    return backend(object_set(service(http=80), *manifests), "httpbin", None, **subset).endpoints


def named(name: str, manifest: dict[str, Any]) -> dict[str, Any]:
    manifest["metadata"]["name"] = name
    return manifest


def test_endpoints_of_all_slices_of_a_service_are_one_sorted_set() -> None:
    """Whatever the order of the slices."""
    first = named("b", endpoint_slice("httpbin", "10.0.0.2", "10.0.0.1", http=8080))
    second = named("a", endpoint_slice("httpbin", "10.0.0.1", http=8080))

    assert endpoints(first, second) == (ONE, TWO)


def test_what_is_not_ready_does_not_count() -> None:
    """What does not say counts as ready (Kubernetes' API: nil is true)."""
    slices = endpoint_slice("httpbin", "10.0.0.1", "10.0.0.2", http=8080)
    slices["endpoints"][0]["conditions"] = {"ready": False}

    assert endpoints(slices) == (TWO,)


def test_a_slice_of_no_service_and_ports_and_addresses_that_are_none_are_left_out() -> None:
    """Envoy would refuse the whole cluster for one of them."""
    stray = endpoint_slice("httpbin", "10.0.0.1", http=8080)
    stray["metadata"]["labels"] = {}
    portless = named("c", endpoint_slice("httpbin", "10.0.0.1"))
    portless["ports"] = [{"name": "http"}]

    assert endpoints(stray, named("b", endpoint_slice("httpbin", "a name", http=8080)), portless) == ()


def test_a_subset_has_the_endpoints_whose_pods_have_its_labels() -> None:
    """The pod is found by its name, else by its address; an endpoint behind which no pod is known is in no subset."""
    slices = endpoint_slice(
        "httpbin", "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", pods={"10.0.0.1": "first"}, http=8080
    )
    pods = [pod("first", version="v1"), pod("second", "10.0.0.2", version="v1"), pod("third", "10.0.0.3", version="v2")]

    assert endpoints(slices, *pods, version="v1") == (ONE, TWO)
    assert endpoints(slices, *pods, version="v2") == (Endpoint("10.0.0.3", 8080),)
    assert endpoints(slices, *pods, version="v1", more="x") == ()


def test_a_subset_is_a_backend_of_its_own() -> None:
    """Named by its labels, sorted."""
    objects = object_set(service(http=80))

    assert backend(objects, b="2", a="1").name == "cluster1/httpbin/httpbin:80{a=1,b=2}"


def test_a_pod_that_has_ended_does_not_stand_for_its_address() -> None:
    """Another may have it by now."""
    slices = endpoint_slice("httpbin", "10.0.0.1", http=8080)
    ended = pod("ended", "10.0.0.1", version="v1")
    ended["status"]["phase"] = "Succeeded"

    assert endpoints(slices, ended, version="v1") == ()


def test_a_backend_keeps_its_identity_while_others_change() -> None:
    """So that nothing is built again for it."""
    memo = Memo()
    objects = object_set(
        service(http=80),
        service("other", http=80),
        endpoint_slice("httpbin", "10.0.0.1", http=8080),
        endpoint_slice("other", "10.0.0.2", http=8080),
    )
    before, other = backend(objects, memo=memo), backend(objects, "other", memo)
    objects = objects.with_changes(read_objects(endpoint_slice("other", "10.0.0.9", http=8080)))

    assert backend(objects, memo=memo) is before
    assert backend(objects, "other", memo) is not other


def test_the_catalog_does_not_follow_endpoints() -> None:
    """Routes are not translated again when pods come and go; they are when a Service changes."""
    memo = Memo()
    objects = object_set(service(http=80), endpoint_slice("httpbin", "10.0.0.1", http=8080))
    before = build_catalog(objects=objects, memo=memo)
    objects = objects.with_changes(read_objects(endpoint_slice("httpbin", "10.0.0.2", http=8080)))
    assert build_catalog(objects=objects, memo=memo) is before

    objects = objects.with_changes(read_objects(service("other", http=80)))
    after = build_catalog(objects=objects, memo=memo)
    assert after is not before
    key = ObjectKey("Service", "cluster1", "httpbin", "httpbin")
    assert after.services[key] is before.services[key]


def outside(**port: Any) -> dict[str, Any]:
    spec = {"number": 443, "protocol": "HTTPS", "targetPort": {"number": 1}, **port}
    return external_service(addresses=["192.0.2.1"], ports=[spec])


def test_what_a_frozen_route_names_and_is_gone_has_no_endpoints() -> None:
    """Nor has what must not be sent to any more: never is it sent to in another way than was asked for."""
    reference = DestinationReference(ref=ObjectReference(name="outside"), kind=DestinationKind.EXTERNAL_SERVICE)
    kept = resolve_destination(reference, TABLE, "d", build_catalog(outside()))
    assert isinstance(kept, Destination)
    states = {
        "sound": (outside(),),
        "gone": (),
        "another port": (outside(number=444),),
        "broken": (outside(clientsideTls={"mode": "MUTUAL"}),),
        "unverified": (outside(clientsideTls={"credentialName": "nope"}),),
    }
    found = {
        name: translate_backend(kept, build_catalog(*manifests), build_endpoints(), Memo())
        for name, manifests in states.items()
    }

    assert {name for name, one in found.items() if one.endpoints} == {"sound"}
    assert {one.name for one in found.values()} == {kept.backend}
