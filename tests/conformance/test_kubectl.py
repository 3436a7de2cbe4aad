"""An unmodified kubectl does its daily work against the embedded API server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.apiserver import run_api_server, widget, write_kubeconfig
from tests.support.kubectl import KUBECTL, KUBECTL_MARKS, Kubectl, cells

pytestmark = KUBECTL_MARKS


@pytest.fixture
async def kubectl(tmp_path: Path) -> AsyncIterator[Kubectl]:
    async with run_api_server(tmp_path) as server:
        yield Kubectl(server, tmp_path)


async def test_discovery(kubectl: Kubectl):
    """api-resources, api-versions, version, and short names and categories that come from it."""
    resources = (await kubectl.ok("api-resources", "-o", "wide")).out
    widgets = next(line for line in resources.splitlines() if line.startswith("widgets"))
    assert widgets.split()[:5] == ["widgets", "wd", "example.com/v1", "true", "Widget"]
    assert "configmaps" in resources
    assert "example.com/v1" in (await kubectl.ok("api-versions")).out.split()
    assert "Server Version: v1." in (await kubectl.ok("version")).out
    await kubectl.apply(widget("a"))
    assert (await kubectl.ok("get", "wd", "-o", "name")).out == "widget.example.com/a\n"
    assert "widget.example.com/a" in (await kubectl.ok("get", "all")).out


async def test_get_in_every_form(kubectl: Kubectl):
    """Table, wide, yaml, json, jsonpath, name, custom columns, -A, selectors, chunks and sorting."""
    await kubectl.ok("create", "namespace", "other")
    await kubectl.apply(
        widget("a", size=3, labels={"x": "1"}), widget("b", size=1), widget("c", size=2, namespace="other")
    )
    table = cells((await kubectl.ok("get", "widgets")).out)
    assert table[0] == ["NAME", "SIZE", "AGE"]
    assert [row[:2] for row in table[1:]] == [["a", "3"], ["b", "1"]]
    assert cells((await kubectl.ok("get", "widgets", "-o", "wide")).out)[0] == ["NAME", "SIZE", "COLOUR", "AGE"]
    assert yaml.safe_load((await kubectl.ok("get", "wd", "a", "-o", "yaml")).out)["spec"]["size"] == 3
    assert len((await kubectl.ok("get", "wd", "-A", "-o", "json")).json["items"]) == 3
    assert (await kubectl.ok("get", "wd", "-o", "jsonpath={.items[*].spec.size}")).out == "3 1"
    columns = await kubectl.ok("get", "wd", "a", "-o", "custom-columns=N:.metadata.name,S:.spec.size")
    assert cells(columns.out) == [["N", "S"], ["a", "3"]]

    async def names(*arguments: str) -> list[str]:
        answer = await kubectl.ok("get", "widgets", "-o", "name", *arguments)
        return [line.removeprefix("widget.example.com/") for line in answer.out.split()]

    assert await names("-A") == ["a", "b", "c"]
    assert await names("-l", "x=1") == ["a"]
    assert await names("-l", "x notin (1)") == ["b"]
    assert await names("--field-selector", "metadata.name!=a") == ["b"]
    assert await names("-A", "--chunk-size=1") == ["a", "b", "c"]
    assert await names("-A", "--sort-by=.spec.size") == ["b", "c", "a"]
    assert [row[0] for row in cells((await kubectl.ok("get", "wd", "-A", "--chunk-size=1")).out)] == [
        "NAMESPACE",
        "default",
        "default",
        "other",
    ]


async def test_get_watches(kubectl: Kubectl):
    """-w prints what is there, then each change as it happens."""
    await kubectl.apply(widget("a", size=1))
    process = await asyncio.create_subprocess_exec(
        KUBECTL or "kubectl",
        *("get", "widgets", "-w", "--output-watch-events"),
        stdout=asyncio.subprocess.PIPE,
        env=kubectl.environment(),
    )
    assert process.stdout
    try:
        async with asyncio.timeout(30):
            assert (await process.stdout.readline()).split()[:3] == [b"EVENT", b"NAME", b"SIZE"]
            assert (await process.stdout.readline()).split()[:3] == [b"ADDED", b"a", b"1"]
            await kubectl.apply(widget("a", size=2))
            assert (await process.stdout.readline()).split()[:3] == [b"MODIFIED", b"a", b"2"]
            await kubectl.ok("delete", "wd", "a")
            assert (await process.stdout.readline()).split()[:3] == [b"DELETED", b"a", b"2"]
    finally:
        process.kill()
        await process.wait()


async def test_describe_with_events(kubectl: Kubectl):
    """describe finds the object's Events; get events and events show them."""
    await kubectl.apply(widget("a"))
    uid = (await kubectl.ok("get", "wd", "a", "-o", "jsonpath={.metadata.uid}")).out
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "a.1", "namespace": "default"},
        "involvedObject": {
            "apiVersion": "example.com/v1",
            "kind": "Widget",
            "name": "a",
            "namespace": "default",
            "uid": uid,
        },
        "reason": "Polished",
        "message": "it shines",
        "type": "Normal",
        "source": {"component": "tests"},
        "firstTimestamp": "2026-01-01T00:00:00Z",
        "lastTimestamp": "2026-01-01T00:00:00Z",
        "count": 1,
    }
    await kubectl.ok("create", "-f", "-", stdin=json.dumps(event))

    described = (await kubectl.ok("describe", "widget", "a")).out
    assert "Polished" in described
    assert "it shines" in described
    assert "Polished" in (await kubectl.ok("get", "events")).out
    assert "Polished" in (await kubectl.ok("events", "--for", "widget.example.com/a")).out
    assert "Polished" in (await kubectl.ok("get", "events", "--field-selector", "involvedObject.name=a")).out
    assert "No resources" in (await kubectl.ok("get", "events", "--field-selector", "type=Warning")).err


