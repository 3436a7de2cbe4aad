"""RuleTree: the rules of a schema (``x-kubernetes-validations``), in its shape, judging objects (apiextensions ``schema/cel``).

What may take long is bounded: an expression by the steps of its loops (the library's limit), all of an object's
expressions by time. Beyond either the object is refused, never let pass unjudged.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from meshpass.apiserver.cause import NO_FIELD, Cause, CauseReason, duplicate, forbidden, invalid, required
from meshpass.apiserver.rule import BudgetError, EvaluationError, Rule, RuleSyntaxError, bindings
from meshpass.apiserver.rulefieldpath import FieldPathError, field_path
from meshpass.apiserver.rulevalue import Converter, converter

VALIDATIONS: Final = "x-kubernetes-validations"
SECONDS_PER_OBJECT: Final = 2.0
"""Of the processor, for all rules of one object. Kubernetes counts steps instead."""
_OUT_OF_BUDGET: Final = "validation failed due to running out of cost budget, no further validation rules will be run"


class _Missing:
    """The type of MISSING."""


MISSING: Final = _Missing()
"""Stands for an old value that there is not, or that cannot be told."""


class _StopError(Exception):
    """No further rule of this object is judged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Node:
    """One node of the schema, of which it or something below it has rules."""

    type: str
    rules: tuple[Rule, ...]
    convert: Converter | None
    properties: Mapping[str, _Node]
    others: _Node | None
    items: _Node | None
    keys: tuple[str, ...]
    """What tells the items of a list apart; empty for a list whose items cannot be told from one version to the next."""
    atomic: bool
    has_transitions: bool
    """True if a rule here or below is of a change."""


