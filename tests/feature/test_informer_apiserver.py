"""The client side against the embedded API server, over TLS, and mixed with an unmodified kubectl."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from meshpass.api.crd import custom_resource_definitions
from meshpass.api.kinds import CORE_KINDS, KINDS
from meshpass.api.objectset import ObjectKey
from meshpass.api.security import JWTPolicy
from meshpass.apiserver.server import ApiServer
from meshpass.apiserver.settings import ApiServerSettings
from meshpass.errors import ApiError
from meshpass.identity.certificate import ensure_server_certificate
from meshpass.identity.token import ensure_token
from meshpass.kube.apply import Outcome, apply_raw
from meshpass.kube.client import KubeClient
from meshpass.kube.discovery import discover
from meshpass.kube.event import EventRecorder
from meshpass.kube.informer import Informer
from meshpass.kube.kubeconfig import ClusterAccess, write_kubeconfig
from meshpass.kube.observed import wait_observed
from meshpass.kube.status import StatusWriter
from meshpass.kube.store import ObjectStore

ALL_KINDS = (*KINDS, *CORE_KINDS)
POLICY = next(kind for kind in KINDS if kind.kind == "JWTPolicy")
SECRET = next(kind for kind in CORE_KINDS if kind.kind == "Secret")
KEY = ObjectKey("JWTPolicy", "cluster1", "default", "policy")


def make_policy(**spec: object) -> dict:
    return {
        "apiVersion": "security.policy.gloo.solo.io/v2",
        "kind": "JWTPolicy",
        "metadata": {"name": "policy"},
        "spec": {"applyToRoutes": [{"route": {"labels": {"route": "httpbin"}}}], **spec},
    }


class Cluster:
    """One embedded API server in a directory, which can be stopped and started again on the same port."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.kubeconfig = directory / "kubeconfig"
        self.certificate = ensure_server_certificate(directory / "tls", name="cluster1", hosts=["127.0.0.1"])
        self.token = ensure_token(directory / "token")
        self.port = 0
        self._stack = AsyncExitStack()

    async def start(self) -> None:
        settings = ApiServerSettings(
            cluster="cluster1",
            directory=self.directory / "state",
            certificate=self.certificate.certificate,
            private_key=self.certificate.private_key,
            token=self.token,
            port=self.port,
            crds=custom_resource_definitions(),
        )
        server = await self._stack.enter_async_context(ApiServer(settings))
        self.port = server.port
        access = ClusterAccess(
            name="cluster1", server=server.url, ca_pem=self.certificate.ca.read_bytes(), token=self.token
        )
        write_kubeconfig(self.kubeconfig, [access], "cluster1")

    async def stop(self) -> None:
        await self._stack.aclose()

    def client(self) -> KubeClient:
        return KubeClient.from_kubeconfig(self.kubeconfig, None, cluster="cluster1")

    async def kubectl(self, *arguments: str, text: str = "") -> str:
        """What an unmodified kubectl prints; it must succeed."""
        if shutil.which("kubectl") is None:
            if os.environ.get("CI"):
                pytest.fail("kubectl is not on PATH")
            pytest.skip("kubectl is not on PATH")
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            "kubectl", "--kubeconfig", str(self.kubeconfig), *arguments, stdin=pipe, stdout=pipe, stderr=pipe
        )
        out, err = await process.communicate(text.encode())
        assert process.returncode == 0, err.decode()
        return out.decode() + err.decode()


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    cluster = Cluster(tmp_path)
    await cluster.start()
    try:
        yield cluster
    finally:
        await cluster.stop()


@asynccontextmanager
async def following(client: KubeClient) -> AsyncIterator[ObjectStore]:
    """A synced store, kept up to date by an informer per kind."""
    store = ObjectStore()
    store.expect("cluster1", ALL_KINDS)
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(Informer(client, kind, store).run()) for kind in ALL_KINDS]
        await store.wait_synced()
        try:
            yield store
        finally:
            for task in running:
                task.cancel()


async def test_informers_of_every_kind_follow_the_embedded_api_server(cluster):
    async with cluster.client() as client, following(client) as store:
        await apply_raw(client, make_policy())
        await wait_observed([client], store)
        assert set(store.objects.all(JWTPolicy)) == {KEY}
        await client.delete(POLICY, "default", "policy")
        await wait_observed([client], store)
        assert not store.objects.all(JWTPolicy)


async def test_informer_survives_a_restart_and_an_outage_of_the_server(cluster):
    async with cluster.client() as client, following(client) as store:
        await apply_raw(client, make_policy())
        await wait_observed([client], store)
        before = store.objects
        await cluster.stop()
        await asyncio.sleep(0)
        assert store.objects is before
        await cluster.start()
        await apply_raw(client, {**make_policy(), "metadata": {"name": "second"}})
        await wait_observed([client], store)
        after = store.objects.all(JWTPolicy)
        assert set(after) == {KEY, KEY._replace(name="second")}
        assert after[KEY] is before.all(JWTPolicy)[KEY]


