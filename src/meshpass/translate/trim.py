"""Trimming: sidecars of a workspace that know fewer hosts than there are, so that their configuration is smaller.

It is no protection: a workload may open a connection to any address. Who may call is said at the callee.
"""

from __future__ import annotations

from collections.abc import Iterator

from meshpass.api.objectset import ObjectKey
from meshpass.memo import Memo
from meshpass.translate.catalog import Catalog
from meshpass.translate.knownhost import KnownHost, known_hosts
from meshpass.translate.tableset import TableSet


def trim_hosts(  # noqa: PLR0917
    cluster: str, namespace: str, known: tuple[KnownHost, ...], tables: TableSet, catalog: Catalog, memo: Memo
) -> tuple[KnownHost, ...]:
    """What is left of the hosts that sidecars in that place know; ``known`` itself where their workspace trims nothing.

    ``serviceIsolation.trimProxyConfig`` leaves what the workspace has and imports; ``trimAllProxyConfig`` without it leaves
    nothing. What a table of the sidecar is for stays in both: the table is what asks for it. To be called through the memo.
    """
    workspace = catalog.workspaces.owners.get((cluster, namespace))
    options = catalog.workspaces.options_of(workspace)
    only_own = options.service_isolation is not None and bool(options.service_isolation.trim_proxy_config)
    if not only_own and not options.trim_all_proxy_config:
        return known
    asked = set(_asked(cluster, tables, catalog, memo))
    sharing = catalog.workspaces.sharing

    def is_kept(key: ObjectKey) -> bool:
        if not only_own:
            return key in asked
        return key in asked or sharing.shares(key, catalog.labels(key), catalog.workspaces.place_owner(key), workspace)

    return tuple(one for one in known if is_kept(one.destination.key))


def _asked(cluster: str, tables: TableSet, catalog: Catalog, memo: Memo) -> Iterator[ObjectKey]:
    """What the hosts of tables are names of, as workloads of each table's namespace know them."""
    for table in tables.tables:
        names = memo(_destinations, memo(known_hosts, cluster, table.key.namespace, catalog))
        for host in (*table.hosts, *(name for route in table.tls for name in route.server_names)):
            if host in names:
                yield names[host]


def _destinations(known: tuple[KnownHost, ...]) -> dict[str, ObjectKey]:
    return {name: one.destination.key for one in reversed(known) for name in one.names}
