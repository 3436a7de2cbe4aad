"""Every field of the published API is accepted, survives a round trip and stands in the CRD."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from meshpass.api.crd import custom_resource_definitions
from meshpass.api.fieldpath import set_paths
from meshpass.api.kinds import KINDS
from meshpass.api.manifest import parse_object, to_raw

_FIELDS_FILE = Path(__file__).parents[4] / "shared" / "spec" / "api-fields.json"
_ROUTE_SELECTOR = [
    ("spec.applyToRoutes[].route.labels{}", "string"),
    ("spec.applyToRoutes[].route.namespace", "string"),
    ("spec.applyToRoutes[].route.cluster", "string"),
    ("spec.applyToRoutes[].route.workspace", "string"),
    ("spec.applyToRoutes[].withDestinations.selector.labels{}", "string"),
    ("spec.applyToRoutes[].withDestinations.selector.name", "string"),
    ("spec.applyToRoutes[].withDestinations.selector.namespace", "string"),
    ("spec.applyToRoutes[].withDestinations.selector.cluster", "string"),
    ("spec.applyToRoutes[].withDestinations.selector.workspace", "string"),
    ("spec.applyToRoutes[].withDestinations.kind", "enum(SERVICE|VIRTUAL_DESTINATION|EXTERNAL_SERVICE)"),
    ("spec.applyToRoutes[].withDestinations.port.number", "uint32"),
    ("spec.applyToRoutes[].withDestinations.port.name", "string"),
]
_CERTIFICATE = (
    ("ttlDays", "uint32"),
    ("rsaKeySizeBytes", "uint32"),
    ("orgName", "string"),
    ("secretRotationGracePeriodRatio", "float"),
)
_VAULT = "spec.config.agentCa.vault"
_ADDED = {
    "RootTrustPolicy": [
        *(
            (f"spec.config.{options}.{name}", words)
            for options in (
                "mgmtServerCa.generated",
                "intermediateCertOptions",
                "passiveCertificateAuthorities[].generated",
            )
            for name, words in _CERTIFICATE
        ),
        *(
            (f"{reference}.{name}", "string")
            for reference in (
                "spec.config.mgmtServerCa.secretRef",
                "spec.config.passiveCertificateAuthorities[].secretRef",
                f"{_VAULT}.caSecretRef",
                f"{_VAULT}.tokenSecretRef",
                f"{_VAULT}.kubernetesAuth.serviceAccountRef",
            )
            for name in ("name", "namespace")
        ),
        *((f"{_VAULT}.{name}", "string") for name in ("caPath", "csrPath", "server", "namespace", "caLocalPath")),
        (f"{_VAULT}.caBundle", "string"),
        *(
            (f"{_VAULT}.kubernetesAuth.{name}", "string")
            for name in ("mountPath", "role", "secretTokenKey", "mountedSaPath")
        ),
    ],
    "CORSPolicy": [("status.numSelectedRoutes", "uint32")],
    "RetryTimeoutPolicy": [
        *_ROUTE_SELECTOR,
        ("spec.config.retries.attempts", "Int32Value"),
        ("spec.config.retries.perTryTimeout", "Duration"),
        ("spec.config.retries.retryOn", "string"),
        ("spec.config.retries.retryRemoteLocalities", "BoolValue"),
        ("spec.config.requestTimeout", "Duration"),
        ("status.numSelectedRoutes", "uint32"),
    ],
    "FaultInjectionPolicy": [
        *_ROUTE_SELECTOR,
        ("spec.config.delay.fixedDelay", "Duration"),
        ("spec.config.delay.percentage", "DoubleValue"),
        ("spec.config.abort.httpStatus", "int32"),
        ("spec.config.abort.percentage", "DoubleValue"),
        ("status.numSelectedRoutes", "uint32"),
    ],
    "HeaderManipulationPolicy": [
        *_ROUTE_SELECTOR,
        *(
            (path.replace("applyToRoutes[].withDestinations", "applyToRouteDestinations[].onDestinations[]"), words)
            for path, words in _ROUTE_SELECTOR
            if "withDestinations" in path
        ),
        *(
            (path.replace("applyToRoutes[]", "applyToRouteDestinations[]"), words)
            for path, words in _ROUTE_SELECTOR
            if "withDestinations" not in path
        ),
        ("spec.config.appendRequestHeaders{}", "string"),
        ("spec.config.removeRequestHeaders[]", "string"),
        ("spec.config.appendResponseHeaders{}", "string"),
        ("spec.config.removeResponseHeaders[]", "string"),
        ("status.numSelectedRoutes", "uint32"),
    ],
    "JWTPolicy": [
        ("spec.config.providers{}.customDelimiter", "string"),
        ("spec.config.providers{}.remote.failedRefetchDuration", "Duration"),
        ("spec.config.providers{}.remote.retryPolicy.numRetries", "UInt32Value"),
        ("spec.config.providers{}.remote.retryPolicy.backoff.baseInterval", "Duration"),
        ("spec.config.providers{}.remote.retryPolicy.backoff.maxInterval", "Duration"),
    ],
    "RouteTable": [
        ("spec.http[].forwardTo.regexRewrite.pattern.regex", "string"),
        ("spec.http[].forwardTo.regexRewrite.substitution", "string"),
        ("spec.http[].graphql.schema.name", "string"),
        ("spec.http[].graphql.schema.namespace", "string"),
        ("spec.http[].graphql.stitchedSchema.clusterName", "string"),
    ],
    "VirtualGateway": [
        ("spec.listeners[].exposedExternalServices[].host", "string"),
        ("spec.listeners[].exposedExternalServices[].selector.labels{}", "string"),
        (
            "spec.listeners[].allowedRouteTables[].allowedRoutes[].cloudProvider.aws.regions[]",
            "string",
        ),
    ],
}
"""What the field list abbreviates or does not have."""
_CRDS = {definition["spec"]["names"]["kind"]: definition for definition in custom_resource_definitions()}
_STRING_TYPES = {"string", "Duration"}
_NUMBER_TYPES = {"float", "DoubleValue"}
_INT_TYPES = {"uint32", "int32", "int64", "UInt32Value", "Int32Value"}


def _cases() -> list[Any]:
    listed: dict[str, list[Any]] = json.loads(_FIELDS_FILE.read_text()) if _FIELDS_FILE.exists() else {}
    cases = []
    for kind in KINDS:
        fields = (
            list(listed.get(kind.kind, [])) + list(listed.get(f"{kind.kind}Status", [])) + _ADDED.get(kind.kind, [])
        )
        cases += [pytest.param(kind, path, words, id=f"{kind.kind}-{path}") for path, words in fields]
    return cases


def _steps(path: str) -> list[str]:
    """``a.b{}.c[]`` → a, b, {}, c, []."""
    return re.findall(r"\{\}|\[\]|[^.\[\]{}]+", path)


def _schemas(kind: str, path: str) -> list[dict[str, Any]]:
    """The schemas on the way to a field, the object's first."""
    (version,) = _CRDS[kind]["spec"]["versions"]
    found = [version["schema"]["openAPIV3Schema"]]
    for step in _steps(path):
        here = found[-1]
        match step:
            case "{}":
                found.append(here["additionalProperties"])
            case "[]":
                found.append(here["items"])
            case name:
                found.append(here["properties"][name])
    return found


