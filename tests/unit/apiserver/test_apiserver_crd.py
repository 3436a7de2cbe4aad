"""CustomResourceDefinitions: what they must be, and the Resources that they make."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshpass.apiserver.crd import resources_from_crd, validate_crd, validate_crd_update
from meshpass.apiserver.resource import Column


def make_crd(schema=None, **changes):
    """A valid CRD of kind Widget; ``schema`` replaces that of its spec, ``changes`` fields of its only version."""
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {
            "openAPIV3Schema": {
                "type": "object",
                "description": "A widget.",
                "properties": {"spec": schema or {"type": "object", "description": "What is wanted."}},
            }
        },
        **changes,
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.io"},
        "spec": {
            "group": "example.io",
            "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
            "versions": [version],
        },
    }


def change(crd, path, value):
    """A copy with ``value`` at the dotted path; None removes."""
    changed = copy.deepcopy(crd)
    *parents, last = path.split(".")
    node = changed
    for part in parents:
        node = node[int(part)] if part.isdigit() else node[part]
    if value is None:
        del node[last]
    else:
        node[last] = value
    return changed


def texts(crd):
    return [str(cause) for cause in validate_crd(crd)]


def test_a_sound_crd_has_no_faults():
    assert texts(make_crd()) == []


LABEL = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    "and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', "
    "regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
)


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (
            "metadata.name",
            "widget.example.io",
            ['metadata.name: Invalid value: "widget.example.io": must be spec.names.plural+"."+spec.group'],
        ),
        (
            "spec.scope",
            "Global",
            ['spec.scope: Unsupported value: "Global": supported values: "Cluster", "Namespaced"'],
        ),
        ("spec.scope", None, ["spec.scope: Required value"]),
        ("spec.names.kind", None, ["spec.names.kind: Required value"]),
        (
            "spec.names.kind",
            "Wid get",
            [f'spec.names.kind: Invalid value: "Wid get": may have mixed case, but should otherwise match: {LABEL}'],
        ),
        (
            "spec.names.listKind",
            "Widget",
            ['spec.names.listKind: Invalid value: "Widget": kind and listKind may not be the same'],
        ),
        ("spec.names.shortNames", ["W"], [f'spec.names.shortNames[0]: Invalid value: "W": {LABEL}']),
        ("spec.versions", [], ["spec.versions: Required value"]),
        (
            "spec.versions.0.storage",
            False,
            ['spec.versions: Invalid value: ["v1"]: must have exactly one version marked as storage version'],
        ),
        ("spec.versions.0.name", "V1", [f'spec.versions[0].name: Invalid value: "V1": {LABEL}']),
        (
            "spec.versions.0.schema",
            None,
            ["spec.versions[0].schema.openAPIV3Schema: Required value: schemas are required"],
        ),
        (
            "spec.conversion",
            {"strategy": "Webhook"},
            ['spec.conversion.strategy: Unsupported value: "Webhook": supported values: "None"'],
        ),
        (
            "spec.versions.0.additionalPrinterColumns",
            [{"name": "A", "type": "text", "jsonPath": "spec"}],
            [
                (
                    'spec.versions[0].additionalPrinterColumns[0].type: Invalid value: "text": '
                    "must be one of boolean,date,integer,number,string"
                ),
                (
                    'spec.versions[0].additionalPrinterColumns[0].jsonPath: Invalid value: "spec": '
                    "must be a simple json path starting with ."
                ),
            ],
        ),
    ],
)
def test_names_and_versions_are_checked(path, value, expected):
    """Each fault is told at its field, in Kubernetes' words."""
    assert expected == texts(change(make_crd(), path, value))


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        ("", ["spec.group: Required value"]),
        ("example", ['spec.group: Invalid value: "example": should be a domain with at least one dot']),
    ],
)
def test_the_group_is_a_domain(group, expected):
    crd = change(change(make_crd(), "spec.group", group), "metadata.name", f"widgets.{group}")
    assert expected == texts(crd)


