"""Strategic merge patch: merge patch that knows by which key the items of a list are the same item.

The merge keys are those of the ``patchMergeKey`` tags of the core kinds; a list without one is replaced whole. Directives:
``$patch`` (replace, delete, merge), ``$retainKeys``, ``$deleteFromPrimitiveList/<field>``, ``$setElementOrder/<field>``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meshpass.apiserver.status import bad_request

_MERGE_KEYS: Mapping[str, str] = {
    "conditions": "type",
    "containers": "name",
    "env": "name",
    "ephemeralContainers": "name",
    "hostAliases": "ip",
    "imagePullSecrets": "name",
    "initContainers": "name",
    "ownerReferences": "uid",
    "podIPs": "ip",
    "hostIPs": "ip",
    "resourceClaims": "name",
    "schedulingGates": "name",
    "secrets": "name",
    "topologySpreadConstraints": "topologyKey",
    "volumeDevices": "devicePath",
    "volumeMounts": "mountPath",
    "volumes": "name",
}
_PRIMITIVE_MERGE = frozenset({"finalizers"})
"""Lists of plain values with ``patchStrategy: merge``: a patch adds to them."""
_PATCH, _RETAIN, _DELETE_FROM, _ORDER = "$patch", "$retainKeys", "$deleteFromPrimitiveList/", "$setElementOrder/"


def strategic_merge(current: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """The patched copy; neither argument is changed. Raises StatusError 400 for a directive that is none."""
    return _merge_maps(current, patch, ())


def _merge_key(path: tuple[str, ...], items: list[Any]) -> str | None:
    """The key that identifies items of the list at ``path``.

    ``ports`` differs by its place: a Service's by ``port``, a container's by ``containerPort``; in an EndpointSlice
    and in its likes the list is atomic.
    """
    name = path[-1]
    if name == "ports":
        if "containers" in path or "initContainers" in path or "ephemeralContainers" in path:
            return "containerPort"
        return "port" if path == ("spec", "ports") else None
    if name == "secrets" and len(path) > 1:
        return None
    key = _MERGE_KEYS.get(name)
    return key if key and all(isinstance(item, Mapping) for item in items) else None


def _merge_maps(current: Mapping[str, Any], patch: Mapping[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    match patch.get(_PATCH):
        case "replace":
            return {name: value for name, value in patch.items() if name != _PATCH}
        case "delete":
            return {}
        case None | "merge":
            pass
        case other:
            raise bad_request(f"unknown patch type: {other}")
    result = dict(current)
    retained = patch.get(_RETAIN)
    if retained is not None:
        if not isinstance(retained, list):
            raise bad_request("invalid patch format of retainKeys list")
        result = {name: value for name, value in result.items() if name in retained}
    for name, value in patch.items():
        if name.startswith("$"):
            continue
        if value is None:
            result.pop(name, None)
            continue
        merged = _merge_value(result.get(name), value, (*path, name), patch.get(_ORDER + name))
        result[name] = merged
    _rearrange(result, patch, path)
    return result


def _rearrange(result: dict[str, Any], patch: Mapping[str, Any], path: tuple[str, ...]) -> None:
    """The directives that change a list from beside it take effect on ``result``."""
    for name, value in patch.items():
        if not name.startswith((_DELETE_FROM, _ORDER)) or not isinstance(value, list):
            continue
        field = name.partition("/")[2]
        held = result.get(field)
        if not isinstance(held, list):
            continue
        if name.startswith(_DELETE_FROM):
            result[field] = [item for item in held if item not in value]
        elif field not in patch:
            result[field] = _ordered(held, value, _merge_key((*path, field), held))


def _merge_value(current: Any, patch: Any, path: tuple[str, ...], order: Any) -> Any:
    if isinstance(patch, Mapping):
        base = current if isinstance(current, Mapping) else {}
        return _merge_maps(base, patch, path)
    if not isinstance(patch, list):
        return patch
    held = current if isinstance(current, list) else []
    if path[-1] in _PRIMITIVE_MERGE and not any(isinstance(item, Mapping) for item in patch):
        merged = [*held, *(item for item in patch if item not in held)]
        return _ordered(merged, order, None) if isinstance(order, list) else merged
    key = _merge_key(path, patch)
    if key is None:
        return [item for item in patch if not (isinstance(item, Mapping) and _PATCH in item)]
    merged = _merge_lists(held, patch, path, key)
    return _ordered(merged, order, key) if isinstance(order, list) else merged


def _merge_lists(current: list[Any], patch: list[Any], path: tuple[str, ...], key: str) -> list[Any]:
    if any(item.get(_PATCH) == "replace" and key not in item for item in patch):
        return [item for item in patch if item.get(_PATCH) != "replace" or key in item]
    result = list(current)
    for item in patch:
        if key not in item:
            raise bad_request(f"map: {dict(item)} does not contain declared merge key: {key}")
        at = next(
            (i for i, held in enumerate(result) if isinstance(held, Mapping) and held.get(key) == item[key]), None
        )
        if item.get(_PATCH) == "delete":
            if at is not None:
                del result[at]
        elif at is None:
            result.append(_merge_maps({}, item, path))
        else:
            result[at] = _merge_maps(result[at], item, path)
    return result


def _ordered(items: list[Any], order: list[Any], key: str | None) -> list[Any]:
    """Items named in ``order`` stand in that order; the others keep their place behind the item they followed."""

    def rank(item: Any) -> int | None:
        for position, entry in enumerate(order):
            same = (
                isinstance(entry, Mapping) and isinstance(item, Mapping) and entry.get(key) == item.get(key)
                if key
                else entry == item
            )
            if same:
                return position
        return None

    ranked: list[tuple[int, int, Any]] = []
    last = -1
    for position, item in enumerate(items):
        found = rank(item)
        last = last if found is None else found
        ranked.append((last, position, item))
    return [item for _, _, item in sorted(ranked, key=lambda entry: entry[:2])]
