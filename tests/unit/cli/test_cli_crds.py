"""crds and rbac: printed as kubectl takes them, installed on an API server as often as one likes."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace

import pytest
import yaml
from tests.support.apiserver import run_api_server
from typer.testing import CliRunner

from meshpass.api.crd import custom_resource_definitions
from meshpass.api.kinds import KINDS
from meshpass.cli.crds import complete_contexts, find_kubeconfig
from meshpass.cli.main import build_app
from meshpass.errors import ApiError, MeshpassError
from meshpass.kube.apply import Outcome
from meshpass.kube.client import KubeClient
from meshpass.kube.definition import install_definition, wait_established

NAMES = [f"{kind.plural}.{kind.group}" for kind in KINDS]


def run(*arguments):
    return CliRunner().invoke(build_app(), [str(one) for one in arguments])


async def install(server, *arguments):
    """The command runs an event loop of its own, in a thread, while the server runs in this one."""
    return await asyncio.to_thread(run, "crds", "install", "--kubeconfig", server.kubeconfig, *arguments)


def outcomes(result):
    assert result.exit_code == 0, result.output
    return [line.partition(".apiextensions.k8s.io/")[2] for line in result.stdout.splitlines()]


def test_print_is_every_definition_as_yaml_and_as_a_list():
    """Both say the same."""
    documents = list(yaml.safe_load_all(run("crds", "print").stdout))
    listed = json.loads(run("crds", "print", "-o", "json").stdout)

    assert [one["metadata"]["name"] for one in documents] == NAMES
    assert (listed["kind"], listed["items"]) == ("List", documents)


def test_rbac_print_takes_names():
    """As YAML documents and as a List."""
    documents = list(yaml.safe_load_all(run("rbac", "print", "-n", "here", "--name", "who").stdout))
    listed = json.loads(run("rbac", "print", "-n", "here", "--name", "who", "-o", "json").stdout)

    assert [one["kind"] for one in documents] == ["ServiceAccount", "ClusterRole", "ClusterRoleBinding"]
    assert {one["metadata"]["name"] for one in documents} == {"who"}
    assert documents[0]["metadata"]["namespace"] == "here"
    assert listed["items"] == documents


async def test_install_creates_then_changes_nothing(tmp_path):
    """A dry run stores nothing; the kinds are served afterwards; what somebody changed is put right."""
    async with run_api_server(tmp_path) as server:
        dry = await install(server, "--dry-run")
        first = await install(server)
        second = await install(server)
        async with KubeClient.from_kubeconfig(server.kubeconfig, None, cluster="test") as client:
            served = await client.list_raw(KINDS[0])
            path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{NAMES[0]}"
            patch = json.dumps({"spec": {"names": {"shortNames": ["other"]}}}).encode()
            await client.request_json("PATCH", path, content=patch, content_type="application/merge-patch+json")
        judged = await install(server, "--dry-run")
        third = await install(server, "--context", "test")

    assert outcomes(dry) == [f"{name} created (server dry run)" for name in NAMES]
    assert outcomes(first) == [f"{name} created" for name in NAMES]
    assert f"serves all {len(NAMES)} kinds" in first.stderr
    assert outcomes(second) == [f"{name} unchanged" for name in NAMES]
    assert served.items == ()
    assert outcomes(judged)[0] == f"{NAMES[0]} configured (server dry run)"
    assert outcomes(third) == [f"{NAMES[0]} configured", *(f"{name} unchanged" for name in NAMES[1:])]


async def test_install_is_harmless_where_the_definitions_are_built_in(tmp_path):
    """As on the API servers of `meshpass up`, which have them from the beginning."""
    async with run_api_server(tmp_path, crds=tuple(custom_resource_definitions())) as server:
        result = await install(server)

    assert outcomes(result) == [f"{name} unchanged" for name in NAMES]


def test_a_server_that_does_not_answer_is_an_error(tmp_path):
    """With exit code 1, as every error."""
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(
        yaml.safe_dump(
            {
                "current-context": "a",
                "clusters": [{"name": "a", "cluster": {"server": "http://127.0.0.1:1"}}],
                "users": [{"name": "a", "user": {}}],
                "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
            }
        )
    )
    result = run("crds", "install", "--kubeconfig", kubeconfig)

    assert result.exit_code == 1
    assert "127.0.0.1:1" in result.stderr


class Server:
    """What `install_definition` and `wait_established` see of an API server whose answers a test says."""

    def __init__(self, *found, stored=None, refusals=()):
        self.found = list(found)
        self.stored = stored
        self.refusals = list(refusals)
        self.asked = []

    async def get_raw(self, *_):
        self.asked.append("get")
        found = self.found.pop(0) if len(self.found) > 1 else self.found[0]
        if found is None:
            raise ApiError("no such definition", code=404, reason="NotFound")
        return found

    async def create_raw(self, *_, **__):
        return self._write("create")

    async def patch_raw(self, *_, **__):
        return self._write("patch")

    def _write(self, verb):
        self.asked.append(verb)
        if self.refusals:
            raise self.refusals.pop(0)
        return self.stored


MANIFEST = {"metadata": {"name": "widgets.example.com"}, "spec": {"group": "example.com"}}


async def test_a_definition_that_others_write_at_the_same_time():
    """Created by someone else after the look: it is patched. Changed meanwhile: tried again."""
    conflicts = [ApiError("", code=409, reason="AlreadyExists"), ApiError("", code=409, reason="Conflict")]
    server = Server(None, {"spec": {"group": "old"}}, stored=MANIFEST, refusals=conflicts)

    assert await install_definition(server, MANIFEST) is Outcome.CONFIGURED
    assert server.asked == ["get", "create", "get", "patch", "get", "patch"]


async def test_a_refusal_is_an_error():
    """It is not tried again."""
    server = Server(None, refusals=[ApiError("forbidden", code=403, reason="Forbidden")])

    with pytest.raises(ApiError, match="forbidden"):
        await install_definition(server, MANIFEST)
    assert server.asked == ["get", "create"]


def conditions(**statuses):
    return {
        "status": {
            "conditions": [{"type": name, "status": value, "message": "taken"} for name, value in statuses.items()]
        }
    }


async def test_established_is_waited_for():
    """Until the condition is True, however long nothing is said."""
    server = Server({}, conditions(Established="False"), conditions(NamesAccepted="True", Established="True"))

    async def at_once(_seconds):
        return None

    await wait_established(server, "widgets.example.com", sleep=at_once)
    assert server.asked == ["get"] * 3


async def test_names_that_are_taken_are_told():
    """Waiting would not help."""
    with pytest.raises(MeshpassError, match=r"widgets.example.com cannot be served: taken"):
        await wait_established(Server(conditions(NamesAccepted="False")), "widgets.example.com")


def test_the_kubeconfig_is_the_one_of_kubectl(tmp_path, monkeypatch):
    """The option, else $KUBECONFIG, else the one at home; several files are not guessed among."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KUBECONFIG", "/one")
    assert str(find_kubeconfig(None)) == "/one"
    assert find_kubeconfig(tmp_path) == tmp_path
    monkeypatch.setenv("KUBECONFIG", "/one:/two")
    with pytest.raises(MeshpassError, match="KUBECONFIG names 2 files"):
        find_kubeconfig(None)
    monkeypatch.delenv("KUBECONFIG")
    assert find_kubeconfig(None) == tmp_path / ".kube" / "config"


def test_contexts_are_completed(tmp_path):
    """Those of the kubeconfig; nothing where there is none, or no kubeconfig."""
    typed = SimpleNamespace(params={"kubeconfig": tmp_path / "kubeconfig"})

    assert complete_contexts(typed, "") == []
    typed.params["kubeconfig"].write_text("contexts: [{name: mgmt}, {name: cluster1}, {name: cluster2}]")
    assert complete_contexts(typed, "cl") == ["cluster1", "cluster2"]
    typed.params["kubeconfig"].write_text("nothing of the kind")
    assert complete_contexts(typed, "") == []
