"""kubectl's less common verbs and forms against the embedded API server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml
from tests.support.apiserver import make_settings, run_api_server, widget
from tests.support.kubectl import KUBECTL_MARKS, Kubectl, cells

from meshpass.apiserver.server import ApiServer

pytestmark = KUBECTL_MARKS


@pytest.fixture
async def kubectl(tmp_path: Path) -> AsyncIterator[Kubectl]:
    async with run_api_server(tmp_path) as server:
        yield Kubectl(server, tmp_path)


async def test_pruning_and_deleting_by_file(kubectl: Kubectl, tmp_path: Path):
    """apply --prune removes what left the file; delete -f what is in it, and complains of what is not there."""
    labels = {"set": "one"}
    await kubectl.apply(widget("a", labels=labels), widget("b", labels=labels), widget("other"))
    file = tmp_path / "widgets.yaml"
    file.write_text(yaml.safe_dump(widget("a", labels=labels)))
    allow = "--prune-allowlist=example.com/v1/Widget"
    pruned = await kubectl.ok("apply", "--prune", "-l", "set=one", allow, "-f", str(file))
    assert pruned.out.splitlines() == ["widget.example.com/a unchanged", "widget.example.com/b pruned"]
    assert (await kubectl.ok("get", "wd", "-o", "name")).out.split() == [
        "widget.example.com/a",
        "widget.example.com/other",
    ]
    await kubectl.ok("delete", "-f", str(file))
    assert 'widgets.example.com "a" not found' in await kubectl.fails("delete", "-f", str(file))
    await kubectl.ok("delete", "-f", str(file), "--ignore-not-found")


async def test_a_kustomization(kubectl: Kubectl, tmp_path: Path):
    """apply -k and delete -k, with what kustomize changes on the way."""
    (tmp_path / "k").mkdir()
    (tmp_path / "k" / "widget.yaml").write_text(yaml.safe_dump(widget("a")))
    (tmp_path / "k" / "kustomization.yaml").write_text("resources: [widget.yaml]\nnamePrefix: new-\n")
    assert (await kubectl.ok("apply", "-k", str(tmp_path / "k"))).out == "widget.example.com/new-a created\n"
    assert (await kubectl.ok("delete", "-k", str(tmp_path / "k"))).out == 'widget.example.com "new-a" deleted\n'


async def test_replace_force_makes_another_object(kubectl: Kubectl):
    """Deleted and created: the uid is a new one."""
    await kubectl.apply(widget("a"))
    uid = ("get", "wd", "a", "-o", "jsonpath={.metadata.uid}")
    before = (await kubectl.ok(*uid)).out
    await kubectl.ok("replace", "--force", "-f", "-", stdin=yaml.safe_dump(widget("a", size=2)))
    assert (await kubectl.ok(*uid)).out not in {before, ""}


async def test_diff_says_by_its_code_what_it_found(kubectl: Kubectl):
    """0 for no difference, 1 for one, more for an error; what kubectl's own bookkeeping left is no difference."""
    await kubectl.ok("create", "-f", "-", stdin=yaml.safe_dump(widget("a")))
    await kubectl.ok("annotate", "wd", "a", "note=1")
    await kubectl.ok("annotate", "wd", "a", "note-")

    async def diff(manifest: str) -> tuple[int, str]:
        answer = await kubectl.run("diff", "-f", "-", stdin=manifest)
        return answer.code, answer.out

    assert await diff(yaml.safe_dump(widget("a"))) == (0, "")
    code, shown = await diff(yaml.safe_dump(widget("a", size=7)))
    changed = [line for line in shown.splitlines() if line[:1] in {"+", "-"} and line[:3] not in {"+++", "---"}]
    assert (code, changed) == (1, ["-  generation: 1", "+  generation: 2", "-  size: 1", "+  size: 7"])
    assert (await diff(yaml.safe_dump(widget("a", size=0))))[0] > 1


async def test_an_invalid_edit_changes_nothing(kubectl: Kubectl):
    """kubectl keeps the edit in a file and says so."""
    await kubectl.apply(widget("a"))
    environment = kubectl.environment(EDITOR="sed -i -e 's/size: 1/size: -1/'")
    answer = await kubectl.run("edit", "wd", "a", environment=environment)
    assert answer.code == 1
    assert 'widgets.example.com "a" is invalid' in answer.err
    assert "no valid changes were saved" in answer.err
    assert (await kubectl.ok("get", "wd", "a", "-o", "jsonpath={.spec.size}")).out == "1"


async def test_labels_and_annotations(kubectl: Kubectl):
    """Added, kept without --overwrite, overwritten, removed; the last one leaves no empty map; shown as columns."""
    await kubectl.apply(widget("b", size=2))
    await kubectl.ok("create", "-f", "-", stdin=yaml.safe_dump(widget("a")))
    for verb in ("label", "annotate"):
        await kubectl.ok(verb, "wd", "a", "x=1")
        assert "--overwrite is false" in await kubectl.fails(verb, "wd", "a", "x=2")
        await kubectl.ok(verb, "wd", "a", "x=2", "--overwrite")
    metadata = (await kubectl.ok("get", "wd", "a", "-o", "json")).json["metadata"]
    assert (metadata["labels"], metadata["annotations"]) == ({"x": "2"}, {"x": "2"})
    shown = cells((await kubectl.ok("get", "wd", "--show-labels", "-L", "x")).out)
    assert [row[0:2] + row[3:] for row in shown] == [
        ["NAME", "SIZE", "X", "LABELS"],
        ["a", "1", "2", "x=2"],
        ["b", "2", "<none>"],
    ]
    for verb in ("label", "annotate"):
        await kubectl.ok(verb, "wd", "a", "x-")
    assert {"labels", "annotations"}.isdisjoint((await kubectl.ok("get", "wd", "a", "-o", "json")).json["metadata"])


