"""What frozen tables took from other workspaces, which may not be shared any more: that is not served on."""

from __future__ import annotations

from collections.abc import Mapping

from meshpass.api.objectset import ObjectKey
from meshpass.api.routetable import RouteTable
from meshpass.translate.catalog import Catalog
from meshpass.translate.tableroutes import TableRoutes


def is_still_shared(routes: TableRoutes, objects: Mapping[ObjectKey, RouteTable], catalog: Catalog) -> bool:
    """True if every part of a tree, and all that it sends to, may still be used by those who do.

    A table that is gone counts as shared as long as its workspace shares anything with that of its parent.
    """
    workspaces, sharing = catalog.workspaces, catalog.workspaces.sharing
    users = {workspaces.owner(key) for key in (routes.key, *routes.parts)}
    for child, parents in routes.parents.items():
        owner, table = workspaces.owner(child), objects.get(child)
        for user in {workspaces.owner(parent) for parent in parents} - {owner}:
            if owner is None or user is None or owner not in sharing.sources(user):
                return False
            if table is not None and not sharing.shares(child, table.metadata.labels, owner, user):
                return False
    return all(
        any(sharing.shares(key, catalog.labels(key), workspaces.place_owner(key), user) for user in users)
        for key in {found.key for found in routes.destinations}
        if catalog.get(key) is not None
    )
