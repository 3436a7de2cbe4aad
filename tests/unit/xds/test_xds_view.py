"""What is told of a proxy, and since when it is so."""

from __future__ import annotations

from meshpass.xds.cache import NodeState, SnapshotCache
from meshpass.xds.view import view_proxy


def test_a_proxy_is_told_with_the_time_since_it_changed():
    """None before it was ever heard of; a clock that goes back is no negative time."""
    state = NodeState(streams=1, target=None, in_sync=True, rejections=(), since=100.0)

    assert view_proxy("a", state, 160.5)["sinceSeconds"] == 60.5
    assert view_proxy("a", state, 99.0)["sinceSeconds"] == 0.0
    assert view_proxy("a", SnapshotCache().state("a"), 1.0)["sinceSeconds"] is None


def test_the_time_is_that_of_the_last_change_between_connected_and_not():
    """Another stream of the same node changes nothing; the end of the last one does; a forgotten node has none."""
    now = [1.0]
    cache = SnapshotCache(clock=lambda: now[0])
    first = cache.connect("a", lambda _: None)
    now[0] = 2.0
    second = cache.connect("a", lambda _: None)
    first.close()
    assert cache.state("a").since == 1.0
    now[0] = 3.0
    second.close()
    assert cache.state("a").since is None
