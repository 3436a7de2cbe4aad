from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import msgspec
import pytest

from meshpass.api.crd import crds_yaml, custom_resource_definitions
from meshpass.api.duration import parse_duration
from meshpass.api.fieldpath import did_you_mean, set_paths
from meshpass.api.kinds import CORE_KINDS, KINDS, kind_of, kind_of_type
from meshpass.api.manifest import load_documents, parse_object
from meshpass.api.security import JWTPolicy, JWTPolicySpec, Phase, PrioritizedPhase, TokenSource
from meshpass.api.struct import OneOfStruct, wire_names
from meshpass.errors import ManifestError


def _one_of_structs(struct=OneOfStruct):
    for inner in struct.__subclasses__():
        yield inner
        yield from _one_of_structs(inner)


_GROUPS = [
    pytest.param(struct, group, id=f"{struct.__name__}-{'-'.join(group)}")
    for struct in _one_of_structs()
    for group in struct.one_of
]


def test_every_one_of_of_the_api_is_declared():
    """The groups that the API has are all there, by the names of their members on the wire."""
    groups = {
        tuple(wire_names(struct)[name] for name in group) for struct in _one_of_structs() for group in struct.one_of
    }

    assert groups == {
        ("route", "withDestinations"),
        ("number", "name"),
        ("secretRef", "inline"),
        ("local", "remote"),
        ("ref", "awsLambda"),
        ("preAuthz", "postAuthz"),
        ("exact", "prefix", "regex", "suffix"),
        ("forwardTo", "delegate", "redirect", "directResponse", "graphql"),
        ("pathRewrite", "regexRewrite"),
        ("hostRewrite", "autoHostRewrite"),
        ("schema", "stitchedSchema"),
        ("secretName", "files"),
        ("tls", "httpsRedirect"),
        ("http", "tcp"),
        ("auto", "sniRouting", "tlsTermination"),
        ("hosts", "addresses"),
        ("mgmtServerCa", "agentCa"),
        ("generated", "secretRef"),
        ("caBundle", "caSecretRef", "caLocalPath"),
        ("tokenSecretRef", "kubernetesAuth"),
        ("serviceAccountRef", "mountedSaPath"),
    }


@pytest.mark.parametrize(("struct", "group"), _GROUPS)
def test_two_members_of_a_one_of_cannot_be_set(struct, group):
    """Any two members together are refused, each alone is not; the defaults count as not set."""
    fields = {field.name: field for field in msgspec.structs.fields(struct)}
    needed = {name: object() for name, field in fields.items() if field.required}
    for name in group:
        struct(**needed, **{name: "x"})
    for first, second in pairwise(group):
        with pytest.raises(ValueError, match="only one of"):
            struct(**needed, **{first: "x", second: "x"})


def test_equal_objects_have_equal_hashes():
    """Structs with maps can be keys, and equal ones are the same key."""
    raw = {
        "apiVersion": "security.policy.gloo.solo.io/v2",
        "kind": "JWTPolicy",
        "metadata": {"name": "p", "labels": {"a": "b"}},
        "spec": {"config": {"providers": {"x": {"audiences": ["a"]}}}},
    }
    one, two = parse_object(raw).object, parse_object(raw).object

    assert one == two
    assert hash(one) == hash(two)
    assert hash(one.spec) == hash(two.spec)
    assert hash(one.metadata) == hash(two.metadata)
    assert hash(one.spec) != hash(JWTPolicySpec())


def test_kinds_are_found_by_name_and_type():
    """Every kind is found by its apiVersion and name and by its type; others are not."""
    for kind in KINDS + CORE_KINDS:
        assert kind_of(kind.group_version, kind.kind) is kind
        assert kind_of_type(kind.type) is kind
    assert kind_of("v1", "JWTPolicy") is None
    assert kind_of_type(JWTPolicy).short_names == ("jwt",)
    with pytest.raises(KeyError):
        kind_of_type(int)


def test_names_that_kubectl_takes_do_not_clash():
    """No plural, singular or short name stands for two kinds."""
    names = [name for kind in KINDS + CORE_KINDS for name in {kind.plural, kind.singular, *kind.short_names}]

    assert sorted(names) == sorted(set(names))


def test_every_kind_shows_its_status_first():
    """The first column is the outcome, and messages are for -o wide."""
    for kind in KINDS:
        assert kind.columns[0].json_path == ".status.common.State.approval"
        assert [column.name for column in kind.columns if column.priority] == ["Message"]


@pytest.mark.parametrize(
    ("name", "candidates", "meant"),
    [
        ("queryParameters", ("headers", "queryParams"), "queryParams"),
        ("queryParameters", ("queryParameters2",), "queryParameters2"),
        ("virtualGateway", ("virtualGateways", "hosts"), "virtualGateways"),
        ("ISSUER", ("issuer",), "issuer"),
        ("nothing", ("issuer",), None),
        ("x", (), None),
    ],
)
def test_did_you_mean(name, candidates, meant):
    """A close name is offered, whatever its case; a distant one is not."""
    assert did_you_mean(name, candidates) == meant


