"""AccessPolicies in a few words.

async with mesh.having(access_policy(allow(clients=[by_account("client")], allowedPaths=["/get"]))): ...
"""

from __future__ import annotations

from typing import Any

from tests.support.objects import CLUSTER_ANNOTATION

Manifest = dict[str, Any]

API_VERSION = "security.policy.gloo.solo.io/v2"
EVERYBODY: list[Manifest] = [{}]
GUARDED_WORKLOAD: list[Manifest] = [{"selector": {"labels": {"app": "guarded"}}}]


def access_policy(
    *entries: Manifest,
    name: str = "access",
    created: str = "",
    mode: str | None = None,
    cluster: str = "cluster1",
    namespace: str = "httpbin",
    **spec: Any,
) -> Manifest:
    """An AccessPolicy with these entries in its ``authzList``, on the workload ``guarded`` unless the spec says another."""
    config: Manifest = {"authzList": list(entries)} if entries else {}
    if mode is not None:
        config["authn"] = {"tlsMode": mode} if mode else {}
    config |= spec.pop("config", {})
    if not spec:
        spec = {"applyToWorkloads": GUARDED_WORKLOAD}
    metadata = {"name": name, "namespace": namespace, "annotations": {CLUSTER_ANNOTATION: cluster}}
    if created:
        metadata["creationTimestamp"] = created
    return {"apiVersion": API_VERSION, "kind": "AccessPolicy", "metadata": metadata, "spec": {**spec, "config": config}}


def allow(*clients: Manifest, **entry: Any) -> Manifest:
    """An entry for these callers, or for everybody if none is named."""
    return {"allowedClients": list(clients) or EVERYBODY, **entry}


def by_account(name: str = "", **selector: Any) -> Manifest:
    """Callers that run as this service account."""
    return {"serviceAccountSelector": {"name": name, **selector} if name else selector}


def by_token(*principals: str, but: tuple[str, ...] = ()) -> Manifest:
    """Callers whose token says one of these, and none of the others."""
    matcher: Manifest = {}
    if principals:
        matcher["requestPrincipals"] = list(principals)
    if but:
        matcher["notRequestPrincipals"] = list(but)
    return {"requestIdentityMatcher": matcher}
