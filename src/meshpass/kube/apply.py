"""Client-side apply, the way ``kubectl apply`` does it, so that both can be used on one object in turn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgspec

from meshpass.api.kinds import kind_of
from meshpass.errors import ApiError, ManifestError
from meshpass.kube.client import KubeClient, PatchType, is_not_found
from meshpass.kube.discovery import kind_for
from meshpass.kube.merge import three_way_patch
from meshpass.kube.resource import Raw, ResourceKind

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
"""The annotation with the manifest of the last apply, as JSON; what it names and the next manifest does not, goes."""

FIELD_MANAGER = "kubectl-client-side-apply"
"""kubectl's own name for this kind of write, so that a later server-side apply by kubectl knows whose fields these are."""

_TRIES = 5


class Outcome(StrEnum):
    """What an apply did; the words are kubectl's."""

    CREATED = "created"
    CONFIGURED = "configured"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """The outcome of an apply and the object as it is stored now."""

    outcome: Outcome
    kind: ResourceKind
    raw: Raw


async def resolve_kind(client: KubeClient, raw: Raw) -> ResourceKind:
    """The kind that a manifest names: one of our own, or one that the server serves. Raises MeshpassError."""
    api_version, kind = str(raw.get("apiVersion", "")), str(raw.get("kind", ""))
    return kind_of(api_version, kind) or await kind_for(client, api_version, kind)


async def apply_raw(client: KubeClient, raw: Raw, *, dry_run: bool = False) -> Applied:
    """The server's object says what ``raw`` says, and no longer what only the last applied manifest said.

    The object goes into the client's namespace when it names none; a field that the kind does not have is refused. Raises ApiError and ManifestError.
    """
    kind = await resolve_kind(client, raw)
    manifest = _manifest(client, kind, raw)
    metadata = manifest["metadata"]
    namespace, name = metadata.get("namespace"), metadata["name"]
    annotated = _with_annotation(manifest)
    for remaining in reversed(range(_TRIES)):
        try:
            live = await _get(client, kind, namespace, name)
            if live is None:
                stored = await client.create_raw(
                    kind, annotated, field_manager=FIELD_MANAGER, dry_run=dry_run, strict=True
                )
                return Applied(outcome=Outcome.CREATED, kind=kind, raw=stored)
            patch = three_way_patch(_last_applied(live), annotated, live)
            if not patch:
                return Applied(outcome=Outcome.UNCHANGED, kind=kind, raw=live)
            stored = await client.patch_raw(
                kind,
                namespace,
                name,
                patch,
                content_type=PatchType.MERGE,
                field_manager=FIELD_MANAGER,
                dry_run=dry_run,
                strict=True,
            )
        except ApiError as error:
            # 409: created by someone else after the look, or changed during the patch. 404: deleted after the look.
            if remaining and (
                error.reason in {"AlreadyExists", "Conflict"} or (error.code == 404 and live is not None)
            ):
                continue
            raise
        same = stored["metadata"].get("resourceVersion") == live["metadata"].get("resourceVersion")
        return Applied(outcome=Outcome.UNCHANGED if same and not dry_run else Outcome.CONFIGURED, kind=kind, raw=stored)
    raise AssertionError("the last try returns or raises")


async def _get(client: KubeClient, kind: ResourceKind, namespace: str | None, name: str) -> Raw | None:
    try:
        return await client.get_raw(kind, namespace, name)
    except ApiError as error:
        if is_not_found(error):
            return None
        raise


def _manifest(client: KubeClient, kind: ResourceKind, raw: Raw) -> dict[str, Any]:
    """The manifest with its namespace, and without the annotation that describes it."""
    metadata = dict(raw.get("metadata") or {})
    if not metadata.get("name"):
        raise ManifestError("metadata.name: required value", hint="apply needs a name; generateName works with create")
    if kind.namespaced:
        metadata["namespace"] = metadata.get("namespace") or client.namespace
    annotations = {name: text for name, text in (metadata.get("annotations") or {}).items() if name != LAST_APPLIED}
    # kubectl writes the empty object too; the texts stay equal, and alternating tools leave the object unchanged.
    return {**raw, "metadata": {**metadata, "annotations": annotations}}


def _with_annotation(manifest: Mapping[str, Any]) -> dict[str, Any]:
    text = msgspec.json.encode(manifest, order="deterministic").decode() + "\n"
    metadata = manifest["metadata"]
    return {**manifest, "metadata": {**metadata, "annotations": {**metadata["annotations"], LAST_APPLIED: text}}}


def _last_applied(live: Raw) -> Mapping[str, Any]:
    """The manifest of the last apply; nothing when there was none, or when someone broke the annotation."""
    text = (live["metadata"].get("annotations") or {}).get(LAST_APPLIED, "{}")
    try:
        applied = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return {}
    return applied if isinstance(applied, dict) else {}
