"""RBAC: the least that the control plane has to be allowed on an API server, as manifests (rbac.authorization.k8s.io/v1).

Each rule is what one part of the control plane asks for, and no more:

- informers, and the wait for what was stored, list and watch every kind that is read;
- the status writer patches the ``status`` of our own kinds, and after a conflict reads the object anew;
- the event recorder creates Events; to raise the count of one it reads and patches it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from meshpass.kube.resource import ResourceKind

_GROUP = "rbac.authorization.k8s.io"
_LABELS = {"app.kubernetes.io/name": "meshpass"}


def role_rules(read: Iterable[ResourceKind], reported: Iterable[ResourceKind]) -> tuple[dict[str, Any], ...]:
    """The rules of a ClusterRole: kinds that are ``read``, and those of them whose status is written (``reported``)."""
    written = {(kind.group, kind.plural) for kind in reported}
    every = {(kind.group, kind.plural) for kind in read}
    return (
        *_rules(every - written, ("list", "watch")),
        *_rules(written, ("get", "list", "watch")),
        *_rules({(group, f"{plural}/status") for group, plural in written}, ("patch",)),
        *_rules({("", "events")}, ("create", "get", "patch")),
    )


def control_plane_manifests(
    rules: Iterable[Mapping[str, Any]], *, namespace: str, name: str
) -> tuple[dict[str, Any], ...]:
    """ServiceAccount ``namespace``/``name``, and the ClusterRole ``name`` with these rules, bound to it."""
    role = {"apiGroup": _GROUP, "kind": "ClusterRole", "name": name}
    return (
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": name, "namespace": namespace, "labels": _LABELS},
        },
        {
            "apiVersion": f"{_GROUP}/v1",
            "kind": "ClusterRole",
            "metadata": {"name": name, "labels": _LABELS},
            "rules": list(rules),
        },
        {
            "apiVersion": f"{_GROUP}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": name, "labels": _LABELS},
            "roleRef": role,
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
        },
    )


def manifests_yaml(manifests: Iterable[Mapping[str, Any]]) -> str:
    """The manifests as YAML documents."""
    text: str = yaml.dump_all(manifests, Dumper=_PlainDumper, sort_keys=False, explicit_start=True, width=120)
    return text


class _PlainDumper(yaml.CSafeDumper):
    """Writes values that are used twice in full, not as anchors."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True


def _rules(resources: Iterable[tuple[str, str]], verbs: tuple[str, ...]) -> list[dict[str, Any]]:
    """One rule per group, sorted, so that the text stays the same while the kinds do."""
    groups: dict[str, list[str]] = {}
    for group, resource in sorted(resources):
        groups.setdefault(group, []).append(resource)
    return [{"apiGroups": [group], "resources": names, "verbs": list(verbs)} for group, names in sorted(groups.items())]
