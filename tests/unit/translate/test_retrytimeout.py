"""RetryTimeoutPolicy: what it comes to, and what is wrong with it."""

from __future__ import annotations

from typing import Any

import pytest

from meshpass.api.metadata import ObjectMeta
from meshpass.api.objectset import ObjectKey
from meshpass.api.resilience import RetryPolicy, RetryTimeoutPolicy, RetryTimeoutPolicyConfig, RetryTimeoutPolicySpec
from meshpass.ir import Retries, RouteOptions
from meshpass.translate.finding import Reason, Severity
from meshpass.translate.retrytimeout import CONDITIONS, translate_retry_timeout
from meshpass.translate.trafficpolicyoptions import PolicyOptions

KEY = ObjectKey("RetryTimeoutPolicy", "cluster1", "httpbin", "policy")


def translate(*problems: str, timeout: str | None = None, **retries: Any) -> PolicyOptions:
    config = RetryTimeoutPolicyConfig(request_timeout=timeout, retries=RetryPolicy(**retries) if retries else None)
    return of_config(config, *problems)


def of_config(config: RetryTimeoutPolicyConfig | None, *problems: str) -> PolicyOptions:
    policy = RetryTimeoutPolicy(metadata=ObjectMeta(name="policy"), spec=RetryTimeoutPolicySpec(config=config))
    return translate_retry_timeout(KEY, policy, problems)


def wrong(found: PolicyOptions) -> list[str]:
    assert found.options is None
    return [finding.path for finding in found.findings if finding.severity is Severity.INVALID]


def test_a_time_limit_alone() -> None:
    """As in published samples."""
    assert translate(timeout="0.5s").options == RouteOptions(timeout_milliseconds=500)


def test_every_field_of_retries() -> None:
    """Statuses are told apart from conditions, and their condition is added."""
    found = translate(timeout="2s", attempts=5, per_try_timeout="250ms", retry_on="5xx, reset,503,409,503")

    assert found.findings == ()
    assert found.options == RouteOptions(
        timeout_milliseconds=2000,
        retries=Retries(
            attempts=5,
            per_try_timeout_milliseconds=250,
            retry_on="5xx,reset,retriable-status-codes",
            status_codes=(409, 503),
        ),
    )


def test_retries_without_words() -> None:
    """Two, after failures that meshes of this API retry."""
    found = of_config(RetryTimeoutPolicyConfig(retries=RetryPolicy()))

    assert found.options == RouteOptions(
        retries=Retries(
            attempts=2,
            retry_on="connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes",
            status_codes=(503,),
        )
    )


def test_no_attempts_are_no_retries() -> None:
    """And nothing may be said of them."""
    none = Retries(attempts=0)
    assert translate(attempts=0, timeout="1s").options == RouteOptions(timeout_milliseconds=1000, retries=none)
    assert translate(attempts=0).options == RouteOptions(retries=none)
    found = translate(attempts=0, per_try_timeout="1s", retry_on="5xx", retry_remote_localities=False)
    assert wrong(found) == [
        f"spec.config.retries.{name}" for name in ("perTryTimeout", "retryOn", "retryRemoteLocalities")
    ]


@pytest.mark.parametrize("condition", sorted(CONDITIONS))
def test_every_condition_of_envoy(condition: str) -> None:
    """Goes through as it is."""
    options = translate(retry_on=condition).options

    assert options is not None
    assert options.retries is not None
    assert options.retries.retry_on == condition
    assert options.retries.status_codes == ()


@pytest.mark.parametrize("text", ["5XX", "5xx,", ",", "5xx;reset", "99", "600", "0503", "503.0", "always", "5xx\n"])
def test_other_conditions_deny(text: str) -> None:
    """Envoy would ignore them in silence."""
    assert "spec.config.retries.retryOn" in wrong(translate(retry_on=text))


@pytest.mark.parametrize("text", ["0s", "1us", "1.5ms", "8761h"])
def test_times_that_cannot_be_counted_deny(text: str) -> None:
    """Either of them."""
    assert wrong(translate(timeout=text)) == ["spec.config.requestTimeout"]
    assert wrong(translate(per_try_timeout=text)) == ["spec.config.retries.perTryTimeout"]


def test_a_limit_that_is_never_reached_is_told() -> None:
    """Each try within the whole."""
    (finding,) = translate(timeout="1s", per_try_timeout="1s").findings

    assert (finding.severity, finding.path) == (Severity.WARNING, "spec.config.retries.perTryTimeout")
    assert translate(timeout="1s", per_try_timeout="999ms").findings == ()


def test_localities_have_no_effect_yet() -> None:
    """Only where they are asked for."""
    (finding,) = translate(retry_remote_localities=True).findings

    assert (finding.reason, finding.message) == (
        Reason.NO_EFFECT,
        "no effect yet: spec.config.retries.retryRemoteLocalities",
    )
    assert translate(retry_remote_localities=False).findings == ()


def test_a_policy_that_asks_for_nothing_denies() -> None:
    """Said once."""
    assert wrong(of_config(RetryTimeoutPolicyConfig())) == ["spec.config"]
    assert wrong(of_config(None, "spec.config: required")) == [""]
