"""The rules of a definition: each must be one that objects can be held to (apiextensions ``validation.go``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from meshpass.apiserver.cause import Cause, CauseReason, forbidden, invalid, not_supported, required
from meshpass.apiserver.rule import Checker, RuleSyntaxError, uses_old
from meshpass.apiserver.rulecost import (
    DEFINITION_LIMIT,
    RULE_LIMIT,
    cardinality,
    estimated_cost,
    excess,
    most_elements,
)
from meshpass.apiserver.rulefieldpath import FieldPathError, field_path
from meshpass.apiserver.ruletree import VALIDATIONS
from meshpass.apiserver.ruletypes import rule_type

RULES_SCHEMA: Final[Mapping[str, Any]] = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["rule"],
        "properties": {
            "rule": {"type": "string"},
            "message": {"type": "string"},
            "messageExpression": {"type": "string"},
            "reason": {"type": "string"},
            "fieldPath": {"type": "string"},
            "optionalOldSelf": {"type": "boolean"},
        },
    },
}
"""What the word's value must be."""
_REASONS: Final = tuple(
    reason.value for reason in (CauseReason.DUPLICATE, CauseReason.FORBIDDEN, CauseReason.INVALID, CauseReason.REQUIRED)
)


def rule_causes(schema: Mapping[str, Any], field: str) -> tuple[Cause, ...]:
    """Every fault of every rule of a structural schema that stands at ``field``; rules that cost too much among them."""
    reading = _Reading()
    causes = tuple(reading.node(schema, field, _Place(), is_root=True))
    if reading.cost > DEFINITION_LIMIT:
        name = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema"
        return (*causes, forbidden(field, excess(name, reading.cost, DEFINITION_LIMIT)))
    return causes


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a node stands: what of the lists and maps around it matters to its rules."""

    uncorrelatable: str | None = None
    """The first list around it whose items cannot be told from one version to the next."""
    among: int | None = 1
    """How many values an object has here at most; ``None`` if some list or map around it has no limit."""

    def inside(self, schema: Mapping[str, Any], items: str | None) -> _Place:
        most = most_elements(schema)
        among = None if most is None or self.among is None else most * self.among
        return _Place(self.uncorrelatable or items, among)


class _Reading:
    """The walk over one schema."""

    def __init__(self) -> None:
        self.cost = 0

    def node(self, schema: Any, field: str, place: _Place, *, is_root: bool = False) -> Iterator[Cause]:
        if not isinstance(schema, Mapping):
            return
        rules = schema.get(VALIDATIONS) or ()
        is_root = is_root or bool(schema.get("x-kubernetes-embedded-resource"))
        self_type = rule_type(schema, is_root=is_root) if rules else None
        checker = Checker(self_type) if self_type else None
        for index, rule in enumerate(rules):
            where = f"{field}.{VALIDATIONS}[{index}]"
            faults = tuple(_word_causes(rule, schema, where))
            yield from faults or self._rule(rule, checker, schema, where, place)
        for name, inner in (schema.get("properties") or {}).items():
            yield from self.node(inner, f"{field}.properties[{name}]", place)
        inside = place.inside(schema, None)
        yield from self.node(schema.get("additionalProperties"), f"{field}.additionalProperties", inside)
        is_map = schema.get("x-kubernetes-list-type") == "map"
        inside = place.inside(schema, None if is_map else f"{field}.items")
        yield from self.node(schema.get("items"), f"{field}.items", inside)

    def _rule(
        self, rule: Mapping[str, Any], checker: Checker | None, schema: Mapping[str, Any], where: str, place: _Place
    ) -> Iterator[Cause]:
        if checker is None:
            text = f"rule declared on schema that does not support validation rules type: '{schema.get('type', '')}'"
            yield invalid(f"{where}.rule", rule["rule"], text)
            return
        optional = bool(rule.get("optionalOldSelf"))
        for word, result in (("rule", "bool"), ("messageExpression", "string")):
            if not rule.get(word):
                continue
            try:
                checked = checker.check(rule[word], result=result, optional_old=optional)
            except RuleSyntaxError as error:
                yield invalid(f"{where}.{word}", rule[word], f"{error}")
                continue
            cost = estimated_cost(checked, schema) * cardinality(schema, place.among)
            self.cost += cost
            if cost > RULE_LIMIT:
                yield forbidden(f"{where}.{word}", excess(f"estimated {word} cost", cost, RULE_LIMIT))
        if uses_old(rule["rule"]):
            if place.uncorrelatable:
                text = "oldSelf cannot be used on the uncorrelatable portion of the schema within"
                yield invalid(f"{where}.rule", rule["rule"], f"{text} {place.uncorrelatable}")
        elif "optionalOldSelf" in rule:
            yield invalid(f"{where}.optionalOldSelf", optional, "may not be set if oldSelf is not used in rule")


def _word_causes(rule: Mapping[str, Any], schema: Mapping[str, Any], place: str) -> Iterator[Cause]:
    text, message = rule["rule"], rule.get("message") or ""
    if not text.strip():
        yield required(f"{place}.rule", "rule is not specified")
    elif message and not message.strip():
        yield invalid(f"{place}.message", message, "message must be non-empty if specified")
    elif "\n" in message.strip():
        yield invalid(f"{place}.message", message, "message must not contain line breaks")
    elif "\n" in text.strip() and not message:
        yield required(f"{place}.message", "message must be specified if rule contains line breaks")
    if (expression := rule.get("messageExpression")) and not expression.strip():
        yield required(f"{place}.messageExpression", "messageExpression must be non-empty if specified")
    if rule.get("reason") and rule["reason"] not in _REASONS:
        yield not_supported(f"{place}.reason", rule["reason"], _REASONS)
    if path := rule.get("fieldPath"):
        try:
            field_path(path, schema)
        except FieldPathError as error:
            yield invalid(f"{place}.fieldPath", path, f"fieldPath must be a valid path: {error}")
