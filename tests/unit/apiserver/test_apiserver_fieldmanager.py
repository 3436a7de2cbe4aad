"""Managers of fields: who owns what after applies and updates, against a model that knows single fields only."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshpass.apiserver.builtin import BUILTIN_RESOURCES
from meshpass.apiserver.fieldmanager import ConflictError, FieldManager
from meshpass.apiserver.fieldpath import show_path
from meshpass.apiserver.managedfields import (
    Manager,
    Managers,
    capped,
    decode_managers,
    encode_managers,
    is_reset,
    manager_name,
    without_times,
)
from meshpass.apiserver.resource import Resource

TEXT = {"type": "string"}
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "apiVersion": TEXT,
        "kind": TEXT,
        "metadata": {
            "type": "object",
            "properties": {"name": TEXT, "labels": {"type": "object", "additionalProperties": TEXT}},
        },
        "spec": {
            "type": "object",
            "properties": {
                "a": TEXT,
                "b": TEXT,
                "inner": {"type": "object", "properties": {"c": TEXT, "d": TEXT}},
                "map": {"type": "object", "additionalProperties": TEXT},
                "list": {"type": "array", "items": TEXT},
                "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            },
        },
        "status": {"type": "object", "properties": {"phase": TEXT}},
    },
}
THING = Resource(
    group="example.com",
    version="v1",
    kind="Thing",
    plural="things",
    singular="thing",
    namespaced=True,
    schema=SCHEMA,
    status_subresource=True,
)
MAIN = FieldManager(resource=THING)
STATUS = FieldManager(resource=THING, subresource="status")
LEAVES = (
    ("metadata", "labels", "l"),
    ("spec", "a"),
    ("spec", "b"),
    ("spec", "inner", "c"),
    ("spec", "inner", "d"),
    ("spec", "map", "x"),
    ("spec", "map", "y"),
    ("spec", "list"),
    ("spec", "open", "p", "q"),
    ("spec", "open", "r"),
)
NOW = "2026-01-01T00:00:00Z"


def thing(fields: Mapping[tuple[str, ...], str]) -> dict[str, Any]:
    """An object with these leaves and nothing else."""
    result: dict[str, Any] = {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "a"}}
    for path, value in fields.items():
        inner = result
        for name in path[:-1]:
            inner = inner.setdefault(name, {})
        inner[path[-1]] = [value] if path[-1] == "list" else value
    return result


def leaves(value: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    if not isinstance(value, dict):
        return {path: value[0] if isinstance(value, list) else value}
    return {at: leaf for name, inner in value.items() for at, leaf in leaves(inner, (*path, name)).items()}


def owned(managers: Managers, name: str) -> set[tuple[str, ...]]:
    """The leaves that a manager owns."""
    paths = {show_path(path) for who, held in managers.items() if who.name == name for path in held.fields.paths()}
    return {leaf for leaf in LEAVES if "." + ".".join(leaf) in paths}


@dataclass
class Bench:
    """An object with its managers beside a model: for each leaf its value and the names of those that own it."""

    live: dict[str, Any]
    managers: Managers
    values: dict[tuple[str, ...], str] = field(default_factory=dict)
    owners: dict[tuple[str, ...], set[str]] = field(default_factory=dict)

    @classmethod
    def new(cls) -> Bench:
        live = thing({})
        live["spec"] = {"inner": {}, "map": {}, "open": {}}
        live["metadata"]["labels"] = {"base": "x"}
        managers = MAIN.update(None, live, sent=None, name="creator", moment=NOW)
        live["metadata"]["managedFields"] = encode_managers(managers)
        return cls(live, managers)

    def apply(self, name: str, fields: Mapping[tuple[str, ...], str], *, force: bool) -> None:
        expected = {
            leaf: self.owners.get(leaf, set()) - {name}
            for leaf, value in fields.items()
            if leaf in self.values and self.values[leaf] != value
        }
        expected = {leaf: others for leaf, others in expected.items() if others}
        before = copy.deepcopy(self.live)
        if expected and not force:
            with pytest.raises(ConflictError) as failure:
                MAIN.apply(self.live, thing(fields), name=name, force=False, moment=NOW)
            conflicts = failure.value.conflicts
            assert {who.name for who in conflicts} == {other for others in expected.values() for other in others}
            told = {show_path(path) for found in conflicts.values() for path in found.paths()}
            assert told == {"." + ".".join(leaf) for leaf in expected}
            assert self.live == before
            return
        merged, managers = MAIN.apply(self.live, thing(fields), name=name, force=force, moment=NOW)
        assert self.live == before
        self._store(merged, managers)
        for leaf in [leaf for leaf, names in self.owners.items() if name in names and leaf not in fields]:
            self.owners[leaf].discard(name)
            if not self.owners[leaf]:
                del self.owners[leaf], self.values[leaf]
        for leaf, value in fields.items():
            if self.values.get(leaf) != value:
                self.owners[leaf] = set()
            self.values[leaf] = value
            self.owners.setdefault(leaf, set()).add(name)

    def update(self, name: str, fields: Mapping[tuple[str, ...], str | None]) -> None:
        values = {leaf: fields.get(leaf, value) for leaf, value in self.values.items()}
        values |= {leaf: value for leaf, value in fields.items() if leaf not in self.values}
        kept = {leaf: value for leaf, value in values.items() if value is not None}
        new = thing(kept)
        new["metadata"].setdefault("labels", {})["base"] = "x"
        for inner in ("inner", "map", "open"):
            new.setdefault("spec", {}).setdefault(inner, {})
        managers = MAIN.update(self.live, new, sent=None, name=name, moment=NOW)
        self._store(new, managers)
        for leaf in [leaf for leaf in self.values if leaf not in kept]:
            del self.values[leaf]
            self.owners.pop(leaf, None)
        for leaf, value in kept.items():
            if self.values.get(leaf) != value:
                self.owners[leaf] = {name}
            self.values[leaf] = value

    def _store(self, value: dict[str, Any], managers: Managers) -> None:
        self.live = copy.deepcopy(value)
        self.live["metadata"]["managedFields"] = encode_managers(managers)
        assert decode_managers(self.live["metadata"]["managedFields"]) == managers
        self.managers = managers

    def check(self) -> None:
        found = leaves({"spec": self.live.get("spec", {}), "metadata": {"labels": self.live["metadata"]["labels"]}})
        del found["metadata", "labels", "base"]
        assert found == self.values
        for name in ("one", "two", "three"):
            assert owned(self.managers, name) == {leaf for leaf, names in self.owners.items() if name in names}


_CONFIGS = st.dictionaries(st.sampled_from(LEAVES), st.sampled_from(["u", "v"]), max_size=6)
# Whoever applied the entry of a map takes it back with all that is in it, another's fields too, as in Kubernetes.
_FLAT = tuple(leaf for leaf in LEAVES if leaf != ("spec", "open", "p", "q"))
_CHANGES = st.dictionaries(st.sampled_from(_FLAT), st.sampled_from(["u", "v", None]), max_size=4)
_STEPS = st.lists(
    st.tuples(st.just("apply"), st.sampled_from(["one", "two"]), _CONFIGS, st.booleans())
    | st.tuples(st.just("update"), st.just("three"), _CHANGES, st.just(True)),
    max_size=8,
)


@given(steps=_STEPS)
def test_fields_are_whose_the_model_says(steps: list[tuple[str, str, dict[tuple[str, ...], Any], bool]]):
    """Applies of two, forced or not, and updates of a third: values, owners and conflicts, after every step."""
    bench = Bench.new()
    for action, name, fields, force in steps:
        if action == "apply":
            bench.apply(name, fields, force=force)
        else:
            bench.update(name, fields)
        bench.check()


@given(fields=_CONFIGS)
def test_applying_twice_is_applying_once(fields: dict[tuple[str, ...], str]):
    """The same object and the same managers, but for the time."""
    bench = Bench.new()
    bench.apply("one", fields, force=False)
    before = bench.live

    merged, managers = MAIN.apply(before, thing(fields), name="one", force=False, moment="2027-01-01T00:00:00Z")

    assert {
        **merged,
        "metadata": {**merged["metadata"], "managedFields": before["metadata"]["managedFields"]},
    } == before
    assert without_times(encode_managers(managers)) == without_times(before["metadata"]["managedFields"])


@given(first=_CONFIGS, second=_CONFIGS)
def test_two_managers_of_different_fields_commute(
    first: dict[tuple[str, ...], str], second: dict[tuple[str, ...], str]
):
    """Who came first cannot be told afterwards."""
    second = {leaf: value for leaf, value in second.items() if leaf not in first}
    results = []
    for order in ((("one", first), ("two", second)), (("two", second), ("one", first))):
        bench = Bench.new()
        for name, fields in order:
            bench.apply(name, fields, force=False)
        results.append(bench)

    assert results[0].live["spec"] == results[1].live["spec"]
    assert results[0].live["metadata"] == results[1].live["metadata"]


@given(fields=_CONFIGS)
def test_applying_nothing_takes_back_what_was_applied(fields: dict[tuple[str, ...], str]):
    """The leaves, and the ownership with them."""
    bench = Bench.new()
    bench.apply("one", fields, force=False)
    bench.apply("one", {}, force=False)
    bench.check()

    assert Manager(name="one", applies=True) not in bench.managers


def test_an_object_nobody_is_known_to_own_belongs_to_before_first_apply():
    """It was stored before owners were kept, or they were reset: updates stay untracked, an apply finds one owner."""
    live = thing({("spec", "a"): "u", ("spec", "b"): "u"})

    assert MAIN.update(live, thing({("spec", "a"): "v"}), sent=None, name="x", moment=NOW) == {}
    with pytest.raises(ConflictError) as failure:
        MAIN.apply(live, thing({("spec", "a"): "v"}), name="one", force=False, moment=NOW)
    assert [str(who) for who in failure.value.conflicts] == ['"before-first-apply" using example.com/v1']
    _, managers = MAIN.apply(live, thing({("spec", "a"): "u"}), name="one", force=False, moment=NOW)
    assert owned(managers, "before-first-apply") == {("spec", "a"), ("spec", "b")}
    assert owned(managers, "one") == {("spec", "a")}


def test_status_is_owned_through_its_subresource_alone():
    """What the object's own URL says of it, and what the status URL says of the rest, is nobody's."""
    whole = thing({("spec", "a"): "u"}) | {"status": {"phase": "Ready"}}

    main = MAIN.update(None, whole, sent=None, name="x", moment=NOW)
    status = STATUS.update(None, whole, sent=None, name="x", moment=NOW)
    _, applied = STATUS.apply(None, whole, name="x", force=False, moment=NOW)

    assert [entry["fieldsV1"].keys() for entry in encode_managers(main)] == [{"f:spec"}]
    assert [entry["fieldsV1"].keys() for entry in encode_managers(status)] == [{"f:status"}]
    assert [(entry["fieldsV1"].keys(), entry["subresource"]) for entry in encode_managers(applied)] == [
        ({"f:status"}, "status")
    ]


def entry(name: str, operation: str = "Update", **more: Any) -> dict[str, Any]:
    return {
        "manager": name,
        "operation": operation,
        "apiVersion": "example.com/v1",
        "time": NOW,
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:spec": {"f:a": {}}},
        **more,
    }


@pytest.mark.parametrize(
    ("sent", "names"),
    [
        (None, {"held"}),
        ([], set()),
        ([{}], set()),
        ([entry("sent")], {"sent"}),
        ([entry("sent", operation="Delete")], {"held"}),
        ([entry("sent", apiVersion="")], {"held"}),
        ([entry("sent", fieldsType="FieldsV2")], {"held"}),
        ([entry("sent", fieldsV1={"spec": {}})], {"held"}),
        ([entry("sent", fieldsV1=[])], {"held"}),
        ([entry("sent", time="yesterday")], {"held"}),
        ([entry("sent", time="2026-01-01T00:00:00")], {"held"}),
        ([entry("sent", time=5)], {"held"}),
        ([entry("sent", manager=5)], {"held"}),
        (["sent"], {"held"}),
        ("sent", {"held"}),
    ],
)
def test_managed_fields_that_a_client_sends_count_if_they_can_be_read(sent: Any, names: set[str]):
    """An empty list, or one with an empty entry, takes them all away; what cannot be read is as if it were not there."""
    live = thing({("spec", "a"): "u"})
    live["metadata"]["managedFields"] = [entry("held")]

    managers = MAIN.update(live, live, sent=sent, name="x", moment=NOW)

    assert {who.name for who in managers} == names
    through_status = STATUS.update(live, live, sent=sent, name="x", moment=NOW)
    assert {who.name for who in through_status} == {"held"}


def test_only_ten_updaters_are_remembered():
    """The oldest become one, of which every field is kept; those that apply are not counted."""
    entries = [
        entry(f"m{index:02}", time=f"2026-01-01T00:00:{index:02}Z", fieldsV1={f"f:x{index}": {}}) for index in range(14)
    ]
    entries += [entry(f"a{index}", operation="Apply") for index in range(20)]

    managers = capped(decode_managers(entries))

    updaters = [who.name for who in managers if not who.applies]
    assert sorted(updaters) == ["ancient-changes", *(f"m{index:02}" for index in range(5, 14))]
    ancient = next(held for who, held in managers.items() if who.name == "ancient-changes")
    assert ancient.fields.fields_v1() == {f"f:x{index}": {} for index in range(5)}
    assert ancient.time == "2026-01-01T00:00:04Z"
    assert sum(who.applies for who in managers) == 20


def test_an_eleventh_updater_is_joined_with_the_oldest():
    """Every update sees to it."""
    live = thing({("spec", "map", "x"): "0"})
    live["metadata"]["managedFields"] = encode_managers(MAIN.update(None, live, sent=None, name="m00", moment=NOW))
    for index in range(1, 13):
        new = copy.deepcopy(live)
        new["spec"]["map"][f"x{index}"] = "1"
        moment = f"2026-01-01T00:00:{index:02}Z"
        managers = MAIN.update(live, new, sent=None, name=f"m{index:02}", moment=moment)
        new["metadata"]["managedFields"] = encode_managers(managers)
        live = new

    assert sorted(who.name for who in managers) == ["ancient-changes", *(f"m{index:02}" for index in range(4, 13))]


def test_what_nobody_owns_stays_beside_what_is_taken_back():
    """Defaults, say. Only a part that nobody else has a field of goes with all that is in it."""
    live = thing({("spec", "a"): "u", ("spec", "b"): "u", ("spec", "inner", "c"): "u", ("spec", "inner", "d"): "u"})
    live["metadata"]["managedFields"] = [
        entry("one", operation="Apply", fieldsV1={"f:spec": {"f:a": {}, "f:inner": {"f:c": {}}}}),
        entry("two", operation="Apply", fieldsV1={"f:spec": {"f:b": {}}}),
    ]
    less = thing({("spec", "inner", "c"): "u"})

    merged, _ = MAIN.apply(live, less, name="one", force=False, moment=NOW)
    assert merged["spec"] == {"b": "u", "inner": {"c": "u", "d": "u"}}
    merged, _ = MAIN.apply(live, thing({}), name="one", force=False, moment=NOW)
    assert merged["spec"] == {"b": "u"}
    live["metadata"]["managedFields"] = live["metadata"]["managedFields"][:1]
    merged, managers = MAIN.apply(live, thing({}), name="one", force=False, moment=NOW)
    assert merged == thing({})
    assert managers == {}


@pytest.mark.parametrize(
    ("given_name", "user_agent", "name"),
    [
        ("mine", "kubectl/v1.32.4 (linux/amd64)", "mine"),
        ("", "kubectl/v1.32.4 (linux/amd64)", "kubectl"),
        ("", "", "unknown"),
        ("", "/x", "unknown"),
        ("", "a\x00b\x7f/1", "ab"),
        ("", "ä" * 200, "ä" * 64),
    ],
)
def test_a_manager_is_named_by_the_client(given_name: str, user_agent: str, name: str):
    """Or by the first word of its User-Agent, of which what cannot be printed is left out, and 128 bytes are kept."""
    assert manager_name(given_name, user_agent) == name


def test_times_are_in_utc_and_whole_seconds():
    """However a client wrote them."""
    managers = decode_managers([entry("x", time="2026-01-01T02:00:00.5+02:00")])

    assert encode_managers(managers)[0]["time"] == "2026-01-01T00:00:00Z"
    assert is_reset([{}])
    assert not is_reset([{}, {}])


DEPLOYMENT = next(resource for resource in BUILTIN_RESOURCES if resource.kind == "Deployment")


def test_the_parts_of_kubernetes_own_types_are_nobodys():
    """A Deployment's spec, strategy and template exist before anybody sets them; what is optional in them does not."""
    manifest = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "a", "labels": {"x": "y"}},
        "spec": {
            "selector": {"matchLabels": {"x": "y"}},
            "strategy": {"rollingUpdate": {"maxSurge": 1}},
            "template": {"spec": {"containers": [{"name": "c", "ports": [{"containerPort": 80}]}]}},
        },
    }

    managers = FieldManager(resource=DEPLOYMENT).update(None, manifest, sent=None, name="x", moment=NOW)

    assert encode_managers(managers)[0]["fieldsV1"] == {
        "f:metadata": {"f:labels": {".": {}, "f:x": {}}},
        "f:spec": {
            "f:selector": {},
            "f:strategy": {"f:rollingUpdate": {".": {}, "f:maxSurge": {}}},
            "f:template": {
                "f:spec": {
                    "f:containers": {
                        'k:{"name":"c"}': {
                            ".": {},
                            "f:name": {},
                            "f:ports": {
                                ".": {},
                                'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:containerPort": {}},
                            },
                        }
                    }
                }
            },
        },
    }
