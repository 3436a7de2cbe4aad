"""RetryTimeoutPolicy → Retries and the time limit of a route."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus

from meshpass.api.objectset import ObjectKey
from meshpass.api.resilience import RetryPolicy, RetryTimeoutPolicy, RetryTimeoutPolicyConfig
from meshpass.ir import Retries, RouteOptions
from meshpass.translate.finding import Finding, no_effect
from meshpass.translate.trafficpolicyoptions import PolicyOptions, invalid, is_sound, unreadable, without_effect
from meshpass.translate.trafficpolicyvalue import duration_problem, milliseconds

DEFAULT_ATTEMPTS = 2
DEFAULT_CONDITIONS = ("connect-failure", "refused-stream", "unavailable", "cancelled", "503")
"""What meshes of this API retry where a policy names no conditions."""

_STATUS_CODES = "retriable-status-codes"
CONDITIONS = frozenset(
    {
        "5xx",
        "gateway-error",
        "reset",
        "reset-before-request",
        "connect-failure",
        "retriable-4xx",
        "refused-stream",
        _STATUS_CODES,
        "retriable-headers",
        "envoy-ratelimited",
        "http3-post-connect-failure",
        "cancelled",
        "deadline-exceeded",
        "internal",
        "resource-exhausted",
        "unavailable",
    }
)
"""What Envoy knows by ``x-envoy-retry-on`` and ``x-envoy-retry-grpc-on``, and the API lists."""

_STATUSES = frozenset(str(status.value) for status in HTTPStatus)


def translate_retry_timeout(key: ObjectKey, policy: RetryTimeoutPolicy, problems: tuple[str, ...]) -> PolicyOptions:
    """What a RetryTimeoutPolicy comes to."""
    config = policy.spec.config or RetryTimeoutPolicyConfig()
    findings = [*unreadable(key, problems), *_judge(key, config)]
    if config.retries is None and config.request_timeout is None and not problems:
        findings.append(invalid(key, "spec.config", "one of retries, requestTimeout is required"))
    options = _translate(config) if is_sound(findings) else None
    return PolicyOptions(key=key, options=options, findings=tuple(findings))


def _translate(config: RetryTimeoutPolicyConfig) -> RouteOptions:
    return RouteOptions(
        timeout_milliseconds=None if config.request_timeout is None else milliseconds(config.request_timeout),
        retries=None if config.retries is None else _retries(config.retries),
    )


def _retries(retries: RetryPolicy) -> Retries:
    if _attempts(retries) == 0:
        return Retries(attempts=0)
    conditions = _conditions(retries.retry_on) or DEFAULT_CONDITIONS
    codes = tuple(sorted({int(one) for one in conditions if one in _STATUSES}))
    names = [one for one in conditions if one not in _STATUSES]
    if codes:
        names.append(_STATUS_CODES)
    return Retries(
        attempts=_attempts(retries),
        per_try_timeout_milliseconds=(
            None if retries.per_try_timeout is None else milliseconds(retries.per_try_timeout)
        ),
        retry_on=",".join(dict.fromkeys(names)),
        status_codes=codes,
    )


def _attempts(retries: RetryPolicy) -> int:
    return DEFAULT_ATTEMPTS if retries.attempts is None else retries.attempts


def _conditions(text: str) -> tuple[str, ...]:
    return tuple(part.strip(" ") for part in text.split(",")) if text else ()


def _judge(key: ObjectKey, config: RetryTimeoutPolicyConfig) -> Iterator[Finding]:
    if config.request_timeout is not None and (problem := duration_problem(config.request_timeout)):
        yield invalid(key, "spec.config.requestTimeout", problem)
    if config.retries is not None:
        yield from _judge_retries(key, config.retries)
        yield from _judge_limits(key, config.retries.per_try_timeout, config.request_timeout)


def _judge_retries(key: ObjectKey, retries: RetryPolicy) -> Iterator[Finding]:
    path = "spec.config.retries"
    if retries.per_try_timeout is not None and (problem := duration_problem(retries.per_try_timeout)):
        yield invalid(key, f"{path}.perTryTimeout", problem)
    for condition in _conditions(retries.retry_on):
        if condition not in CONDITIONS and condition not in _STATUSES:
            yield invalid(key, f"{path}.retryOn", f"{condition!r} is no condition of Envoy and no HTTP status")
    if retries.attempts == 0:
        for field, value in (
            ("perTryTimeout", retries.per_try_timeout),
            ("retryOn", retries.retry_on or None),
            ("retryRemoteLocalities", retries.retry_remote_localities),
        ):
            if value is not None:
                yield invalid(key, f"{path}.{field}", "must not be set where attempts is 0")
    elif retries.retry_remote_localities:
        yield no_effect(key, f"{path}.retryRemoteLocalities")


def _judge_limits(key: ObjectKey, each: str | None, whole: str | None) -> Iterator[Finding]:
    if each is None or whole is None or duration_problem(each) or duration_problem(whole):
        return
    if milliseconds(each) >= milliseconds(whole):
        yield without_effect(key, "spec.config.retries.perTryTimeout", "is not shorter than requestTimeout")
