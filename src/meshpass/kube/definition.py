"""CustomResourceDefinitions on an API server: created or brought up to date, and waited for until they are served."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from meshpass.errors import ApiError, MeshpassError
from meshpass.kube.apply import Outcome
from meshpass.kube.client import KubeClient, is_not_found
from meshpass.kube.resource import DiscoveredKind, Raw

FIELD_MANAGER = "meshpass-crds"
LOOK_AGAIN_SECONDS = 0.2

_DEFINITION = DiscoveredKind(
    group="apiextensions.k8s.io",
    version="v1",
    kind="CustomResourceDefinition",
    plural="customresourcedefinitions",
    namespaced=False,
)
_TRIES = 5


async def install_definition(client: KubeClient, manifest: Raw, *, dry_run: bool = False) -> Outcome:
    """The server's definition says what ``manifest`` says; what only the server says, such as defaults, stays.

    ``dry_run`` has the server judge it without storing it. Raises ApiError. It is no client-side apply: that would
    keep each definition a second time in an annotation, whose size is limited.
    """
    name = manifest["metadata"]["name"]
    for remaining in reversed(range(_TRIES)):
        live = await _get(client, name)
        try:
            if live is None:
                await client.create_raw(_DEFINITION, manifest, field_manager=FIELD_MANAGER, dry_run=dry_run)
                return Outcome.CREATED
            patch = {"spec": manifest["spec"]}
            stored = await client.patch_raw(
                _DEFINITION, None, name, patch, field_manager=FIELD_MANAGER, dry_run=dry_run
            )
        except ApiError as error:
            # Created by someone else after the look, changed during the patch, or deleted after the look.
            if remaining and (
                error.reason in {"AlreadyExists", "Conflict"} or (live is not None and error.code == 404)
            ):
                continue
            raise
        # Versions would tell nothing about a dry run, and the server's own form of the manifest differs from ours.
        return Outcome.UNCHANGED if stored["spec"] == live["spec"] else Outcome.CONFIGURED
    raise AssertionError("the last try returns or raises")


async def wait_established(
    client: KubeClient, name: str, *, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
) -> None:
    """Returns once the server serves the definition's kind. Raises MeshpassError where its names are taken, ApiError."""
    while True:
        live = await client.get_raw(_DEFINITION, None, name)
        conditions = {one["type"]: one for one in (live.get("status") or {}).get("conditions") or ()}
        if _holds(conditions.get("Established")):
            return
        names = conditions.get("NamesAccepted")
        if names is not None and names.get("status") == "False":
            raise MeshpassError(
                f"{name} cannot be served: {names.get('message', '')}",
                hint="another CustomResourceDefinition of the group has the same names; remove it, or rename it there",
            )
        await sleep(LOOK_AGAIN_SECONDS)


def _holds(condition: dict[str, Any] | None) -> bool:
    return condition is not None and condition.get("status") == "True"


async def _get(client: KubeClient, name: str) -> Raw | None:
    try:
        return await client.get_raw(_DEFINITION, None, name)
    except ApiError as error:
        if is_not_found(error):
            return None
        raise
