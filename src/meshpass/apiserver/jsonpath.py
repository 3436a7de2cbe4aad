r"""The part of Kubernetes' JSONPath that printer columns use: fields, indices, slices, ``[*]``, filters.

``.spec.config.phase`` · ``.status.conditions[?(@.type=="Accepted")].status`` · ``.metadata.labels.app\.kubernetes\.io/name``
· ``.spec.hosts[0]`` · ``.spec.hosts[*]`` · ``['spec']`` · with or without ``{}`` around it.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, Final

from meshpass.apiserver.cause import render_value

Step = Callable[[Any], Iterator[Any]]

_FIELD = re.compile(r"\.?((?:\\.|[^.\[\]{}\\])+)")
_BRACKET = re.compile(
    r"\[(?:'(?P<single>(?:\\.|[^'])*)'|\"(?P<double>(?:\\.|[^\"])*)\"|(?P<all>\*)"
    r"|(?P<slice>-?\d*:-?\d*)|(?P<index>-?\d+)|\?\((?P<filter>.*?)\))\]"
)
_FILTER = re.compile(r"^\s*@(?P<path>[^=!<>]*?)\s*(?:(?P<operator>==|!=|<=|>=|<|>)\s*(?P<literal>.+?))?\s*$")
_OPERATORS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def find_all(path: str, value: Any) -> list[Any]:
    """Every value that the path leads to; none where it leads nowhere or is no path that this module knows."""
    found = [value]
    for step in _steps(path):
        found = [result for item in found for result in step(item)]
    return found


def render_result(value: Any) -> str:
    """A value as JSONPath prints it: text as it is, maps and lists as JSON."""
    return value if isinstance(value, str) else render_value(value)


@cache
def _steps(path: str) -> tuple[Step, ...]:
    text = path.strip()
    if text.startswith("{") and text.endswith("}"):
        text = text[1:-1].strip()
    text = text.removeprefix("$")
    steps: list[Step] = []
    position = 0
    while position < len(text) and text[position:] != ".":
        if found := _BRACKET.match(text, position):
            steps.append(_bracket_step(found))
        elif (found := _FIELD.match(text, position)) is not None:
            steps.append(_field_step(re.sub(r"\\(.)", r"\1", found[1])))
        else:
            return (_nothing,)
        position = found.end()
    return tuple(steps)


def _nothing(_: Any) -> Iterator[Any]:
    return iter(())


def _field_step(name: str) -> Step:
    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, Mapping):
            if name == "*":
                yield from value.values()
            elif name in value:
                yield value[name]

    return step


def _bracket_step(found: re.Match[str]) -> Step:
    for kind in ("single", "double"):
        if found[kind] is not None:
            return _field_step(re.sub(r"\\(.)", r"\1", found[kind]))
    if found["all"]:
        return _all_step
    if found["slice"]:
        start, _, stop = found["slice"].partition(":")
        return _slice_step(slice(int(start) if start else None, int(stop) if stop else None))
    if found["index"]:
        index = int(found["index"])
        return _slice_step(slice(index, index + 1 or None))
    return _filter_step(found["filter"])


def _all_step(value: Any) -> Iterator[Any]:
    match value:
        case Mapping():
            yield from value.values()
        case list():
            yield from value
        case _:
            pass


def _slice_step(part: slice) -> Step:
    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, list):
            yield from value[part]

    return step


def _filter_step(expression: str) -> Step:
    found = _FILTER.match(expression)
    if not found:
        return _nothing
    path, name, literal = found["path"], found["operator"], _literal(found["literal"])

    def step(value: Any) -> Iterator[Any]:
        for item in value if isinstance(value, list) else ():
            results = find_all(path, item)
            if (name is None and results) or any(_compare(name, result, literal) for result in results):
                yield item

    return step


def _compare(name: str | None, left: Any, right: Any) -> bool:
    if name is None:
        return False
    try:
        return _OPERATORS[name](left, right)
    except TypeError:
        return False


def _literal(text: str | None) -> Any:
    if text is None:
        return None
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1]
    try:
        return json.loads(text)
    except ValueError:
        return text
