"""What strict decoding complains about: fields that do not exist and fields that are there twice."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from itertools import pairwise
from typing import Any, Final

import yaml

from meshpass.apiserver.pruning import UnknownField, prune_and_tell
from meshpass.apiserver.resource import Resource

_CLOSE: Final = 0.6


def unknown_fields(resource: Resource, obj: Any) -> tuple[str, ...]:
    """One text per unknown field, as Kubernetes' strict decoding prints it, with a hint where a known name is close.

    ``unknown field "spec.foo"``, or ``unknown field "spec.queryParameters", did you mean "queryParams"?``.
    """
    if not isinstance(obj, Mapping):
        return ()
    return tuple(map(describe_unknown, prune_and_tell(resource, obj)[1]))


def duplicate_fields(text: str) -> tuple[str, ...]:
    """One text per field that occurs twice in a JSON or YAML document: ``duplicate field "spec.x"``.

    Text that is neither JSON nor YAML has none: reading it properly is what reports that.
    """
    stripped = text.lstrip()
    try:
        if stripped.startswith(("{", "[")):
            root = json.loads(text, object_pairs_hook=_Pairs)
            return tuple(dict.fromkeys(_json_duplicates(root, "")))
        node = yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        return tuple(dict.fromkeys(_yaml_duplicates(node, "")))
    except (ValueError, RecursionError, yaml.YAMLError):
        return ()


def closest_name(name: str, known: Iterable[str]) -> str | None:
    """The known name that was most probably meant, if one is close enough to suggest.

    Close is what differs in case, what shares its first word (``queryParameters`` and ``queryParams``) or what
    is nearly the same letters.
    """
    names = sorted(known)
    folded = {candidate.lower(): candidate for candidate in names}
    if same := folded.get(name.lower()):
        return same
    matches = get_close_matches(name.lower(), folded, n=1, cutoff=_CLOSE)
    return folded[matches[0]] if matches else None


def describe_unknown(found: UnknownField) -> str:
    """``unknown field "spec.foo"``, with a hint where a known name is close."""
    close = closest_name(found.name, found.known)
    return f'unknown field "{found.path}"' + (f', did you mean "{close}"?' if close else "")


class _Pairs(list[tuple[str, Any]]):
    """A JSON object with every member that its text had."""


def _json_duplicates(value: Any, path: str) -> list[str]:
    found: list[str] = []
    if isinstance(value, _Pairs):
        found += _repeated([key for key, _ in value], path)
        for key, item in value:
            found += _json_duplicates(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            found += _json_duplicates(item, f"{path}[{index}]")
    return found


def _yaml_duplicates(node: yaml.Node | None, path: str) -> list[str]:
    found: list[str] = []
    if isinstance(node, yaml.MappingNode):
        pairs = [(key.value, value) for key, value in node.value if isinstance(key, yaml.ScalarNode)]
        found += _repeated([key for key, _ in pairs], path)
        for key, value in pairs:
            found += _yaml_duplicates(value, f"{path}.{key}" if path else key)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            found += _yaml_duplicates(item, f"{path}[{index}]")
    return found


def _repeated(keys: list[str], path: str) -> list[str]:
    ordered = sorted(keys)
    repeated = {first for first, second in pairwise(ordered) if first == second}
    return [
        f'duplicate field "{path}.{key}"' if path else f'duplicate field "{key}"' for key in keys if key in repeated
    ]