class RuleTree:
    """The rules of one kind; compiled when the first object is judged."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        """The schema is that of a whole object, in a definition that has been checked."""
        self._schema = schema
        self._root: _Node | None = None

    def judge(self, value: Mapping[str, Any], old: Mapping[str, Any] | _Missing = MISSING) -> tuple[Cause, ...]:
        """What the rules refuse in an object that its schema allows, and that replaces ``old`` if there is one.

        Parts that are as they were are judged by rules of changes alone: what was let in may stay (Kubernetes calls it
        ratcheting).
        """
        try:
            self._root = self._root or _node(self._schema, is_root=True)
        except (FieldPathError, RuleSyntaxError) as error:
            # A definition that was stored before its rules were read: what it cannot judge, it lets nobody store.
            return (invalid(NO_FIELD, "object", f"rule compile error: {error}"),)
        judgement = _Judgement(time.thread_time() + SECONDS_PER_OBJECT)
        if self._root is not None:
            judgement.judge(self._root, value, old, "", is_same=False)
        return tuple(judgement.causes)


def rule_tree(schema: Mapping[str, Any]) -> RuleTree | None:
    """The rules of a schema; ``None`` if it has none."""
    return RuleTree(schema) if has_rules(schema) else None


def has_rules(schema: Any) -> bool:
    """True if a node of the schema has rules."""
    return isinstance(schema, Mapping) and (bool(schema.get(VALIDATIONS)) or any(map(has_rules, children(schema))))


def children(schema: Mapping[str, Any]) -> Iterator[Any]:
    """The schemas of what a value holds."""
    yield from (schema.get("properties") or {}).values()
    yield from (schema[key] for key in ("items", "additionalProperties") if key in schema)


class _Judgement:
    """The walk over one object."""

    def __init__(self, deadline: float) -> None:
        self.causes: list[Cause] = []
        self._deadline = deadline

    def judge(self, node: _Node, value: Any, old: Any, path: str, *, is_same: bool) -> None:
        try:
            self._judge(node, value, old, path, is_same=is_same)
        except _StopError:
            return

    def _judge(self, node: _Node, value: Any, old: Any, path: str, *, is_same: bool) -> None:
        if value is None:
            return
        # An item that cannot be told from the old ones is as it was if all that holds it is.
        is_same = is_same if old is MISSING else value == old
        if is_same and not node.has_transitions:
            return
        if node.rules:
            self._judge_here(node, value, old, path, is_same=is_same)
        if isinstance(value, list):
            self._judge_items(node, value, old, path, is_same=is_same)
        elif isinstance(value, dict):
            self._judge_fields(node, value, old, path, is_same=is_same)

    def _judge_fields(self, node: _Node, value: dict[str, Any], old: Any, path: str, *, is_same: bool) -> None:
        before = old if isinstance(old, Mapping) and not node.atomic else {}
        if node.others is not None:
            for key, item in value.items():
                self._judge(node.others, item, before.get(key, MISSING), f"{path}[{key}]", is_same=is_same)
        for key, inner in node.properties.items():
            if key in value:
                place = f"{path}.{key}" if path else key
                self._judge(inner, value[key], before.get(key, MISSING), place, is_same=is_same)

    def _judge_items(self, node: _Node, value: list[Any], old: Any, path: str, *, is_same: bool) -> None:
        if node.items is None:
            return
        before = {_key(item, node.keys): item for item in old} if node.keys and isinstance(old, list) else {}
        for index, item in enumerate(value):
            known = before.get(_key(item, node.keys), MISSING) if before else MISSING
            self._judge(node.items, item, known, f"{path}[{index}]", is_same=is_same)

    def _judge_here(self, node: _Node, value: Any, old: Any, path: str, *, is_same: bool) -> None:
        convert = node.convert or _as_it_is
        has_old = old is not MISSING and old is not None
        values = bindings(convert(value), convert(old)) if has_old else bindings(convert(value))
        for rule in node.rules:
            if rule.uses_old and not has_old and not rule.optional_old:
                continue
            if is_same and not rule.uses_old:
                continue
            if time.thread_time() > self._deadline:
                self.causes.append(invalid(path or NO_FIELD, node.type, _OUT_OF_BUDGET))
                raise _StopError
            try:
                if not rule.holds(values):
                    self.causes.append(_cause(rule, node, path, rule.words(values)))
            except BudgetError as error:
                text = f"'{error}': no further validation rules will be run due to call cost exceeds limit for rule: "
                self.causes.append(invalid(path or NO_FIELD, node.type, text + rule.name))
                raise _StopError from None
            except EvaluationError as error:
                self.causes.append(invalid(path or NO_FIELD, node.type, _failure(str(error), rule)))


def _as_it_is(value: Any) -> Any:
    return value


def _key(item: Any, keys: tuple[str, ...]) -> tuple[Any, ...] | None:
    if not isinstance(item, Mapping):
        return None
    return tuple((type(item.get(key)), item.get(key)) for key in keys)


def _failure(error: str, rule: Rule) -> str:
    if error.startswith("no such overload"):
        words = "call arguments did not match a supported operator, function or macro signature for rule"
        return f"'{error}': {words}: {rule.name}"
    return f"{error} evaluating rule: {rule.name}"


def _cause(rule: Rule, node: _Node, path: str, words: str) -> Cause:
    place = f"{path}{rule.field_path}".lstrip(".") or NO_FIELD
    match rule.reason:
        case CauseReason.FORBIDDEN:
            return forbidden(place, words)
        case CauseReason.REQUIRED:
            return required(place, words)
        case CauseReason.DUPLICATE:
            return duplicate(place, node.type)
        case _:
            return invalid(place, node.type, words)


def _node(schema: Any, *, is_root: bool = False) -> _Node | None:
    if not isinstance(schema, Mapping) or not has_rules(schema):
        return None
    is_root = is_root or bool(schema.get("x-kubernetes-embedded-resource"))
    rules = tuple(
        Rule.compiled(declared, field_path(declared.get("fieldPath") or "", schema))
        for declared in schema.get(VALIDATIONS) or ()
    )
    found = {name: _node(inner) for name, inner in (schema.get("properties") or {}).items()}
    properties = {name: node for name, node in found.items() if node is not None}
    others, items = _node(schema.get("additionalProperties")), _node(schema.get("items"))
    inner = [*properties.values(), *(node for node in (others, items) if node is not None)]
    is_map = schema.get("x-kubernetes-list-type") == "map"
    return _Node(
        type=schema.get("type") or "object",
        rules=rules,
        convert=converter(schema, is_root=is_root),
        properties=properties,
        others=others,
        items=items,
        keys=tuple(schema.get("x-kubernetes-list-map-keys") or ()) if is_map else (),
        atomic=schema.get("x-kubernetes-map-type") == "atomic",
        has_transitions=any(rule.uses_old for rule in rules) or any(node.has_transitions for node in inner),
    )
