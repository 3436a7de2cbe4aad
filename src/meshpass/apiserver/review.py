"""Reviews: what a client may ask about itself. Whoever holds the token may do everything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meshpass.apiserver.status import bad_request

USER = "meshpass:admin"
GROUPS = ("system:masters", "system:authenticated")

REVIEWS: Mapping[tuple[str, str], frozenset[str]] = {
    ("authorization.k8s.io", "v1"): frozenset({"selfsubjectaccessreviews", "selfsubjectrulesreviews"}),
    ("authentication.k8s.io", "v1"): frozenset({"selfsubjectreviews"}),
}
"""Create-only resources that are answered and not stored, by group and version."""
KINDS: Mapping[str, str] = {
    "selfsubjectaccessreviews": "SelfSubjectAccessReview",
    "selfsubjectrulesreviews": "SelfSubjectRulesReview",
    "selfsubjectreviews": "SelfSubjectReview",
}


def answer_review(group: str, version: str, plural: str, value: Any) -> dict[str, Any]:
    """The review with its status. Raises StatusError 400 for a body of another kind."""
    kind = KINDS[plural]
    if not isinstance(value, Mapping) or value.get("kind", kind) != kind:
        raise bad_request(f"the body must be a {kind}")
    status: dict[str, Any]
    match kind:
        case "SelfSubjectAccessReview":
            status = {"allowed": True, "reason": "the bearer of the token may do everything"}
        case "SelfSubjectRulesReview":
            status = {
                "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
                "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
                "incomplete": False,
            }
        case _:
            status = {"userInfo": {"username": USER, "groups": list(GROUPS)}}
    metadata = value.get("metadata") or {"creationTimestamp": None}
    answer = {"apiVersion": f"{group}/{version}", "kind": kind, "metadata": metadata, "status": status}
    return {**answer, "spec": value["spec"]} if "spec" in value else answer


def review_discovery(group: str, version: str) -> dict[str, Any] | None:
    """The APIResourceList of a group of reviews, or None."""
    plurals = REVIEWS.get((group, version))
    if plurals is None:
        return None
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": f"{group}/{version}",
        "resources": [
            {
                "name": plural,
                "singularName": KINDS[plural].lower(),
                "namespaced": False,
                "kind": KINDS[plural],
                "verbs": ["create"],
            }
            for plural in sorted(plurals)
        ],
    }
