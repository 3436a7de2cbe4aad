"""In which proxies each table, policy and gateway has an effect."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from meshpass.api.objectset import ObjectKey
from meshpass.memo import Memo
from meshpass.translate.selection_class import DestinationPort
from meshpass.translate.sidecar import Sidecar
from meshpass.translate.tableset import TableSet

Users = tuple[tuple[TableSet, frozenset[str]], ...]
"""Tables, and the nodes that use them."""


def find_users(bound: tuple[tuple[str, TableSet], ...], memo: Memo) -> Users:
    """The nodes of each set of tables. Equal sets of nodes are one object, also over an edit of tables."""
    users: dict[TableSet, list[str]] = defaultdict(list)
    for node, tables in bound:
        users[tables].append(node)
    return tuple((tables, memo(_make_nodes, tuple(sorted(nodes)))) for tables, nodes in users.items())


def _make_nodes(nodes: tuple[str, ...]) -> frozenset[str]:
    return frozenset(nodes)


def find_nodes(  # noqa: PLR0917
    users: Users,
    route_winners: tuple[Mapping[str, ObjectKey], ...],
    destination_winners: Mapping[DestinationPort, ObjectKey],
    sidecars: tuple[Sidecar, ...],
    workloads: Mapping[ObjectKey, tuple[str, ...]],
    memo: Memo,
) -> Mapping[ObjectKey, frozenset[str]]:
    """Table, policy or VirtualGateway → the proxies in which it has an effect; what has none anywhere is left out."""
    found: dict[ObjectKey, dict[int, frozenset[str]]] = defaultdict(dict)
    for tables, nodes in users:
        place = id(nodes)
        for table in tables.tables:
            for key in table.parts:
                found[key][place] = nodes
        classes = {name for table in tables.tables for name in table.classes.properties}
        for winners in route_winners:
            for policy in {winners[name] for name in classes if name in winners}:
                found[policy][place] = nodes
    for sidecar in sidecars:
        own = memo(_make_nodes, (sidecar.node,))
        for targets in sidecar.inbound.values():
            for target in targets:
                if target in destination_winners:
                    found[destination_winners[target]][id(own)] = own
    joined = {
        key: next(iter(parts.values())) if len(parts) == 1 else memo(_join, tuple(parts.values()))
        for key, parts in found.items()
    }
    gateways = {key: memo(_make_nodes, nodes) for key, nodes in workloads.items()}
    return {**joined, **gateways}


def _join(parts: tuple[frozenset[str], ...]) -> frozenset[str]:
    return frozenset[str]().union(*parts)
