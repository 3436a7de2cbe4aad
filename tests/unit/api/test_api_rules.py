"""The rules that admission holds our kinds to: each refuses what it is there for, in the API's own words, and no more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from meshpass.api.crd import crds_yaml, custom_resource_definitions
from meshpass.api.manifest import load_documents
from meshpass.api.routetable import MAX_ROUTES
from meshpass.apiserver.crd import resources_from_crd, validate_crd
from meshpass.apiserver.resource import Resource
from meshpass.apiserver.validation import validate

DEFINITIONS = custom_resource_definitions()
RESOURCES: dict[str, Resource] = {
    resource.kind: resource for definition in DEFINITIONS for resource in resources_from_crd(definition)
}
GOLDEN = sorted((Path(__file__).parents[2] / "golden").rglob("in.yaml"))

REF = {"ref": {"name": "a"}}
FORWARD = {"forwardTo": {"destinations": [REF]}}
TABLE = {"hosts": ["a.example"], "http": [FORWARD]}
CHILD = {"http": [FORWARD]}
PORT = {"number": 80, "protocol": "HTTP"}
DELEGATED = "field must be empty or unset for delegated RouteTables."
PROTOCOL = (
    "appProtocol must be one of: GRPC, GRPC-WEB, HTTP, HTTP_PROXY, HTTP2, HTTPS, TCP, TLS, MONGO, REDIS, or MYSQL."
)


def faults(kind: str, spec: Any) -> list[str]:
    resource = RESOURCES[kind]
    metadata = {"name": "a", "namespace": "b"}
    return [str(cause) for cause in validate(resource, {"metadata": metadata, "spec": spec} | type_meta(resource))]


def type_meta(resource: Resource) -> dict[str, str]:
    return {"apiVersion": resource.group_version, "kind": resource.kind}


def listener(**fields: Any) -> dict[str, Any]:
    return {"listeners": [{"port": {"number": 80}, **fields}]}


def tls(**fields: Any) -> dict[str, Any]:
    return {"hosts": ["a.example"], "ports": [{"number": 443, "clientsideTls": fields}]}


REFUSED = [
    ("RouteTable", {"hosts": ["a"]}, "spec", "At least one of http, tcp, or tls keys must be set."),
    ("RouteTable", {}, "spec", "At least one of http, tcp, or tls keys must be set."),
    ("RouteTable", CHILD | {"virtualGateways": [{"name": "g"}]}, "spec", f"The virtualGateways {DELEGATED}"),
    ("RouteTable", CHILD | {"hosts": [], "virtualGateways": [{}]}, "spec", f"The virtualGateways {DELEGATED}"),
    ("RouteTable", CHILD | {"applyToDestinations": [{}]}, "spec", f"The applyToDestinations {DELEGATED}"),
    ("RouteTable", CHILD | {"failureMode": "FREEZE_CONFIG"}, "spec", f"The failureMode {DELEGATED}"),
    (
        "RouteTable",
        {"hosts": ["a"], "http": [{"redirect": {}}], "defaultDestination": REF},
        "spec",
        "defaultDestination can only be set for http routes with forwardTo actions.",
    ),
    (
        "RouteTable",
        {"hosts": ["a"], "tls": [], "defaultDestination": REF},
        "spec",
        "defaultDestination can only be set for http routes with forwardTo actions.",
    ),
    *(
        (
            "RouteTable",
            {"hosts": ["a"], "http": [FORWARD, {"forwardTo": without}]},
            "spec",
            "defaultDestination must be set when http forwardTo actions without destinations are specified.",
        )
        for without in ({}, {"destinations": []})
    ),
    (
        "RouteTable",
        TABLE | {"workloadSelectors": [{}, {"kind": "VM"}]},
        "spec.workloadSelectors[1]",
        "Selector kind must be KUBE or not set.",
    ),
    *(
        (
            "RouteTable",
            {"hosts": ["a"], "tcp": [{"forwardTo": without}]},
            "spec.tcp[0].forwardTo",
            "At least one destination must be specified.",
        )
        for without in ({}, {"destinations": []})
    ),
    (
        "VirtualDestination",
        {"ports": [PORT]},
        "spec",
        "At least one of hosts, services, externalServices, or externalWorkloads must be set.",
    ),
    (
        "VirtualDestination",
        {"hosts": ["a"], "ports": [PORT, PORT | {"targetPort": {"number": 1}}]},
        "spec",
        "When using targetPort, at least one of services, externalServices, or externalWorkloads must be set.",
    ),
    ("VirtualGateway", {"listeners": [{"port": {}, "http": {}}]}, "spec.listeners[0]", "Either port.number or port.name must be set."),
    ("VirtualGateway", listener(appProtocol="UDP"), "spec.listeners[0]", PROTOCOL),
    (
        "VirtualGateway",
        listener(http={}, tls={}, appProtocol="HTTP"),
        "spec.listeners[0]",
        "appProtocol of HTTP listeners with tls must be unset or HTTPS.",
    ),
    (
        "VirtualGateway",
        listener(http={}, appProtocol="HTTPS"),
        "spec.listeners[0]",
        "appProtocol of HTTP listeners without tls must be unset or one of: GRPC, GRPC-WEB, HTTP, HTTP_PROXY, HTTP2.",
    ),
    (
        "VirtualGateway",
        listener(tcp={}, tls={}, appProtocol="TCP"),
        "spec.listeners[0]",
        "appProtocol of TCP listeners with tls must be unset or TLS.",
    ),
    (
        "VirtualGateway",
        listener(appProtocol="TLS"),
        "spec.listeners[0]",
        "appProtocol of TCP listeners without tls must be unset or one of: TCP, MONGO, REDIS, MYSQL.",
    ),
    (
        "VirtualGateway",
        listener(tcp={}, httpsRedirect=True),
        "spec.listeners[0]",
        "httpsRedirect can only be set for HTTP listeners.",
    ),
    (
        "VirtualGateway",
        listener(http={}) | {"workloads": [{"kind": "VM"}]},
        "spec.workloads[0]",
        "selector kind must be KUBE or not set",
    ),
    (
        "ExternalService",
        tls(mode="MUTUAL", clientCertificate="/a"),
        "spec.ports[0].clientsideTls",
        "clientCertificate and privateKey, or credentialName, must be set when mode is MUTUAL.",
    ),
    (
        "ExternalService",
        tls(mode="ISTIO_MUTUAL", credentialName="a"),
        "spec.ports[0].clientsideTls",
        "credentialName must be unset when mode is ISTIO_MUTUAL.",
    ),
    (
        "ExternalService",
        tls(mode="ISTIO_MUTUAL", privateKey="/a"),
        "spec.ports[0].clientsideTls",
        "clientCertificate and privateKey must be unset when mode is ISTIO_MUTUAL.",
    ),
    (
        "ExternalService",
        {"addresses": ["10.0.0.1"], "ports": [{"egressGatewayRoutes": {}}]},
        "spec",
        "egressGatewayRoutes can only be set for external services with hosts.",
    ),
]  # fmt: skip

ALLOWED = [
    ("RouteTable", TABLE),
    ("RouteTable", CHILD),
    ("RouteTable", CHILD | {"virtualGateways": [], "applyToDestinations": [], "weight": 1}),
    ("RouteTable", TABLE | {"virtualGateways": [{}], "applyToDestinations": [{}], "failureMode": "FREEZE_CONFIG"}),
    ("RouteTable", {"hosts": ["a"], "http": [{"redirect": {}}, {"forwardTo": {}}], "defaultDestination": REF}),
    ("RouteTable", {"hosts": ["a"], "http": [{"redirect": {}}, {"delegate": {}}]}),
    ("RouteTable", TABLE | {"workloadSelectors": [{}, {"kind": "KUBE"}]}),
    ("RouteTable", {"hosts": ["a"], "tcp": [FORWARD, {}]}),
    ("RouteTable", {"hosts": ["a"], "tls": [{"matchers": [{"sniHosts": ["a"]}], **FORWARD}]}),
    ("VirtualDestination", {"hosts": ["a"], "ports": [PORT]}),
    *(
        ("VirtualDestination", {backing: [{}], "ports": [PORT | {"targetPort": {"name": "http"}}]})
        for backing in ("services", "externalServices", "externalWorkloads")
    ),
    ("VirtualGateway", {"listeners": [{"port": {"name": "http"}, "http": {}}], "workloads": [{"kind": "KUBE"}, {}]}),
    *(("VirtualGateway", listener(http={}, tls={}, appProtocol=name)) for name in ("", "HTTPS")),
    *(("VirtualGateway", listener(http={}, appProtocol=name)) for name in ("", "GRPC", "GRPC-WEB", "HTTP", "HTTP_PROXY", "HTTP2")),
    *(("VirtualGateway", listener(tls={}, appProtocol=name)) for name in ("", "TLS")),
    *(("VirtualGateway", listener(tcp={}, appProtocol=name)) for name in ("", "TCP", "MONGO", "REDIS", "MYSQL")),
    ("VirtualGateway", listener(http={}, httpsRedirect=True)),
    ("VirtualGateway", listener(tcp={}, httpsRedirect=False)),
    ("ExternalService", tls()),
    ("ExternalService", tls(mode="MUTUAL", clientCertificate="/a", privateKey="/b")),
    ("ExternalService", tls(mode="MUTUAL", credentialName="a")),
    ("ExternalService", tls(mode="ISTIO_MUTUAL", sni="a")),
    ("ExternalService", {"hosts": ["a"], "ports": [{"egressGatewayRoutes": {}}]}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "spec", "path", "message"), REFUSED)
def test_a_rule_refuses_in_the_words_of_the_api(kind, spec, path, message):
    """The message stands alone for what it is there for, at the path of the value that breaks the rule."""
    assert faults(kind, spec)[0] == f'{path}: Invalid value: "object": {message}'
    assert {fault.split(": ")[0] for fault in faults(kind, spec)} == {path}


@pytest.mark.parametrize(("kind", "spec"), ALLOWED)
def test_what_no_rule_is_against_is_let_in(kind, spec):
    """Each rule has a neighbour of what it refuses that it lets pass."""
    assert faults(kind, spec) == []


def test_every_rule_is_shown_to_refuse():
    """No rule is in a definition without a case above."""
    told = {message for *_, message in REFUSED}

    assert {rule["message"] for definition in DEFINITIONS for rule in _rules(definition)} == told


def _rules(value: Any) -> list[dict[str, str]]:
    if isinstance(value, dict):
        here = value.get("x-kubernetes-validations", [])
        return [*here, *(rule for inner in value.values() for rule in _rules(inner))]
    return [rule for inner in value for rule in _rules(inner)] if isinstance(value, list | tuple) else []


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda definition: definition["metadata"]["name"])
def test_our_definitions_are_sound(definition):
    """Every expression of ours compiles against the schema that it stands in, and a server takes the definition."""
    assert validate_crd(definition) == ()


@pytest.mark.parametrize("count", [9_990, 9_991, MAX_ROUTES])
def test_a_table_of_any_length_is_judged(count):
    """The longest table that the schema allows is let in, whichever way its routes go."""
    for route in (FORWARD, {"redirect": {}}, {"directResponse": {"status": 200}}):
        assert faults("RouteTable", {"hosts": ["a"], "http": [route] * count}) == []


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: f"{path.parent.parent.name}/{path.parent.name}")
def test_rules_and_translation_are_of_one_mind(path):
    """No golden object that translation finds nothing wrong with is refused; what came in without rules is told of."""
    messages = {rule["message"] for definition in DEFINITIONS for rule in _rules(definition)}
    statuses = yaml.safe_load((path.parent / "status.yaml").read_text())
    refused = []
    for document in load_documents(path.read_text()):
        resource, metadata = RESOURCES.get(document.get("kind", "")), document["metadata"]
        if resource is None:
            continue
        found = [str(cause) for cause in validate(resource, document)]
        name = f"/{metadata.get('namespace')}/{metadata['name']}"
        accepted = any(
            key.startswith(f"{resource.kind} ") and key.endswith(name) and status["approval"] == "ACCEPTED"
            for key, status in statuses.items()
        )
        refused += [fault for fault in found if accepted and fault.endswith(tuple(messages))]

    assert refused == []


def test_the_words_survive_yaml():
    """The definitions that are printed for real clusters have the rules as they are declared."""
    printed = list(yaml.safe_load_all(crds_yaml()))

    assert [_rules(definition) for definition in printed] == [_rules(definition) for definition in DEFINITIONS]