def test_set_paths_names_leaves_and_empty_objects():
    """Leaves, list elements, map entries and present empty objects are named; defaults are not."""
    spec = parse_object(
        {
            "apiVersion": "security.policy.gloo.solo.io/v2",
            "kind": "JWTPolicy",
            "metadata": {"name": "p"},
            "spec": {
                "applyToRoutes": [{}, {"route": {"labels": {"a": "b"}}}],
                "config": {
                    "phase": {"preAuthz": {}},
                    "validationPolicy": "REQUIRE_VALID",
                    "providers": {"dev": {"issuer": "i", "keepToken": False, "audiences": ["a"], "tokenSource": {}}},
                },
            },
        }
    ).object.spec

    assert list(set_paths(spec)) == [
        ("spec.applyToRoutes[]", "spec.applyToRoutes[0]"),
        ("spec.applyToRoutes[].route.labels{}", "spec.applyToRoutes[1].route.labels[a]"),
        ("spec.config.providers{}.issuer", "spec.config.providers[dev].issuer"),
        ("spec.config.providers{}.audiences[]", "spec.config.providers[dev].audiences[0]"),
        ("spec.config.providers{}.tokenSource", "spec.config.providers[dev].tokenSource"),
        ("spec.config.phase.preAuthz", "spec.config.phase.preAuthz"),
    ]
    assert list(set_paths(JWTPolicySpec())) == []
    assert list(set_paths(PrioritizedPhase(pre_authz=Phase(priority=0)))) == [
        ("spec.preAuthz.priority", "spec.preAuthz.priority")
    ]
    assert list(set_paths(TokenSource())) == []


@pytest.mark.parametrize(
    ("text", "seconds"), [("0", 0), ("30s", 30), ("5m0s", 300), ("1h1.5s", 3601.5), ("250ms", 0.25), ("7us", 7e-6)]
)
def test_durations(text, seconds):
    """Go's durations have their length."""
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "5", "-5s", "s", "5 s", "5s\n", "9" * 30 + "h"])
def test_what_is_no_duration_is_refused(text):
    """Text without a unit, negative or beyond what can be counted is no duration."""
    with pytest.raises(ManifestError, match="duration"):
        parse_duration(text)


_STRUCTURAL = {
    "type", "description", "properties", "additionalProperties", "items", "required", "enum", "format", "pattern",
    "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "nullable", "oneOf", "anyOf", "allOf",
    "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-validations",
}  # fmt: skip


def _check_structural(schema, path):
    assert set(schema) <= _STRUCTURAL, path
    assert schema["type"] in {"object", "array", "string", "integer", "number", "boolean"}, path
    assert not ("properties" in schema and "additionalProperties" in schema), path
    assert set(schema.get("required", [])) <= set(schema.get("properties", {})), path
    if schema["type"] == "array":
        assert "items" in schema, path
    for key in schema.get("x-kubernetes-list-map-keys", []):
        assert key in schema["items"]["required"], path
    for word in ("oneOf", "anyOf", "allOf"):
        for rule in schema.get(word, []):
            _check_rule(rule, schema, path)
    for name, inner in schema.get("properties", {}).items():
        assert name == "metadata" or 0 < len(inner["description"].split()) <= 15, (path, name)
        _check_structural(inner, f"{path}.{name}")
    for inner in (schema.get("items"), schema.get("additionalProperties")):
        if inner is not None:
            _check_structural(inner, f"{path}[]")


def _check_rule(rule, schema, path):
    """Inside a rule only conditions on fields that stand outside of it are allowed."""
    assert set(rule) <= {"required", "not", "oneOf", "anyOf", "allOf"}, path
    assert set(rule.get("required", [])) <= set(schema["properties"]), path
    for inner in [*rule.get("oneOf", []), *rule.get("anyOf", []), *rule.get("allOf", [])]:
        _check_rule(inner, schema, path)
    if "not" in rule:
        _check_rule(rule["not"], schema, path)


@pytest.mark.parametrize("definition", custom_resource_definitions(), ids=lambda d: d["metadata"]["name"])
def test_schemas_are_structural(definition):
    """A schema keeps the rules by which apiextensions.k8s.io/v1 calls it structural, and describes each field briefly."""
    (version,) = definition["spec"]["versions"]
    root = version["schema"]["openAPIV3Schema"]

    _check_structural(root, definition["metadata"]["name"])
    assert root["properties"]["metadata"] == {"type": "object"}
    assert set(root["properties"]) == {"apiVersion", "kind", "metadata", "spec", "status"}
    assert version["subresources"] == {"status": {}}


@pytest.mark.parametrize(("struct", "group"), _GROUPS)
def test_a_one_of_group_is_a_rule_of_the_schema(struct, group):
    """Each group is in some CRD in the form that Kubernetes allows: none of them, or exactly one."""
    names = [wire_names(struct)[name] for name in group]
    present = [{"required": [name]} for name in names]

    assert {"oneOf": [{"not": {"anyOf": present}}, *present]} in list(_rules(custom_resource_definitions()))


def _rules(value):
    if isinstance(value, dict):
        if "oneOf" in value:
            yield {"oneOf": value["oneOf"]}
        for inner in value.values():
            yield from _rules(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _rules(inner)


def test_crds_as_text_are_the_crds():
    """The YAML text loads to the definitions, without anchors, and fits into kubectl's annotation of 256 KiB."""
    assert list(load_documents(crds_yaml())) == list(custom_resource_definitions())
    assert "&id" not in crds_yaml()
    for definition in custom_resource_definitions():
        assert len(msgspec.json.encode(definition)) < 200_000