async def test_apply_refuses_unknown_fields_as_kubectl_does(cluster):
    """Nothing is dropped in silence: neither when an object is created nor when it is changed."""
    async with cluster.client() as client:
        for manifest in (make_policy(), make_policy(phase="preAuthz")):
            manifest["spec"]["applyToRuotes"] = []
            with pytest.raises(ApiError, match=r"unknown field .*, did you mean .*applyToRoutes") as error:
                await apply_raw(client, manifest)
            assert error.value.code == 400
            await apply_raw(client, make_policy())


async def test_client_with_a_wrong_token_gets_nothing(cluster):
    text = cluster.kubeconfig.read_text().replace(cluster.token, "x" * 43)
    other = cluster.directory / "other"
    other.write_text(text)
    async with KubeClient.from_kubeconfig(other, None, cluster="cluster1") as client:
        with pytest.raises(ApiError) as error:
            await client.list_raw(SECRET)
        assert error.value.code == 401


async def test_client_discovers_and_prints_tables(cluster):
    async with cluster.client() as client:
        await apply_raw(client, make_policy())
        kind = await discover(client, "jwt")
        table = await client.table(kind, "default")
        assert table["kind"] == "Table"
        assert table["rows"][0]["cells"][0] == "policy"
        assert {(await discover(client, word)).kind for word in ("po", "deploy", "events")} == {
            "Pod",
            "Deployment",
            "Event",
        }


@pytest.mark.kubectl
async def test_apply_and_kubectl_apply_take_turns_on_one_object(cluster):
    async with cluster.client() as client:
        first = make_policy(config={"phase": {"preAuthz": {"priority": 1}}})
        second = make_policy(config={"phase": {"preAuthz": {"priority": 2}}})

        async def spec() -> dict:
            return (await client.get_raw(POLICY, "default", "policy"))["spec"]

        manifest = cluster.directory / "policy.json"

        async def kubectl_apply(document: dict) -> str:
            manifest.write_text(json.dumps(document))
            return await cluster.kubectl("apply", "-f", str(manifest))

        assert (await apply_raw(client, first)).outcome is Outcome.CREATED
        assert "unchanged" in await kubectl_apply(first)
        assert "configured" in await kubectl_apply(second)
        assert (await apply_raw(client, second)).outcome is Outcome.UNCHANGED
        assert (await apply_raw(client, make_policy())).outcome is Outcome.CONFIGURED
        assert "config" not in await spec()
        assert "unchanged" in await kubectl_apply(make_policy())
        bare = {**make_policy(), "spec": {"config": {}}}
        assert "configured" in await kubectl_apply(bare)
        assert await spec() == {"config": {}}


@pytest.mark.kubectl
async def test_status_and_events_show_in_kubectl_and_cause_no_new_object_set(cluster):
    async with cluster.client() as client, following(client) as store:
        await apply_raw(client, make_policy())
        await wait_observed([client], store)
        revision = store.revision
        clients = {"cluster1": client}
        writer, recorder = StatusWriter(clients, store), EventRecorder(clients, store)
        condition = {"type": "Accepted", "status": "True", "reason": "Accepted", "message": "", "observedGeneration": 1}
        desired = {
            KEY: {
                "common": {"State": {"observedGeneration": 1, "approval": "ACCEPTED", "message": "fine"}},
                "numSelectedRoutes": 1,
                "conditions": [condition],
            }
        }
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(part.run()) for part in (writer, recorder)]
            writer.submit(desired)
            await writer.wait_idle()
            for _ in range(2):
                recorder.record(KEY, reason="Rejected", message="Envoy said no")
            await wait_observed([client], store)
            writer.submit(desired)
            await writer.wait_idle()
            await cluster.kubectl(
                "wait", "--for=condition=Accepted", "--timeout=5s", "jwtpolicies.security.policy.gloo.solo.io/policy"
            )
            for line in (await cluster.kubectl("get", "jwtpolicy", "-A")).splitlines()[1:]:
                assert line.split()[:4] == ["default", "policy", "ACCEPTED", "1"]
            await cluster.kubectl("wait", "--for=jsonpath={.count}=2", "--timeout=5s", "events", "--all")
            assert "Envoy said no" in await cluster.kubectl("describe", "jwtpolicy", "policy")
            for task in running:
                task.cancel()
        stored = store.stored(KEY)
        assert stored is not None
        assert stored.generation == 1
        assert store.revision == revision
