"""Rules of definitions (``x-kubernetes-validations``): what compiles, what is refused, in Kubernetes' words."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshpass.apiserver.crd import resources_from_crd, validate_crd
from meshpass.apiserver.ruletree import rule_tree
from meshpass.apiserver.validation import validate, validate_update

SPEC: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 20},
        "count": {"type": "integer"},
        "ratio": {"type": "number"},
        "until": {"type": "string", "format": "date-time"},
        "wait": {"type": "string", "format": "duration"},
        "data": {"type": "string", "format": "byte"},
        "either": {"x-kubernetes-int-or-string": True},
        "some-name.of/it": {"type": "string"},
        "namespace": {"type": "string"},
        "maybe": {"type": "string", "nullable": True},
        "flag": {"type": "boolean"},
        "words": {"type": "array", "maxItems": 10, "items": {"type": "string", "maxLength": 20}},
        "numbers": {"type": "array", "maxItems": 10, "items": {"type": "integer"}},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "grid": {
            "type": "array",
            "maxItems": 9,
            "items": {"type": "array", "maxItems": 9, "items": {"type": "integer"}},
        },
        "parts": {
            "type": "array",
            "items": {"type": "object", "properties": {"id": {"type": "string"}, "size": {"type": "integer"}}},
        },
    },
}


def make_crd(*rules: Any, at: tuple[str, ...] = (), spec: dict[str, Any] = SPEC, **root: Any) -> dict[str, Any]:
    """A definition of Widget with rules at a node of its spec."""

    def ruled(schema: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
        if not path:
            return {
                **schema,
                "x-kubernetes-validations": [{"rule": rule} if isinstance(rule, str) else rule for rule in rules],
            }
        step, *rest = path
        if step in {"items", "additionalProperties"}:
            return {**schema, step: ruled(schema[step], tuple(rest))}
        return {**schema, "properties": {**schema["properties"], step: ruled(schema["properties"][step], tuple(rest))}}

    return {
        "metadata": {"name": "widgets.example.io"},
        "spec": {
            "group": "example.io",
            "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": ruled(spec, at)}, **root}},
                }
            ],
        },
    }  # fmt: skip


def widget(spec: Any, name: str = "w") -> dict[str, Any]:
    return {"apiVersion": "example.io/v1", "kind": "Widget", "metadata": {"name": name, "namespace": "n"}, "spec": spec}


def judge(crd: dict[str, Any], spec: Any, old: Any = None) -> list[str]:
    assert validate_crd(crd) == ()
    (resource,) = resources_from_crd(crd)
    if old is None:
        return [str(cause) for cause in validate(resource, widget(spec))]
    return [str(cause) for cause in validate_update(resource, widget(spec), widget(old))]


@pytest.mark.parametrize(
    ("rule", "passing", "failing"),
    [
        ("self.count > 1", {"count": 2}, {"count": 1}),
        ("has(self.name)", {"name": ""}, {}),
        ("self.name.startsWith('a') && self.name.size() < 3", {"name": "ab"}, {"name": "abc"}),
        ("self.ratio + 0.5 == 1.5", {"ratio": 1}, {"ratio": 1.5}),
        ("self.until > timestamp('2020-01-01T00:00:00Z')", {"until": "2021-01-01T00:00:00Z"}, {"until": "2019-01-01T00:00:00Z"}),
        ("self.wait < duration('1m')", {"wait": "1.5s"}, {"wait": "1h"}),
        ("self.data == b'ab'", {"data": "YWI="}, {"data": "YWM="}),
        ("type(self.either) == int ? self.either < 5 : self.either == '50%'", {"either": "50%"}, {"either": 5}),
        ("self.some__dash__name__dot__of__slash__it == 'a'", {"some-name.of/it": "a"}, {"some-name.of/it": "b"}),
        ("self.__namespace__ == 'a'", {"namespace": "a"}, {"namespace": "b"}),
        ("has(self.maybe)", {"maybe": "a"}, {"maybe": None}),
        ("self.words.all(w, w.matches('^[a-z]+$'))", {"words": ["a", "b"]}, {"words": ["a", "1"]}),
        ("self.words.exists_one(w, w == 'a')", {"words": ["a", "b"]}, {"words": ["a", "a"]}),
        ("self.words.map(w, w + '!').join(',') == 'a!,b!'", {"words": ["a", "b"]}, {"words": ["a"]}),
        ("self.words.filter(w, w != 'a').size() == 1", {"words": ["a", "b"]}, {"words": ["a"]}),
        ("self.words.isSorted()", {"words": ["a", "b"]}, {"words": ["b", "a"]}),
        ("self.numbers.sum() == 6 && self.numbers.max() == 3 && self.numbers.min() == 1", {"numbers": [1, 2, 3]}, {"numbers": [6]}),
        ("self.words.indexOf('b') == 1 && self.words.lastIndexOf('b') == 2", {"words": ["a", "b", "b"]}, {"words": ["b"]}),
        ("self.name.find('[0-9]+') == '12'", {"name": "a12b3"}, {"name": "a"}),
        ("self.name.findAll('[0-9]+') == ['12', '3'] && self.name.findAll('[0-9]+', 1) == ['12']", {"name": "a12b3"}, {"name": "a"}),
        ("self.name.split('-')[1].upperAscii().replace('B', 'C').trim() == 'C'", {"name": "a-b"}, {"name": "a-c d"}),
        ("self.name.charAt(0) == 'a' && self.name.substring(1, 2) == 'b'", {"name": "abc"}, {"name": "acb"}),
        ("'a' in self.labels && self.labels['a'] == 'b'", {"labels": {"a": "b"}}, {"labels": {}}),
        ("self.labels.all(key, key.size() < 3)", {"labels": {"a": "long enough"}}, {"labels": {"abc": ""}}),
        ("self.grid[0][1] == 2 && self.grid.all(row, row.all(cell, cell > 0))", {"grid": [[1, 2]]}, {"grid": [[1, 2], [0]]}),
        ("self.parts.all(p, !has(p.size) || p.size > 0)", {"parts": [{"id": "a"}]}, {"parts": [{"size": 0}]}),
        ("self.?name.orValue('x') == 'x'", {}, {"name": "y"}),
        ("cel.bind(n, self.name, n == n && n != '')", {"name": "a"}, {"name": ""}),
        ("self.missing.contains('a') || true", None, None),
    ],
)  # fmt: skip
def test_an_expression_means_what_it_means_to_kubernetes(rule, passing, failing):
    """Each value is seen through its schema; what an expression is false of is refused, and nothing else."""
    if passing is None:
        assert "undefined field 'missing'" in str(validate_crd(make_crd(rule))[0])
        return
    crd = make_crd({"rule": rule, "message": "no."})

    assert judge(crd, passing) == []
    assert judge(crd, failing) == ['spec: Invalid value: "object": no.']


@pytest.mark.parametrize(
    ("rule", "spec", "told"),
    [
        ({"rule": "self.count > 1"}, {"count": 1}, 'spec: Invalid value: "object": failed rule: self.count > 1'),
        (
            {"rule": "self.count > 1", "messageExpression": "'at least 2, not %d'.format([self.count])"},
            {"count": 1},
            'spec: Invalid value: "object": at least 2, not 1',
        ),
        (
            {"rule": "self.count > 1", "message": "m", "messageExpression": "self.name + '!'"},
            {"count": 1},
            'spec: Invalid value: "object": m',
        ),
        ({"rule": "false", "reason": "FieldValueForbidden", "message": "m"}, {}, "spec: Forbidden: m"),
        ({"rule": "false", "reason": "FieldValueRequired", "message": "m", "fieldPath": ".name"}, {}, "spec.name: Required value: m"),
        ({"rule": "false", "reason": "FieldValueDuplicate", "fieldPath": ".labels['a.b']"}, {}, 'spec.labels[a.b]: Duplicate value: "object"'),
        ({"rule": "self.name == 'a'"}, {}, 'spec: Invalid value: "object": no such key: name evaluating rule: self.name == \'a\''),
        ({"rule": "1 / self.count == 1", "message": "m"}, {"count": 0}, 'spec: Invalid value: "object": division by zero evaluating rule: m'),
        ({"rule": "self.words[3] == ''", "message": "m"}, {"words": []}, 'spec: Invalid value: "object": index out of bounds: 3 evaluating rule: m'),
        (
            {"rule": "self.either + 1 > 0", "message": "m"},
            {"either": "a"},
            ("spec: Invalid value: \"object\": 'no such overload': call arguments did not match a supported operator,"
            " function or macro signature for rule: m"),
        ),
    ],
)  # fmt: skip
def test_what_is_refused_is_told_as_kubernetes_tells_it(rule, spec, told):
    """Message, message by expression, reason, path; and why an expression had no result."""
    assert judge(make_crd(rule), spec) == [told]


@pytest.mark.parametrize(
    ("at", "rule", "spec", "path"),
    [
        (("count",), "self > 1", {"count": 1}, 'spec.count: Invalid value: "integer"'),
        (("words", "items"), "self != 'b'", {"words": ["a", "b"]}, 'spec.words[1]: Invalid value: "string"'),
        (("labels", "additionalProperties"), "self != ''", {"labels": {"a/b": ""}}, 'spec.labels[a/b]: Invalid value: "string"'),
        (("parts", "items"), "has(self.id)", {"parts": [{"id": "a"}, {}]}, 'spec.parts[1]: Invalid value: "object"'),
        (("words",), "size(self) > 0", {"words": []}, 'spec.words: Invalid value: "array"'),
    ],
)  # fmt: skip
def test_a_rule_is_of_the_value_where_it_stands(at, rule, spec, path):
    """``self`` is that value, whatever its type, and the error names it."""
    assert judge(make_crd(rule, at=at), spec) == [f"{path}: failed rule: {rule}"]
    assert judge(make_crd(rule, at=at), {}) == []


def test_the_root_sees_names_and_nothing_else_of_metadata():
    """A rule of the whole object reads its name; labels are no concern of definitions."""
    root = {"x-kubernetes-validations": [{"rule": "self.metadata.name == 'w' && self.kind == 'Widget'"}]}
    crd = make_crd("true")
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"] |= root
    (resource,) = resources_from_crd(crd)

    assert validate_crd(crd) == ()
    assert validate(resource, widget({})) == ()
    (refused,) = validate(resource, widget({}, "v"))
    assert str(refused).startswith('<nil>: Invalid value: "object": failed rule: self.metadata.name')
    root["x-kubernetes-validations"][0]["rule"] = "has(self.metadata.labels)"
    assert "undefined field 'labels'" in str(validate_crd(crd)[0])


def test_a_rule_of_a_change_is_judged_of_changes_alone():
    """Not on creation, not where the field is new or gone; refused where the value is another."""
    crd = make_crd({"rule": "self == oldSelf", "message": "immutable"}, at=("name",))

    assert judge(crd, {"name": "a"}) == []
    assert judge(crd, {"name": "a"}, old={}) == []
    assert judge(crd, {}, old={"name": "a"}) == []
    assert judge(crd, {"name": "a"}, old={"name": "a"}) == []
    assert judge(crd, {"name": "b"}, old={"name": "a"}) == ['spec.name: Invalid value: "string": immutable']


def test_items_with_keys_are_told_apart():
    """In a list of type map an item is compared with the one of the same key, wherever that stood."""
    keyed = {
        "type": "object",
        "properties": {
            "parts": {
                "type": "array",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["id"],
                "items": {
                    "type": "object",
                    "required": ["id"],
                    "properties": {"id": {"type": "string"}, "size": {"type": "integer"}},
                },
            }
        },
    }
    crd = make_crd({"rule": "self.size >= oldSelf.size", "message": "m"}, at=("parts", "items"), spec=keyed)
    old = {"parts": [{"id": "a", "size": 2}, {"id": "b", "size": 2}]}

    assert judge(crd, {"parts": [{"id": "b", "size": 2}, {"id": "a", "size": 3}, {"id": "c", "size": 1}]}, old) == []
    assert judge(crd, {"parts": [{"id": "b", "size": 1}]}, old) == ['spec.parts[0]: Invalid value: "object": m']


def test_an_optional_old_value():
    """With optionalOldSelf the rule is judged on creation too, and asks whether there was a value."""
    rule = {"rule": "oldSelf.hasValue() || self == 'new'", "optionalOldSelf": True, "message": "m"}
    crd = make_crd(rule, at=("name",))

    assert judge(crd, {"name": "new"}) == []
    assert judge(crd, {"name": "old"}) == ['spec.name: Invalid value: "string": m']
    assert judge(crd, {"name": "old"}, old={"name": "new"}) == []
    assert judge(crd, {"name": "old"}, old={"count": 1}) == ['spec.name: Invalid value: "string": m']
    same = {"rule": "oldSelf.orValue(self) == self", "optionalOldSelf": True, "message": "m"}
    assert judge(make_crd(same, at=("name",)), {"name": "b"}, old={"name": "a"}) == ['spec.name: Invalid value: "string": m']  # fmt: skip


def test_what_was_let_in_may_stay():
    """A part that is as it was is not judged again, not even in a list that changed around it; a changed one is."""
    crd = make_crd({"rule": "self.size > 0", "message": "m"}, at=("parts", "items"))
    broken = {"parts": [{"size": 0}]}

    assert judge(crd, {**broken, "count": 1}, old=broken) == []
    assert judge(crd, {"parts": [{"size": -1}]}, old=broken) == ['spec.parts[0]: Invalid value: "object": m']
    changed = {"parts": [{"size": 0}, {"size": 1}]}
    assert judge(crd, changed, old=broken) == ['spec.parts[0]: Invalid value: "object": m']
    assert judge(make_crd({"rule": "self.count > 0", "message": "m"}), {"count": 0}, old={"count": 0}) == []


def test_an_object_of_another_shape_is_not_read():
    """Expressions are not evaluated over what the schema refuses; the answer says that there may be more."""
    told = judge(make_crd("self.count > 1"), {"count": "many"})

    assert len(told) == 2
    assert told[0].startswith('spec.count: Invalid value: "string"')
    assert told[1] == (
        '<nil>: Invalid value: "null": some validation rules were not checked because the object was invalid;'
        " correct the existing errors to complete validation"
    )
    assert judge(make_crd("self.count > 1", at=()), {"count": 1, "words": ["a"] * 11})[1].startswith("<nil>")


@pytest.mark.parametrize(
    ("rule", "field", "words"),
    [
        ("self.nmae == 'a'", "rule", "compilation failed: ERROR: <input>:1:5: undefined field 'nmae'\n | self.nmae == 'a'\n | ....^"),
        ("self.count == 'a'", "rule", "found no matching overload for '_==_' applied to '(int, string)'"),
        ("self.count", "rule", "must evaluate to a bool"),
        ("this does not compile", "rule", "compilation failed: ERROR: <input>:1:6: Syntax error"),
        ("isURL(self.name)", "rule", "undeclared reference to 'isURL'"),
        ("quantity(self.name).isInteger()", "rule", "undeclared reference to 'quantity'"),
        ("self.name.matches(", "rule", "Syntax error"),
        ("oldSelf.nmae == self.name", "rule", "undefined field 'nmae'"),
        ({"rule": "oldSelf.orValue(self).nmae == ''", "optionalOldSelf": True}, "rule", "<input>:1:22: undefined field 'nmae'"),
        ({"rule": " "}, "rule", "Required value: rule is not specified"),
        ({"rule": "true", "message": " "}, "message", "message must be non-empty if specified"),
        ({"rule": "true", "message": "a\nb"}, "message", "message must not contain line breaks"),
        ({"rule": "true\n&& true"}, "message", "message must be specified if rule contains line breaks"),
        ({"rule": "true", "messageExpression": "1"}, "messageExpression", "must evaluate to a string"),
        ({"rule": "true", "messageExpression": "self.x"}, "messageExpression", "undefined field 'x'"),
        ({"rule": "true", "reason": "Bad"}, "reason", 'Unsupported value: "Bad"'),
        ({"rule": "true", "fieldPath": ".nmae"}, "fieldPath", "fieldPath must be a valid path: does not refer to a valid field"),
        ({"rule": "true", "fieldPath": "name"}, "fieldPath", "expected [ or . but got: name"),
        ({"rule": "true", "optionalOldSelf": True}, "optionalOldSelf", "may not be set if oldSelf is not used in rule"),
        ({"message": "m"}, "rule", "Required value"),
        ({"rule": 1}, "rule", "must be of type string"),
    ],
)  # fmt: skip
def test_a_rule_that_cannot_be_kept_refuses_its_definition(rule, field, words):
    """No rule is ever left out: what does not compile here is no definition here."""
    (cause,) = validate_crd(make_crd(rule))

    assert cause.field == (
        f"spec.versions[0].schema.openAPIV3Schema.properties[spec].x-kubernetes-validations[0].{field}"
    )
    assert words in str(cause)


@pytest.mark.parametrize("at", [("parts", "items"), ("words", "items")])
def test_a_change_of_what_cannot_be_told_apart(at):
    """Items of a plain list have no old value, so a rule of their change would never be judged."""
    limited = {**SPEC, "properties": {**SPEC["properties"], "parts": {**SPEC["properties"]["parts"], "maxItems": 9}}}
    (cause,) = validate_crd(make_crd("self == oldSelf", at=at, spec=limited))

    place = f"spec.versions[0].schema.openAPIV3Schema.properties[spec].properties[{at[0]}].items"
    assert str(cause).endswith(f"oldSelf cannot be used on the uncorrelatable portion of the schema within {place}")


def test_rules_stand_on_types():
    """Below an alternative, and where the schema knows no type, no rule may stand."""
    alternative = {"type": "object", "anyOf": [{"x-kubernetes-validations": [{"rule": "true"}]}], "properties": {}}
    untyped = {"type": "object", "properties": {"any": {"x-kubernetes-preserve-unknown-fields": True}}}

    assert "must be empty to be structural" in str(validate_crd(make_crd("true", spec=alternative))[0])
    assert "does not support validation rules" in str(validate_crd(make_crd("true", at=("any",), spec=untyped))[0])


def test_a_kind_without_rules_has_no_tree():
    """Most kinds are not slowed at all."""
    assert rule_tree(SPEC) is None
    assert rule_tree({**SPEC, "x-kubernetes-validations": [{"rule": "true"}]}) is not None


UNBOUNDED: dict[str, Any] = {
    "type": "object",
    "properties": {
        "texts": {"type": "array", "items": {"type": "string"}},
        "text": {"type": "string"},
        "few": {"type": "array", "maxItems": 10, "items": {"type": "string", "maxLength": 10}},
        "record": {"type": "object", "properties": {"text": {"type": "string"}}},
    },
}


@pytest.mark.parametrize(
    "rule",
    [
        "self.texts.all(a, self.texts.all(b, a == b))",
        "self.texts.all(a, self.text.matches('(x+x+)+y'))",
        "self.texts.all(a, a.contains(self.text))",
        "self.texts.exists(a, self.record == oldSelf.record)",
        "self.texts.map(a, a + a).exists(a, a.matches('b'))",
        "self.text.replace('', self.text).replace('', self.text) == ''",
        "self.text.matches(self.text)",
        "self.texts.join(self.text).size() == 1",
    ],
)
def test_a_rule_that_may_take_long_refuses_its_definition(rule):
    """Loops in loops, long texts in loops and texts that grow are told by the schema's limits, before any object."""
    (cause,) = [cause for cause in validate_crd(make_crd(rule, spec=UNBOUNDED)) if cause.field.endswith(".rule")]

    assert cause.reason == "FieldValueForbidden"
    assert "Forbidden: estimated rule cost exceeds budget by factor of " in str(cause)
    assert str(cause).endswith(
        "(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are"
        " declared)"
    )


