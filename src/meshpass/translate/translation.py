"""translate(): all objects in, all proxies and a report out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from meshpass.api.objectset import ObjectKey, ObjectSet
from meshpass.ir import Proxy
from meshpass.memo import Memo
from meshpass.translate.access import Access
from meshpass.translate.bound import bind_gateway, bind_sidecar
from meshpass.translate.filecontent import NO_FILES, FileContents
from meshpass.translate.freeze import FrozenTrees
from meshpass.translate.identity import NO_IDENTITIES, Identities, control_plane_id
from meshpass.translate.keysource import KeyFetch, KeySets, KeySource
from meshpass.translate.objectreport import report_objects
from meshpass.translate.proxy import translate_gateway_proxy, translate_sidecar_proxy
from meshpass.translate.proxysecret import workload_identity
from meshpass.translate.report import Report
from meshpass.translate.resolution import Resolution, resolve
from meshpass.translate.selection_class import DestinationPort
from meshpass.translate.settings import TranslateSettings
from meshpass.translate.sidecar import Sidecar

NO_TREES: FrozenTrees = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Translation:
    """Everything that follows from an ObjectSet."""

    proxies: Mapping[str, Proxy]
    """Node id → what that Envoy has to do."""
    report: Report
    key_sources: Mapping[KeySource, KeyFetch]
    """The remote key sets that policies name."""
    policies: Mapping[str, ObjectKey]
    """Selection class → the policy that holds on its routes; of destinations, the first of those about tokens, or, where
    there is none, the oldest of those about callers."""
    trees: FrozenTrees
    """To be given to the next translation, also after a restart: what broken tables are frozen at."""
    files: frozenset[str]
    """Absolute paths that objects name, and whose contents are to be given to the next translation."""
    identities: frozenset[str]
    """SPIFFE IDs of the workloads whose proxies are served; their certificates are to be given to the next translation."""


def translate(
    objects: ObjectSet,
    key_sets: KeySets,
    settings: TranslateSettings,
    memo: Memo,
    kept: FrozenTrees = NO_TREES,
    *,
    files: FileContents = NO_FILES,
    identities: Identities = NO_IDENTITIES,
) -> Translation:
    """What every proxy has to do, and what there is to say about every object.

    The same objects give an equal result, in whatever order they came; what did not change keeps its identity. The caller
    tells the memo when a generation is over (``Memo.next_generation``), at a time when nobody waits.
    """
    resolution = resolve(objects, key_sets, kept, files, identities, settings, memo)
    sidecars = {one.node: (one, bind_sidecar(one, resolution, memo)) for one in resolution.sidecars}
    gateways = {one.node: bind_gateway(one, resolution, settings.gates, memo) for one in resolution.gateways.gateways}
    served = settings.serves
    proxies = {
        node: translate_sidecar_proxy(sidecar, tables, resolution, settings.gates, memo)
        for node, (sidecar, tables) in sidecars.items()
        if served is None or sidecar.key.cluster in served
    }
    for one in resolution.gateways.gateways:
        if served is not None and one.key.cluster not in served:
            continue
        view, tables = gateways[one.node]
        proxies[one.node] = translate_gateway_proxy(one, view, tables, resolution, settings.gates, memo)
    bound = {node: tables for node, (_, tables) in (*sidecars.items(), *gateways.items())}
    views = {node: view for node, (view, _) in gateways.items()}
    report = report_objects(objects, resolution, bound, views, settings.gates, memo)
    return Translation(
        proxies=MappingProxyType(proxies),
        report=report,
        key_sources=resolution.key_sources,
        policies=memo(
            _policies_of_classes,
            resolution.route_winners,
            resolution.destination_winners,
            resolution.sidecars,
            resolution.access,
        ),
        trees=resolution.trees,
        files=resolution.files.paths,
        identities=_identities(resolution, served),
    )


def _identities(resolution: Resolution, served: frozenset[str] | None) -> frozenset[str]:
    if not resolution.identities.trust_domain:
        return frozenset()
    pods = (*(one.key for one in resolution.sidecars), *(one.key for one in resolution.gateways.gateways))
    found = {workload_identity(pod, resolution) for pod in pods if served is None or pod.cluster in served}
    if any(fetch.peer is not None for fetch in resolution.key_sources.values()):
        found.add(control_plane_id(resolution.identities.trust_domain))
    return frozenset(found)


def _policies_of_classes(
    routes: Mapping[str, ObjectKey],
    destinations: Mapping[DestinationPort, ObjectKey],
    sidecars: tuple[Sidecar, ...],
    access: Access,
) -> Mapping[str, ObjectKey]:
    inbound = {
        name: min(destinations[target] for target in targets if target in destinations)
        for sidecar in sidecars
        for name, targets in sidecar.inbound.items()
        if any(target in destinations for target in targets)
    }
    return {**routes, **{name: policies[0] for name, policies in access.holding.items()}, **inbound}
