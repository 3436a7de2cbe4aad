"""Strategic merge patch: merge patch that knows by which key the items of a list are the same item.

Which key that is, the schema says (``x-kubernetes-patch-merge-key``); a list without one is replaced whole. Directives:
``$patch`` (replace, delete, merge), ``$retainKeys``, ``$deleteFromPrimitiveList/<field>``, ``$setElementOrder/<field>``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meshpass.apiserver.status import bad_request

_PATCH, _RETAIN, _DELETE_FROM, _ORDER = "$patch", "$retainKeys", "$deleteFromPrimitiveList/", "$setElementOrder/"
Schema = Mapping[str, Any]


def strategic_merge(schema: Schema, current: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """The patched copy; neither argument is changed. Raises StatusError 400 for a directive that is none."""
    return _merge_maps(schema, current, patch)


def _below(schema: Schema, name: str) -> Schema:
    """The schema of a field; an empty one where there is none."""
    found = (schema.get("properties") or {}).get(name, schema.get("additionalProperties"))
    return found if isinstance(found, Mapping) else {}


def _merge_key(schema: Schema, items: list[Any]) -> str | None:
    """The key that identifies the items of a list."""
    key: str | None = schema.get("x-kubernetes-patch-merge-key")
    return key if key and all(isinstance(item, Mapping) for item in items) else None


def _is_merged_set(schema: Schema) -> bool:
    """True for lists of plain values to which a patch adds."""
    return schema.get("x-kubernetes-patch-strategy") == "merge" and "x-kubernetes-patch-merge-key" not in schema


def _merge_maps(schema: Schema, current: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
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
        merged = _merge_value(_below(schema, name), result.get(name), value, patch.get(_ORDER + name))
        result[name] = merged
    _rearrange(schema, result, patch)
    return result


def _rearrange(schema: Schema, result: dict[str, Any], patch: Mapping[str, Any]) -> None:
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
            result[field] = _ordered(held, value, _merge_key(_below(schema, field), held))


def _merge_value(schema: Schema, current: Any, patch: Any, order: Any) -> Any:
    if isinstance(patch, Mapping):
        base = current if isinstance(current, Mapping) else {}
        return _merge_maps(schema, base, patch)
    if not isinstance(patch, list):
        return patch
    held = current if isinstance(current, list) else []
    if _is_merged_set(schema) and not any(isinstance(item, Mapping) for item in patch):
        merged = [*held, *(item for item in patch if item not in held)]
        return _ordered(merged, order, None) if isinstance(order, list) else merged
    key = _merge_key(schema, patch)
    if key is None:
        return [item for item in patch if not (isinstance(item, Mapping) and _PATCH in item)]
    merged = _merge_lists(schema["items"], held, patch, key)
    return _ordered(merged, order, key) if isinstance(order, list) else merged


def _merge_lists(schema: Schema, current: list[Any], patch: list[Any], key: str) -> list[Any]:
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
            result.append(_merge_maps(schema, {}, item))
        else:
            result[at] = _merge_maps(schema, result[at], item)
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
