"""What a rule may cost at worst, by Kubernetes' measure, so that no definition can make the server busy for long.

The cost of an expression is reckoned from its syntax and from the sizes that the schema allows (cel-go
``checker/cost.go``; apiextensions ``schema/cel``). Where the size of something is hard to tell, it is taken to be all of
a request, so the estimate may be above Kubernetes' own: what passes here passes there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import ceil
from typing import Any, Final, NamedTuple

from meshpass.apiserver.rulename import identifier
from meshpass.apiserver.ruletypes import syntax

RULE_LIMIT: Final = 10_000_000
"""Of one rule, for all the values of an object that it is of."""
DEFINITION_LIMIT: Final = 100_000_000
"""Of all rules of one schema."""

_REQUEST_BYTES: Final = 3 * 2**20
_LIST, _MAP = 10, 30
_SMALLEST: Final = {"boolean": 4, "integer": 1, "number": 1}
_LENGTH_OF_FORMAT: Final = {"date": 12, "date-time": 31, "duration": 32}


class _Estimate(NamedTuple):
    """The worst cost of an expression, and what is known of its result."""

    cost: int
    schema: Any = None
    size: int = 1
    """Bytes of a text, entries of a list or map; 1 for what has no size."""
    share: int = _REQUEST_BYTES
    """Bytes of a record in it: outside of loops all that is read of records is the request, once."""


def estimated_cost(program: bytes, schema: Mapping[str, Any], old: str = "oldSelf") -> int:
    """The worst cost of a checked expression of one value of the schema."""
    held = _Estimate(1, schema, _size(schema, 1), 1)
    return _cost(syntax(program), {"self": held, old: held}).cost


def cardinality(schema: Mapping[str, Any], among: int | None) -> int:
    """How many values of the schema an object has at most; ``among`` is what the lists and maps around it say, if all do."""
    return among if among is not None else _REQUEST_BYTES // (_smallest(schema) + 1)


def most_elements(schema: Mapping[str, Any]) -> int | None:
    """How many values a list or map may hold, 1 for anything else; ``None`` if the schema does not say."""
    if schema.get("type") == "array":
        return schema.get("maxItems")
    if schema.get("type") == "object" and schema.get("additionalProperties"):
        return schema.get("maxProperties")
    return 1


def excess(name: str, cost: int, limit: int) -> str:
    """The words for a cost beyond its limit."""
    factor = cost / limit
    times = "more than 100x" if factor > 100 else f"{factor:f}x" if factor < 1.5 else f"{factor:.1f}x"
    return (
        f"{name} exceeds budget by factor of {times} (try simplifying the rule, or adding maxItems, maxProperties, and"
        " maxLength where arrays, maps, and strings are declared)"
    )


def _smallest(schema: Any) -> int:
    """Bytes of the least value, as JSON."""
    if not isinstance(schema, Mapping):
        return 1
    kind = schema.get("type")
    if kind != "object" or schema.get("additionalProperties"):
        return _SMALLEST.get(kind or "", 1 if schema.get("x-kubernetes-int-or-string") else 2)
    properties = schema.get("properties") or {}
    needed = (name for name in schema.get("required") or () if "default" not in (properties.get(name) or {}))
    return 2 + sum(len(name) + _smallest(properties.get(name)) + 4 for name in needed)


def _size(schema: Any, share: int = _REQUEST_BYTES) -> int:
    if not isinstance(schema, Mapping):
        return _REQUEST_BYTES
    match schema.get("type"):
        case "array":
            most = schema.get("maxItems")
            return most if most is not None else _REQUEST_BYTES // (_smallest(schema.get("items")) + 1)
        case "object" if schema.get("additionalProperties"):
            most = schema.get("maxProperties")
            return most if most is not None else _REQUEST_BYTES // (_smallest(schema["additionalProperties"]) + 6)
        case "string":
            if (longest := schema.get("maxLength")) is not None:
                return 4 * int(longest)
            if choices := schema.get("enum"):
                return max(len(str(choice)) for choice in choices)
            return _LENGTH_OF_FORMAT.get(schema.get("format", ""), _REQUEST_BYTES)
        case "boolean" | "integer" | "number":
            return 1
        case "object":
            return share
        case _:
            return _REQUEST_BYTES  # a value of any type may be the longest text


def _cost(node: Any, names: Mapping[str, _Estimate]) -> _Estimate:
    match node.WhichOneof("expr_kind"):
        case "const_expr":
            constant = node.const_expr
            text = constant.string_value or constant.bytes_value
            return _Estimate(0, None, max(1, len(text)))
        case "ident_expr":
            return names.get(node.ident_expr.name, _Estimate(1))
        case "select_expr":
            operand = _cost(node.select_expr.operand, names)
            schema = _field(operand.schema, node.select_expr.field)
            if node.select_expr.test_only:
                return _Estimate(operand.cost)  # Kubernetes asks for presence without charge
            return _Estimate(operand.cost + 1, schema, _size(schema, operand.share), operand.share)
        case "list_expr":
            parts = [_cost(element, names) for element in node.list_expr.elements]
            return _Estimate(_LIST + sum(part.cost for part in parts), _element_of(parts), len(parts))
        case "struct_expr":
            entries = [_cost(entry.value, names) for entry in node.struct_expr.entries]
            keys = [_cost(entry.map_key, names) for entry in node.struct_expr.entries]
            return _Estimate(_MAP + sum(part.cost for part in (*entries, *keys)), None, len(entries))
        case "comprehension_expr":
            return _comprehension(node.comprehension_expr, names)
        case "call_expr":
            return _call(node.call_expr, names)
        case other:  # pragma: no cover - the language has no other kind of expression
            raise TypeError(f"no cost of {other}")


def _element_of(parts: list[_Estimate]) -> Any:
    """A list of texts is as a schema that says how long they are."""
    return {"type": "array", "items": {"type": "string", "maxLength": max((part.size for part in parts), default=0)}}


def _field(schema: Any, name: str) -> Any:
    if not isinstance(schema, Mapping):
        return None
    for known, inner in (schema.get("properties") or {}).items():
        if identifier(known) == name:
            return inner
    return schema.get("additionalProperties")


def _comprehension(loop: Any, names: Mapping[str, _Estimate]) -> _Estimate:
    over, start = _cost(loop.iter_range, names), _cost(loop.accu_init, names)
    schema = over.schema if isinstance(over.schema, Mapping) else {}
    item = schema.get("items") if "items" in schema else {"type": "string"}
    inner = {name: held._replace(share=_REQUEST_BYTES) for name, held in names.items()}
    share = _REQUEST_BYTES // max(1, over.size)
    inner[loop.iter_var] = _Estimate(1, item, _size(item, share), share)
    # What a loop gathers has as many entries as it has rounds.
    inner[loop.accu_var] = _Estimate(1, start.schema, max(start.size, over.size))
    once = _cost(loop.loop_condition, inner).cost + _cost(loop.loop_step, inner).cost
    result = _cost(loop.result, inner)
    gathered = {"type": "array", "items": item} if loop.accu_init.WhichOneof("expr_kind") == "list_expr" else None
    return _Estimate(over.cost + start.cost + over.size * once + result.cost, gathered or result.schema, result.size)


def _call(call: Any, names: Mapping[str, _Estimate]) -> _Estimate:
    parts = [_cost(part, names) for part in ((call.target,) if call.HasField("target") else ()) + tuple(call.args)]
    own = _CALLS.get(call.function, _of_everything)(parts)
    spent = sum(part.cost for part in parts)
    return own._replace(cost=own.cost + spent)


def _free(_: list[_Estimate]) -> _Estimate:
    return _Estimate(0)


def _single(_: list[_Estimate]) -> _Estimate:
    return _Estimate(1)


def _choice(parts: list[_Estimate]) -> _Estimate:
    return max(parts[1:], key=lambda part: part.size)._replace(cost=0)


def _entry(parts: list[_Estimate]) -> _Estimate:
    schema = parts[0].schema if isinstance(parts[0].schema, Mapping) else {}
    inner = schema.get("items") or schema.get("additionalProperties")
    return _Estimate(1, inner, _size(inner, parts[0].share), parts[0].share)


def _sum(parts: list[_Estimate]) -> _Estimate:
    size = sum(part.size for part in parts)
    # A list is not copied.
    return _Estimate(1 if any(map(_is_list, parts)) else _tenth(size), parts[0].schema, size)


def _comparison(parts: list[_Estimate]) -> _Estimate:
    return _Estimate(_tenth(min(part.size for part in parts)))


def _membership(parts: list[_Estimate]) -> _Estimate:
    held = parts[1]
    return _Estimate(held.size if _is_list(held) else 1)


def _match(parts: list[_Estimate]) -> _Estimate:
    text, expression = parts[:2]
    return _Estimate(_tenth(text.size + 1) * max(1, ceil(expression.size / 4)), None, text.size)


def _search(parts: list[_Estimate]) -> _Estimate:
    return _Estimate(_tenth(parts[0].size) * _tenth(parts[1].size))


def _end(parts: list[_Estimate]) -> _Estimate:
    return _Estimate(_tenth(parts[1].size))


def _each(parts: list[_Estimate]) -> _Estimate:
    inner = _items(parts[0])
    return _Estimate(parts[0].size * _tenth(_size(inner)), inner, _size(inner))


def _replacement(parts: list[_Estimate]) -> _Estimate:
    size = (parts[0].size + 1) * (parts[2].size + 1)
    return _Estimate(_tenth(size), None, size)


def _joint(parts: list[_Estimate]) -> _Estimate:
    size = parts[0].size * (_size(_items(parts[0])) + sum(part.size for part in parts[1:]))
    return _Estimate(_tenth(size), None, size)


def _of_everything(parts: list[_Estimate]) -> _Estimate:
    """Of a function that reads all of its arguments once, and whose result is no longer than they are together."""
    size = sum(part.size for part in parts)
    return _Estimate(_tenth(size), None, max(1, size))


def _tenth(size: int) -> int:
    return max(1, ceil(size / 10))


def _is_list(part: _Estimate) -> bool:
    return isinstance(part.schema, Mapping) and part.schema.get("type") == "array"


def _items(part: _Estimate) -> Any:
    return part.schema.get("items") if isinstance(part.schema, Mapping) else None


_CALLS: Final[Mapping[str, Callable[[list[_Estimate]], _Estimate]]] = {
    **dict.fromkeys(("_&&_", "_||_", "@not_strictly_false", "__not_strictly_false__"), _free),
    **dict.fromkeys(("!_", "-_", "size", "type", "dyn", "optional.none", "hasValue"), _single),
    **dict.fromkeys(("_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_"), _comparison),
    **dict.fromkeys(("isSorted", "sum", "min", "max", "indexOf", "lastIndexOf"), _each),
    **dict.fromkeys(("matches", "find", "findAll"), _match),
    **dict.fromkeys(("startsWith", "endsWith"), _end),
    **dict.fromkeys(("_[_]", "_[?_]"), _entry),
    "_?_:_": _choice,
    "_+_": _sum,
    "@in": _membership,
    "contains": _search,
    "join": _joint,
    "replace": _replacement,
}
"""What a call costs beside its arguments, by the function's name."""
