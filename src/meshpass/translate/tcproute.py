"""TCP and TLS routes: connections that are passed on as they are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from meshpass.api.common import DestinationReference
from meshpass.api.objectset import ObjectKey
from meshpass.api.routetable import RouteTable
from meshpass.ir import WeightedBackend
from meshpass.translate.action import Problem, share_among
from meshpass.translate.catalog import Catalog
from meshpass.translate.destination import Destination
from meshpass.translate.host import host_problem, normalize_host
from meshpass.translate.tableroutes import TcpRoute


class TcpRoutes(NamedTuple):
    """The TCP and TLS routes of a table."""

    tcp: tuple[TcpRoute, ...]
    tls: tuple[TcpRoute, ...]
    destinations: tuple[Destination, ...]
    problems: tuple[Problem, ...]
    broken: int
    """How many of the routes are wrong: their connections are closed."""


def translate_tcp_routes(
    key: ObjectKey, table: RouteTable, hosts: tuple[str, ...], wrong: tuple[Problem, ...], catalog: Catalog
) -> TcpRoutes:
    """All routes of a table that are not HTTP; with ``wrong`` none of them has a backend."""
    problems: list[Problem] = []
    destinations: list[Destination] = []
    found: dict[str, list[TcpRoute]] = {"tcp": [], "tls": []}
    broken = 0
    places = [("tcp", index, one) for index, one in enumerate(table.spec.tcp)]
    places += [("tls", index, one) for index, one in enumerate(table.spec.tls)]  # type: ignore[misc]
    for kind, index, route in places:
        path = f"spec.{kind}[{index}]"
        to = route.forward_to
        references = [
            (f"{path}.forwardTo.destinations[{i}]", one) for i, one in enumerate(to.destinations if to else ())
        ]
        own = list(wrong)
        if not references:
            own.append(Problem(f"{path}.forwardTo.destinations", "names no destination"))
        names, name_problems = _server_names(table, index, hosts) if kind == "tls" else ((), ())
        sent, backends = _share(references, key, f"{path}.forwardTo", catalog, own)
        own.extend(name_problems)
        destinations.extend(sent)
        problems.extend(own)
        broken += bool(own)
        ports = [matcher.port for matcher in route.matchers]
        if (not ports or 0 in ports) and _is_for_workloads(table) and any("*" in name for name in names or hosts):
            # Envoy's domains have a wildcard at one end: at the other is the port then.
            message = "names no port: workloads reach a host with a wildcard only on ports that a route names"
            problems.append(Problem(f"{path}.matchers", message))
        found[kind].append(
            TcpRoute(
                name=f"{kind}-{index}.{key.name}.{key.namespace}.{key.cluster}",
                ports=() if 0 in ports else tuple(sorted(set(ports))),
                server_names=names,
                backends=() if own else backends,
            )
        )
    return TcpRoutes(tuple(found["tcp"]), tuple(found["tls"]), tuple(destinations), tuple(problems), broken)


def _is_for_workloads(table: RouteTable) -> bool:
    return bool(table.spec.workload_selectors) or not table.spec.virtual_gateways


def _share(
    references: list[tuple[str, DestinationReference]],
    key: ObjectKey,
    path: str,
    catalog: Catalog,
    problems: list[Problem],
) -> tuple[tuple[Destination, ...], tuple[WeightedBackend, ...]]:
    sent, shares, wrong = share_among(references, key, path, catalog, http=False)
    problems.extend(wrong)
    return sent, tuple(WeightedBackend(backend=name, weight=weight) for name, weight in shares.items())


def _server_names(table: RouteTable, index: int, hosts: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[Problem, ...]]:
    """The server names of a TLS route; its table's hosts if it asks for none."""
    problems = []
    names: list[str] = []
    for i, matcher in enumerate(table.spec.tls[index].matchers):
        for j, name in enumerate(matcher.sni_hosts):
            path = f"spec.tls[{index}].matchers[{i}].sniHosts[{j}]"
            problem = _name_problem(name, hosts)
            if problem is None:
                names.append(normalize_host(name))
            else:
                problems.append(Problem(path, problem))
    return tuple(dict.fromkeys(names)) or hosts, tuple(problems)


def _name_problem(name: str, hosts: Iterable[str]) -> str | None:
    problem = host_problem(name)
    if problem is not None:
        return problem
    if "*" in name and not name.startswith("*."):
        return "has a wildcard that is no whole first part, such as *.example.com"
    wanted = normalize_host(name)
    if not any(wanted == host or (host.startswith("*") and wanted.endswith(host[1:])) for host in hosts):
        return "is none of the table's hosts"
    return None
