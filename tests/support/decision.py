"""Decision records for tests."""

from __future__ import annotations

from typing import Any

import msgspec

from meshpass.audit.record import DecisionRecord, Verdict
from meshpass.envoy.filters import Side

_RECORD = DecisionRecord(
    time=1_700_000_000.0,
    duration=0.001,
    proxy="sidecar~cluster1~httpbin~client",
    side=Side.OUTBOUND,
    method="GET",
    host="www.example.com",
    path="/get",
    route="get.www.httpbin.cluster1",
    selection_class="0123456789abcdef",
    policy="cluster1/httpbin/policy",
    provider="dev-0123456789abcdef",
    kid="k1",
    subject_hash="0011223344556677",
    verdict=Verdict.ALLOWED,
    status=200,
    reason="",
)


def make_record(**changes: Any) -> DecisionRecord:
    """A record of an allowed request, with some fields changed."""
    return msgspec.structs.replace(_RECORD, **changes)