@pytest.mark.parametrize(
    "rule",
    [
        "self == oldSelf",
        "self.few.all(a, self.few.all(b, a == b || a.size() != b.size()))",
        "self.text.matches('^[a-z]+$') && !self.text.contains('a')",
        "self.texts.all(a, a != '')",
        "self.few.join(',').size() < 100 && self.record.text == self.text",
    ],
)
def test_a_rule_that_takes_what_it_takes_is_let_in(rule):
    """What Kubernetes takes of everyday rules is taken here."""
    assert validate_crd(make_crd(rule, spec=UNBOUNDED)) == ()


def test_all_rules_of_a_definition_together_have_a_limit():
    """Many rules that pass one by one are refused as a whole."""
    causes = validate_crd(make_crd(*["self.texts.all(a, a != '')"] * 40, spec=UNBOUNDED))

    assert [cause.field for cause in causes] == ["spec.versions[0].schema.openAPIV3Schema"]
    assert "estimated rule cost total for entire OpenAPIv3 schema exceeds budget by factor of" in str(causes[0])


def test_loops_end():
    """An object that makes an expression loop for long is refused in time, and no other rule is judged."""
    spec = {"type": "object", "properties": {"few": {"type": "array", "maxItems": 200, "items": {"type": "integer"}}}}
    nested = "self.few.all(a, self.few.all(b, a == b || a != b))"
    told = judge(make_crd(nested, "false", spec=spec), {"few": list(range(200))})

    assert told == [
        (
            "spec: Invalid value: \"object\": 'operation cancelled: actual cost limit exceeded': no further validation rules"
            f" will be run due to call cost exceeds limit for rule: {nested}"
        )
    ]


