"""FaultInjectionPolicy → Delay and Abort."""

from __future__ import annotations

from collections.abc import Iterator

from meshpass.api.objectset import ObjectKey
from meshpass.api.resilience import FaultAbort, FaultDelay, FaultInjectionPolicy, FaultInjectionPolicyConfig
from meshpass.ir import Abort, Delay, RouteOptions
from meshpass.translate.finding import Finding
from meshpass.translate.trafficpolicyoptions import PolicyOptions, invalid, is_sound, unreadable
from meshpass.translate.trafficpolicyvalue import duration_problem, milliseconds

ALL = 100.0
SMALLEST = 0.0001
"""One in a million, which is the finest that Envoy counts."""
LOWEST_STATUS, HIGHEST_STATUS = 200, 599


def translate_fault(key: ObjectKey, policy: FaultInjectionPolicy, problems: tuple[str, ...]) -> PolicyOptions:
    """What a FaultInjectionPolicy comes to."""
    config = policy.spec.config
    findings = [*unreadable(key, problems), *_judge(key, config)]
    if config.delay is None and config.abort is None and not problems:
        findings.append(invalid(key, "spec.config", "one of delay, abort is required"))
    options = _translate(config) if is_sound(findings) else None
    return PolicyOptions(key=key, options=options, findings=tuple(findings))


def _translate(config: FaultInjectionPolicyConfig) -> RouteOptions:
    delay, abort = config.delay, config.abort
    return RouteOptions(
        delay=None if delay is None else Delay(percent=_percent(delay), milliseconds=milliseconds(delay.fixed_delay)),
        abort=None if abort is None else Abort(percent=_percent(abort), status=abort.http_status),
    )


def _percent(fault: FaultDelay | FaultAbort) -> float:
    return ALL if fault.percentage is None else float(fault.percentage)


def _judge(key: ObjectKey, config: FaultInjectionPolicyConfig) -> Iterator[Finding]:
    if config.delay is not None:
        if problem := duration_problem(config.delay.fixed_delay):
            yield invalid(key, "spec.config.delay.fixedDelay", problem)
        yield from _judge_percentage(key, config.delay, "spec.config.delay.percentage")
    if config.abort is not None:
        if not LOWEST_STATUS <= config.abort.http_status <= HIGHEST_STATUS:
            yield invalid(key, "spec.config.abort.httpStatus", f"is not {LOWEST_STATUS} to {HIGHEST_STATUS}")
        yield from _judge_percentage(key, config.abort, "spec.config.abort.percentage")


def _judge_percentage(key: ObjectKey, fault: FaultDelay | FaultAbort, path: str) -> Iterator[Finding]:
    percent = _percent(fault)
    if percent != 0 and not SMALLEST <= percent <= ALL:  # not a number is neither
        yield invalid(key, path, "is not 0 or 0.0001 to 100")
