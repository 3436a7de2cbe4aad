"""Field sets: the algebra of sets of paths, their JSON, and what hostile JSON comes to."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshpass.apiserver.fieldpath import (
    element_order,
    field_element,
    key_element,
    parse_element,
    show_path,
    value_element,
)
from meshpass.apiserver.fieldset import EMPTY, FieldSet, parse_fields_v1

_SCALARS = st.text(max_size=3) | st.integers(-5, 100) | st.booleans()
_ELEMENTS = (
    st.sampled_from(["f:a", "f:b", "f:.", 'k:{"n":1}', 'v:"x"', "i:0"])
    | st.text(max_size=3).map(field_element)
    | st.dictionaries(st.text(max_size=2), _SCALARS, min_size=1, max_size=2).map(key_element)
    | _SCALARS.map(value_element)
)
_PATHS = st.frozensets(st.lists(_ELEMENTS, min_size=1, max_size=4).map(tuple), max_size=8)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_ELEMENTS | st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


def made(paths: frozenset[tuple[str, ...]]) -> FieldSet:
    """The set of these paths, put together one by one."""
    result = EMPTY
    for path in paths:
        one = FieldSet(frozenset({path[-1]}))
        for element in reversed(path[:-1]):
            one = FieldSet(children={element: one})
        result = result | one
    return result


def paths_of(fields: FieldSet) -> frozenset[tuple[str, ...]]:
    return frozenset(fields.paths())


@given(left=_PATHS, right=_PATHS)
def test_set_operations_are_those_of_sets_of_paths(left: frozenset[tuple[str, ...]], right: frozenset[tuple[str, ...]]):
    """Union, intersection and difference; two sets with the same paths are equal."""
    one, two = made(left), made(right)

    assert paths_of(one | two) == left | right
    assert paths_of(one & two) == left & right
    assert paths_of(one - two) == left - right
    assert (one | two) == (two | one)
    assert (one - two) == made(left - right)
    assert bool(one - one) is False


@given(paths=_PATHS)
def test_a_set_survives_its_json(paths: frozenset[tuple[str, ...]]):
    """Through text, as managedFields keep it."""
    fields = made(paths)

    assert parse_fields_v1(json.loads(json.dumps(fields.fields_v1()))) == fields


@given(paths=_PATHS)
def test_paths_come_in_one_order(paths: frozenset[tuple[str, ...]]):
    """Fields before keys before values before indices, and a path before what is below it."""
    found = list(made(paths).paths())

    assert found == sorted(found, key=lambda path: [element_order(element) for element in path])


@given(value=_JSON)
def test_any_json_is_a_set_or_a_value_error(value: Any):
    """What is read once is read the same again."""
    try:
        fields = parse_fields_v1(value)
    except ValueError:
        return
    assert parse_fields_v1(fields.fields_v1()) == fields


def test_the_json_is_that_of_kubernetes():
    """A path with others below it says so with a point; the keys of an item are in the order of their names."""
    written = {
        "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
        "f:spec": {"f:ports": {'k:{"port":80,"protocol":"TCP"}': {".": {}, "f:port": {}}}, "f:type": {}},
    }

    fields = parse_fields_v1(written)

    assert fields.fields_v1() == written
    assert [show_path(path) for path in fields.paths()] == [
        ".metadata.labels",
        ".metadata.labels.app",
        '.spec.ports[port=80,protocol="TCP"]',
        '.spec.ports[port=80,protocol="TCP"].port',
        ".spec.type",
    ]
    assert parse_element('k:{"protocol": "TCP", "port": 80}') == 'k:{"port":80,"protocol":"TCP"}'


@pytest.mark.parametrize(
    ("element", "shown"),
    [
        ("f:a.b/c", ".a.b/c"),
        ('k:{"name":"x"}', '[name="x"]'),
        ('v:"x"', '[="x"]'),
        ("v:true", "[=true]"),
        ("i:3", "[3]"),
    ],
)
def test_elements_are_shown_as_conflicts_name_them(element: str, shown: str):
    """One of each kind."""
    assert show_path((element,)) == shown


@pytest.mark.parametrize(
    "value",
    [
        [],
        "f:a",
        {"a": {}},
        {"x:a": {}},
        {"": {}},
        {"f:a": 1},
        {"f:a": None},
        {"k:": {}},
        {"k:[1]": {}},
        {'k:{"a":{}}': {}},
        {"v:[1]": {}},
        {"v:nothing": {}},
        {"v:NaN": {}},
        {"i:-1": {}},
        {"i:x": {}},
        {"i:" + "9" * 5000: {}},
        {"k:" + "[" * 100_000: {}},
    ],
)
def test_what_is_no_set_is_refused(value: Any):
    """Elements of no kind, elements that do not parse, and children that are none."""
    with pytest.raises(ValueError):  # noqa: PT011 - the text is for nobody: such a set is ignored
        parse_fields_v1(value)


def test_a_set_is_no_deeper_than_any_object():
    """Recursion ends before the interpreter's."""
    value: dict[str, Any] = {}
    for _ in range(1000):
        value = {"f:a": value}

    with pytest.raises(ValueError, match="FieldsV1"):
        parse_fields_v1(value)