def test_rules_of_one_object_share_a_time_limit(monkeypatch):
    """When it is over the object is refused, whatever the rest would say."""
    monkeypatch.setattr("meshpass.apiserver.ruletree.SECONDS_PER_OBJECT", -1.0)

    (told,) = judge(make_crd("true", "true"), {})

    assert told == (
        'spec: Invalid value: "object": validation failed due to running out of cost budget, no further validation rules'
        " will be run"
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted(SPEC["properties"])), inner),
    max_leaves=8,
)
(JUDGED,) = resources_from_crd(
    make_crd(
        *("self == oldSelf", "!has(self.until) || self.until > timestamp('2020-01-01T00:00:00Z')"),
        *("!has(self.words) || self.words.all(w, w.size() > 0)", "!has(self.either) || string(self.either) != ''"),
        *("!has(self.wait) || self.wait > duration('0s')", "!has(self.data) || self.data.size() < 5"),
        {"rule": "self.count > 0", "messageExpression": "'not ' + string(self.ratio)"},
    )
)


@given(spec=st.dictionaries(st.sampled_from(sorted(SPEC["properties"])), JSON), old=JSON)
def test_no_value_breaks_the_judge(spec, old):
    """Whatever is sent is let in or refused with causes; nothing raises, and the same is said twice."""
    first = validate_update(JUDGED, widget(spec), widget(old))

    assert validate_update(JUDGED, widget(spec), widget(old)) == first
    assert all(cause.message for cause in (*first, *validate(JUDGED, widget(spec))))


def test_half_a_character():
    """JSON can say half of a surrogate pair; what no text can hold is refused where a rule reads it."""
    (told,) = judge(make_crd({"rule": "self.name != ''", "message": "m"}), {"name": "\ud800"})

    assert told == 'spec: Invalid value: "object": invalid UTF-8 in string evaluating rule: m'


@pytest.mark.parametrize(
    "rule", ["(" * 500 + "true" + ")" * 500, "self.words" + "[0]" * 500 + " == ''", "'" + "a" * 200_000 + "' == ''"]
)
def test_an_expression_of_any_size_has_an_answer(rule):
    """The parser gives up on what is too deep or too long, and says so."""
    (cause,) = validate_crd(make_crd(rule))

    assert "limit" in str(cause) or "recursion depth" in str(cause)


@pytest.mark.parametrize("rule", ["self.(", "", {"message": "m"}, {"rule": "true", "fieldPath": "x"}])
def test_a_definition_from_before_rules_were_read(rule):
    """One that is stored with a rule that nobody can keep lets nothing in."""
    (resource,) = resources_from_crd(make_crd(rule))

    (cause,) = validate(resource, widget({}))
    assert str(cause).startswith('<nil>: Invalid value: "object": rule compile error: ')