SPEC = "spec.versions[0].schema.openAPIV3Schema.properties[spec]"


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({}, []),
        ({"properties": {}}, [f"{SPEC}.type: Required value: must not be empty for specified object fields"]),
        ({"x-kubernetes-preserve-unknown-fields": True}, []),
        ({"type": "array"}, [f"{SPEC}.items: Required value: must be specified"]),
        (
            {"type": "array", "items": {"description": "x"}},
            [f"{SPEC}.items.type: Required value: must not be empty for specified array items"],
        ),
        (
            {"type": "text"},
            [
                (
                    f'{SPEC}.type: Unsupported value: "text": supported values: '
                    '"array", "boolean", "integer", "number", "object", "string"'
                )
            ],
        ),
        (
            {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": {"type": "string"}},
            [f"{SPEC}.additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive"],
        ),
        (
            {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
            [
                (
                    f"{SPEC}.uniqueItems: Forbidden: "
                    "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
                )
            ],
        ),
        (
            {"type": "object", "oneOf": [{"type": "object"}]},
            [f"{SPEC}.oneOf[0].type: Forbidden: must be empty to be structural"],
        ),
        (
            {"type": "object", "oneOf": [{"properties": {"a": {"minLength": 1}}}]},
            [f"{SPEC}.properties[a]: Required value: because it is defined in {SPEC}.oneOf[0].properties[a]"],
        ),
        (
            {"type": "object", "properties": {"a": {"type": "string"}}, "oneOf": [{"required": ["a"]}]},
            [],
        ),
        ({"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": True}, []),
        (
            {"type": "string", "pattern": "("},
            [(f'{SPEC}.pattern: Invalid value: "(": must be a valid regular expression, but isn\'t: missing ): (')],
        ),
        (
            {"type": "array", "x-kubernetes-list-type": "map", "items": {"type": "object"}},
            [f"{SPEC}.x-kubernetes-list-map-keys: Required value: must not be empty if x-kubernetes-list-type is map"],
        ),
        (
            {
                "type": "array",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
                "items": {"type": "object", "properties": {"name": {"type": "string"}}},
            },
            [
                (
                    f"{SPEC}.items.properties[name].default: Required value: this property is in "
                    "x-kubernetes-list-map-keys, so it must have a default or be a required property"
                )
            ],
        ),
        (
            {"type": "integer", "default": "one"},
            [
                f'{SPEC}.default: Invalid value: "string": {SPEC}.default in body must be of type integer: "string"',
            ],
        ),
        ({"type": "string", "$ref": "#/x"}, [f"{SPEC}.$ref: Forbidden: $ref is not supported"]),
        (
            {"type": "string", "x-kubernetes-embedded-resource": True, "x-kubernetes-preserve-unknown-fields": True},
            [f'{SPEC}.type: Invalid value: "string": must be object if x-kubernetes-embedded-resource is true'],
        ),
    ],
)
def test_schemas_must_be_structural(schema, expected):
    """Every field is specified once, outside of junctors."""
    assert expected == texts(make_crd(schema))


def test_the_root_may_not_speak_about_metadata():
    """Kubernetes knows metadata better; only the name may be restricted."""
    path = "spec.versions.0.schema.openAPIV3Schema.properties.metadata"
    described = change(make_crd(), path, {"type": "object", "description": "x"})
    named = change(make_crd(), path, {"type": "object", "properties": {"name": {"type": "string", "maxLength": 5}}})
    text = "must not specify anything other than name and generateName, but metadata is implicitly specified"
    assert [f"{SPEC.replace('[spec]', '[metadata]')}: Forbidden: {text}"] == texts(described)
    assert texts(named) == []


def test_a_version_becomes_a_resource():
    """Everything that the server needs of the kind is in its Resource."""
    crd = make_crd(
        subresources={"status": {}},
        additionalPrinterColumns=[
            {
                "name": "Phase",
                "type": "string",
                "jsonPath": ".status.phase",
                "priority": 1,
                "description": "Where it is.",
            }
        ],
        selectableFields=[{"jsonPath": ".spec.color"}],
    )
    crd["spec"]["names"] |= {"shortNames": ["wd"], "categories": ["all"], "listKind": "WidgetCollection"}
    crd["spec"]["versions"].append({**crd["spec"]["versions"][0], "name": "v2", "storage": False})
    crd["spec"]["versions"].append({**crd["spec"]["versions"][0], "name": "v3", "served": False, "storage": False})
    first, second = resources_from_crd(crd)
    assert (first.group_version, second.group_version) == ("example.io/v1", "example.io/v2")
    assert (first.storage, second.storage, first.builtin) == (True, False, False)
    assert (first.kind, first.plural, first.singular, first.list_kind) == (
        "Widget",
        "widgets",
        "widget",
        "WidgetCollection",
    )
    assert (first.short_names, first.categories, first.namespaced) == (("wd",), ("all",), True)
    assert first.status_subresource
    assert first.columns == (
        Column(name="Phase", type="string", json_path=".status.phase", description="Where it is.", priority=1),
    )
    assert first.selectable_fields == ("spec.color",)
    assert first.schema["description"] == "A widget."
    assert "labels" in first.schema["properties"]["metadata"]["properties"]
    assert first.schema["properties"]["kind"]["type"] == "string"


@pytest.mark.parametrize("path", ["spec.scope", "spec.group", "spec.names.kind", "spec.names.plural"])
def test_what_stored_objects_hang_on_never_changes(path):
    old = make_crd()
    assert [f'{path}: Invalid value: "Other": field is immutable'] == [
        str(cause) for cause in validate_crd_update(change(old, path, "Other"), old)
    ]


def test_a_stored_version_cannot_leave():
    """Objects are stored in it."""
    old = {**make_crd(), "status": {"storedVersions": ["v1"]}}
    new = change(make_crd(), "spec.versions.0.name", "v2")
    assert [cause.field for cause in validate_crd_update(new, old)] == ["status.storedVersions[0]"]
    assert list(validate_crd_update(old, old)) == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "items", "properties", "oneOf", "not", "pattern", "default", "spec", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(value=JSON)
def test_no_garbage_raises(value):
    """Whatever stands where a schema, a version or a spec should be becomes causes, not exceptions."""
    validate_crd({"spec": value})
    validate_crd({"spec": {"versions": value, "names": value, "group": value}})
    validate_crd(make_crd(value))
    assert validate_crd({"metadata": value, "spec": {}})
