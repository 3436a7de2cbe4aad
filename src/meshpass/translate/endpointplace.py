"""Where the endpoints of Services are: what EndpointSlices and Pods say of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from meshpass.api.core import EndpointSlice, Pod, Service
from meshpass.api.objectset import ObjectKey
from meshpass.ir import Endpoint
from meshpass.memo import Memo
from meshpass.translate.podport import is_ready, selects, target_ports
from meshpass.translate.socketaddress import make_endpoint

SERVICE_NAME_LABEL = "kubernetes.io/service-name"

ServicePlace = tuple[str, str, str, str]
"""(cluster, namespace, Service, port name)."""


class PodEndpoint(NamedTuple):
    """An address, and the name of the pod behind it as far as that is known."""

    endpoint: Endpoint
    pod: str


Places = Mapping[ServicePlace, tuple[PodEndpoint, ...]]


def find_places(
    slices: Mapping[ObjectKey, EndpointSlice],
    pods: Mapping[ObjectKey, Pod],
    services: Mapping[ObjectKey, Service],
    memo: Memo,
) -> Places:
    """The ready endpoints of every Service port, each once, sorted; to be called through the memo.

    They are those of its EndpointSlices. A Service that selects pods and has no slice at all has the pods that it selects
    and that are ready: nobody writes slices where only an API server runs.
    """
    written = memo(_read_slices, slices, memo)
    bare = memo(_without_slices, services, slices)
    return {**written, **memo(_select_pods, bare, pods)} if bare else written


def _read_slices(slices: Mapping[ObjectKey, EndpointSlice], memo: Memo) -> Places:
    found: dict[ServicePlace, list[tuple[PodEndpoint, ...]]] = defaultdict(list)
    for key in sorted(slices):
        for place, endpoints in memo(_read_slice, key, slices[key]):
            found[place].append(endpoints)
    return {place: several[0] if len(several) == 1 else _join(several) for place, several in found.items()}


def _read_slice(
    key: ObjectKey, endpoint_slice: EndpointSlice
) -> tuple[tuple[ServicePlace, tuple[PodEndpoint, ...]], ...]:
    service = endpoint_slice.metadata.labels.get(SERVICE_NAME_LABEL)
    if service is None:
        return ()
    ready = [
        (address, one.target_ref.name if one.target_ref is not None and one.target_ref.kind == "Pod" else "")
        for one in endpoint_slice.endpoints
        if one.conditions.ready is not False
        for address in one.addresses
    ]
    return tuple(
        ((key.cluster, key.namespace, service, port.name), tuple(sorted(set(_pod_endpoints(ready, port.port)))))
        for port in endpoint_slice.ports
        if port.port is not None
    )


def _pod_endpoints(ready: Iterable[tuple[str, str]], port: int) -> Iterable[PodEndpoint]:
    for address, pod in ready:
        endpoint = make_endpoint(address, port)
        if endpoint is not None:
            yield PodEndpoint(endpoint, pod)


def _join(several: Iterable[tuple[PodEndpoint, ...]]) -> tuple[PodEndpoint, ...]:
    return tuple(sorted({endpoint for endpoints in several for endpoint in endpoints}))


Bare = tuple[tuple[ObjectKey, Service], ...]


def _without_slices(services: Mapping[ObjectKey, Service], slices: Mapping[ObjectKey, EndpointSlice]) -> Bare:
    """The Services that select pods and have no slice, not even an empty one; sorted."""
    sliced = {(key.cluster, key.namespace, one.metadata.labels.get(SERVICE_NAME_LABEL)) for key, one in slices.items()}
    return tuple(
        (key, services[key])
        for key in sorted(services)
        if services[key].spec.selector and (key.cluster, key.namespace, key.name) not in sliced
    )


def _select_pods(bare: Bare, pods: Mapping[ObjectKey, Pod]) -> Places:
    ready: dict[tuple[str, str, tuple[str, str]], list[tuple[ObjectKey, Pod]]] = defaultdict(list)
    for key, pod in sorted(pods.items()):
        if pod.status.pod_ip and is_ready(pod):
            for label in pod.metadata.labels.items():
                ready[key.cluster, key.namespace, label].append((key, pod))
    found: dict[ServicePlace, set[PodEndpoint]] = defaultdict(set)
    for key, service in bare:
        label = next(iter(service.spec.selector.items()))
        for pod_key, pod in ready.get((key.cluster, key.namespace, label), ()):
            if selects(service, pod):
                for port, target in target_ports(service, pod):
                    endpoints = _pod_endpoints([(pod.status.pod_ip, pod_key.name)], target)
                    found[key.cluster, key.namespace, key.name, port.name].update(endpoints)
    return {place: tuple(sorted(endpoints)) for place, endpoints in found.items()}
