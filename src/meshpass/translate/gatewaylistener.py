"""Listeners of a VirtualGateway, judged by what they say of themselves."""

from __future__ import annotations

from collections.abc import Iterator

from meshpass.api.common import ObjectSelector
from meshpass.api.objectset import ObjectKey
from meshpass.api.virtualgateway import AppProtocol, GatewayTlsMode, Listener, VirtualGateway
from meshpass.translate.finding import Finding, Reason, Severity
from meshpass.translate.gatewayhost import ANY_HOST, EVERY_TABLE, AllowedTables, read_allowed_host, server_name
from meshpass.translate.gatewayserver import GatewayServer, JudgedGateway, JudgedListener, ServerKind, WantedPort
from meshpass.translate.gatewaytls import TERMINATING, judge_tls


def judge_virtual_gateway(
    key: ObjectKey, gateway: VirtualGateway, workspace: str, problems: tuple[str, ...]
) -> JudgedGateway:
    """What a VirtualGateway asks for. One whose manifest could not be read as a whole opens nothing.

    A listener without the half of what was written could let in more tables or clients than it was meant to.
    """
    if problems:
        return JudgedGateway(workspace=workspace, listeners=(), findings=())
    findings: list[Finding] = []
    judged = []
    for index, listener in enumerate(gateway.spec.listeners):
        path = f"spec.listeners[{index}]"
        found = [*_judge(key, listener, path), *_judge_hosts(key, listener, path)]
        wrong = any(finding.severity is Severity.INVALID for finding in found if not _is_host(finding, path))
        mode = listener.tls.mode if listener.tls is not None else None
        without_effect = mode in {GatewayTlsMode.AUTO_PASSTHROUGH, GatewayTlsMode.ISTIO_MUTUAL}
        allowed = _read_allowed(key, listener)
        server = GatewayServer(
            key=key,
            index=index,
            workspace=workspace,
            kind=_kind(listener),
            allowed=allowed,
            names=_server_names(allowed),
            https_redirect=bool(listener.https_redirect),
            is_open=not wrong and not without_effect,
        )
        port = WantedPort(listener.port.number, listener.port.name)
        judged.append(JudgedListener(server=server, port=port, tls=listener.tls if mode in TERMINATING else None))
        findings.extend(found)
    return JudgedGateway(workspace=workspace, listeners=tuple(judged), findings=tuple(findings))


def _kind(listener: Listener) -> ServerKind:
    if listener.tls is None:
        return ServerKind.HTTP if listener.http is not None else ServerKind.TCP
    if listener.http is not None:
        return ServerKind.HTTPS
    return ServerKind.TLS if listener.tls.mode in TERMINATING else ServerKind.PASSTHROUGH


_PROTOCOLS = {
    ServerKind.HTTP: frozenset(
        {AppProtocol.GRPC, AppProtocol.GRPC_WEB, AppProtocol.HTTP, AppProtocol.HTTP_PROXY, AppProtocol.HTTP2}
    ),
    ServerKind.HTTPS: frozenset({AppProtocol.HTTPS}),
    ServerKind.TCP: frozenset({AppProtocol.TCP, AppProtocol.MONGO, AppProtocol.REDIS, AppProtocol.MYSQL}),
    ServerKind.TLS: frozenset({AppProtocol.TLS}),
    ServerKind.PASSTHROUGH: frozenset({AppProtocol.TLS}),
}


def _judge(key: ObjectKey, listener: Listener, path: str) -> Iterator[Finding]:
    """What is wrong with a listener apart from the tables that it allows; it is not opened if something is INVALID."""
    kind = _kind(listener)
    if listener.port.number is None and listener.port.name is None:
        yield _invalid(key, f"{path}.port", "needs a number or a name")
    if listener.https_redirect is not None and listener.http is None:
        yield _invalid(key, f"{path}.httpsRedirect", "is for http listeners only")
    if listener.app_protocol is not AppProtocol.INFERRED and listener.app_protocol not in _PROTOCOLS[kind]:
        possible = ", ".join(sorted(_PROTOCOLS[kind]))
        yield _invalid(key, f"{path}.appProtocol", f"a listener of this kind can have {possible}")
    if listener.tls is None:
        return
    if listener.http is not None and listener.tls.mode is GatewayTlsMode.PASSTHROUGH:
        yield _invalid(key, f"{path}.tls.mode", "an http listener ends TLS: SIMPLE or MUTUAL is needed")
        return
    yield from judge_tls(key, listener.tls, f"{path}.tls")


def _invalid(key: ObjectKey, path: str, message: str) -> Finding:
    return Finding(key=key, severity=Severity.INVALID, reason=Reason.INVALID, path=path, message=message)


def _judge_hosts(key: ObjectKey, listener: Listener, path: str) -> Iterator[Finding]:
    for index, entry in enumerate(listener.allowed_route_tables):
        here = f"{path}.allowedRouteTables[{index}]"
        if read_allowed_host(entry.host, key.namespace) is None:
            message = (
                f"{entry.host!r} is no host, such as *.example.com or namespace/www.example.com; it allows nothing"
            )
            yield Finding(
                key=key, severity=Severity.INVALID, reason=Reason.INVALID_HOST, path=f"{here}.host", message=message
            )


def _is_host(finding: Finding, path: str) -> bool:
    """True for what is wrong with one entry alone; the listener opens for the others."""
    return finding.path.startswith(f"{path}.allowedRouteTables[")


def _read_allowed(key: ObjectKey, listener: Listener) -> tuple[AllowedTables, ...]:
    if not listener.allowed_route_tables:
        return EVERY_TABLE
    entries = ((entry, read_allowed_host(entry.host, key.namespace)) for entry in listener.allowed_route_tables)
    return tuple(
        AllowedTables(namespace=found[0], host=found[1], selector=entry.selector or ObjectSelector())
        for entry, found in entries
        if found is not None
    )


def _server_names(allowed: tuple[AllowedTables, ...]) -> tuple[str, ...]:
    names = dict.fromkeys(server_name(entry.host) for entry in allowed)
    return (ANY_HOST,) if ANY_HOST in names else tuple(names)