def _sample(schema: dict[str, Any]) -> Any:
    """A value of a schema, with what it and its rules require and nothing else."""
    match schema["type"]:
        case "object":
            needed = {name: _sample(schema["properties"][name]) for name in schema.get("required", [])}
            rules = [rule["message"] for rule in schema.get("x-kubernetes-validations", [])]
            return needed | ({"destinations": [{}]} if "At least one destination must be specified." in rules else {})
        case "array":
            return [_sample(schema["items"])] if schema.get("minItems") else []
        case "string":
            if "enum" in schema:
                return schema["enum"][-1]
            # The protocol of a listener is a choice by a rule.
            text = "HTTP" if "Protocol" in schema.get("description", "") else "text"
            return "5m" if "ns|us" in schema.get("pattern", "") else text
        case "number":
            return 0.5
        case "integer":
            return max(schema.get("minimum", 0), min(7, schema.get("maximum", 7)))
        case other:
            return {"boolean": True}[other]


def _with_field(kind: str, path: str) -> Any:
    """An object in which the field at ``path`` is set, and what its ancestors require."""
    steps = _steps(path)
    schemas = _schemas(kind, path)
    value = _sample(schemas[-1])
    for step, schema in zip(reversed(steps), reversed(schemas[:-1]), strict=True):
        match step:
            case "{}":
                value = {"key": value}
            case "[]":
                value = [value]
            case name:
                value = _sample(schema) | {name: value}
    return value


