"""Structured merge: what a configuration names, how objects differ, what is laid over them and taken out."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshpass.apiserver.comparison import compare, field_set
from meshpass.apiserver.fieldpath import show_path
from meshpass.apiserver.fieldset import EMPTY, FieldSet, parse_fields_v1
from meshpass.apiserver.fieldtype import FieldType
from meshpass.apiserver.structuredmerge import collapsed, merge, remove, type_faults, with_named_fields

TEXT = {"type": "string"}
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "text": TEXT,
        "count": {"type": "integer"},
        "port": {"x-kubernetes-int-or-string": True},
        "inner": {"type": "object", "properties": {"a": TEXT, "b": TEXT}},
        "map": {"type": "object", "additionalProperties": TEXT},
        "whole": {"type": "object", "additionalProperties": TEXT, "x-kubernetes-map-type": "atomic"},
        "list": {"type": "array", "items": {"type": "object", "properties": {"a": TEXT}}},
        "set": {"type": "array", "items": TEXT, "x-kubernetes-list-type": "set"},
        "ports": {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["port", "protocol"],
            "items": {
                "type": "object",
                "properties": {
                    "port": {"type": "integer"},
                    "protocol": {"type": "string", "default": "TCP"},
                    "name": TEXT,
                },
            },
        },
        "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    },
}
TYPE = FieldType(SCHEMA)


def shown(fields: FieldSet) -> list[str]:
    return [show_path(path) for path in fields.paths()]


def port(number: int, name: str = "", **more: Any) -> dict[str, Any]:
    return {"port": number, **({"name": name} if name else {}), **more}


@pytest.mark.parametrize(
    ("value", "paths"),
    [
        ({"text": "a", "count": 1, "port": "http"}, [".count", ".port", ".text"]),
        ({"text": None}, [".text"]),
        ({"inner": {"a": "x"}}, [".inner.a"]),
        ({"inner": {}}, [".inner"]),
        ({"map": {"x": "1"}}, [".map.x"]),
        ({"map": {}}, [".map"]),
        ({"whole": {"x": "1"}}, [".whole"]),
        ({"list": [{"a": "x"}]}, [".list"]),
        ({"set": ["x", "y"]}, ['.set[="x"]', '.set[="y"]']),
        ({"set": []}, []),
        (
            {"ports": [port(80, "web")]},
            [
                '.ports[port=80,protocol="TCP"]',
                '.ports[port=80,protocol="TCP"].name',
                '.ports[port=80,protocol="TCP"].port',
            ],
        ),
        ({"open": {"a": {"b": [1]}}}, [".open.a", ".open.a.b"]),
    ],
)
def test_a_configuration_names_its_leaves(value: Any, paths: list[str]):
    """Fields that hold others are named by them; entries of maps and items of lists are named themselves too."""
    assert shown(field_set(TYPE, value)) == paths


@pytest.mark.parametrize(
    ("old", "new", "added", "removed", "modified"),
    [
        ({}, {}, [], [], []),
        ({"text": "a"}, {"text": "b"}, [], [], [".text"]),
        ({"open": {"a": 1}}, {"open": {"a": True}}, [], [], [".open.a"]),
        ({}, {"inner": {"a": "x"}}, [".inner", ".inner.a"], [], []),
        ({"inner": {"a": "x"}}, {}, [], [".inner", ".inner.a"], []),
        ({"inner": {"a": "x"}}, {"inner": {"b": "x"}}, [".inner.b"], [".inner.a"], []),
        ({"inner": {}}, {"inner": {"a": "x"}}, [".inner.a"], [], []),
        ({"inner": None}, {"inner": {"a": "x"}}, [".inner.a"], [], []),
        ({"whole": {"x": "1"}}, {"whole": {"y": "1"}}, [], [], [".whole"]),
        ({"list": [1]}, {"list": [1, 2]}, [], [], [".list"]),
        ({"set": ["x", "y"]}, {"set": ["y", "z"]}, ['.set[="z"]'], ['.set[="x"]'], []),
        ({"set": ["x", "y"]}, {"set": ["y", "x"]}, [], [], []),
        (
            {"ports": [port(80, "a"), port(81)]},
            {"ports": [port(80, "b", protocol="TCP")]},
            ['.ports[port=80,protocol="TCP"].protocol'],
            ['.ports[port=81,protocol="TCP"]', '.ports[port=81,protocol="TCP"].port'],
            ['.ports[port=80,protocol="TCP"].name'],
        ),
        ({"open": {"a": 1}}, {"open": {"a": {"b": 1}}}, [".open.a.b"], [], [".open.a"]),
        ({"open": {"a": {"b": 1}}}, {"open": {"a": [1]}}, [], [".open.a.b"], [".open.a"]),
        ({"ports": [port(80), port(80)]}, {"ports": [port(80)]}, [], [], ['.ports[port=80,protocol="TCP"]']),
        ({"ports": [{"name": "a"}]}, {"ports": [{"name": "b"}]}, [], [], [".ports"]),
    ],
)
def test_objects_differ_by_fields(old: Any, new: Any, added: list[str], removed: list[str], modified: list[str]):
    """Whatever holds a field that is new is new itself, unless it was there; items that cannot be told apart are one."""
    found = compare(TYPE, old, new)

    assert (shown(found.added), shown(found.removed), shown(found.modified)) == (added, removed, modified)


@pytest.mark.parametrize(
    ("live", "config", "expected"),
    [
        ({"text": "a", "count": 1}, {"text": "b"}, {"text": "b", "count": 1}),
        ({"inner": {"a": "x"}}, {"inner": {"b": "y"}}, {"inner": {"a": "x", "b": "y"}}),
        ({"inner": {"a": "x"}}, {"inner": None}, {"inner": {"a": "x"}}),
        ({"inner": {"a": "x"}}, {"inner": {}}, {"inner": {"a": "x"}}),
        ({"whole": {"x": "1"}}, {"whole": {"y": "1"}}, {"whole": {"y": "1"}}),
        ({"list": [1]}, {"list": [2]}, {"list": [2]}),
        ({"set": ["x", "y"]}, {"set": ["z", "x"]}, {"set": ["z", "x", "y"]}),
        ({"set": ["a", "b", "c"]}, {"set": ["c", "a"]}, {"set": ["b", "c", "a"]}),
        ({"set": ["x", "s", "y"]}, {"set": ["n", "s"]}, {"set": ["x", "n", "s", "y"]}),
        ({"set": ["a"]}, {"set": ["b"]}, {"set": ["a", "b"]}),
        ({"set": ["a", "x", "b", "y", "c"]}, {"set": ["a", "b", "c"]}, {"set": ["a", "x", "b", "y", "c"]}),
        (
            {"ports": [port(80, "a", protocol="TCP"), port(81)]},
            {"ports": [port(82), port(80, "b")]},
            {"ports": [port(82), port(80, "b", protocol="TCP"), port(81)]},
        ),
        (
            {"ports": [port(80), port(80), port(81)]},
            {"ports": [port(81, "x")]},
            {"ports": [port(80), port(80), port(81, "x")]},
        ),
        ({"ports": [port(80, "a"), port(80)]}, {"ports": [port(80, "x")]}, {"ports": [port(80, "x")]}),
        ({"open": {"a": 1}}, {"open": {"a": {"b": 1}}}, {"open": {"a": {"b": 1}}}),
        ({"inner": "wrong"}, {"inner": {"a": "x"}}, {"inner": {"a": "x"}}),
    ],
)
def test_a_configuration_is_laid_over_an_object(live: Any, config: Any, expected: Any):
    """Neither argument changes; lists keep the order of the configuration."""
    before = copy.deepcopy((live, config))

    assert merge(TYPE, live, config) == expected
    assert (live, config) == before


def test_what_a_set_names_is_taken_out():
    """With all that is below it; what is left empty stays."""
    value = {"text": "a", "inner": {"a": "x"}, "ports": [port(80, "a"), port(81, "b")], "set": ["x"], "list": [1]}
    fields = parse_fields_v1(
        {
            "f:text": {},
            "f:inner": {"f:a": {}},
            "f:ports": {'k:{"port":80,"protocol":"TCP"}': {"f:name": {}}, 'k:{"port":81,"protocol":"TCP"}': {}},
            "f:set": {'v:"x"': {}},
            "f:list": {"i:0": {}},
        }
    )

    assert remove(TYPE, value, fields) == {"inner": {}, "ports": [port(80)], "set": [], "list": [1]}


def test_named_fields_are_those_of_the_schema():
    """A map's entry is somebody's only if it says so."""
    fields = parse_fields_v1({"f:inner": {"f:a": {}}, "f:open": {"f:x": {"f:y": {}}}})

    assert shown(with_named_fields(TYPE, fields)) == [".inner", ".inner.a", ".open", ".open.x.y"]


def test_a_list_that_became_one_field_is_owned_whole():
    """Ownership from before the definition said so."""
    fields = parse_fields_v1({"f:list": {'k:{"a":"x"}': {".": {}, "f:a": {}}}, "f:inner": {"f:a": {}}})

    assert shown(collapsed(TYPE, fields)) == [".inner.a", ".list"]


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ({"inner": "x"}, ".inner: expected map, got a string"),
        ({"map": [1]}, ".map: expected map, got a list type"),
        ({"ports": {}}, ".ports: expected list, got a map type"),
        ({"ports": ["x"]}, ".ports: element 0: associative list with keys may not have non-map elements"),
        (
            {"ports": [{"name": "x"}]},
            (
                '.ports: element 0: associative list with keys has an element that omits key field "port"'
                " (and doesn't have default value)"
            ),
        ),
        ({"ports": [port(80), port(80)]}, '.ports: duplicate entries for key [port=80,protocol="TCP"]'),
        ({"set": ["x", "x"]}, '.set: duplicate entries for key [="x"]'),
        ({"set": [{}]}, ".set: element 0: associative list without keys has an element that's a map type"),
        (
            {"ports": [{"port": []}]},
            ".ports: element 0: associative list with keys has an element whose key is no scalar",
        ),
    ],
)
def test_what_cannot_be_merged_is_told(value: Any, fault: str):
    """In the words of structured-merge-diff."""
    assert list(type_faults(TYPE, value)) == [fault]


_TEXTS = st.sampled_from(["x", "y", "z"])
_PORTS = st.lists(
    st.fixed_dictionaries({"port": st.integers(80, 84)}, optional={"name": _TEXTS, "protocol": st.just("TCP")}),
    max_size=5,
    unique_by=lambda item: item["port"],
)
_OPEN = st.recursive(
    st.booleans() | st.integers(0, 2) | _TEXTS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=6,
)
_OBJECTS = st.fixed_dictionaries(
    {},
    optional={
        "text": _TEXTS,
        "inner": st.dictionaries(st.sampled_from(["a", "b"]), _TEXTS),
        "map": st.dictionaries(_TEXTS, _TEXTS, max_size=3),
        "whole": st.dictionaries(_TEXTS, _TEXTS, max_size=2),
        "list": st.lists(_OPEN, max_size=2),
        "set": st.lists(st.sampled_from("abcde"), unique=True, max_size=5),
        "ports": _PORTS,
        "open": st.dictionaries(_TEXTS, _OPEN, max_size=3),
    },
)


def says_something(config: Any) -> bool:
    """Empty lists whose items are owned one by one are nobody's, in Kubernetes too."""
    return all(config.get(name) != [] for name in ("set", "ports"))