async def test_apply_merges_three_ways(kubectl: Kubectl):
    """Created, unchanged, configured; a field that left the manifest leaves the object, one of others stays."""
    assert await kubectl.apply(widget("a", labels={"mine": "1"})) == "widget.example.com/a created\n"
    assert await kubectl.apply(widget("a", labels={"mine": "1"})) == "widget.example.com/a unchanged\n"
    await kubectl.ok("label", "wd", "a", "theirs=1")
    assert await kubectl.apply(widget("a", size=2, labels={"new": "1"})) == "widget.example.com/a configured\n"

    found = (await kubectl.ok("get", "wd", "a", "-o", "json")).json
    assert found["metadata"]["labels"] == {"new": "1", "theirs": "1"}
    assert found["spec"]["size"] == 2


async def test_apply_of_core_kinds_uses_strategic_merge(kubectl: Kubectl):
    """A Service's ports merge by number; a ConfigMap loses what left the manifest."""
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "s"},
        "spec": {"selector": {"app": "s"}, "ports": [{"name": "a", "port": 80}, {"name": "b", "port": 81}]},
    }
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "1", "b": "2"}}
    await kubectl.apply(service, config)
    service["spec"]["ports"] = [{"name": "a", "port": 80, "targetPort": 8080}]  # type: ignore[index]
    config["data"] = {"a": "3"}
    await kubectl.apply(service, config)

    ports = (await kubectl.ok("get", "svc", "s", "-o", "json")).json["spec"]["ports"]
    assert [(port["name"], port["targetPort"]) for port in ports] == [("a", 8080)]
    assert (await kubectl.ok("get", "cm", "c", "-o", "json")).json["data"] == {"a": "3"}


async def test_diff_and_dry_run_change_nothing(kubectl: Kubectl):
    """diff shows the change and exits 1; a server-side dry run answers as if."""
    await kubectl.apply(widget("a", size=1))
    manifest = yaml.safe_dump(widget("a", size=2))
    diff = await kubectl.run("diff", "-f", "-", stdin=manifest)
    assert diff.code == 1, diff
    assert "-  size: 1" in diff.out
    assert "+  size: 2" in diff.out
    assert "(server dry run)" in (await kubectl.ok("apply", "--dry-run=server", "-f", "-", stdin=manifest)).out
    assert "(server dry run)" in (await kubectl.ok("delete", "--dry-run=server", "wd", "a")).out
    assert (await kubectl.ok("get", "wd", "a", "-o", "jsonpath={.spec.size}")).out == "1"


