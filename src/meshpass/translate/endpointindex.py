"""EndpointIndex: where Services are now, what is spoken there, and who is behind them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from meshpass.api.core import EndpointSlice, Pod, Service
from meshpass.api.objectset import ObjectKey
from meshpass.memo import Memo
from meshpass.translate.endpointplace import Places, PodEndpoint, ServicePlace, find_places
from meshpass.translate.peer import Account, Place
from meshpass.translate.podport import is_running
from meshpass.translate.sidecar import Sidecar
from meshpass.translate.socketaddress import make_endpoint


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EndpointIndex:
    """The ready endpoints of every Service port, and the pods behind them."""

    places: Places
    """Each once, sorted."""
    pods: Mapping[ObjectKey, Pod]
    pods_by_address: Mapping[tuple[str, str], Pod]
    """(cluster, IP address) → pod."""
    accounts: Mapping[ObjectKey, frozenset[Account]]
    """Service → whom the sidecars behind it run as."""
    has_identities: bool = False
    """True: proxies speak mutual TLS to endpoints that do."""


def index_endpoints(  # noqa: PLR0917
    slices: Mapping[ObjectKey, EndpointSlice],
    pods: Mapping[ObjectKey, Pod],
    services: Mapping[ObjectKey, Service],
    sidecars: tuple[Sidecar, ...],
    accepting: frozenset[Place] | None,
    memo: Memo,
) -> EndpointIndex:
    """The ready endpoints; to be called through the memo. What did not change keeps its identity.

    ``accepting`` is where mutual TLS is spoken; None where workloads have no identities.
    """
    by_address = memo(_by_address, pods)
    places = memo(_place_pods, memo(find_places, slices, pods, services, memo), pods, accepting)
    return EndpointIndex(
        places=places,
        pods=pods,
        pods_by_address=by_address,
        accounts=memo(_find_accounts, sidecars, places, pods, by_address),
        has_identities=accepting is not None,
    )


def _place_pods(
    places: Places,
    pods: Mapping[ObjectKey, Pod],
    accepting: frozenset[Place] | None,
) -> Places:
    """The places, with the address that a pod has by its own word, where it is known, and what is spoken there.

    A real API server refuses loopback addresses in EndpointSlices, not in the status of a pod.
    """
    found: dict[ServicePlace, tuple[PodEndpoint, ...]] = {}
    for place, endpoints in places.items():
        cluster, namespace, *_ = place
        placed: list[PodEndpoint] = []
        for endpoint, name in endpoints:
            pod = pods.get(ObjectKey("Pod", cluster, namespace, name)) if name else None
            own = make_endpoint(pod.status.pod_ip, endpoint.port) if pod is not None else None
            at = own or endpoint
            if accepting is not None and (cluster, at.address, at.port) in accepting:
                at = at._replace(mutual_tls=True)
            placed.append(PodEndpoint(at, name))
        found[place] = tuple(sorted(set(placed)))
    return found


def _by_address(pods: Mapping[ObjectKey, Pod]) -> Mapping[tuple[str, str], Pod]:
    return {(key.cluster, pod.status.pod_ip): pod for key, pod in pods.items() if pod.status.pod_ip and is_running(pod)}


def _find_accounts(
    sidecars: tuple[Sidecar, ...],
    places: Places,
    pods: Mapping[ObjectKey, Pod],
    by_address: Mapping[tuple[str, str], Pod],
) -> Mapping[ObjectKey, frozenset[Account]]:
    """Of pods that a Service selects also where they are not ready yet: they are accepted before they are sent to."""
    found: dict[ObjectKey, set[Account]] = defaultdict(set)
    for sidecar in sidecars:
        account = _account(pods[sidecar.key])
        for destinations in sidecar.inbound.values():
            for service, _ in destinations:
                found[service].add(account)
    for (cluster, namespace, name, _), endpoints in places.items():
        for endpoint, pod_name in endpoints:
            if endpoint.mutual_tls:
                key = ObjectKey("Pod", cluster, namespace, pod_name)
                pod = pods.get(key) or by_address.get((cluster, endpoint.address))
                if pod is not None:
                    found[ObjectKey("Service", cluster, namespace, name)].add(_account(pod))
    return {service: frozenset(accounts) for service, accounts in found.items()}


def _account(pod: Pod) -> Account:
    return pod.metadata.namespace, pod.spec.service_account_name
