"""The writer under any input: an object that the rules allow, or a Status below 500; never half of something."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.apiserver import WIDGET_CRD

from meshpass.apiserver.body import parse_body
from meshpass.apiserver.bootstrap import bootstrap
from meshpass.apiserver.builtin import BUILTIN_RESOURCES
from meshpass.apiserver.definitions import Definitions
from meshpass.apiserver.options import ListOptions, WriteOptions, parse_delete_options
from meshpass.apiserver.patch import PatchType
from meshpass.apiserver.registry import Registry
from meshpass.apiserver.status import StatusError
from meshpass.apiserver.storage import Storage
from meshpass.apiserver.target import Target
from meshpass.apiserver.writer import Writer

_WORDS = st.sampled_from(
    ["a", "default", "", "v1", "Widget", "ConfigMap", "example.com/v1", "2026-01-01T00:00:00Z", "0", "Bad_Name", "All"]
)
_NAMES = st.sampled_from(
    [
        "metadata",
        "name",
        "namespace",
        "labels",
        "annotations",
        "finalizers",
        "ownerReferences",
        "uid",
        "spec",
        "status",
        "size",
        "colour",
        "parts",
        "data",
        "stringData",
        "type",
        "ports",
        "port",
        "containers",
        "conditions",
        "kind",
        "apiVersion",
        "versions",
        "schema",
        "names",
        "group",
        "scope",
        "resourceVersion",
        "deletionTimestamp",
        "template",
        "$patch",
        "$retainKeys",
        "$setElementOrder/ports",
        "$deleteFromPrimitiveList/finalizers",
        "selector",
        "generateName",
    ]
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 100) | st.floats(allow_nan=False, allow_infinity=False) | _WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=5),
    max_leaves=20,
)
_OBJECTS = (
    st.fixed_dictionaries(
        {"metadata": st.just({"name": "a"}) | _JSON},
        optional={"spec": _JSON, "status": _JSON, "data": _JSON, "type": _JSON},
    )
    | _JSON
)
_POINTERS = st.lists(_NAMES | st.sampled_from(["0", "-"]), max_size=3).map(
    lambda parts: "".join(f"/{p}" for p in parts)
)
_OPERATIONS = st.fixed_dictionaries(
    {"op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test"]), "path": _POINTERS},
    optional={"value": _JSON, "from": _POINTERS},
)
_SETTINGS = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Bench:
    """A writer with the standard namespaces and the widget CRD."""

    def __init__(self, directory: Path) -> None:
        self.storage = Storage(directory / "state.db")
        self.registry = Registry(BUILTIN_RESOURCES)
        self.writer = Writer(self.storage, self.registry, Definitions(self.storage, self.registry))
        bootstrap(self.storage, self.registry, self.writer, (WIDGET_CRD,))
        for resource in self.registry.resources:
            if resource.plural in {"widgets", "configmaps"}:
                seed = {"apiVersion": resource.group_version, "kind": resource.kind, "metadata": {"name": "a"}}
                seed |= {"spec": {"size": 1}} if resource.plural == "widgets" else {"data": {"a": "b"}}
                self.writer.create(self.target(resource.plural), seed, WriteOptions())

    def target(self, plural: str, name: str = "", subresource: str = "") -> Target:
        resource = next(entry for entry in self.registry.resources if entry.plural == plural)
        namespace = "default" if resource.namespaced else None
        return Target(resource=resource, namespace=namespace, name=name, subresource=subresource)

    def dump(self) -> dict[str, list[bytes]]:
        kinds = {f"{resource.group}/{resource.plural}" for resource in self.registry.resources}
        return {kind: [entry.body for entry in self.storage.list(kind)] for kind in kinds}


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    directory = Path(tempfile.mkdtemp())
    made = Bench(directory)
    yield made
    made.storage.close()
    shutil.rmtree(directory)


def refusal(call: Callable[[], object]) -> StatusError | None:
    """What the call was refused with; anything but a Status is raised."""
    try:
        call()
    except StatusError as failure:
        return failure
    return None


def attempt(bench: Bench, write: Callable[[], object]) -> None:
    """The write is done whole, or refused without a trace."""
    before = bench.dump()
    refused = refusal(write)
    if refused:
        assert 400 <= refused.code < 500
        assert msgspec.json.encode(refused.status())
        assert bench.dump() == before


@_SETTINGS
@given(
    plural=st.sampled_from(sorted({entry.plural for entry in BUILTIN_RESOURCES} | {"widgets"})),
    value=_OBJECTS,
    fill_in=st.booleans(),
    dry_run=st.booleans(),
)
def test_any_body_creates_an_object_or_is_refused(bench: Bench, plural: str, value: Any, fill_in: bool, dry_run: bool):
    """For every kind that is served."""
    target = bench.target(plural)
    if fill_in and isinstance(value, dict):
        value |= {"apiVersion": target.resource.group_version, "kind": target.resource.kind}
    attempt(bench, lambda: bench.writer.create(target, value, WriteOptions(dry_run=dry_run)))


@_SETTINGS
@given(plural=st.sampled_from(["widgets", "configmaps"]), value=_OBJECTS, status=st.booleans())
def test_any_body_replaces_an_object_or_is_refused(bench: Bench, plural: str, value: Any, status: bool):
    """The main URL and the status."""
    target = bench.target(plural, "a", "status" if status and plural == "widgets" else "")
    if isinstance(value, dict):
        value |= {"apiVersion": target.resource.group_version, "kind": target.resource.kind}
    attempt(bench, lambda: bench.writer.update(target, value, WriteOptions()))


@_SETTINGS
@given(
    plural=st.sampled_from(["widgets", "configmaps"]),
    patch=st.tuples(st.just(PatchType.JSON), st.lists(_OPERATIONS, max_size=4) | _JSON)
    | st.tuples(st.sampled_from([PatchType.MERGE, PatchType.STRATEGIC]), _OBJECTS),
)
def test_any_patch_is_applied_or_refused(bench: Bench, plural: str, patch: tuple[PatchType, Any]):
    """Every patch type."""
    attempt(bench, lambda: bench.writer.patch(bench.target(plural, "a"), *patch, WriteOptions(dry_run=True)))


@_SETTINGS
@given(
    plural=st.sampled_from(["widgets", "configmaps", "services", "pods", "deployments"]),
    place=st.sampled_from([("a", ""), ("a", "status"), ("new", "")]),
    value=_OBJECTS,
    force=st.booleans(),
)
def test_any_configuration_is_applied_or_refused(
    bench: Bench, plural: str, place: tuple[str, str], value: Any, force: bool
):
    """New and stored objects, built-in and custom kinds, and their status."""
    target = bench.target(plural, *place)
    if isinstance(value, dict):
        value |= {"apiVersion": target.resource.group_version, "kind": target.resource.kind}
    options = WriteOptions(dry_run=True, manager="fuzz", force=force)
    attempt(bench, lambda: bench.writer.apply(target, value, options))


_MANAGED = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "manager": _WORDS,
            "operation": st.sampled_from(["Apply", "Update", "Delete", ""]),
            "apiVersion": _WORDS,
            "time": _WORDS,
            "fieldsType": st.sampled_from(["FieldsV1", ""]),
            "fieldsV1": st.recursive(
                st.just({}),
                lambda inner: st.dictionaries(
                    st.sampled_from([".", "f:spec", "f:size", "f:data", "f:a", 'k:{"name":"a"}', "v:1", "i:0", "x"]),
                    inner,
                    max_size=3,
                ),
                max_leaves=6,
            )
            | _JSON,
        },
    )
    | _JSON,
    max_size=3,
)


@_SETTINGS
@given(plural=st.sampled_from(["widgets", "configmaps"]), managed=_MANAGED | _JSON, value=_OBJECTS)
def test_any_managed_fields_are_kept_or_ignored(bench: Bench, plural: str, managed: Any, value: Any):
    """What a client makes of them stops nobody from applying afterwards."""
    target = bench.target(plural, "a")
    attempt(
        bench,
        lambda: bench.writer.patch(target, PatchType.MERGE, {"metadata": {"managedFields": managed}}, WriteOptions()),
    )
    config = {"apiVersion": target.resource.group_version, "kind": target.resource.kind}
    config |= {"spec": {"size": 3}} if plural == "widgets" else {"data": {"a": "c"}}
    bench.writer.apply(target, config, WriteOptions(dry_run=True, manager="fuzz", force=True))


@_SETTINGS
@given(
    body=_JSON
    | st.fixed_dictionaries(
        {},
        optional=dict.fromkeys(
            ("kind", "dryRun", "propagationPolicy", "orphanDependents", "preconditions", "gracePeriodSeconds"), _JSON
        ),
    ),
    query=st.dictionaries(st.sampled_from(["dryRun", "propagationPolicy", "orphanDependents"]), _WORDS, max_size=2),
)
def test_any_delete_options_are_read_or_refused(body: Any, query: dict[str, str]):
    """From the body and the query."""
    refused = refusal(lambda: parse_delete_options(query, body))

    assert refused is None or refused.code in {400, 422}


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60) | st.text(max_size=40).map(lambda text: text.encode()), st.sampled_from(["json", "yaml"]))
def test_any_text_is_a_value_or_refused(text: bytes, media: str):
    """JSON and YAML."""
    refused = refusal(lambda: parse_body(text, f"application/{media}"))

    assert refused is None or refused.code == 400


def test_deleting_a_collection_is_one_transaction(bench: Bench):
    """One refusal leaves everything."""
    before = bench.dump()

    with pytest.raises(StatusError) as failure:
        bench.writer.delete_collection(bench.target("namespaces"), ListOptions(), parse_delete_options({}, None))

    assert failure.value.code == 403
    assert bench.dump() == before
