"""What the control socket says of the health of a mesh: certificates by their end, objects by their state, no key."""

from __future__ import annotations

import json

from tests.support.certificates import Authority
from tests.support.gateway_objects import make_pair

from meshpass.api.objectset import ObjectKey
from meshpass.ir import Proxy, TlsCertificate, TrustedAuthorities
from meshpass.translate import FeatureGates, Report
from meshpass.translate.finding import Finding, Reason, Severity
from meshpass.translate.health import view_certificates, view_frozen, view_gates, view_statuses
from meshpass.translate.report import ObjectReport

POLICY = ObjectKey("JWTPolicy", "mgmt", "httpbin", "p")
TABLE = ObjectKey("RouteTable", "cluster1", "httpbin", "rt")
FILE = "file:/etc/tls/a%20b.crt#/etc/tls/key.pem"


def report(key, *findings):
    made = tuple(Finding(key=key, severity=severity, reason=reason, message="m") for severity, reason in findings)
    return ObjectReport(generation=1, findings=made)


def status(approval, message=""):
    return {"common": {"State": {"approval": approval, "message": message}}}


def test_certificates_are_told_by_source_and_users_without_their_keys():
    """Once, however many proxies show it; authorities are not shown by anybody."""
    pair = Authority().sign("www.example.com")
    certificates = [
        TlsCertificate(name=name, chain=pair.chain, private_key=pair.private_key)
        for name in ("cluster1/edge/tls", FILE)
    ]
    authorities = TrustedAuthorities(name="cluster1/edge/tls#ca", certificates=pair.chain)
    proxies = [Proxy(node=node, secrets=(*certificates, authorities)) for node in ("b", "a")]
    told = view_certificates(proxies)

    assert [(one["source"], one["proxies"]) for one in told] == [
        ("Secret cluster1/edge/tls", ["a", "b"]),
        ("file /etc/tls/a b.crt", ["a", "b"]),
    ]
    assert told[0]["subject"] == "CN=www.example.com"
    assert str(told[0]["notAfter"]).endswith("Z")
    assert "PRIVATE" not in json.dumps(told)


def test_a_chain_is_as_good_as_its_first_to_expire():
    """An intermediate that has expired is refused as the leaf would be."""
    early, late = Authority().sign("early.example.com").chain, make_pair("late.example.com")[0]
    for chain in (early + late, late + early):
        secret = TlsCertificate(name="c/n/s", chain=chain, private_key="")
        (told,) = view_certificates([Proxy(node="a", secrets=(secret,))])
        assert told["subject"] == "CN=early.example.com"


def test_objects_are_counted_and_those_that_are_not_accepted_named():
    """With the reasons that weigh more than a note."""
    told = view_statuses(
        {TABLE: status("WARNING", "why"), POLICY: status("ACCEPTED")},
        Report(
            objects={
                TABLE: report(TABLE, (Severity.NOTE, Reason.CONFLICTED), (Severity.WARNING, Reason.NO_EFFECT)),
                POLICY: report(POLICY),
            }
        ),
    )

    assert told == {
        "states": {"ACCEPTED": 1, "WARNING": 1},
        "notAccepted": [
            {
                "kind": "RouteTable",
                "cluster": "cluster1",
                "namespace": "httpbin",
                "name": "rt",
                "state": "WARNING",
                "reasons": ["NoEffect"],
                "message": "why",
            }
        ],
    }


def test_an_object_whose_report_is_newer_than_its_status_has_no_reasons():
    """It went in between."""
    told = view_statuses({TABLE: status("FAILED", "why")}, Report(objects={}))

    assert told["notAccepted"][0]["reasons"] == []


def test_frozen_tables_are_those_with_the_finding():
    """And no others."""
    told = view_frozen(
        Report(objects={TABLE: report(TABLE, (Severity.WARNING, Reason.FROZEN)), POLICY: report(POLICY)})
    )

    assert [one["name"] for one in told] == ["rt"]


def test_gates_are_told_with_their_defaults():
    """All of them."""
    told = {
        one["name"]: (one["value"], one["default"])
        for one in view_gates(FeatureGates(EnableJWTPolicyEastWestRoute=False))
    }

    assert told["EnableJWTPolicyEastWestRoute"] == (False, True)
    assert told["GatewayDefaultDenyAllHTTPRequests"] == (False, False)