@pytest.mark.skipif(not _FIELDS_FILE.exists(), reason="the published field list is not beside this repository")
def test_the_field_list_names_all_our_kinds():
    """The list that the other tests walk, with what is added to it, is not empty for any kind."""
    listed = json.loads(_FIELDS_FILE.read_text())

    assert [kind.kind for kind in KINDS if not (listed.get(kind.kind) or _ADDED.get(kind.kind))] == []


@pytest.mark.parametrize(("kind", "path", "words"), _cases())
def test_a_field_is_accepted_and_kept(kind, path, words):
    """An object that sets this field has no problem at the field, and the field survives dump and parse."""
    raw = {"apiVersion": kind.group_version, "kind": kind.kind, "metadata": {"name": "x"}} | {
        key: value for key, value in _with_field(kind.kind, path).items() if key in {"spec", "status"}
    }

    parsed = parse_object(raw)

    assert [problem for problem in parsed.problems if "is required" not in problem] == []
    dumped = to_raw(parsed.object)
    assert parse_object(dumped).object == parsed.object
    assert _present(dumped, _steps(path)), dumped


def _present(value: Any, steps: list[str]) -> bool:
    for step in steps:
        match step:
            case "{}":
                value = value["key"]
            case "[]":
                value = value[0]
            case name if name in value:
                value = value[name]
            case _:
                return False
    return True


@pytest.mark.parametrize(("kind", "path", "words"), _cases())
def test_a_field_stands_in_the_crd(kind, path, words):
    """The CRD has the field with the type, the values and the nullability that the list gives."""
    type_words, _, _ = words.partition(" oneof:")
    schema = _schemas(kind.kind, path)[-1]

    assert _schemas(kind.kind, path.rstrip("[]{}"))[-1]["description"]
    if type_words.startswith("enum("):
        assert schema["enum"] == type_words.removeprefix("enum(").removesuffix(")").split("|")
    elif type_words in _STRING_TYPES:
        assert schema["type"] == "string"
    elif type_words in _INT_TYPES:
        assert schema["type"] == "integer"
    elif type_words in _NUMBER_TYPES:
        assert schema["type"] == "number"
    elif type_words in {"bool", "BoolValue"}:
        assert schema["type"] == "boolean"
    else:
        assert schema["type"] == "object"
    assert schema.get("nullable", False) == type_words.endswith("Value")
    if type_words == "Duration":
        assert re.search(schema["pattern"], "1m30s")
        assert not re.search(schema["pattern"], "soon")


@pytest.mark.parametrize(("kind", "path", "words"), [case for case in _cases() if case.values[1].startswith("spec.")])
def test_a_set_field_is_named_by_set_paths(kind, path, words):
    """set_paths yields the path that the list has, so that effects can be looked up by it."""
    raw = {"apiVersion": kind.group_version, "kind": kind.kind, "metadata": {"name": "x"}} | {
        key: value for key, value in _with_field(kind.kind, path).items() if key == "spec"
    }

    found = [schema for schema, _ in set_paths(parse_object(raw).object.spec)]

    assert any(name == path or name.startswith((f"{path}.", f"{path}[")) for name in found), found


def test_no_crd_field_of_a_spec_is_missing_from_the_list():
    """Nothing is in our specs that the published list, or its additions, does not have."""
    if not _FIELDS_FILE.exists():
        pytest.skip("the published field list is not beside this repository")
    listed = json.loads(_FIELDS_FILE.read_text())
    extra = []
    for kind in KINDS:
        known = {path for path, _ in listed.get(kind.kind, [])} | {path for path, _ in _ADDED.get(kind.kind, [])}
        for path in _leaves("spec", _schemas(kind.kind, "spec")[-1]):
            prefixes = ("exposedExternalServices[].selector", "allowedRoutes[].cloudProvider", "graphql.s")
            if path not in known and not any(prefix in path for prefix in prefixes):
                extra.append(f"{kind.kind} {path}")

    assert [path for path in extra if "regexRewrite" not in path] == []


def _leaves(path: str, schema: dict[str, Any]) -> list[str]:
    if "properties" in schema:
        return [leaf for name, inner in schema["properties"].items() for leaf in _leaves(f"{path}.{name}", inner)]
    if "items" in schema:
        return _leaves(f"{path}[]", schema["items"])
    if isinstance(schema.get("additionalProperties"), dict):
        return _leaves(f"{path}{{}}", schema["additionalProperties"])
    return [path]