async def test_forms_of_output(kubectl: Kubectl):
    """Sorted custom columns, go-template, client-side dry run, many pages."""
    await kubectl.apply(*(widget(f"w{number}", size=9 - number) for number in range(1, 9)))
    columns = ("get", "wd", "--sort-by=.spec.size", "--chunk-size=1", "-o", "custom-columns=N:.metadata.name")
    assert (await kubectl.ok(*columns)).out.split() == ["N", *(f"w{number}" for number in range(8, 0, -1))]
    template = "{{range .items}}{{.metadata.name}}={{.spec.size}} {{end}}"
    assert (await kubectl.ok("get", "wd", "-o", f"go-template={template}")).out.split()[:2] == ["w1=8", "w2=7"]
    dry = await kubectl.ok("create", "configmap", "c", "--from-literal=a=1", "--dry-run=client", "-o", "yaml")
    assert yaml.safe_load(dry.out)["data"] == {"a": "1"}
    assert 'configmaps "c" not found' in await kubectl.fails("get", "cm", "c")


async def test_who_what_where(kubectl: Kubectl):
    """auth can-i --list, events, get all -A, current-context, versions, raw paths that there are not."""
    assert cells((await kubectl.ok("auth", "can-i", "--list")).out)[1] == ["*.*", "[]", "[]", "[*]"]
    assert "No events found" in (await kubectl.ok("events")).err
    assert "No resources found" in (await kubectl.ok("get", "all", "-A")).err
    assert (await kubectl.ok("config", "current-context")).out == "test\n"
    server = (await kubectl.ok("version", "-o", "json")).json["serverVersion"]
    assert (server["major"], server["minor"]) == ("1", "32")
    assert "NotFound" in await kubectl.fails("get", "--raw", "/apis/nowhere")
    whole = (await kubectl.ok("get", "--raw", "/apis/example.com/v1/widgets?limit=1")).json
    assert whole["kind"] == "WidgetList"


async def test_several_contexts(kubectl: Kubectl, tmp_path: Path):
    """One kubeconfig for two servers: --context chooses, and use-context changes what holds without it."""
    (tmp_path / "second").mkdir()
    async with run_api_server(tmp_path / "second") as second:
        merged = yaml.safe_load(kubectl.server.kubeconfig.read_text())
        other = yaml.safe_load(second.kubeconfig.read_text().replace("test", "second"))
        other["users"][0]["user"]["token"] = merged["users"][0]["user"]["token"]
        other["clusters"][0]["cluster"]["certificate-authority"] = str(second.tls.certificate)
        for part in ("clusters", "users", "contexts"):
            merged[part] += other[part]
        kubectl.server.kubeconfig.write_text(yaml.safe_dump(merged))
        await kubectl.apply(widget("first"))
        await kubectl.ok("--context", "second", "apply", "-f", "-", stdin=yaml.safe_dump(widget("second")))
        assert (await kubectl.ok("get", "wd", "-o", "name")).out == "widget.example.com/first\n"
        await kubectl.ok("config", "use-context", "second")
        assert (await kubectl.ok("get", "wd", "-o", "name")).out == "widget.example.com/second\n"


async def test_waiting_outlives_a_restart(tmp_path: Path):
    """wait goes on where it was when the server comes back; get -w ends with what it saw and no error."""
    async with run_api_server(tmp_path) as first:
        kubectl = Kubectl(first, tmp_path)
        await kubectl.apply(widget("a"))
        watching = await kubectl.start("get", "wd", "-w", "--no-headers")
        assert watching.stdout
        assert (await watching.stdout.readline()).split()[:2] == [b"a", b"1"]
        waiting = await kubectl.start("wait", "--for=jsonpath={.status.phase}=Up", "wd/a", "--timeout=30s")
        port, tls = first.server.port, first.tls
        async with asyncio.timeout(30):
            while len(first.server._hub._waiting["example.com/widgets"]) < 2:  # noqa: ASYNC110 - a set, and no event
                await asyncio.sleep(0.01)
    async with asyncio.timeout(30):
        assert (await watching.communicate())[0] == b""
    assert watching.returncode == 0
    async with ApiServer(make_settings(tmp_path, tls, port=port)):
        status = json.dumps({"status": {"phase": "Up"}})
        await kubectl.ok("patch", "wd", "a", "--subresource=status", "--type=merge", "-p", status)
        async with asyncio.timeout(30):
            out, _ = await waiting.communicate()
    assert (waiting.returncode, out.splitlines()[-1]) == (0, b"widget.example.com/a condition met")