async def test_create_replace_edit_patch_label_annotate(kubectl: Kubectl):
    """Each way to change an object."""
    manifest = yaml.safe_dump(widget("a"))
    await kubectl.ok("create", "-f", "-", stdin=manifest)
    assert 'widgets.example.com "a" already exists' in await kubectl.fails("create", "-f", "-", stdin=manifest)
    await kubectl.ok("replace", "-f", "-", stdin=yaml.safe_dump(widget("a", size=2)))

    async def size() -> str:
        return (await kubectl.ok("get", "wd", "a", "-o", "jsonpath={.spec.size}")).out

    assert await size() == "2"
    editor = {"EDITOR": "sed -i -e 's/size: 2/size: 3/'"}
    assert "edited" in (await kubectl.ok("edit", "wd", "a", environment=kubectl.environment(**editor))).out
    assert await size() == "3"
    patch = '[{"op": "replace", "path": "/spec/size", "value": 4}]'
    await kubectl.ok("patch", "wd", "a", "--type", "json", "-p", patch)
    assert await size() == "4"
    await kubectl.ok("patch", "wd", "a", "--type", "merge", "-p", '{"spec": {"size": 5}}')
    assert await size() == "5"
    await kubectl.ok(
        "patch", "wd", "a", "--subresource", "status", "--type", "merge", "-p", '{"status": {"phase": "X"}}'
    )
    assert (await kubectl.ok("get", "wd", "a", "-o", "jsonpath={.status.phase}")).out == "X"
    refused = await kubectl.fails("patch", "wd", "a", "--type", "strategic", "-p", '{"spec": {"size": 6}}')
    assert "strategic-merge-patch+json is not supported" in refused
    await kubectl.ok("create", "configmap", "c", "--from-literal=a=1")
    await kubectl.ok("patch", "cm", "c", "--type", "strategic", "-p", '{"data": {"b": "2"}}')
    assert (await kubectl.ok("get", "cm", "c", "-o", "json")).json["data"] == {"a": "1", "b": "2"}
    await kubectl.ok("label", "wd", "a", "x=y")
    await kubectl.ok("annotate", "wd", "a", "p=q")
    metadata = (await kubectl.ok("get", "wd", "a", "-o", "json")).json["metadata"]
    assert (metadata["labels"], metadata["annotations"]["p"]) == ({"x": "y"}, "q")
    assert "not labeled" in (await kubectl.ok("label", "wd", "a", "x=y", "--overwrite")).out


async def test_core_kinds_that_kubectl_sends_as_protobuf(kubectl: Kubectl):
    """``kubectl create KIND`` has no JSON form since 1.32; every kind that is served arrives whole."""
    await kubectl.ok("create", "namespace", "room")
    await kubectl.ok("create", "secret", "generic", "s", "--from-literal=k=v", "-n", "room")
    await kubectl.ok("create", "serviceaccount", "sa", "-n", "room")
    await kubectl.ok("create", "service", "clusterip", "svc", "--tcp=80:8080", "-n", "room")
    await kubectl.ok(
        "create", "deployment", "d", "--image=i:1", "--replicas=0", "--port=80", "-n", "room", "--", "run", "it"
    )

    async def get(kind: str, name: str) -> Any:
        return (await kubectl.ok("get", kind, name, "-n", "room", "-o", "json")).json

    assert (await get("secret", "s"))["data"] == {"k": "dg=="}
    assert (await get("sa", "sa"))["kind"] == "ServiceAccount"
    port = {"name": "80-8080", "port": 80, "protocol": "TCP", "targetPort": 8080}
    assert (await get("svc", "svc"))["spec"]["ports"] == [port]
    spec = (await get("deployment", "d"))["spec"]
    container = spec["template"]["spec"]["containers"][0]
    assert (spec["replicas"], container["image"], container["command"]) == (0, "i:1", ["run", "it"])
    assert container["ports"] == [{"containerPort": 80, "protocol": "TCP"}]


async def test_delete_by_name_file_label_and_all(kubectl: Kubectl):
    """kubectl waits until they are gone; a namespace takes its contents along."""
    await kubectl.ok("create", "namespace", "room")
    await kubectl.apply(
        *(widget(name, labels={"l": name}) for name in "abcd"),
        widget("e", namespace="room"),
        widget("f", namespace="room"),
    )
    await kubectl.ok("delete", "wd", "a")
    await kubectl.ok("delete", "-f", "-", stdin=yaml.safe_dump(widget("b")))
    await kubectl.ok("delete", "wd", "-l", "l=c")
    assert (await kubectl.ok("get", "wd", "-o", "name")).out == "widget.example.com/d\n"
    await kubectl.ok("delete", "wd", "--all", "--cascade=foreground")
    assert "No resources found" in (await kubectl.ok("get", "wd")).err
    await kubectl.ok("delete", "namespace", "room", "--timeout=20s")
    assert (await kubectl.ok("get", "wd", "-A", "-o", "name")).out == ""
    assert 'widgets.example.com "a" not found' in await kubectl.fails("delete", "wd", "a")
    await kubectl.ok("delete", "wd", "a", "--ignore-not-found")


