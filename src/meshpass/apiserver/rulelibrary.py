"""Functions that Kubernetes adds to the Common Expression Language: those on lists, and those that find by expressions.

Kubernetes' further libraries (URLs, IP addresses, quantities, formats, versions, authorization) are not here: a rule
that calls one does not compile, and its definition is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice, pairwise
from typing import Any, Final

import re2
from cel_expr_python import cel
from cel_expr_python.ext import ext_bindings, ext_optional, ext_strings

from meshpass.regex import MAX_MEMORY_BYTES

_STRINGS_VERSION: Final = 2
_ORDERED: Final = {
    "int": cel.Type.INT,
    "uint": cel.Type.UINT,
    "double": cel.Type.DOUBLE,
    "bool": cel.Type.BOOL,
    "string": cel.Type.STRING,
    "bytes": cel.Type.BYTES,
    "duration": cel.Type.DURATION,
    "timestamp": cel.Type.TIMESTAMP,
}
_SUMMED: Final = ("int", "uint", "double", "duration")


def checked_extensions() -> list[Any]:
    """What an expression may use when it is checked: functions by the types of their arguments."""
    return [*_standard(), cel.CelExtension("kubernetes", _declared_functions())]


def evaluated_extensions() -> list[Any]:
    """What an expression uses when it is evaluated: functions that take any list, since its check has been done."""
    return [*_standard(), cel.CelExtension("kubernetes", _functions())]


def _standard() -> list[Any]:
    return [ext_strings.ExtStrings(_STRINGS_VERSION), ext_optional.ExtOptional(), ext_bindings.ExtBindings()]


def _declared_functions() -> list[cel.FunctionDecl]:
    declared = {
        "isSorted": [_on_list("isSorted", name, cel.Type.BOOL) for name in _ORDERED],
        "sum": [_on_list("sum", name, _ORDERED[name]) for name in _SUMMED],
        "min": [_on_list("min", name, held) for name, held in _ORDERED.items()],
        "max": [_on_list("max", name, held) for name, held in _ORDERED.items()],
        "indexOf": [_on_list("indexOf", name, cel.Type.INT, held) for name, held in _ORDERED.items()],
        "lastIndexOf": [_on_list("lastIndexOf", name, cel.Type.INT, held) for name, held in _ORDERED.items()],
    }
    return [*(cel.FunctionDecl(name, overloads) for name, overloads in declared.items()), *_finders()]


def _on_list(function: str, element: str, result: cel.Type, *others: cel.Type) -> cel.Overload:
    parameters = [cel.Type.List(_ORDERED[element]), *others]
    return cel.Overload(f"list_{element}_{function}", result, parameters, is_member=True)


def _implemented(name: str, result: cel.Type, parameters: list[cel.Type], function: Callable[..., Any]) -> cel.Overload:
    return cel.Overload(name, result, parameters, is_member=True, impl=function)


def _functions() -> list[cel.FunctionDecl]:
    any_type = cel.Type.DYN
    return [
        *(
            cel.FunctionDecl(name, [_implemented(f"list_{name}", result, [cel.Type.LIST, *others], function)])
            for name, result, others, function in (
                ("isSorted", cel.Type.BOOL, (), _is_sorted),
                ("sum", any_type, (), _sum),
                ("min", any_type, (), _least),
                ("max", any_type, (), _greatest),
                ("indexOf", cel.Type.INT, (any_type,), _index),
                ("lastIndexOf", cel.Type.INT, (any_type,), _last_index),
            )
        ),
        *_finders(),
    ]


def _finders() -> list[cel.FunctionDecl]:
    text, texts = cel.Type.STRING, cel.Type.List(cel.Type.STRING)

    return [
        cel.FunctionDecl("find", [_implemented("string_find_string", text, [text, text], _find)]),
        cel.FunctionDecl(
            "findAll",
            [
                _implemented("string_find_all_string", texts, [text, text], _find_all),
                _implemented("string_find_all_string_int", texts, [text, text, cel.Type.INT], _find_all),
            ],
        ),
    ]


def _is_sorted(values: Sequence[Any]) -> bool:
    return all(first <= second for first, second in pairwise(values))


def _sum(values: Sequence[Any]) -> Any:
    return sum(values[1:], start=values[0]) if values else 0


def _least(values: Sequence[Any]) -> Any:
    if not values:
        raise ValueError("min called on empty list")
    return min(values)


def _greatest(values: Sequence[Any]) -> Any:
    if not values:
        raise ValueError("max called on empty list")
    return max(values)


def _index(values: Sequence[Any], wanted: Any) -> int:
    return next((index for index, value in enumerate(values) if value == wanted), -1)


def _last_index(values: Sequence[Any], wanted: Any) -> int:
    return next((index for index in reversed(range(len(values))) if values[index] == wanted), -1)


def _find(text: str, expression: str) -> str:
    return next(_found(text, expression), "")


def _find_all(text: str, expression: str, most: int = -1) -> list[str]:
    found = _found(text, expression)
    return list(found if most < 0 else islice(found, most))


def _found(text: str, expression: str) -> Iterator[str]:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = MAX_MEMORY_BYTES
    for match in re2.compile(expression, options).finditer(text):
        yield match.group()
