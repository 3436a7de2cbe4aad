"""Freezing: a broken table of failure mode FREEZE_CONFIG keeps serving what it served when it was last right (§5.8)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import msgspec

from meshpass.api.objectset import ObjectKey
from meshpass.api.routetable import FailureMode, RouteTable
from meshpass.memo import Memo
from meshpass.translate.binding import Binding
from meshpass.translate.catalog import Catalog
from meshpass.translate.finding import Finding, Reason, Severity
from meshpass.translate.frozensharing import is_still_shared
from meshpass.translate.tableroutes import TableRoutes


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FrozenTree:
    """A root table with all that it delegates to, as it was when all of it could be built; without findings."""

    routes: TableRoutes
    binding: Binding


FrozenTrees = Mapping[ObjectKey, FrozenTree]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Settled:
    """What tables serve in the end."""

    tables: Mapping[ObjectKey, TableRoutes]
    bindings: Mapping[ObjectKey, Binding]
    trees: FrozenTrees
    """What is to be kept for the day on which a table breaks. A table that breaks before it was ever right, or while it
    has another failure mode, is in it no more: it answers 500 until it is mended."""


def settle_tables(  # noqa: PLR0917
    objects: Mapping[ObjectKey, RouteTable],
    tables: Mapping[ObjectKey, TableRoutes],
    bindings: Mapping[ObjectKey, Binding],
    kept: FrozenTrees,
    catalog: Catalog,
    memo: Memo,
) -> Settled:
    """The tables as they are, or as they were where they are broken and to be frozen. To be called through the memo.

    What another workspace does not share any more is not kept: its owner has the last word.
    """
    freezing = [
        key
        for key, routes in tables.items()
        if objects[key].spec.failure_mode is FailureMode.FREEZE_CONFIG and routes.hosts
    ]
    if not freezing:
        return Settled(tables=tables, bindings=bindings, trees=kept if not kept else {})
    served, bound, trees = dict(tables), dict(bindings), {}
    for key in freezing:
        routes, binding, tree = tables[key], bindings[key], kept.get(key)
        if not routes.broken and not binding.findings:
            trees[key] = memo(_make_tree, routes, binding)
        elif tree is not None and _may_thaw(tree, routes, objects, catalog):
            trees[key] = tree
            served[key] = memo(_thaw, routes, tree)
            bound[key] = replace(tree.binding, findings=binding.findings)
    # The same object as long as nothing of it changed: it comes back as ``kept``, and this goes by identity.
    return Settled(tables=served, bindings=bound, trees=kept if trees == kept else trees)


def _may_thaw(tree: FrozenTree, routes: TableRoutes, objects: Mapping[ObjectKey, RouteTable], catalog: Catalog) -> bool:
    return tree.routes.workspace == routes.workspace and is_still_shared(tree.routes, objects, catalog)


def _make_tree(routes: TableRoutes, binding: Binding) -> FrozenTree:
    return FrozenTree(routes=replace(routes, findings=()), binding=binding)


def _thaw(routes: TableRoutes, tree: FrozenTree) -> TableRoutes:
    message = "is FREEZE_CONFIG and the table or one that it delegates to is broken: what was accepted last is served"
    finding = Finding(
        key=routes.key, severity=Severity.WARNING, reason=Reason.FROZEN, path="spec.failureMode", message=message
    )
    return replace(tree.routes, findings=(*routes.findings, finding))


def encode_tree(tree: FrozenTree) -> bytes:
    """The tree as bytes that ``decode_tree`` reads."""
    return msgspec.msgpack.encode(tree)


def decode_tree(body: bytes) -> FrozenTree:
    """The tree of these bytes. Raises msgspec.MsgspecError for anything that ``encode_tree`` did not write."""
    return msgspec.msgpack.decode(body, type=FrozenTree)
