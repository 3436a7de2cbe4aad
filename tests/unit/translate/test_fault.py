"""FaultInjectionPolicy: what it comes to, and what is wrong with it."""

from __future__ import annotations

import math

import pytest

from meshpass.api.metadata import ObjectMeta
from meshpass.api.objectset import ObjectKey
from meshpass.api.resilience import (
    FaultAbort,
    FaultDelay,
    FaultInjectionPolicy,
    FaultInjectionPolicyConfig,
    FaultInjectionPolicySpec,
)
from meshpass.ir import Abort, Delay, RouteOptions
from meshpass.translate.fault import translate_fault
from meshpass.translate.finding import Severity
from meshpass.translate.trafficpolicyoptions import PolicyOptions

KEY = ObjectKey("FaultInjectionPolicy", "cluster1", "httpbin", "policy")


def translate(*problems: str, delay: FaultDelay | None = None, abort: FaultAbort | None = None) -> PolicyOptions:
    spec = FaultInjectionPolicySpec(config=FaultInjectionPolicyConfig(delay=delay, abort=abort))
    return translate_fault(KEY, FaultInjectionPolicy(metadata=ObjectMeta(name="policy"), spec=spec), problems)


def wrong(found: PolicyOptions) -> list[str]:
    assert found.options is None
    assert {finding.severity for finding in found.findings} == {Severity.INVALID}
    return [finding.path for finding in found.findings]


def test_a_share_that_is_not_said_is_all() -> None:
    """Of each fault for itself."""
    found = translate(delay=FaultDelay(fixed_delay="2s"), abort=FaultAbort(http_status=418, percentage=12.5))

    assert found.findings == ()
    assert found.options == RouteOptions(
        delay=Delay(percent=100.0, milliseconds=2000), abort=Abort(percent=12.5, status=418)
    )
    assert translate(abort=FaultAbort(http_status=599)).options == RouteOptions(abort=Abort(percent=100.0, status=599))


@pytest.mark.parametrize("percentage", [0, 0.0001, 50, 100])
def test_shares(percentage: float) -> None:
    """None of them, one in a million, all of them."""
    found = translate(delay=FaultDelay(fixed_delay="1ms", percentage=percentage))

    assert found.options == RouteOptions(delay=Delay(percent=percentage, milliseconds=1))


@pytest.mark.parametrize("percentage", [-1, 0.00009, 100.0001, 1e300, math.inf, -math.inf, math.nan])
def test_what_is_no_share_denies(percentage: float) -> None:
    """Of either fault."""
    found = translate(
        delay=FaultDelay(fixed_delay="1s", percentage=percentage),
        abort=FaultAbort(http_status=500, percentage=percentage),
    )

    assert wrong(found) == ["spec.config.delay.percentage", "spec.config.abort.percentage"]


@pytest.mark.parametrize("status", [-1, 0, 100, 199, 600, 2**31 - 1])
def test_what_is_no_status_of_an_answer_denies(status: int) -> None:
    """200 to 599, as Envoy has it."""
    assert wrong(translate(abort=FaultAbort(http_status=status))) == ["spec.config.abort.httpStatus"]


@pytest.mark.parametrize("delay", ["0", "500us", "1.5ms", "9000h"])
def test_what_is_no_delay_denies(delay: str) -> None:
    """A millisecond to a year."""
    assert wrong(translate(delay=FaultDelay(fixed_delay=delay))) == ["spec.config.delay.fixedDelay"]


def test_a_policy_that_asks_for_nothing_denies() -> None:
    """Said once."""
    assert wrong(translate()) == ["spec.config"]
    assert wrong(translate("spec.config.abort.httpStatus: required")) == [""]
