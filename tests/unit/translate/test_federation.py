"""Which Services other clusters may refer to, and by which hosts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from tests.support.catalog import build_catalog, service

from meshpass.api.admin import Federation, WorkspaceOptions
from meshpass.api.objectset import ObjectKey
from meshpass.memo import Memo
from meshpass.translate.catalog import Catalog
from meshpass.translate.federation import WorkspaceFederation, make_federation
from meshpass.translate.knownhost import known_hosts
from meshpass.translate.workspace import WorkspaceIndex
from meshpass.translate.workspacesettings import EffectiveSettings, SettingsIndex

PLACES = {("cluster1", "httpbin"): "team", ("cluster2", "httpbin"): "team"}
SETTINGS = ObjectKey("WorkspaceSettings", "mgmt", "httpbin", "settings")
WEB, OTHER = ObjectKey("Service", "cluster2", "httpbin", "web"), ObjectKey("Service", "cluster1", "httpbin", "other")
FAR = {"cluster": "cluster2", "labels": {"app": "web"}}
DOMAIN = {"enabled": True, "hostSuffix": "Mesh.Example."}


def catalog(options: Mapping[str, Any], *services: Mapping[str, Any]) -> Catalog:
    federation = msgspec.convert(options, Federation)
    effective = EffectiveSettings(key=SETTINGS, options=WorkspaceOptions(federation=federation))
    workspaces = WorkspaceIndex(
        owners=PLACES,
        read=frozenset(PLACES),
        selected={},
        findings=(),
        settings=SettingsIndex(of_workspace={"team": effective}),
    )
    known = services or (service("web", http=80, admin=81, place=FAR), service("other", http=80))
    return build_catalog(*known, workspaces=workspaces)


def federated(options: Mapping[str, Any], *services: Mapping[str, Any]) -> WorkspaceFederation:
    return catalog(options, *services).federation.of("team")


def test_without_selectors_every_service_is_federated() -> None:
    """On all its ports, under a host in its one form."""
    found = federated(DOMAIN).services

    assert {key: (one.ports, one.host) for key, one in found.items()} == {
        WEB: ((80, 81), "web.httpbin.cluster2.mesh.example"),
        OTHER: ((80,), "other.httpbin.cluster1.mesh.example"),
    }


def test_what_is_not_enabled_federates_nothing() -> None:
    """Whatever else is said."""
    assert federated({"enabled": False, "hostSuffix": "mesh.example", "serviceSelector": [{}]}).services == {}
    assert catalog(DOMAIN).federation.of("others").services == {}
    assert catalog(DOMAIN).federation.of(None).services == {}


@pytest.mark.parametrize(
    ("selectors", "found"),
    [
        ([{"labels": {"app": "web"}}], {WEB}),
        ([{"name": "other"}], {OTHER}),
        ([{"cluster": "cluster2", "namespace": "httpbin", "workspace": "team"}], {WEB}),
        ([{"workspace": "others"}], set()),
        ([{"name": "other"}, {"name": "web"}], {WEB, OTHER}),
        ([{}], {WEB, OTHER}),
    ],
)
def test_selectors_narrow_it(selectors: list[Any], found: set[ObjectKey]) -> None:
    """One or another of them is met."""
    assert set(federated({**DOMAIN, "serviceSelector": selectors}).services) == found


@pytest.mark.parametrize(
    ("ports", "found"),
    [
        ([{"number": 81}], {WEB: (81,)}),
        ([{"name": "http"}], {WEB: (80,), OTHER: (80,)}),
        ([{"number": 81}, {"number": 80}], {WEB: (80, 81), OTHER: (80,)}),
        ([{}], {}),
    ],
)
def test_ports_narrow_it(ports: list[Any], found: dict[ObjectKey, tuple[int, ...]]) -> None:
    """A Service without any of them is not federated."""
    assert {key: one.ports for key, one in federated({**DOMAIN, "ports": ports}).services.items()} == found


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"hostSuffix": ""}, "spec.options.federation.hostSuffix: is needed"),
        ({"hostSuffix": "*.mesh"}, "spec.options.federation.hostSuffix: a suffix has no wildcard"),
        ({"hostSuffix": "a_b"}, "spec.options.federation.hostSuffix: 'a_b' is no part of a DNS name"),
        ({"serviceSelector": [{}, {"name": "x"}]}, "serviceSelector[1]: selects no Service of workspace team"),
    ],
)
def test_what_is_wrong_is_said_with_its_path(changes: dict[str, Any], words: str) -> None:
    """The Services can be referred to all the same."""
    found = federated({**DOMAIN, **changes})

    assert words in "; ".join(map(str, found.findings))
    assert set(found.services) == {WEB, OTHER}
    assert {bool(one.host) for one in found.services.values()} == {"hostSuffix" not in changes}


def test_a_service_whose_name_is_no_part_of_a_host_has_none() -> None:
    """Others keep theirs."""
    found = federated(DOMAIN, service("a_b", http=80), service("web", http=80))

    assert [bool(one.host) for one in found.services.values()] == [False, True]
    assert "Service a_b in namespace httpbin has no host" in str(found.findings[0])


@pytest.mark.parametrize(
    ("options", "port", "words"),
    [
        (DOMAIN, 80, ""),
        ({"enabled": False}, 80, "needs options.federation.enabled in the WorkspaceSettings of workspace team"),
        ({**DOMAIN, "serviceSelector": [{"name": "other"}]}, 80, "is in no options.federation.serviceSelector"),
        ({**DOMAIN, "ports": [{"number": 81}]}, 80, "needs its port in options.federation.ports"),
    ],
)
def test_why_another_cluster_may_not_refer_to_it(options: dict[str, Any], port: int, words: str) -> None:
    """What would have to be said."""
    found = catalog(options).federation.why_not(WEB, port, "team")

    assert found.startswith(words)
    assert bool(found) == bool(words)


def test_hosts_lead_to_the_service_from_every_cluster() -> None:
    """On the federated ports."""
    known = catalog({**DOMAIN, "ports": [{"name": "http"}], "serviceSelector": [{"name": "web"}]})
    for cluster in ("cluster1", "cluster2"):
        (one,) = (one for one in known_hosts(cluster, "httpbin", known) if one.apart)
        assert (one.names, one.port) == (("web.httpbin.cluster2.mesh.example",), 80)
        assert one.destination.key == WEB


def test_what_did_not_change_keeps_its_identity() -> None:
    """Also when Workspaces are resolved anew."""
    memo, known = Memo(), catalog(DOMAIN)
    again = WorkspaceIndex(
        owners=dict(PLACES), read=frozenset(), selected={}, findings=(), settings=known.workspaces.settings
    )
    first = memo(make_federation, known.services_by_workspace, known.workspaces, memo)

    assert memo(make_federation, known.services_by_workspace, again, memo) is first
