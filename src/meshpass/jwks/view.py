"""View: what ``/v1/jwks`` of the control socket says. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from meshpass.jwks.freshness import show_time
from meshpass.jwks.source import SourceReport


def view_sources(reports: Iterable[SourceReport]) -> dict[str, object]:
    """The answer to ``GET /v1/jwks`` and, with the sources that were asked, to ``POST /v1/jwks/refresh``."""
    return {"sources": [_view_source(report) for report in reports]}


def _view_source(report: SourceReport) -> dict[str, object]:
    return {
        "url": report.url,
        "destination": report.destination,
        "keys": [{"kid": key.kid, "kty": key.kty, "alg": key.alg} for key in report.keys],
        "skipped": list(report.skipped),
        "fetchedAt": None if report.fetched_at is None else show_time(report.fetched_at),
        "ageSeconds": _rounded(report.age_seconds),
        "lastError": report.last_error,
        "nextFetchInSeconds": _rounded(report.next_fetch_in),
        "policies": [
            {"cluster": policy.cluster, "namespace": policy.namespace, "name": policy.name}
            for policy in report.policies
        ],
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
