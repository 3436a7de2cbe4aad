"""Discovery: which kinds an API server serves, and which of them a word means."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from meshpass.errors import ApiError, MeshpassError
from meshpass.kube.client import KubeClient, is_not_found
from meshpass.kube.gather import gather_all
from meshpass.kube.resource import DiscoveredKind


async def discover_kinds(client: KubeClient) -> tuple[DiscoveredKind, ...]:
    """Every kind at its group's preferred version, core first; groups whose own server is down are left out."""
    groups = (await client.request_json("GET", "/apis")).get("groups") or ()
    preferred = [group["preferredVersion"]["groupVersion"] for group in groups]
    core = _served(client, "v1")
    served = await gather_all((core, *(_served_if_up(client, group_version) for group_version in preferred)))
    return tuple(kind for kinds in served for kind in kinds)


async def discover(client: KubeClient, word: str) -> DiscoveredKind:
    """The kind that ``word`` means, in any of kubectl's forms: plural, singular, kind, short name, with ``.group`` or not.

    Where several groups serve the word, the first of the server's order wins. Raises MeshpassError when none does.
    """
    kinds = await discover_kinds(client)
    found = find_kind(kinds, word)
    if found is None:
        close = get_close_matches(word.lower(), sorted({name for kind in kinds for name in _names(kind)}), n=1)
        hint = f"did you mean {close[0]}?" if close else None
        raise MeshpassError(f"the API server of {client.cluster} has no kind {word!r}", hint=hint)
    return found


async def kind_for(client: KubeClient, api_version: str, kind: str) -> DiscoveredKind:
    """The kind as manifests name it. Raises MeshpassError when the server does not serve it."""
    if api_version and kind:
        for candidate in await _served(client, api_version):
            if candidate.kind == kind:
                return candidate
    raise MeshpassError(
        f"the API server of {client.cluster} has no kind {kind!r} in version {api_version!r}",
        hint="check apiVersion and kind, and whether the CustomResourceDefinition is installed",
    )


def find_kind(kinds: Iterable[DiscoveredKind], word: str) -> DiscoveredKind | None:
    """The first kind that ``word`` names; plural, singular and kind go before short names, as in kubectl."""
    name, _, suffix = word.lower().partition(".")
    suited = [
        kind for kind in kinds if not suffix or suffix in {kind.group, f"{kind.version}.{kind.group}".rstrip(".")}
    ]
    for kind in suited:
        if name in {kind.plural, kind.singular, kind.kind.lower()}:
            return kind
    return next((kind for kind in suited if name in kind.short_names), None)


def _names(kind: DiscoveredKind) -> tuple[str, ...]:
    return (kind.plural, kind.kind.lower(), *kind.short_names)


async def _served_if_up(client: KubeClient, group_version: str) -> tuple[DiscoveredKind, ...]:
    try:
        return await _served(client, group_version)
    except ApiError as error:
        if error.code >= 500:
            return ()
        raise


async def _served(client: KubeClient, group_version: str) -> tuple[DiscoveredKind, ...]:
    path = f"/apis/{group_version}" if "/" in group_version else f"/api/{group_version}"
    try:
        answer = await client.request_json("GET", path)
    except ApiError as error:
        if is_not_found(error):
            return ()
        raise
    group, _, version = group_version.rpartition("/")
    return tuple(
        DiscoveredKind(
            group=group,
            version=version,
            kind=resource["kind"],
            plural=resource["name"],
            namespaced=bool(resource["namespaced"]),
            singular=resource.get("singularName") or resource["kind"].lower(),
            short_names=tuple(resource.get("shortNames") or ()),
            categories=tuple(resource.get("categories") or ()),
            verbs=tuple(resource.get("verbs") or ()),
        )
        for resource in answer.get("resources") or ()
        if "/" not in resource["name"]
    )