async def test_wait(kubectl: Kubectl):
    """For a condition, a JSON path and a deletion, each by a watch."""
    await kubectl.apply(widget("a"), widget("b"))

    async def changed() -> None:
        await asyncio.sleep(0.2)
        status = {"status": {"phase": "Ready", "conditions": [{"type": "Ready", "status": "True"}]}}
        patch = ("patch", "wd", "a", "--subresource", "status", "--type", "merge", "-p", json.dumps(status))
        await kubectl.ok(*patch)
        await kubectl.ok("delete", "wd", "b")

    answers = await asyncio.gather(
        kubectl.ok("wait", "wd/a", "--for=condition=Ready", "--timeout=20s"),
        kubectl.ok("wait", "wd/a", "--for=jsonpath={.status.phase}=Ready", "--timeout=20s"),
        kubectl.ok("wait", "wd/b", "--for=delete", "--timeout=20s"),
        changed(),
    )
    assert [answer.out.strip() for answer in answers if answer] == ["widget.example.com/a condition met"] * 2 + [
        answers[2].out.strip()
    ]
    await kubectl.ok("wait", "crd/widgets.example.com", "--for=condition=Established", "--timeout=20s")
    assert "timed out" in await kubectl.fails("wait", "wd/a", "--for=condition=Never", "--timeout=1s")


async def test_explain(kubectl: Kubectl):
    """Descriptions, types, requirements, the whole tree; of ours and of core kinds."""
    explained = (await kubectl.ok("explain", "widget.spec.size")).out
    assert "How big it is." in explained
    tree = (await kubectl.ok("explain", "widget", "--recursive")).out
    assert "colour" in tree
    assert "-required-" in tree
    assert "A widget has a size." in tree
    assert "image" in (await kubectl.ok("explain", "pod.spec.containers")).out
    assert 'field "nothing" does not exist' in await kubectl.fails("explain", "widget.spec.nothing")


async def test_errors_read_like_kubernetes(kubectl: Kubectl):
    """Not found, invalid, unknown field with a hint, unsupported selector, unknown kind."""
    assert await kubectl.fails("get", "wd", "x") == 'Error from server (NotFound): widgets.example.com "x" not found\n'
    broken = {**widget("a"), "spec": {"size": 0}}
    assert await kubectl.fails("apply", "-f", "-", stdin=yaml.safe_dump(broken)) == (
        'The Widget "a" is invalid: spec.size: Invalid value: 0:'
        " spec.size in body should be greater than or equal to 1\n"
    )
    misspelt = {**widget("a"), "spec": {"size": 1, "color": "red"}}
    strict = await kubectl.fails("apply", "-f", "-", stdin=yaml.safe_dump(misspelt))
    assert "Error from server (BadRequest): error when creating" in strict
    assert 'strict decoding error: unknown field "spec.color", did you mean "colour"?' in strict
    warned = await kubectl.ok("apply", "--validate=warn", "-f", "-", stdin=yaml.safe_dump(misspelt))
    assert 'Warning: unknown field "spec.color"' in warned.err
    assert "field label not supported" in await kubectl.fails("get", "wd", "--field-selector", "spec.size=1")
    assert "the server doesn't have a resource type" in await kubectl.fails("get", "gadgets")
    assert 'namespaces "nowhere" not found' in await kubectl.fails("create", "configmap", "c", "-n", "nowhere")


async def test_who_may_do_what(kubectl: Kubectl, tmp_path: Path):
    """The token's holder everything, everybody else nothing."""
    assert (await kubectl.ok("auth", "can-i", "create", "widgets")).out == "yes\n"
    assert "meshpass" in (await kubectl.ok("auth", "whoami")).out
    contexts = cells((await kubectl.ok("config", "get-contexts")).out)
    assert contexts[1][:3] == ["*", "test", "test"]
    for token in ("wrong", ""):
        path = tmp_path / f"kubeconfig-{token}"
        write_kubeconfig(path, kubectl.server.url, kubectl.server.tls.certificate, token=token)
        refused = await kubectl.run("get", "wd", environment=kubectl.environment(KUBECONFIG=str(path)))
        assert refused.code != 0
        # Without any credentials kubectl asks for a name and password, and finds nobody to answer.
        assert "must be logged in" in refused.err if token else "Please enter Username" in refused.out


async def test_raw_paths(kubectl: Kubectl):
    """What scripts read."""
    assert (await kubectl.ok("get", "--raw", "/readyz")).out == "ok"
    assert (await kubectl.ok("get", "--raw", "/api/v1/namespaces/default")).json["metadata"]["name"] == "default"
    assert (await kubectl.ok("get", "ns", "default", "-o", "jsonpath={.status.phase}")).out == "Active"
    cluster = await kubectl.ok("cluster-info")
    assert "is running at" in cluster.out
