"""The rules of a definition: each must be one that objects can be held to (apiextensions ``validation.go``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from meshpass.apiserver.cause import Cause, CauseReason, invalid, not_supported, required
from meshpass.apiserver.rule import RuleSyntaxError, check_expression, uses_old
from meshpass.apiserver.rulefieldpath import FieldPathError, field_path
from meshpass.apiserver.ruletree import VALIDATIONS
from meshpass.apiserver.ruletypes import RuleType, rule_type

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


def rule_causes(schema: Mapping[str, Any], field: str) -> Iterator[Cause]:
    """Every fault of every rule of a structural schema that stands at ``field``."""
    yield from _node_causes(schema, field, None, is_root=True)


def _node_causes(schema: Any, field: str, uncorrelatable: str | None, *, is_root: bool = False) -> Iterator[Cause]:
    if not isinstance(schema, Mapping):
        return
    rules = schema.get(VALIDATIONS) or ()
    is_root = is_root or bool(schema.get("x-kubernetes-embedded-resource"))
    self_type = rule_type(schema, is_root=is_root) if rules else None
    for index, rule in enumerate(rules):
        place = f"{field}.{VALIDATIONS}[{index}]"
        faults = tuple(_word_causes(rule, schema, place))
        yield from faults or _expression_causes(rule, self_type, schema, place, uncorrelatable)
    for name, inner in (schema.get("properties") or {}).items():
        yield from _node_causes(inner, f"{field}.properties[{name}]", uncorrelatable)
    yield from _node_causes(schema.get("additionalProperties"), f"{field}.additionalProperties", uncorrelatable)
    is_map = schema.get("x-kubernetes-list-type") == "map"
    items = f"{field}.items"
    yield from _node_causes(schema.get("items"), items, uncorrelatable or (None if is_map else items))


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


def _expression_causes(
    rule: Mapping[str, Any],
    self_type: RuleType | None,
    schema: Mapping[str, Any],
    place: str,
    uncorrelatable: str | None,
) -> Iterator[Cause]:
    if self_type is None:
        text = f"rule declared on schema that does not support validation rules type: '{schema.get('type', '')}'"
        yield invalid(f"{place}.rule", rule["rule"], text)
        return
    optional = bool(rule.get("optionalOldSelf"))
    for word, result in (("rule", "bool"), ("messageExpression", "string")):
        if rule.get(word):
            try:
                check_expression(rule[word], self_type, result=result, optional_old=optional)
            except RuleSyntaxError as error:
                yield invalid(f"{place}.{word}", rule[word], f"{error}")
    if uses_old(rule["rule"]):
        if uncorrelatable:
            text = f"oldSelf cannot be used on the uncorrelatable portion of the schema within {uncorrelatable}"
            yield invalid(f"{place}.rule", rule["rule"], text)
    elif "optionalOldSelf" in rule:
        yield invalid(f"{place}.optionalOldSelf", optional, "may not be set if oldSelf is not used in rule")
