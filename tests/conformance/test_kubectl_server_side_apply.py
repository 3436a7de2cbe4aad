"""Server-side apply as its users know it: kubectl and the official Python client against the embedded API server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic import DynamicClient
from tests.support.apiserver import RunningApiServer, run_api_server
from tests.support.kubectl import KUBECTL_MARKS, Kubectl

from meshpass.api.crd import custom_resource_definitions

pytestmark = KUBECTL_MARKS

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: a, namespace: default, labels: {app: a}}
spec:
  replicas: 2
  selector: {matchLabels: {app: a}}
  template:
    metadata: {labels: {app: a}}
    spec:
      containers:
      - name: web
        image: web:1
        ports: [{containerPort: 80}]
"""
TABLE = """
apiVersion: networking.gloo.solo.io/v2
kind: RouteTable
metadata: {name: a, namespace: default, annotations: {note: x}}
spec:
  hosts: [a.example]
  virtualGateways: [{name: g}]
  http:
  - name: first
    forwardTo: {destinations: [{ref: {name: a}}]}
"""
APPLY = ("apply", "--server-side", "-f", "-")
OWN_KIND = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: teams.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: teams, kind: Team}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            x-kubernetes-validations: [{rule: "self.members.size() < 4", message: no more than three}]
            properties:
              topics: {type: array, items: {type: string}, x-kubernetes-list-type: set}
              members:
                type: array
                maxItems: 10
                x-kubernetes-list-type: map
                x-kubernetes-list-map-keys: [name, role]
                items:
                  type: object
                  required: [name]
                  properties: {name: {type: string}, role: {type: string, default: writer}, hours: {type: integer}}
          status: {type: object, properties: {state: {type: string}}}
