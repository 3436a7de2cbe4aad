"""Health: what ``/v1/check`` of the control socket says of objects, certificates and feature gates; no key is in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any
from urllib.parse import unquote

from cryptography import x509

from meshpass.api.objectset import ObjectKey
from meshpass.ir import WORKLOAD_IDENTITY, ObjectRef, Proxy, TlsCertificate
from meshpass.translate.credential import named_secret
from meshpass.translate.finding import Reason, Severity
from meshpass.translate.report import ObjectReport, Report
from meshpass.translate.settings import FeatureGates

_TIME = "%Y-%m-%dT%H:%M:%SZ"


def view_statuses(statuses: Mapping[ObjectKey, Mapping[str, Any]], report: Report) -> dict[str, object]:
    """How many objects are in which state, and those that are not ACCEPTED."""
    states = {key: status["common"]["State"] for key, status in sorted(statuses.items())}
    return {
        "states": dict(sorted(Counter(state["approval"] for state in states.values()).items())),
        "notAccepted": [
            {
                **view_key(key),
                "state": state["approval"],
                "reasons": _reasons(report.objects.get(key)),
                "message": state["message"],
            }
            for key, state in states.items()
            if state["approval"] != "ACCEPTED"
        ],
    }


def view_frozen(report: Report) -> list[dict[str, str]]:
    """The route tables that serve what they served when they were last right."""
    return [
        view_key(key)
        for key, told in sorted(report.objects.items())
        if any(finding.reason is Reason.FROZEN for finding in told.findings)
    ]


def view_certificates(proxies: Iterable[Proxy]) -> list[dict[str, object]]:
    """The certificates that proxies show, each told by the one of its chain that expires first."""
    users: dict[str, list[str]] = {}
    chains: dict[str, str] = {}
    for proxy in proxies:
        for secret in proxy.secrets:
            if isinstance(secret, TlsCertificate) and secret.name != WORKLOAD_IDENTITY:
                users.setdefault(secret.name, []).append(proxy.node)
                chains[secret.name] = secret.chain
    return [
        {"source": _source(name), "proxies": sorted(users[name]), **_view_chain(chain)}
        for name, chain in sorted(chains.items())
    ]


def view_gates(gates: FeatureGates) -> list[dict[str, object]]:
    """Every feature gate, with its default."""
    defaults = asdict(FeatureGates())
    return [{"name": name, "value": value, "default": defaults[name]} for name, value in asdict(gates).items()]


def view_key(key: ObjectKey) -> dict[str, str]:
    """Which object."""
    return {"kind": key.kind, "cluster": key.cluster, "namespace": key.namespace, "name": key.name}


def _reasons(report: ObjectReport | None) -> list[str]:
    findings = report.findings if report is not None else ()
    return sorted({finding.reason.value for finding in findings if finding.severity > Severity.NOTE})


def _source(name: str) -> str:
    """Where a certificate is from, by the name that proxies know it by: a Secret, or a file."""
    kind, colon, rest = name.partition(":")
    return f"{kind} {unquote(rest.partition('#')[0])}" if colon else str(ObjectRef(*named_secret(name)))


def _view_chain(chain: str) -> dict[str, object]:
    first = min(x509.load_pem_x509_certificates(chain.encode()), key=lambda one: one.not_valid_after_utc)
    return {
        "subject": first.subject.rfc4514_string(),
        "notBefore": _show(first.not_valid_before_utc),
        "notAfter": _show(first.not_valid_after_utc),
    }


def _show(moment: datetime) -> str:
    return moment.strftime(_TIME)
