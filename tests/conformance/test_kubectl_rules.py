"""Rules of definitions as a user meets them: kubectl and the Python client against the embedded API server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from tests.support.apiserver import RunningApiServer, run_api_server
from tests.support.kubectl import KUBECTL_MARKS, Kubectl

from meshpass.api.crd import custom_resource_definitions

pytestmark = KUBECTL_MARKS

GROUP = "networking.gloo.solo.io"
FORWARD = {"forwardTo": {"destinations": [{"ref": {"name": "a"}}]}}
PORT = {"number": 80, "protocol": "HTTP"}
DELEGATED = "field must be empty or unset for delegated RouteTables."
REFUSED = [
    ("RouteTable", {"http": [FORWARD], "virtualGateways": [{"name": "g"}]}, f"The virtualGateways {DELEGATED}"),
    ("RouteTable", {"http": [FORWARD], "applyToDestinations": [{}]}, f"The applyToDestinations {DELEGATED}"),
    ("RouteTable", {"http": [FORWARD], "failureMode": "FREEZE_CONFIG"}, f"The failureMode {DELEGATED}"),
    ("RouteTable", {"hosts": ["a"]}, "At least one of http, tcp, or tls keys must be set."),
    (
        "RouteTable",
        {"hosts": ["a"], "http": [{"redirect": {}}], "defaultDestination": {"ref": {"name": "a"}}},
        "defaultDestination can only be set for http routes with forwardTo actions.",
    ),
    (
        "RouteTable",
        {"hosts": ["a"], "http": [{"forwardTo": {}}]},
        "defaultDestination must be set when http forwardTo actions without destinations are specified.",
    ),
    (
        "RouteTable",
        {"hosts": ["a"], "http": [FORWARD], "workloadSelectors": [{"kind": "VM"}]},
        "Selector kind must be KUBE or not set.",
    ),
    (
        "RouteTable",
        {"hosts": ["a"], "tcp": [{"forwardTo": {"destinations": []}}]},
        "At least one destination must be specified.",
    ),
    (
        "VirtualDestination",
        {"hosts": ["a"], "ports": [PORT | {"targetPort": {"number": 1}}]},
        "When using targetPort, at least one of services, externalServices, or externalWorkloads must be set.",
    ),
    (
        "VirtualDestination",
        {"ports": [PORT]},
        "At least one of hosts, services, externalServices, or externalWorkloads must be set.",
    ),
    ("VirtualGateway", {"listeners": [{"http": {}, "port": {}}]}, "Either port.number or port.name must be set."),
    (
        "VirtualGateway",
        {"listeners": [{"http": {}, "port": {"number": 80}, "appProtocol": "UDP"}]},
        ("appProtocol must be one of: "
        "GRPC, GRPC-WEB, HTTP, HTTP_PROXY, HTTP2, HTTPS, TCP, TLS, MONGO, REDIS, or MYSQL."),
    ),
    (
        "VirtualGateway",
        {"listeners": [{"http": {}, "port": {"number": 80}}], "workloads": [{"kind": "VM"}]},
        "selector kind must be KUBE or not set",
    ),
]  # fmt: skip
LEASES = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "leases.example.com"},
    "spec": {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"plural": "leases", "singular": "lease", "kind": "Lease", "listKind": "LeaseList"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "properties": {
                                    "holder": {
                                        "type": "string",
                                        "x-kubernetes-validations": [
                                            {"rule": "self == oldSelf", "message": "holder is immutable"}
                                        ],
                                    },
                                    "seconds": {"type": "integer", "default": 10},
                                },
                                "x-kubernetes-validations": [
                                    {
                                        "rule": "self.seconds > 0",
                                        "messageExpression": "'%d seconds are too few'.format([self.seconds])",
                                        "fieldPath": ".seconds",
                                    }
                                ],
                            },
                            "status": {
                                "type": "object",
                                "properties": {"turns": {"type": "integer"}},
                                "x-kubernetes-validations": [
                                    {"rule": "self.turns >= oldSelf.turns", "message": "turns never fall"}
                                ],
                            },
                        },
                    }
                },
            }
        ],
    },
}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RunningApiServer]:
    async with run_api_server(tmp_path, crds=tuple(custom_resource_definitions())) as running:
        yield running


@pytest.fixture
def kubectl(server: RunningApiServer, tmp_path: Path) -> Kubectl:
    return Kubectl(server, tmp_path)


def manifest(kind: str, spec: Any, *, api_version: str = f"{GROUP}/v2") -> str:
    metadata = {"name": "a", "namespace": "default"}
    return yaml.safe_dump({"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec})


def lease(**spec: Any) -> str:
    return manifest("Lease", spec, api_version="example.com/v1")


async def test_every_message_of_the_api_comes_through_apply(kubectl: Kubectl):
    """Each is told as Kubernetes tells it, for real and in a server-side dry run, and nothing is stored."""
    for kind, spec, message in REFUSED:
        for arguments in (("apply",), ("apply", "--dry-run=server"), ("create",)):
            told = await kubectl.fails(*arguments, "-f", "-", stdin=manifest(kind, spec))
            assert f'The {kind} "a" is invalid: ' in told, (kind, arguments)
            assert f'Invalid value: "object": {message}\n' in told, (kind, arguments)
    found = await kubectl.ok("get", "routetables,virtualgateways,virtualdestinations", "-A")
    assert "No resources found" in found.err


async def test_a_patch_is_held_to_the_rules(kubectl: Kubectl):
    """What makes a good object a bad one is refused by every verb that could, and the object stays as it was."""
    good = {"hosts": ["a.example"], "http": [FORWARD], "virtualGateways": [{"name": "g"}]}
    await kubectl.ok("apply", "-f", "-", stdin=manifest("RouteTable", good))
    patch = '{"spec": {"hosts": null}}'
    for arguments in (
        ("--type=merge", "-p", patch),
        ("--type=json", "-p", '[{"op": "remove", "path": "/spec/hosts"}]'),
    ):
        assert DELEGATED in await kubectl.fails("patch", "routetable", "a", *arguments)
    assert DELEGATED in await kubectl.fails("replace", "-f", "-", stdin=manifest("RouteTable", good | {"hosts": []}))
    found = yaml.safe_load((await kubectl.ok("get", "routetable", "a", "-o", "yaml")).out)
    assert found["spec"] == good


async def test_rules_of_a_kind_of_the_users_own(kubectl: Kubectl):
    """Defaults come first; a rule of a change holds on update alone; status is judged too; one is told of each fault."""
    await kubectl.ok("apply", "-f", "-", stdin=yaml.safe_dump(LEASES))
    await kubectl.ok("wait", "--for=condition=Established", "crd/leases.example.com", "--timeout=10s")
    await kubectl.ok("apply", "-f", "-", stdin=lease(holder="me"))
    told = await kubectl.fails("apply", "-f", "-", stdin=lease(holder="you", seconds=0))
    assert 'spec.seconds: Invalid value: "object": 0 seconds are too few' in told
    assert 'spec.holder: Invalid value: "string": holder is immutable' in told
    await kubectl.ok("apply", "-f", "-", stdin=lease(holder="me", seconds=5))
    status = ("patch", "leases.example.com", "a", "--subresource=status", "--type=merge", "-p")
    await kubectl.ok(*status, '{"status": {"turns": 2}}')
    assert 'status: Invalid value: "object": turns never fall' in await kubectl.fails(
        *status, '{"status": {"turns": 1}}'
    )


async def test_a_definition_whose_rule_does_not_compile(kubectl: Kubectl):
    """It is refused with the place in the expression."""
    wrong = yaml.safe_dump(LEASES).replace("self.seconds > 0", "self.minutes > 0")

    told = await kubectl.fails("apply", "-f", "-", stdin=wrong)

    assert 'The CustomResourceDefinition "leases.example.com" is invalid' in told
    assert "compilation failed: ERROR: <input>:1:5: undefined field 'minutes'" in told


async def test_the_python_client_sees_the_causes(server: RunningApiServer):
    """422 with a cause per rule: its field, reason and message."""

    def session() -> dict[str, Any]:
        api = config.new_client_from_config(str(server.kubeconfig))
        body = yaml.safe_load(manifest("RouteTable", {"virtualGateways": [{}]}))
        with pytest.raises(ApiException) as refused:
            client.CustomObjectsApi(api).create_namespaced_custom_object(GROUP, "v2", "default", "routetables", body)
        api.close()
        assert refused.value.status == 422
        answer: dict[str, Any] = yaml.safe_load(refused.value.body)
        return answer

    status = await asyncio.to_thread(session)

    messages = ["At least one of http, tcp, or tls keys must be set.", f"The virtualGateways {DELEGATED}"]
    assert status["reason"] == "Invalid"
    assert status["details"]["causes"] == [
        {"reason": "FieldValueInvalid", "message": f'Invalid value: "object": {message}', "field": "spec"}
        for message in messages
    ]
    assert status["message"].startswith(f'RouteTable.{GROUP} "a" is invalid: [spec: Invalid value: "object": ')
