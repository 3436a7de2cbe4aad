"""Objects for tests of the core: from YAML text as a person writes it, or from a few words in Python.

A mesh in tests has the clusters ``mgmt`` (which manages), ``cluster1`` and ``cluster2``. An object of a text belongs to
the cluster that its annotation ``golden.meshpass.dev/cluster`` names, else to ``cluster1``.

    objects = read_objects(BASE, RouteTable, "table", hosts=["www.example.com"], http=[...])
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from meshpass.api.manifest import Parsed, load_documents, parse_object
from meshpass.api.objectset import ObjectKey, ObjectSet
from meshpass.envoy.build import build_snapshot
from meshpass.envoy.snapshot import Snapshot
from meshpass.memo import Memo
from meshpass.translate import FeatureGates, TranslateSettings, Translation, translate
from meshpass.translate.filecontent import NO_FILES, FileContents
from meshpass.translate.identity import NO_IDENTITIES, Identities
from meshpass.translate.keysource import KeySets

MANAGEMENT_CLUSTER = "mgmt"
CLUSTER_ANNOTATION = "golden.meshpass.dev/cluster"
CLIENT = "sidecar~cluster1~httpbin~client"
SERVER = "sidecar~cluster1~httpbin~httpbin"
"""The two proxies of the base mesh."""

BASE = Path(__file__).parent.parent / "golden" / "mesh" / "a-mesh-without-tables-reaches-its-services" / "in.yaml"
"""Namespaces, a workspace that has them all, Service httpbin with its endpoint, and the pods httpbin and client."""

SETTINGS = TranslateSettings(management_cluster=MANAGEMENT_CLUSTER, gates=FeatureGates())
NO_KEY_SETS: KeySets = {}
"""The same objects in every translation, as in the reconciler: a memo goes by identity."""


def key_of(raw: Mapping[str, Any]) -> ObjectKey:
    """Where an object of a test is stored."""
    metadata = raw["metadata"]
    cluster = (metadata.get("annotations") or {}).get(CLUSTER_ANNOTATION, "cluster1")
    return ObjectKey(raw["kind"], cluster, metadata.get("namespace", ""), metadata["name"])


def read_objects(*sources: Path | str | Mapping[str, Any]) -> dict[ObjectKey, Parsed]:
    """The objects of files, YAML texts and manifests; a later one takes the place of an earlier one of the same key."""
    found: dict[ObjectKey, Parsed] = {}
    for source in sources:
        for raw in _documents(source):
            found[key_of(raw)] = parse_object(raw)
    return found


def _documents(source: Path | str | Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    if isinstance(source, Mapping):
        return (source,)
    return load_documents(source.read_text() if isinstance(source, Path) else source)


def object_set(*sources: Path | str | Mapping[str, Any]) -> ObjectSet:
    """An ObjectSet of nothing but these objects."""
    return ObjectSet.empty().with_changes(read_objects(*sources))


def translate_objects(
    objects: ObjectSet,
    memo: Memo | None = None,
    *,
    key_sets: KeySets | None = None,
    gates: FeatureGates | None = None,
    files: FileContents = NO_FILES,
    identities: Identities = NO_IDENTITIES,
) -> Translation:
    """The translation of a test's objects; nothing was fetched or read, no gate is set, nobody has an identity, unless said."""
    settings = SETTINGS if gates is None else TranslateSettings(management_cluster=MANAGEMENT_CLUSTER, gates=gates)
    keys = NO_KEY_SETS if key_sets is None else key_sets
    return translate(objects, keys, settings, memo or Memo(), files=files, identities=identities)


def build_snapshots(translation: Translation, memo: Memo | None = None) -> dict[str, Snapshot]:
    """Node → its Snapshot."""
    memo = memo or Memo()
    return {node: build_snapshot(proxy, memo) for node, proxy in translation.proxies.items()}


def route_table(name: str = "table", *, cluster: str = "cluster1", created: str = "", **spec: Any) -> dict[str, Any]:
    """A RouteTable in namespace httpbin; ``labels`` are the table's own."""
    labels = spec.pop("labels", {})
    namespace = spec.pop("namespace", "httpbin")
    return _manifest("networking.gloo.solo.io/v2", "RouteTable", name, namespace, cluster, created, labels, spec)


def jwt_policy(name: str = "policy", *, cluster: str = "cluster1", created: str = "", **spec: Any) -> dict[str, Any]:
    """A JWTPolicy in namespace httpbin."""
    namespace = spec.pop("namespace", "httpbin")
    return _manifest("security.policy.gloo.solo.io/v2", "JWTPolicy", name, namespace, cluster, created, {}, spec)


def forward(name: str = "httpbin", port: int = 8000, /, **labels: str) -> dict[str, Any]:
    """An HTTP route to a Service, with these labels."""
    return {
        "name": name,
        "labels": labels,
        "forwardTo": {"destinations": [{"ref": {"name": name}, "port": {"number": port}}]},
    }


def _manifest(  # noqa: PLR0917
    api_version: str,
    kind: str,
    name: str,
    namespace: str,
    cluster: str,
    created: str,
    labels: Mapping[str, str],
    spec: Mapping[str, Any],
) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "namespace": namespace, "labels": dict(labels)}
    metadata["annotations"] = {CLUSTER_ANNOTATION: cluster}
    if created:
        metadata["creationTimestamp"] = created
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": dict(spec)}