@given(live=_OBJECTS, config=_OBJECTS.filter(says_something))
def test_merging_is_idempotent_and_says_what_the_configuration_says(live: Any, config: Any):
    """Twice is once; every field of the configuration is in the result, and every other one is as it was."""
    once = merge(TYPE, live, config)
    stated = field_set(TYPE, config)

    assert merge(TYPE, once, config) == once
    assert not stated - field_set(TYPE, once) - with_named_fields(TYPE, field_set(TYPE, once))
    changed = compare(TYPE, live, once).written
    leaves = with_named_fields(TYPE, stated)
    assert not changed - leaves


@given(old=_OBJECTS, new=_OBJECTS)
def test_a_comparison_is_the_mirror_of_its_reverse(old: Any, new: Any):
    """What one direction adds the other removes; nothing differs from itself."""
    there, back = compare(TYPE, old, new), compare(TYPE, new, old)

    assert (there.added, there.removed, there.modified) == (back.removed, back.added, back.modified)
    assert compare(TYPE, old, copy.deepcopy(old)).written == EMPTY


@given(live=_OBJECTS)
def test_taking_everything_out_leaves_no_field(live: Any):
    """Of what the set of an object names."""
    fields = with_named_fields(TYPE, field_set(TYPE, live))
    left = remove(TYPE, live, fields)

    assert not field_set(TYPE, {name: value for name, value in left.items() if value})


def test_long_lists_and_wide_maps_take_time_in_proportion():
    """Two lists of 20,000 items in opposite orders, and a map of 50,000 entries: seconds, not hours."""
    start = time.thread_time()
    live = {"set": [f"a{index}" for index in range(20_000)], "open": {f"x{index}": index for index in range(50_000)}}
    config = {"set": list(reversed(live["set"])), "open": {f"x{index}": -1 for index in range(50_000)}}
    merged = merge(TYPE, live, config)

    assert merged["set"] == config["set"]
    assert len(list(compare(TYPE, live, merged).modified.paths())) == 50_000 - 0
    assert time.thread_time() - start < 10
