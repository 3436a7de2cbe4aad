"""Values against schemas: the words, fields and reasons of an API server."""

from __future__ import annotations

import pytest

from meshpass.apiserver.schemavalidation import validate_schema
from meshpass.apiserver.stringformat import matches_format


def texts(causes):
    return [f"{cause.reason.value} {cause}" for cause in causes]


@pytest.mark.parametrize(
    ("schema", "value", "expected"),
    [
        ({"type": "string"}, "a", []),
        ({"type": "integer"}, 2.0, []),
        ({"type": "number"}, 2, []),
        ({"type": "string", "nullable": True}, None, []),
        ({"x-kubernetes-int-or-string": True}, 5, []),
        ({"x-kubernetes-int-or-string": True}, "5", []),
        ({"type": "string", "format": "unheard-of"}, "a", []),
        ({"x-kubernetes-preserve-unknown-fields": True}, [{"a": None}], []),
        (
            {"type": "object"},
            "x",
            ['FieldValueTypeInvalid s.f: Invalid value: "string": s.f in body must be of type object: "string"'],
        ),
        (
            {"type": "string"},
            None,
            ['FieldValueTypeInvalid s.f: Invalid value: "null": s.f in body must be of type string: "null"'],
        ),
        (
            {"type": "integer"},
            True,
            ['FieldValueTypeInvalid s.f: Invalid value: "boolean": s.f in body must be of type integer: "boolean"'],
        ),
        (
            {"type": "integer"},
            1.5,
            ['FieldValueTypeInvalid s.f: Invalid value: "number": s.f in body must be of type integer: "number"'],
        ),
        (
            {"x-kubernetes-int-or-string": True},
            [],
            ['FieldValueTypeInvalid s.f: Invalid value: "array": s.f in body must be of type integer,string: "array"'],
        ),
        (
            {"type": "string", "enum": ["A", "B"]},
            "X",
            ['FieldValueNotSupported s.f: Unsupported value: "X": supported values: "A", "B"'],
        ),
        (
            {"type": "integer", "enum": [1]},
            True,
            [
                'FieldValueTypeInvalid s.f: Invalid value: "boolean": s.f in body must be of type integer: "boolean"',
                'FieldValueNotSupported s.f: Unsupported value: true: supported values: "1"',
            ],
        ),
        ({"type": "object", "required": ["a"]}, {}, ["FieldValueRequired s.f.a: Required value"]),
        (
            {"type": "integer", "minimum": 1},
            0,
            ["FieldValueInvalid s.f: Invalid value: 0: s.f in body should be greater than or equal to 1"],
        ),
        (
            {"type": "number", "minimum": 1, "exclusiveMinimum": True},
            1,
            ["FieldValueInvalid s.f: Invalid value: 1: s.f in body should be greater than 1"],
        ),
        (
            {"type": "integer", "maximum": 65535},
            70000,
            ["FieldValueInvalid s.f: Invalid value: 70000: s.f in body should be less than or equal to 65535"],
        ),
        (
            {"type": "number", "maximum": 1.5, "exclusiveMaximum": True},
            1.5,
            ["FieldValueInvalid s.f: Invalid value: 1.5: s.f in body should be less than 1.5"],
        ),
        (
            {"type": "integer", "multipleOf": 5},
            7,
            ["FieldValueInvalid s.f: Invalid value: 7: s.f in body should be a multiple of 5"],
        ),
        (
            {"type": "integer", "format": "int32"},
            2**31,
            [
                (
                    'FieldValueInvalid <nil>: Invalid value: "": '
                    "Checked value must be of type integer with format int32 in s.f"
                )
            ],
        ),
        (
            {"type": "string", "minLength": 1},
            "",
            ['FieldValueInvalid s.f: Invalid value: "": s.f in body should be at least 1 chars long'],
        ),
        ({"type": "string", "maxLength": 1}, "ab", ["FieldValueTooLong s.f: Too long: may not be more than 1 bytes"]),
        (
            {"type": "string", "pattern": "^[a-z]+$"},
            "A",
            ["""FieldValueInvalid s.f: Invalid value: "A": s.f in body should match '^[a-z]+$'"""],
        ),
        (
            {"type": "string", "pattern": "^[a-z]+$"},
            "a\n",
            ["""FieldValueInvalid s.f: Invalid value: "a\\n": s.f in body should match '^[a-z]+$'"""],
        ),
        (
            {"type": "string", "format": "date-time"},
            "noon",
            ['FieldValueTypeInvalid s.f: Invalid value: "noon": s.f in body must be of type date-time: "noon"'],
        ),
        (
            {"type": "string", "format": "byte"},
            "not base64!",
            ['FieldValueTypeInvalid s.f: Invalid value: "string": s.f in body must be of type byte'],
        ),
        (
            {"type": "array", "minItems": 1},
            [],
            ["FieldValueInvalid s.f: Invalid value: 0: s.f in body should have at least 1 items"],
        ),
        ({"type": "array", "maxItems": 1}, [1, 2], ["FieldValueTooMany s.f: Too many: 2: must have at most 1 items"]),
        (
            {"type": "array", "uniqueItems": True},
            [{"a": 1}, {"a": 1}],
            ['FieldValueInvalid s.f: Invalid value: "": s.f in body shouldn\'t contain duplicates'],
        ),
        ({"type": "array", "uniqueItems": True}, [1, True, "1"], []),
        (
            {"type": "array", "items": {"type": "object", "properties": {"n": {"type": "integer"}}}},
            [{"n": 1}, {"n": "x"}],
            [
                (
                    'FieldValueTypeInvalid s.f[1].n: Invalid value: "string": '
                    's.f[1].n in body must be of type integer: "string"'
                )
            ],
        ),
        (
            {"type": "array", "x-kubernetes-list-type": "set"},
            ["a", "b", "a"],
            ['FieldValueDuplicate s.f[2]: Duplicate value: "a"'],
        ),
        (
            {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
            [{"name": "a", "v": 1}, {"name": "a", "v": 2}],
            ['FieldValueDuplicate s.f[1]: Duplicate value: {"name":"a"}'],
        ),
        (
            {"type": "object", "additionalProperties": {"type": "string"}},
            {"a": "x", "b": 1},
            ['FieldValueTypeInvalid s.f.b: Invalid value: "integer": s.f.b in body must be of type string: "integer"'],
        ),
        (
            {"type": "object", "additionalProperties": False},
            {"a": 1},
            ['FieldValueInvalid s.f: Invalid value: "a": s.f.a in body is a forbidden property'],
        ),
        (
            {"type": "object", "minProperties": 1},
            {},
            ["FieldValueInvalid s.f: Invalid value: 1: s.f in body should have at least 1 properties"],
        ),
        (
            {"type": "object", "maxProperties": 1},
            {"a": 1, "b": 2},
            ["FieldValueTooMany s.f: Too many: 2: must have at most 1 items"],
        ),
        (
            {"type": "object", "oneOf": [{"required": ["a"]}, {"required": ["b"]}]},
            {},
            [
                (
                    'FieldValueInvalid <nil>: Invalid value: "": '
                    '"s.f" must validate one and only one schema (oneOf). Found none valid'
                ),
                "FieldValueRequired s.f.a: Required value",
            ],
        ),
        (
            {"type": "object", "oneOf": [{"required": ["a"]}, {"required": ["b"]}]},
            {"a": 1, "b": 1},
            [
                (
                    'FieldValueInvalid <nil>: Invalid value: "": '
                    '"s.f" must validate one and only one schema (oneOf). Found 2 valid alternatives'
                )
            ],
        ),
        (
            {"type": "object", "anyOf": [{"required": ["a"]}, {"required": ["b"]}]},
            {},
            [
                'FieldValueInvalid <nil>: Invalid value: "": "s.f" must validate at least one schema (anyOf)',
                "FieldValueRequired s.f.a: Required value",
            ],
        ),
        ({"type": "object", "anyOf": [{"required": ["a"]}, {"required": ["b"]}]}, {"b": 1}, []),
        (
            {"type": "string", "allOf": [{"minLength": 1}, {"maxLength": 1}]},
            "ab",
            [
                "FieldValueTooLong s.f: Too long: may not be more than 1 bytes",
                'FieldValueInvalid <nil>: Invalid value: "": "s.f" must validate all the schemas (allOf)',
            ],
        ),
        (
            {"type": "object", "not": {"required": ["a"]}},
            {"a": 1},
            ['FieldValueInvalid <nil>: Invalid value: "": "s.f" must not validate the schema (not)'],
        ),
        (
            {"type": "object", "x-kubernetes-embedded-resource": True},
            {"kind": "Pod"},
            ["FieldValueRequired s.f.apiVersion: Required value: must not be empty"],
        ),
    ],
)
def test_a_schema_speaks_in_kubernetes_words(schema, value, expected):
    """Reason, field and text are those of an API server."""
    assert expected == texts(validate_schema(schema, value, "s.f"))


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("date-time", ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05.123456789+01:00"), ("2026-13-02T03:04:05Z", "x")),
        ("date", ("2026-01-02",), ("20260102", "2026-02-30")),
        ("duration", ("5s", "1h30m", "1.5h", "0", "-3ms"), ("5", "5 s", "")),
        ("ipv4", ("127.0.0.1",), ("::1", "1.2.3")),
        ("ipv6", ("::1",), ("127.0.0.1",)),
        ("cidr", ("10.0.0.0/8", "::/0"), ("10.0.0.0", "10.0.0.0/33")),
        ("uri", ("https://a/b?c", "/a"), ("a b", "", "http://[")),
        ("email", ("a@b.c",), ("a", "@b")),
        ("hostname", ("a.b-c", "a."), ("-a", "a..b", "a b")),
        ("uuid", ("123e4567-e89b-12d3-a456-426614174000",), ("123",)),
        ("mac", ("00:11:22:aa:bb:cc",), ("00:11",)),
        ("byte", ("", "YQ==", "YW\nE="), ("YQ", "-_==", "é")),
    ],
)
def test_formats(name, good, bad):
    """What Kubernetes takes for each format, it takes; what it refuses, it refuses."""
    assert [text for text in good if not matches_format(name, text)] == []
    assert [text for text in bad if matches_format(name, text)] == []
