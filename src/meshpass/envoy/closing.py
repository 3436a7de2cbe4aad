"""What an Envoy has that nobody knows is closed before it is changed.

An Envoy that lived on while its control plane was away says the versions of what it has, not what they mean. Its routes
were made for its filters; new ones of either, which come one after the other, may open what both sides close. So first
its routes are looked up in vain: a class that the first filter does not know is refused (403), whatever the filters
behind it do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from meshpass.envoy.class_move import rename_all
from meshpass.envoy.filters import Side, Stage, filter_name
from meshpass.envoy.jwt import build_jwt_filter
from meshpass.envoy.snapshot import EXTENSION_CONFIG, LISTENER, ROUTES, Resource, Snapshot, content_version
from meshpass.ir import InboundListener, Phase, Proxy

ANSWERING = (EXTENSION_CONFIG, LISTENER, ROUTES)
"""The types that together say what a request is answered."""

Versions = Mapping[str, Mapping[str, str]]
"""Type URL → name → version."""


def close_unknown(held: Versions, target: Snapshot) -> Snapshot | None:
    """What closes the way to the target: filters to be sent before all else, and the proxy to go on from as if it were there.

    None where nothing has to be closed: on either side of the proxy no filter changes, or nothing but one filter, which
    Envoy exchanges as a whole. The classes of the Snapshot have names that no other target gives, so that no route knows
    them, and a way that is broken off does no harm to the next.
    """
    torn = {side: _is_torn(side, held, target) for side in Side}
    if not any(torn.values()):
        return None
    closed = rename_all(target.proxy, _mark(target), outbound=torn[Side.OUTBOUND], inbound=torn[Side.INBOUND])
    filters = {_first_name(side): _first_filter(side, closed) for side in Side if torn[side]}
    return Snapshot(proxy=closed, resources=MappingProxyType({EXTENSION_CONFIG: MappingProxyType(filters)}))


def _is_torn(side: Side, held: Versions, target: Snapshot) -> bool:
    """True if the side would for a moment be neither as it was nor as it is to be, and is there at all."""
    filters = [name for name in _changed(EXTENSION_CONFIG, held, target) if name.startswith(f"meshpass.{side}.")]
    first = _first_name(side)
    if not filters or first not in held.get(EXTENSION_CONFIG, {}) or first not in target.of(EXTENSION_CONFIG):
        return False
    routes = _changed(ROUTES, held, target) if side is Side.OUTBOUND else ()
    other_side = _listeners(target.proxy, others_than=side)
    listeners = (name for name in _changed(LISTENER, held, target) if name not in other_side)
    return len([*filters, *routes, *listeners]) > 1


def _changed(type_url: str, held: Versions, target: Snapshot) -> Iterator[str]:
    had, wanted = held.get(type_url, {}), target.of(type_url)
    for name in sorted(had.keys() | wanted.keys()):
        if name not in wanted or had.get(name) != wanted[name].version:
            yield name


def _listeners(proxy: Proxy, *, others_than: Side) -> frozenset[str]:
    """The listeners that are of another side for certain."""
    inbound = others_than is Side.OUTBOUND
    return frozenset(one.name for one in proxy.listeners if isinstance(one, InboundListener) is inbound)


def _first_filter(side: Side, proxy: Proxy) -> Resource:
    policies = proxy.policies if side is Side.OUTBOUND else proxy.inbound_policies
    return build_jwt_filter(side, Phase.PRE_AUTHZ, policies.pre, policies.sources)


def _first_name(side: Side) -> str:
    """The first filter that depends on policies; what it refuses reaches no other."""
    return filter_name(side, Phase.PRE_AUTHZ, Stage.JWT)


def _mark(target: Snapshot) -> str:
    versions = (resource.version for type_url in ANSWERING for _, resource in sorted(target.of(type_url).items()))
    return content_version("".join(versions).encode())
