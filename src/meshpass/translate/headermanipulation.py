"""HeaderManipulationPolicy → HeaderChanges."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from meshpass.api.objectset import ObjectKey
from meshpass.api.trafficcontrol import HeaderManipulationPolicy, HeaderManipulationPolicyConfig
from meshpass.ir import HeaderChanges, HeaderValue, RouteOptions
from meshpass.translate.finding import Finding, Reason, Severity, no_effect
from meshpass.translate.trafficpolicyoptions import PolicyOptions, invalid, is_sound, unreadable, without_effect
from meshpass.translate.trafficpolicyvalue import header_problem, header_value_problem

_FRAMING_HEADERS = frozenset(
    {"connection", "content-length", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
)
"""To add one of these would change where a message ends, not what it says (RFC 9112 §6)."""
_COMMAND = re.compile(r"%[A-Z]")


def translate_header_manipulation(
    key: ObjectKey, policy: HeaderManipulationPolicy, problems: tuple[str, ...]
) -> PolicyOptions:
    """What a HeaderManipulationPolicy comes to."""
    config = policy.spec.config
    findings = [*unreadable(key, problems), *_judge(key, config), *_judge_underscores(key, config)]
    if not problems and not any(getattr(config, name) for name in config.__struct_fields__):
        findings.append(without_effect(key, "spec.config", "changes no header"))
    if policy.spec.apply_to_route_destinations:
        findings.append(no_effect(key, "spec.applyToRouteDestinations"))
    options = RouteOptions(headers=_translate(config)) if is_sound(findings) else None
    return PolicyOptions(key=key, options=options, findings=tuple(findings))


def _translate(config: HeaderManipulationPolicyConfig) -> HeaderChanges:
    return HeaderChanges(
        add_to_request=_added(config.append_request_headers),
        remove_from_request=_removed(config.remove_request_headers),
        add_to_response=_added(config.append_response_headers),
        remove_from_response=_removed(config.remove_response_headers),
    )


def _added(headers: Mapping[str, str]) -> tuple[HeaderValue, ...]:
    return tuple(HeaderValue(name=name.lower(), value=value) for name, value in sorted(headers.items()))


def _removed(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.lower() for name in names))


def _judge(key: ObjectKey, config: HeaderManipulationPolicyConfig) -> Iterator[Finding]:
    for headers, field in (
        (config.append_request_headers, "appendRequestHeaders"),
        (config.append_response_headers, "appendResponseHeaders"),
    ):
        for name, value in sorted(headers.items()):
            yield from _judge_addition(key, name, value, f"spec.config.{field}[{name}]")
    for names, field in (
        (config.remove_request_headers, "removeRequestHeaders"),
        (config.remove_response_headers, "removeResponseHeaders"),
    ):
        for index, name in enumerate(names):
            if problem := header_problem(name):
                yield invalid(key, f"spec.config.{field}[{index}]", problem)


def _judge_addition(key: ObjectKey, name: str, value: str, path: str) -> Iterator[Finding]:
    if name.lower() in _FRAMING_HEADERS:
        yield invalid(key, path, "is a header that no policy may add")
    elif problem := header_problem(name) or header_value_problem(value):
        yield invalid(key, path, problem)
    elif _COMMAND.search(value):
        yield _warn(key, path, "is added as it stands: Envoy's % commands mean nothing here")


def _judge_underscores(key: ObjectKey, config: HeaderManipulationPolicyConfig) -> Iterator[Finding]:
    for name in sorted(config.append_request_headers):
        if "_" in name:
            message = "has an underscore: proxies of the mesh answer requests with such a header 400"
            yield _warn(key, f"spec.config.appendRequestHeaders[{name}]", message)


def _warn(key: ObjectKey, path: str, message: str) -> Finding:
    return Finding(key=key, severity=Severity.WARNING, reason=Reason.UNSUPPORTED_VALUE, path=path, message=message)
