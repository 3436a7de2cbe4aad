from __future__ import annotations

import pytest
import yaml

from meshpass.api.yamltext import MAX_DEPTH, load_values
from meshpass.errors import ManifestError


def _one(text):
    (value,) = load_values(text)
    return value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", True),
        ("off", False),
        ("~", None),
        ("null", None),
        ("'yes'", "yes"),
        ("y", "y"),
        ("12", 12),
        ("-12", -12),
        ("0x1F", 31),
        ("0o17", 15),
        ("017", 15),
        ("0b11", 3),
        ("09", 9.0),
        ("0bf", "0bf"),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("1e999", "1e999"),
        (".nan", ".nan"),
        ("1.2.3", "1.2.3"),
        ("+", "+"),
        ("12:30", "12:30"),
        ("2024-01-01", "2024-01-01"),
        ("9" * 200, "9" * 200),
        ("!!str 5", "5"),
        ("! 5", "5"),
        ("!!int '5'", 5),
        ("|-\n  a\n  b", "a\nb"),
    ],
)
def test_plain_scalars(text, value):
    """Scalars have the types that kubectl gives them; dates and base 60 stay text."""
    found = _one(f"v: {text}")["v"]

    assert (found, type(found)) == (value, type(value))


def test_keys_become_text():
    """Numbers and booleans as keys become text, as in JSON."""
    assert _one("{1: a, true: b, 1.5: c}") == {"1": "a", "true": "b", "1.5": "c"}


def test_json_and_yaml_agree():
    """JSON text, several JSON documents and YAML's flow style all load."""
    assert _one('{"a": [1, 2.5, null, true, "\\u00e4"]}') == {"a": [1, 2.5, None, True, "ä"]}
    assert list(load_values('{"a": 1}\n---\n{"a": 2}')) == [{"a": 1}, {"a": 2}]
    assert _one("{a: 1}") == {"a": 1}


def test_anchors_and_merges():
    """Aliases repeat a value; << adds what the object does not say itself."""
    text = """
base: &base {a: 1, b: 2}
one: {<<: *base, b: 3}
two:
  <<: [*base, {c: 4}]
again: *base
text: &t x
same: *t
"""

    value = _one(text)

    assert value["one"] == {"a": 1, "b": 3}
    assert value["two"] == {"a": 1, "b": 2, "c": 4}
    assert value["again"] == {"a": 1, "b": 2}
    assert value["same"] == "x"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", "line 3: key 'a' is there twice"),
        ('{"a": 1, "a": 2}', "key 'a' is there twice"),
        ("a: [", "line [0-9]: "),
        ("a: *x", "line 1: alias [*]x refers to nothing"),
        ("a: &x [*x]", "line 1: alias [*]x refers to nothing"),
        ("? [a]\n: 1", "line 1: a key must be text"),
        ("a: &x {b: 1}\n*x : 2", "line 2: a key must be text"),
        ("null: 1", "line 1: a key must be text"),
        ("<<: 5", "line 1: << needs an object"),
        ("a: !!python/object:os.system {}", "line 1: tag .* is not allowed"),
        ("a: !!timestamp 2024-01-01", "line 1: tag .* is not allowed"),
        ("a: !!int x", "line 1: 'x' is no int"),
        ('{"a": NaN}', "NaN is no JSON number"),
        ('{"a": 1e999}', "1e999 is no JSON number"),
        ('{"a": "\\ud800"}', "surrogate"),
        ("a: \ud800", "surrogate"),
        ("a: \x00", "special characters|not allowed"),
        ("[" * (MAX_DEPTH + 1), f"line 1: nested deeper than {MAX_DEPTH} levels"),
        ("[" * 200_000, "nested deeper"),
        ('{"a":' * 200_000, "nested deeper"),
    ],
)
def test_bad_text_is_refused(text, message):
    """What is no YAML, or could mean two things, or asks for more than data, is refused with its line."""
    with pytest.raises(ManifestError, match=message):
        list(load_values(text))


def test_an_alias_bomb_is_refused():
    """Aliases count as often as they are used, so that a small text cannot stand for a huge value."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]

    with pytest.raises(ManifestError, match=r"more than .* values"):
        list(load_values("\n".join(lines)))


def test_what_is_dumped_loads():
    """PyYAML's own output loads to the same value."""
    value = {"a": ["yes", "12", "2024-01-01", "", None, 1.5, {"b": "x: y"}]}

    assert _one(yaml.safe_dump(value)) == value