"""


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RunningApiServer]:
    async with run_api_server(tmp_path, crds=tuple(custom_resource_definitions())) as running:
        yield running


@pytest.fixture
def kubectl(server: RunningApiServer, tmp_path: Path) -> Kubectl:
    return Kubectl(server, tmp_path)


async def stored(kubectl: Kubectl, *what: str) -> dict[str, Any]:
    found: dict[str, Any] = (await kubectl.ok("get", *what, "-o", "json", "--show-managed-fields")).json
    return found


def owners(value: Mapping[str, Any]) -> dict[tuple[str, str], Any]:
    entries = value["metadata"].get("managedFields", ())
    return {(entry["manager"], entry["operation"]): entry["fieldsV1"] for entry in entries}


async def test_apply_change_and_remove(kubectl: Kubectl):
    """What a manifest no longer says is gone, or as it is by default; to apply it again is no revision."""
    assert (await kubectl.ok(*APPLY, stdin=DEPLOYMENT)).out == "deployment.apps/a serverside-applied\n"
    made = await stored(kubectl, "deployment", "a")
    assert made["spec"]["replicas"] == 2
    assert list(owners(made)) == [("kubectl", "Apply")]
    assert LAST_APPLIED not in made["metadata"].get("annotations", {})

    await kubectl.ok(*APPLY, stdin=DEPLOYMENT)
    assert await stored(kubectl, "deployment", "a") == made
    less = DEPLOYMENT.replace(", labels: {app: a}}\nspec:", "}\nspec:").replace("  replicas: 2\n", "")
    less = less.replace("        ports: [{containerPort: 80}]\n", "")
    await kubectl.ok(*APPLY, stdin=less)
    left = await stored(kubectl, "deployment", "a")
    assert left["spec"]["replicas"] == 1
    assert "labels" not in left["metadata"]
    assert "ports" not in left["spec"]["template"]["spec"]["containers"][0]
    assert left["metadata"]["generation"] == 2


async def test_what_was_applied_on_the_clients_side_comes_over(kubectl: Kubectl):
    """No conflict, no annotation left to go stale, and one owner, who can take back what the other way has set."""
    for manifest, what, gone in (
        (DEPLOYMENT, "deployment", "  replicas: 2\n"),
        (TABLE, "routetable", "  virtualGateways: [{name: g}]\n"),
    ):
        await kubectl.ok("apply", "-f", "-", stdin=manifest)
        assert list(owners(await stored(kubectl, what, "a"))) == [("kubectl-client-side-apply", "Update")]

        answer = await kubectl.ok(*APPLY, stdin=manifest)
        assert "serverside-applied" in answer.out
        moved = await stored(kubectl, what, "a")
        assert {operation for _, operation in owners(moved)} == {"Apply"}
        assert ("kubectl", "Apply") in owners(moved)
        before = moved["spec"].keys()
        await kubectl.ok(*APPLY, stdin=manifest.replace(gone, ""))
        after = await stored(kubectl, what, "a")
        assert json.loads(after["metadata"]["annotations"][LAST_APPLIED])["spec"].keys() < before
        assert after["spec"].get("virtualGateways") is None
        assert after["spec"].get("replicas", 1) == 1


async def test_a_value_that_another_changed_is_a_conflict(kubectl: Kubectl):
    """Though the object was applied on the client's side; told with manager and field; forced when asked to."""
    await kubectl.ok("apply", "-f", "-", stdin=DEPLOYMENT)
    await kubectl.ok(
        "patch", "deployment", "a", "--type=merge", "-p", '{"spec":{"replicas":5}}', "--field-manager=scaler"
    )

    told = await kubectl.fails(*APPLY, stdin=DEPLOYMENT)
    assert 'Apply failed with 1 conflict: conflict with "scaler" using apps/v1: .spec.replicas' in told
    assert "--force-conflicts" in told
    await kubectl.ok("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=DEPLOYMENT)

    found = await stored(kubectl, "deployment", "a")
    assert found["spec"]["replicas"] == 2
    assert "scaler" not in {name for name, _ in owners(found)}


async def test_two_managers_share_an_object(kubectl: Kubectl):
    """Each has its own fields; several conflicts are listed; what both say belongs to both."""
    await kubectl.ok(*APPLY, "--field-manager=one", stdin=TABLE)
    label = "apiVersion: networking.gloo.solo.io/v2\nkind: RouteTable\nmetadata: {name: a, labels: {x: z}}\n"
    await kubectl.ok(*APPLY, "--field-manager=two", stdin=label)
    other = TABLE.replace("a.example", "b.example").replace("note: x", "note: z")

    told = await kubectl.fails(*APPLY, "--field-manager=two", stdin=other)
    assert 'Apply failed with 2 conflicts: conflicts with "one":\n- .metadata.annotations.note\n- .spec.hosts' in told
    await kubectl.ok(*APPLY, "--field-manager=two", stdin=TABLE)
    await kubectl.ok(*APPLY, "--field-manager=one", stdin=label.replace(", labels: {x: z}", ""))
    found = await stored(kubectl, "routetable", "a")
    assert found["spec"]["hosts"] == ["a.example"]
    assert list(owners(found)) == [("two", "Apply")]


async def test_kinds_of_the_users_own(kubectl: Kubectl):
    """Lists by keys, with a default among them, and sets; rules judge the whole object that an apply makes."""
    await kubectl.ok(*APPLY, stdin=OWN_KIND)
    await kubectl.ok("wait", "--for=condition=Established", "crd/teams.example.com", "--timeout=10s")

    def team(*members: str, topics: str = "[]") -> str:
        listed = ", ".join(members)
        return (
            "apiVersion: example.com/v1\nkind: Team\nmetadata: {name: a}\n"
            f"spec: {{members: [{listed}], topics: {topics}}}\n"
        )

    await kubectl.ok(*APPLY, "--field-manager=one", stdin=team("{name: ann}", "{name: bob, hours: 3}", topics="[x]"))
    await kubectl.ok(*APPLY, "--field-manager=two", stdin=team("{name: ann, role: reader}", topics="[z]"))
    found = await stored(kubectl, "team", "a")
    assert [(member["name"], member["role"]) for member in found["spec"]["members"]] == [
        ("ann", "writer"),
        ("bob", "writer"),
        ("ann", "reader"),
    ]
    assert found["spec"]["topics"] == ["x", "z"]
    assert 'k:{"name":"ann","role":"reader"}' in owners(found)["two", "Apply"]["f:spec"]["f:members"]
    told = await kubectl.fails(*APPLY, "--field-manager=two", stdin=team("{name: cid}", "{name: dan}"))
    assert "no more than three" in told
    told = await kubectl.fails(*APPLY, "--field-manager=two", stdin=team("{name: bob, hours: 4}"))
    assert '.spec.members[name="bob",role="writer"].hours' in told
    told = await kubectl.fails(*APPLY, stdin=team("{name: cid}", "{name: cid}"))
    assert 'duplicate entries for key [name="cid",role="writer"]' in told
    await kubectl.ok(*APPLY, "--field-manager=one", stdin=team("{name: bob, hours: 3}"))
    left = await stored(kubectl, "team", "a")
    assert [(member["name"], member["role"]) for member in left["spec"]["members"]] == [
        ("bob", "writer"),
        ("ann", "reader"),
    ]


async def test_dry_run_and_diff_store_nothing(kubectl: Kubectl):
    """What would be is shown, conflicts included."""
    await kubectl.ok(*APPLY, stdin=DEPLOYMENT)
    before = await stored(kubectl, "deployment", "a")
    changed = DEPLOYMENT.replace("web:1", "web:2")

    answer = await kubectl.ok(*APPLY, "--dry-run=server", "-o", "jsonpath={..image}", stdin=changed)
    assert answer.out == "web:2"
    shown = await kubectl.run("diff", "--server-side", "-f", "-", stdin=changed)
    assert shown.code == 1
    assert "-      - image: web:1" in shown.out
    assert "+      - image: web:2" in shown.out
    assert (await kubectl.run("diff", "--server-side", "-f", "-", stdin=DEPLOYMENT)).code == 0
    told = await kubectl.fails(
        "apply", "--server-side", "--dry-run=server", "--field-manager=x", "-f", "-", stdin=changed
    )
    assert 'conflict with "kubectl": .spec.template.spec.containers[name="web"].image' in told
    assert await stored(kubectl, "deployment", "a") == before


async def test_edit_owns_what_it_changes(kubectl: Kubectl):
    """And is in the way of the next apply."""
    await kubectl.ok(*APPLY, stdin=TABLE)
    editor = kubectl.environment(EDITOR="sed -i -e s/a.example/c.example/")
    await kubectl.ok("edit", "routetable", "a", environment=editor)

    found = await stored(kubectl, "routetable", "a")
    assert found["spec"]["hosts"] == ["c.example"]
    assert owners(found)["kubectl-edit", "Update"]["f:spec"] == {"f:hosts": {}}
    told = await kubectl.fails(*APPLY, stdin=TABLE)
    assert 'conflict with "kubectl-edit" using networking.gloo.solo.io/v2: .spec.hosts' in told


async def test_what_is_no_configuration_is_told(kubectl: Kubectl):
    """Unknown fields with and without validation, and items without their key."""
    for arguments in (APPLY, (*APPLY, "--validate=false")):
        told = await kubectl.fails(*arguments, stdin=DEPLOYMENT.replace("replicas: 2", "replica: 2"))
        assert "failed to create typed patch object (default/a; apps/v1, Kind=Deployment)" in told
        assert ".spec.replica: field not declared in schema" in told
    told = await kubectl.fails(*APPLY, stdin=DEPLOYMENT.replace("- name: web\n        image", "- image"))
    assert 'element 0: associative list with keys has an element that omits key field "name"' in told


async def test_managed_fields_are_shown_when_asked_for(kubectl: Kubectl):
    """Left out of YAML otherwise, and told by a watch."""
    await kubectl.ok(*APPLY, stdin=TABLE)
    shown = yaml.safe_load((await kubectl.ok("get", "routetable", "a", "-o", "yaml", "--show-managed-fields")).out)
    hidden = yaml.safe_load((await kubectl.ok("get", "routetable", "a", "-o", "yaml")).out)

    assert shown["metadata"].pop("managedFields")[0]["manager"] == "kubectl"
    assert shown == hidden


async def test_the_python_client_applies(server: RunningApiServer):
    """The typed client and the dynamic one; a conflict has its causes, and a status is applied through its own URL."""

    def run() -> None:
        with config.new_client_from_config(str(server.kubeconfig)) as api:
            core = client.CoreV1Api(api)
            body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"a": "1"}}
            apply = {"_content_type": "application/apply-patch+yaml"}
            made = core.patch_namespaced_config_map("a", "default", body, field_manager="one", **apply)
            [entry] = made.metadata.managed_fields
            assert (entry.manager, entry.operation, entry.fields_v1) == ("one", "Apply", {"f:data": {"f:a": {}}})
            assert entry.time is not None
            body["data"] = {"a": "2"}
            with pytest.raises(ApiException) as failure:
                core.patch_namespaced_config_map("a", "default", body, field_manager="two", **apply)
            status = json.loads(failure.value.body)
            assert failure.value.status == 409
            assert status["details"]["causes"] == [
                {"reason": "FieldManagerConflict", "message": 'conflict with "one"', "field": ".data.a"}
            ]
            forced = core.patch_namespaced_config_map("a", "default", body, field_manager="two", force=True, **apply)
            assert forced.data == {"a": "2"}
            tables = DynamicClient(api).resources.get(api_version="networking.gloo.solo.io/v2", kind="RouteTable")
            table = tables.server_side_apply(body=yaml.safe_load(TABLE), field_manager="one")
            assert table.spec.hosts == ["a.example"]
            core.create_namespaced_config_map("default", {"metadata": {"name": "b"}, "data": {"a": "1"}})
            written = core.read_namespaced_config_map("b", "default").metadata.managed_fields
            assert [(entry.manager, entry.operation) for entry in written] == [("OpenAPI-Generator", "Update")]

    await asyncio.to_thread(run)
