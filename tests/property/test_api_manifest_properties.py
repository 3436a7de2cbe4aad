"""Properties of manifests: what is dumped parses to the same, and no garbage is an error or is taken in silence."""

from __future__ import annotations

import contextlib
from functools import cache
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import inspect

from meshpass.api.duration import parse_duration
from meshpass.api.fieldpath import set_paths
from meshpass.api.kinds import CORE_KINDS, KINDS
from meshpass.api.manifest import load_documents, parse_object, to_raw
from meshpass.api.struct import OneOfStruct
from meshpass.api.yamltext import load_values
from meshpass.errors import ManifestError

_ALL = KINDS + CORE_KINDS
_NAMES = st.text("abc-", min_size=1, max_size=5)
_TEXT = st.text(max_size=5)
_DURATIONS = st.sampled_from(["0", "1s", "5m0s", "1.5h", "250ms"])
_QUICK = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def _values(kind: inspect.Type) -> st.SearchStrategy[Any]:
    """Values of a type, for the inside of structs."""
    match kind:
        case inspect.Metadata():
            return _values(kind.type)
        case inspect.UnionType():
            return st.one_of(*(_values(member) for member in kind.types))
        case inspect.NoneType():
            return st.none()
        case inspect.StructType():
            return st.deferred(lambda: _structs(kind))
        case inspect.DictType():
            return st.dictionaries(_TEXT, _values(kind.value_type), max_size=2)
        case inspect.VarTupleType():
            return st.lists(_values(kind.item_type), min_size=kind.min_length or 0, max_size=2).map(tuple)
        case _:
            return _leaves(kind)


def _leaves(kind: inspect.Type) -> st.SearchStrategy[Any]:
    match kind:
        case inspect.EnumType():
            return st.sampled_from(list(kind.cls))
        case inspect.BoolType():
            return st.booleans()
        case inspect.IntType():
            low = kind.ge if kind.ge is not None else -(2**63)
            return st.integers(low, kind.le if kind.le is not None else 2**63 - 1)
        case inspect.FloatType():
            # A whole number is written without its point, and comes back as a whole number, which is equal.
            return st.floats(allow_nan=False, allow_infinity=False)
        case inspect.StrType():
            if kind.pattern and "ns|us" in kind.pattern:
                return _DURATIONS
            return _NAMES if kind.pattern or kind.min_length else _TEXT
        case other:
            raise AssertionError(other)


@st.composite
def _structs(draw, kind: inspect.StructType) -> Any:
    chosen = [field for field in kind.fields if field.required or draw(st.booleans())]
    if issubclass(kind.cls, OneOfStruct):
        for group in kind.cls.one_of:
            members = [field for field in chosen if field.name in group]
            keep = draw(st.sampled_from(members)) if members else None
            chosen = [field for field in chosen if field.name not in group or field is keep]
    values = {field.name: draw(_values(field.type)) for field in chosen}
    if "name" in values and kind.cls.__name__ == "ObjectMeta":
        values["name"] = draw(_NAMES)
    return kind.cls(**values)


@cache
def _objects(index: int) -> st.SearchStrategy[Any]:
    return _values(inspect.type_info(_ALL[index].type))


@pytest.mark.parametrize("index", range(len(_ALL)), ids=lambda index: _ALL[index].kind)
@given(data=st.data())
@_QUICK
def test_what_is_dumped_parses_to_the_same(index, data):
    """parse(dump(x)) == x for every object of every kind, as a value, as JSON text and as YAML text."""
    written = data.draw(_objects(index))

    raw = to_raw(written)

    parsed = parse_object(raw)
    assert parsed.object == written
    assert all(" required" in problem or "is required" in problem for problem in parsed.problems)
    assert load_documents(msgspec.json.encode(raw).decode()) == (raw,)
    assert to_raw(parsed.object) == raw
    if hasattr(written, "spec") and _ALL[index] in KINDS:
        for schema, concrete in set_paths(written.spec):
            assert schema.startswith("spec.")
            assert concrete.startswith("spec.")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=8,
)


@st.composite
def _spoilt(draw, value: Any) -> Any:
    """A value of which some parts are replaced by garbage, and to which unknown fields are added."""
    if draw(st.integers(0, 7)) == 0:
        return draw(_JSON)
    match value:
        case dict():
            spoilt = {key: draw(_spoilt(item)) for key, item in value.items()}
            if draw(st.integers(0, 5)) == 0:
                spoilt[draw(_NAMES)] = draw(_JSON)
            return spoilt
        case list():
            return [draw(_spoilt(item)) for item in value]
        case _:
            return value


@pytest.mark.parametrize("index", range(len(_ALL)), ids=lambda index: _ALL[index].kind)
@given(data=st.data())
@_QUICK
def test_garbage_becomes_problems(index, data):
    """Whatever stands beside the name, parsing ends, and what is left is a faultless object of the kind."""
    kind = _ALL[index]
    raw = to_raw(data.draw(_objects(index)))
    spoilt = {key: data.draw(_spoilt(value)) for key, value in raw.items() if key not in {"apiVersion", "kind"}}
    metadata = spoilt.get("metadata")
    name = {"name": "x"}
    spoilt["metadata"] = metadata | name if isinstance(metadata, dict) else name

    parsed = parse_object({"apiVersion": kind.group_version, "kind": kind.kind, **spoilt})

    again = parse_object(to_raw(parsed.object))
    assert again.object == parsed.object
    assert [problem for problem in again.problems if "required" not in problem] == []
    if not parsed.problems and kind in KINDS:
        kept = to_raw(parsed.object).get("spec", {})
        assert parse_object({**to_raw(parsed.object), "spec": kept}).object == parsed.object


@pytest.mark.parametrize("index", range(len(_ALL)), ids=lambda index: _ALL[index].kind)
@given(spec=_JSON)
@_QUICK
def test_any_json_as_a_spec_ends(index, spec):
    """Any JSON under spec gives an object; a spec that is no object is always a problem."""
    kind = _ALL[index]
    raw = {"apiVersion": kind.group_version, "kind": kind.kind, "metadata": {"name": "x"}, "spec": spec}

    parsed = parse_object(raw)

    assert isinstance(parsed.object, kind.type)
    if kind in KINDS and spec is not None and not isinstance(spec, dict):
        assert parsed.problems


@given(value=st.dictionaries(_TEXT, _JSON))
@_QUICK
def test_yaml_and_json_text_load_to_what_was_written(value):
    """A document that PyYAML or a JSON encoder writes loads to the same value."""
    assert list(load_values(msgspec.json.encode(value).decode())) == [value]
    # Quoted, since PyYAML leaves text such as 0E0 bare, which YAML readers of Kubernetes take for a number.
    assert list(load_values(yaml.safe_dump(value, default_style='"'))) == [value]


@given(text=st.text(max_size=200) | st.text("{}[]:,-&*!<>|'\"\n ab01#?", max_size=60))
@settings(max_examples=500, deadline=None)
def test_any_text_loads_or_is_refused(text):
    """No text makes anything but documents or a ManifestError."""
    try:
        documents = load_documents(text)
    except ManifestError:
        return
    assert all(isinstance(document, dict) for document in documents)
    msgspec.json.encode(documents)


@given(text=_TEXT | st.from_regex(r"[0-9a-z.µ]{0,8}"))
def test_any_text_is_a_duration_or_refused(text):
    """No text makes anything but a length of time or a ManifestError."""
    with contextlib.suppress(ManifestError):
        assert parse_duration(text).total_seconds() >= 0
