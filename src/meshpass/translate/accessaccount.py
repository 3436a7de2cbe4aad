"""Service accounts: which of them an AccessPolicy allows, and what their certificates say.

A workload's SPIFFE ID says its namespace and its service account, and not its cluster (SPIFFE IDs of Istio are so too):
whoever is allowed by it is allowed in every cluster of the mesh.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from meshpass.api.common import ObjectSelector
from meshpass.api.core import Pod, ServiceAccount
from meshpass.api.objectset import ObjectKey
from meshpass.memo import Memo
from meshpass.translate.identity import spiffe_id
from meshpass.translate.workspace import WorkspaceIndex


class Account(NamedTuple):
    """A service account."""

    cluster: str
    namespace: str
    name: str


class Place(NamedTuple):
    """A namespace whose service accounts can be selected, and the workspace that has it."""

    cluster: str
    namespace: str
    workspace: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AccountIndex:
    """The service accounts of all clusters: those that there are, and those that pods run as."""

    labels: Mapping[Account, Mapping[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectedAccounts:
    """What a selector comes to."""

    identities: tuple[str, ...]
    """SPIFFE IDs; one that ends in ``/`` is the beginning of them. Sorted."""
    accounts: frozenset[Account]
    """Those that there are now."""
    others: tuple[Account, ...]
    """Accounts that are not selected, and that nothing in their certificates tells from those that are; sorted."""
    beyond: tuple[Account, ...] = ()
    """Where none is selected, those that would be, if their workspaces imported from the policy's; sorted."""


def index_accounts(
    accounts: Mapping[ObjectKey, ServiceAccount], pods: Mapping[ObjectKey, Pod], memo: Memo
) -> AccountIndex:
    """To be called through the memo; the same object as long as accounts are the same."""
    return memo(_make_index, accounts, memo(_used, pods))


def _used(pods: Mapping[ObjectKey, Pod]) -> tuple[Account, ...]:
    found = {
        Account(key.cluster, key.namespace, pod.spec.service_account_name or "default") for key, pod in pods.items()
    }
    return tuple(sorted(found))


def _make_index(accounts: Mapping[ObjectKey, ServiceAccount], used: tuple[Account, ...]) -> AccountIndex:
    labels: dict[Account, Mapping[str, str]] = {account: {} for account in used}
    labels |= {Account(*key[1:]): account.metadata.labels for key, account in accounts.items()}
    return AccountIndex(labels=labels)


def find_places(workspaces: WorkspaceIndex, workspace: str) -> tuple[Place, ...]:
    """Where callers of a workspace may come from: itself, and workspaces that import from it. Sorted."""
    near = {workspace, *workspaces.sharing.importers(workspace)}
    return tuple(sorted(Place(*place, owner) for place, owner in workspaces.owners.items() if owner in near))


def select_accounts(
    selector: ObjectSelector, places: Iterable[Place], index: AccountIndex, trust_domain: str
) -> SelectedAccounts:
    """The service accounts of some places that a selector is for.

    Without labels they are known by their names, and so those that do not exist yet are selected too.
    """
    near = {
        (place.cluster, place.namespace)
        for place in places
        if selector.namespace in {"", place.namespace}
        and selector.cluster in {"", place.cluster}
        and selector.workspace in {"", place.workspace}
    }
    alike = {
        account
        for account, labels in index.labels.items()
        if selector.name in {"", account.name}
        and selector.namespace in {"", account.namespace}
        and selector.cluster in {"", account.cluster}
        and selector.labels.items() <= labels.items()
    }
    found = {account for account in alike if (account.cluster, account.namespace) in near}
    is_meant = bool(selector.name or selector.namespace or selector.labels) and not selector.workspace
    if selector.labels:
        identities = {spiffe_id(trust_domain, account.namespace, account.name) for account in found}
    elif selector.name:
        identities = {spiffe_id(trust_domain, namespace, selector.name) for _, namespace in near}
    else:
        identities = {namespace_identities(trust_domain, namespace) for _, namespace in near}
    return SelectedAccounts(
        identities=tuple(sorted(identities)) if trust_domain else (),
        accounts=frozenset(found),
        others=tuple(sorted(_alike(index, identities, trust_domain) - found)),
        beyond=tuple(sorted(alike)) if is_meant and not found else (),
    )


def namespace_identities(trust_domain: str, namespace: str) -> str:
    """The beginning of the SPIFFE IDs of a namespace."""
    return spiffe_id(trust_domain, namespace, "_").removesuffix("_")


def _alike(index: AccountIndex, identities: set[str], trust_domain: str) -> set[Account]:
    """All accounts whose certificates say one of these."""
    return {
        account
        for account in index.labels
        if spiffe_id(trust_domain, account.namespace, account.name) in identities
        or namespace_identities(trust_domain, account.namespace) in identities
    }
