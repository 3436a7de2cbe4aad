"""Whom a process believes: what could not be written is tried again, without anything new to be told."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest
from tests.support.identities import settle

from meshpass.app.settings import ControlPlaneSettings, RelayConnect
from meshpass.app.trust import BUNDLE, RETRY_SECONDS, MeshTrust
from meshpass.identity.roots import RootStore
from meshpass.identity.trust import encode_trust
from meshpass.kube.event import EventRecorder
from meshpass.kube.store import ObjectStore
from meshpass.relay.facts import Facts


def settings(directory: Path, relay: RelayConnect | None) -> ControlPlaneSettings:
    cluster = "mgmt" if relay is None else "cluster1"
    return ControlPlaneSettings(
        kubeconfig=directory / "kubeconfig",
        contexts=((cluster, None),),
        management_cluster="mgmt",
        ads_socket=directory / "ads.sock",
        control_socket=directory / "control.sock",
        directory=directory,
        relay=relay,
    )


@pytest.mark.parametrize("alone", [True, False], ids=["management-server", "agent"])
async def test_a_bundle_that_cannot_be_written_is_tried_again(tmp_path, caplog, alone):
    """A disk that was full for a moment holds up no rotation: nobody has to tell the bundle once more."""
    caplog.set_level(logging.WARNING)
    pauses: list[float] = []
    in_the_way = tmp_path / "process" / "identity" / "trust-bundle.json"

    async def sleep(seconds: float) -> None:
        assert trust.intermediate.bundle is None
        pauses.append(seconds)
        if len(pauses) == 2:
            in_the_way.rmdir()

    store, facts = ObjectStore(), Facts()
    relay = None if alone else RelayConnect(server="127.0.0.1:1", credentials=tmp_path)
    trust = MeshTrust(settings(tmp_path / "process", relay), store, facts, EventRecorder({}, store), sleep=sleep)
    in_the_way.mkdir()
    bundle = trust.roots.bundle if trust.roots is not None else RootStore(tmp_path / "server", "cluster.local").bundle
    if not alone:
        facts.receive("mgmt", {BUNDLE: encode_trust(bundle)}, frozenset())

    following, *others = trust.tasks(
        sign=None if alone else RootStore(tmp_path / "server", "cluster.local").signer("x")
    )
    for other in others:
        other.close()
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(following)
        await settle()
        task.cancel()

    assert trust.intermediate.bundle == bundle
    assert pauses == [RETRY_SECONDS, RETRY_SECONDS]
    assert [record.message for record in caplog.records] == ["the trust bundle is not on disk"] * 2
    assert (BUNDLE in facts.own) is alone
