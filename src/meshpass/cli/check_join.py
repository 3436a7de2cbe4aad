"""What several processes say of the health of a mesh → what one would have said. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any

from meshpass.cli.jwks import join_sources
from meshpass.localmesh.meshcontrol import join_proxies
from meshpass.localmesh.processrecord import ProcessRecord, speaks_for

Raw = Mapping[str, Any]
Told = Sequence[tuple[ProcessRecord, Raw]]


def join_answers(told: Told) -> dict[str, Any]:
    """The answers to ``/v1/check`` as one: of every object and proxy the word of the process of its own cluster holds.

    Whether a process has seen and translated everything stays with each of them.
    """
    return {
        "proxies": join_proxies(told),
        "keySets": join_sources([source for _, said in told for source in said["keySets"]]),
        "certificates": _join_certificates(told),
        "objects": _join_objects(told),
        "frozen": _unique(told, lambda said: said["frozen"], _object_key),
        "featureGates": next((said["featureGates"] for _, said in told), []),
        "agents": next((said["agents"] for _, said in told if "agents" in said), None),
        "identity": _join_identities(told),
    }


def _join_certificates(told: Told) -> list[dict[str, Any]]:
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for _, said in told:
        for one in said["certificates"]:
            before = found.setdefault((one["source"], one["notAfter"]), {**one, "proxies": []})
            before["proxies"] = sorted({*before["proxies"], *one["proxies"]})
    return [found[key] for key in sorted(found)]


def _join_objects(told: Told) -> dict[str, Any]:
    states: Counter[str] = Counter()
    for _, said in told:
        states.update(said["objects"]["states"])
    wrong = _unique(told, lambda said: said["objects"]["notAccepted"], _object_key)
    return {"states": dict(sorted(states.items())), "notAccepted": wrong}


def _join_identities(told: Told) -> Raw | None:
    """Roots and rotation as who signs with the root says; of each intermediate what its own cluster says."""
    views = [(process, said["identity"]) for process, said in told if said.get("identity")]
    if not views:
        return None
    whole = views[0][1]  # the management server comes first
    own = {
        one["cluster"]: one
        for process, view in views
        for one in view["intermediates"]
        if speaks_for(process, one["cluster"])
    }
    others = {one["cluster"]: one for _, view in views for one in view["intermediates"]}
    return {**whole, "intermediates": [({**others, **own})[cluster] for cluster in sorted({**others, **own})]}


def _unique(told: Told, items: Callable[[Raw], Iterable[Raw]], key: Callable[[Raw], tuple[Hashable, ...]]) -> list[Raw]:
    """What is told of objects, each by the process of its cluster, or by whoever tells of it where that does not."""
    found: dict[tuple[Hashable, ...], Raw] = {}
    for process, said in told:
        for item in items(said):
            if key(item) not in found or speaks_for(process, item["cluster"]):
                found[key(item)] = item
    return list(found.values())


def _object_key(item: Raw) -> tuple[Hashable, ...]:
    return item["kind"], item["cluster"], item["namespace"], item["name"]
