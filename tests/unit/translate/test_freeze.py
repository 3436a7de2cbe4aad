"""Freezing: what is kept of tables that were right, and when it is served."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.support.objects import (
    BASE,
    CLIENT,
    NO_KEY_SETS,
    SETTINGS,
    forward,
    key_of,
    object_set,
    read_objects,
    route_table,
)

from meshpass.ir import DirectResponse, Route
from meshpass.memo import Memo
from meshpass.translate import Translation, translate
from meshpass.translate.freeze import FrozenTrees, decode_tree, encode_tree

Manifest = dict[str, Any]
HOST = "www.example.com"
BROKEN = {"name": "broken", "forwardTo": {"destinations": [{"ref": {"name": "nobody"}}]}}


def frozen(*http: Manifest, **spec: Any) -> Manifest:
    return route_table(hosts=[HOST], failureMode="FREEZE_CONFIG", http=list(http) or [forward()], **spec)


def run(*manifests: Manifest, kept: FrozenTrees | None = None, memo: Memo | None = None) -> Translation:
    return translate(object_set(BASE, *manifests), NO_KEY_SETS, SETTINGS, memo or Memo(), kept or {})


def routes(translation: Translation) -> list[Route]:
    (configuration,) = translation.proxies[CLIENT].routes
    return [route for host in configuration.virtual_hosts if host.name == HOST for route in host.routes]


def statuses(translation: Translation) -> list[int | None]:
    return [one.action.status if isinstance(one.action, DirectResponse) else None for one in routes(translation)]


def test_a_sound_table_is_kept_and_served_when_it_breaks() -> None:
    """What the table was is what is served, and its status says both what is wrong and that it is frozen."""
    sound = run(frozen())
    broken = run(frozen(forward(), BROKEN), kept=sound.trees)
    assert routes(broken) == routes(sound)
    found = [finding.path for finding in broken.report.objects[key_of(frozen())].findings]
    assert found == ["spec.http[1].forwardTo.destinations[0].ref", "spec.failureMode"]


def test_a_table_that_was_never_right_answers_500() -> None:
    """There is nothing to freeze, and the routes that are right work."""
    assert statuses(run(frozen(forward(), BROKEN))) == [None, 500]


def test_switching_the_mode_while_broken_keeps_the_500() -> None:
    """What was kept is forgotten when the table breaks under another mode."""
    sound = run(frozen())
    replaced = run(
        frozen(BROKEN) | {"spec": {**frozen(BROKEN)["spec"], "failureMode": "ROUTE_REPLACEMENT"}}, kept=sound.trees
    )
    assert statuses(replaced) == [500]
    assert statuses(run(frozen(BROKEN), kept=replaced.trees)) == [500]


def test_a_mended_table_is_served_at_once() -> None:
    """The next sound table takes the frozen one's place, and is what is kept."""
    broken = run(frozen(BROKEN), kept=run(frozen()).trees)
    mended = run(frozen(forward(), forward()), kept=broken.trees)
    assert len(routes(mended)) == 2
    assert len(routes(run(frozen(BROKEN), kept=mended.trees))) == 2


def test_the_whole_tree_freezes() -> None:
    """A delegated table that breaks leaves the root, and all that it delegates to, as they were."""
    delegating = frozen({"delegate": {"routeTables": [{"labels": {"part": "x"}}]}}, {"directResponse": {"status": 204}})
    first = route_table("a", labels={"part": "x"}, http=[forward()])
    second = route_table("b", labels={"part": "x"}, http=[{"directResponse": {"status": 203}}])
    sound = run(delegating, first, second)
    changed = route_table("b", labels={"part": "x"}, http=[{"directResponse": {"status": 201}}])
    broken = run(delegating, route_table("a", labels={"part": "x"}, http=[BROKEN]), changed, kept=sound.trees)
    assert statuses(broken) == statuses(sound) == [None, 203, 204]


def test_a_child_that_is_gone_freezes_the_tree() -> None:
    """A route that delegates to no table is broken."""
    delegating = frozen({"delegate": {"routeTables": [{"name": "a"}]}})
    sound = run(delegating, route_table("a", http=[forward()]))
    assert routes(run(delegating, kept=sound.trees)) == routes(sound)


def test_a_deleted_destination_freezes_and_leaves_an_empty_backend() -> None:
    """The frozen route goes on to where nobody is: 503, not another route."""
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "other", "namespace": "httpbin"}}
    service["spec"] = {"ports": [{"port": 8000}]}
    sound = run(frozen(forward("other")), service)
    gone = run(frozen(forward("other")), kept=sound.trees)
    assert routes(gone) == routes(sound)
    (backend,) = [one for one in gone.proxies[CLIENT].backends if one.name == "cluster1/httpbin/other:8000"]
    assert backend.endpoints == ()


def test_the_binding_freezes_too() -> None:
    """A table whose selectors break is used by the workloads that used it."""
    sound = run(frozen(workloadSelectors=[{"selector": {"labels": {"app": "client"}}}]))
    broken = run(frozen(workloadSelectors=[{"selector": {"name": "client"}}]), kept=sound.trees)
    assert routes(broken) == routes(sound) != []


def test_a_table_that_cannot_be_read_is_frozen() -> None:
    """Nothing is known of its routes any more, not even that there are some."""
    sound = run(frozen())
    unreadable = frozen() | {"spec": {**frozen()["spec"], "http": "garbage"}}
    assert routes(run(unreadable, kept=sound.trees)) == routes(sound)


def test_a_table_of_another_workspace_is_not_served_as_it_was() -> None:
    """What was kept is of the workspace that owned the table then; sidecars of that one do not use it any longer."""
    sound = run(frozen())
    other = {
        "apiVersion": "admin.gloo.solo.io/v2",
        "kind": "Workspace",
        "metadata": {
            "name": "older",
            "namespace": "gloo-mesh",
            "creationTimestamp": "1999-01-01T00:00:00Z",
            "annotations": {"golden.meshpass.dev/cluster": "mgmt"},
        },
        "spec": {"workloadClusters": [{"name": "*", "namespaces": [{"name": "httpbin"}]}]},
    }
    moved = run(frozen(BROKEN), other, kept=sound.trees)
    assert statuses(moved) == [500]


def test_trees_outlive_a_restart() -> None:
    """As bytes and back they are as good as before."""
    sound = run(frozen(forward(), {"matchers": [{"uri": {"regex": "/a.*"}}], "redirect": {"pathRedirect": "/b"}}))
    kept = {key: decode_tree(encode_tree(tree)) for key, tree in sound.trees.items()}
    assert routes(run(frozen(BROKEN), kept=kept)) == routes(sound)


@pytest.mark.parametrize("body", [b"", b"\xc1", b"\x80", msgspec.msgpack.encode({"routes": 1})])
def test_other_bytes_are_refused(body: bytes) -> None:
    """Nothing else is taken for a tree."""
    with pytest.raises(msgspec.MsgspecError):
        decode_tree(body)


def test_trees_stay_the_same_object() -> None:
    """Without a change, a translation that gets what the last one kept finds all of its parts in the memo."""
    memo, objects = Memo(), object_set(BASE, frozen())
    first = translate(objects, NO_KEY_SETS, SETTINGS, memo, {})
    second = translate(objects, NO_KEY_SETS, SETTINGS, memo, first.trees)
    touched = objects.with_changes(
        read_objects(route_table("unrelated", hosts=["other.example.com"], http=[forward()]))
    )
    third = translate(touched, NO_KEY_SETS, SETTINGS, memo, second.trees)
    assert first.trees is second.trees is third.trees
