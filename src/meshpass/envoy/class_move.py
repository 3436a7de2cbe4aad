"""Other names for classes whose routes and meaning change at once, so that no name ever means two things.

A class is what routes carry and what filters look up: two resources, which Envoy switches one after the other. If route
A leaves a class that is opened, and stays protected under another one, A must not be looked up under the opened class.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

from meshpass.ir import InboundListener, Listener, PhasePolicies, PolicySet, Proxy, RouteConfiguration, VirtualHost

RENAMED = "+"
"""After the name of a class, once or more often, and perhaps before more: another name for a while."""


def rename_contested(old: Proxy, new: Proxy) -> Proxy | None:
    """``new``, with other names for the classes that mean something else in ``old``; None if names can stay.

    They can where only routes change, or only what classes mean. Where a workload is called, no route leaves its class
    (``joint_move``).
    """
    routes = _contested(old.policies, new.policies) if _hosts(old) != _hosts(new) else {}
    return rename_classes(new, routes, {}) if routes else None


def rename_all(proxy: Proxy, mark: str, *, outbound: bool, inbound: bool) -> Proxy:
    """The proxy, with the mark in the names of all classes of one side or both."""
    return rename_classes(
        proxy,
        {name: name + RENAMED + mark for name in known_classes(proxy.policies) if outbound},
        {name: name + RENAMED + mark for name in known_classes(proxy.inbound_policies) if inbound},
    )


def rename_classes(proxy: Proxy, routes: Mapping[str, str], inbound: Mapping[str, str]) -> Proxy:
    """The proxy, with other names for these classes: those of routes, and those of ports where it is called."""
    return replace(
        proxy,
        routes=tuple(_rename_routes(one, routes) for one in proxy.routes),
        policies=_rename_policies(proxy.policies, routes),
        listeners=tuple(_rename_listener(listener, inbound) for listener in proxy.listeners),
        inbound_policies=_rename_policies(proxy.inbound_policies, inbound),
    )


def known_classes(policies: PolicySet) -> frozenset[str]:
    """The classes that a filter knows.

    An Envoy on its way to another target may know one by its denial alone, or by who may call: they come before what is
    required.
    """
    required = policies.pre.requirements.keys() | policies.post.requirements.keys()
    return frozenset(required) | policies.denied | policies.access.keys()


def plain_name(selection_class: str) -> str:
    """The name that the class has when no routes are being switched."""
    return selection_class.partition(RENAMED)[0]


def _hosts(proxy: Proxy) -> Mapping[str, tuple[VirtualHost, ...]]:
    """All routes of a proxy; their options come with them, and so never mean anything else to one than to another."""
    return {routes.name: routes.virtual_hosts for routes in proxy.routes}


def _contested(old: PolicySet, new: PolicySet) -> Mapping[str, str]:
    """Class → its other name, for the classes that both sides have and mean different things by."""
    if old is new:
        return {}
    known = known_classes(old)
    both = known & (new.pre.requirements.keys() | new.post.requirements.keys())
    return {name: _free(name, known) for name in both if _meaning(old, name) != _meaning(new, name)}


def _meaning(policies: PolicySet, name: str) -> tuple[object, ...]:
    return (policies.pre.requirements.get(name), policies.post.requirements.get(name), name in policies.denied)


def _free(name: str, known: frozenset[str]) -> str:
    """A name that the Envoy does not know: it may be on its way to one that was given before."""
    while name in known:
        name += RENAMED
    return name


def _rename_routes(routes: RouteConfiguration, names: Mapping[str, str]) -> RouteConfiguration:
    if not names:
        return routes
    rename = _renamer(names)
    return replace(
        routes,
        virtual_hosts=tuple(_rename_host(host, names) for host in routes.virtual_hosts),
        options=MappingProxyType({rename(name): options for name, options in routes.options.items()}),
    )


def _rename_host(host: VirtualHost, names: Mapping[str, str]) -> VirtualHost:
    """The same object where nothing is renamed, so that it is not built again."""
    if not any(route.selection_class in names for route in host.routes):
        return host
    rename = _renamer(names)
    return replace(
        host, routes=tuple(replace(route, selection_class=rename(route.selection_class)) for route in host.routes)
    )


def _rename_listener(listener: Listener, names: Mapping[str, str]) -> Listener:
    if not isinstance(listener, InboundListener):
        return listener
    return replace(listener, selection_class=names.get(listener.selection_class, listener.selection_class))


def _rename_policies(policies: PolicySet, names: Mapping[str, str]) -> PolicySet:
    if not names:
        return policies
    return replace(
        policies,
        pre=_rename_phase(policies.pre, names),
        post=_rename_phase(policies.post, names),
        denied=frozenset(map(_renamer(names), policies.denied)),
        access=MappingProxyType({_renamer(names)(name): access for name, access in policies.access.items()}),
    )


def _rename_phase(policies: PhasePolicies, names: Mapping[str, str]) -> PhasePolicies:
    rename = _renamer(names)
    requirements = {rename(name): needed for name, needed in policies.requirements.items()}
    return replace(policies, requirements=MappingProxyType(requirements))


def _renamer(names: Mapping[str, str]) -> Callable[[str], str]:
    return lambda name: names.get(name, name)
