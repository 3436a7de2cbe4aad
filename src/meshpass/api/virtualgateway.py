"""VirtualGateway of ``networking.gloo.solo.io/v2``."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from meshpass.api.common import Empty, ObjectSelector, PortSelector, RouteFilter, WorkloadSelector
from meshpass.api.metadata import ApiObject
from meshpass.api.status import VirtualGatewayStatus
from meshpass.api.struct import ApiStruct, OneOfStruct, Rule, doc

MAX_LISTENERS = 300_000


class GatewayTlsMode(StrEnum):
    """What a listener does with TLS."""

    PASSTHROUGH = "PASSTHROUGH"
    SIMPLE = "SIMPLE"
    MUTUAL = "MUTUAL"
    AUTO_PASSTHROUGH = "AUTO_PASSTHROUGH"
    ISTIO_MUTUAL = "ISTIO_MUTUAL"


class TlsVersion(StrEnum):
    """A version of TLS."""

    TLS_AUTO = "TLS_AUTO"
    TLS_V1_0 = "TLSv1_0"
    TLS_V1_1 = "TLSv1_1"
    TLS_V1_2 = "TLSv1_2"
    TLS_V1_3 = "TLSv1_3"


class AppProtocol(StrEnum):
    """Protocol of a listener; empty is inferred."""

    INFERRED = ""
    GRPC = "GRPC"
    GRPC_WEB = "GRPC-WEB"
    HTTP = "HTTP"
    HTTP_PROXY = "HTTP_PROXY"
    HTTP2 = "HTTP2"
    HTTPS = "HTTPS"
    TCP = "TCP"
    TLS = "TLS"
    MONGO = "MONGO"
    REDIS = "REDIS"
    MYSQL = "MYSQL"


class TlsFiles(ApiStruct):
    """Certificates as files where the control plane runs, which follows them."""

    server_cert: Annotated[str, doc("Path, for the control plane, of the server's certificate")] = ""
    private_key: Annotated[str, doc("Path, for the control plane, of the server's key")] = ""
    ca_certs: Annotated[str, doc("Path, for the control plane, of the authorities that clients must have")] = ""


class TlsParameters(ApiStruct):
    """Versions and ciphers of TLS."""

    minimum_protocol_version: Annotated[TlsVersion, doc("Lowest version")] = TlsVersion.TLS_V1_2
    maximum_protocol_version: Annotated[TlsVersion | None, doc("Highest version; unset is the newest")] = None
    cipher_suites: Annotated[tuple[str, ...], doc("Ciphers allowed up to TLS 1.2; empty is the default set")] = ()


class ListenerTls(OneOfStruct):
    """TLS settings of a listener."""

    one_of = (("secret_name", "files"),)

    mode: Annotated[GatewayTlsMode, doc("What the listener does with TLS")] = GatewayTlsMode.PASSTHROUGH
    secret_name: Annotated[str | None, doc("Secret that holds the certificate, in the namespace of the gateway")] = None
    files: Annotated[TlsFiles | None, doc("Files that hold the certificate")] = None
    verify_subject_alt_name: Annotated[
        tuple[str, ...], doc("Names that a client's certificate must have one of; mode MUTUAL only")
    ] = ()
    parameters: Annotated[TlsParameters | None, doc("Versions and ciphers")] = None


class AllowedRouteTable(ApiStruct):
    """Tables that may bind to a listener."""

    host: Annotated[str, doc("Hosts they may serve, optionally as namespace/host", min_length=1)]
    selector: Annotated[ObjectSelector | None, doc("Which tables; unset or empty is all")] = None
    allowed_routes: Annotated[tuple[RouteFilter, ...], doc("What their routes may do; empty is anything")] = ()


class ExternalServiceFilter(ApiStruct):
    """External services that a listener exposes."""

    host: Annotated[str, doc("Hosts exposed", min_length=1)]
    selector: Annotated[ObjectSelector | None, doc("Which external services")] = None


def _protocols(listeners: str, condition: str, *allowed: str) -> Rule:
    choices = ", ".join(f"'{name}'" for name in ("", *allowed))
    few = allowed[0] if len(allowed) == 1 else f"one of: {', '.join(allowed)}"
    return Rule(
        f"!({condition}) || !has(self.appProtocol) || self.appProtocol in [{choices}]",
        f"appProtocol of {listeners} must be unset or {few}.",
    )


class Listener(OneOfStruct):
    """A port of a gateway."""

    one_of = (("tls", "https_redirect"), ("http", "tcp"))
    rules = (
        Rule("has(self.port.number) || has(self.port.name)", "Either port.number or port.name must be set."),
        Rule(
            "!has(self.appProtocol) || self.appProtocol in ['', 'GRPC', 'GRPC-WEB', 'HTTP', 'HTTP_PROXY', 'HTTP2',"
            " 'HTTPS', 'TCP', 'TLS', 'MONGO', 'REDIS', 'MYSQL']",
            "appProtocol must be one of:"
            " GRPC, GRPC-WEB, HTTP, HTTP_PROXY, HTTP2, HTTPS, TCP, TLS, MONGO, REDIS, or MYSQL.",
            instead_of=("app_protocol",),
        ),
        _protocols("HTTP listeners with tls", "has(self.http) && has(self.tls)", "HTTPS"),
        _protocols(
            *("HTTP listeners without tls", "has(self.http) && !has(self.tls)"),
            *("GRPC", "GRPC-WEB", "HTTP", "HTTP_PROXY", "HTTP2"),
        ),
        _protocols("TCP listeners with tls", "!has(self.http) && has(self.tls)", "TLS"),
        _protocols(
            *("TCP listeners without tls", "!has(self.http) && !has(self.tls)"),
            *("TCP", "MONGO", "REDIS", "MYSQL"),
        ),
        Rule(
            "!has(self.httpsRedirect) || !self.httpsRedirect || has(self.http)",
            "httpsRedirect can only be set for HTTP listeners.",
        ),
    )

    port: Annotated[PortSelector, doc("Port of the gateway's Service")]
    tls: Annotated[ListenerTls | None, doc("TLS settings")] = None
    https_redirect: Annotated[bool | None, doc("Answer 301 to https; HTTP listeners only")] = None
    http: Annotated[Empty | None, doc("The listener speaks HTTP")] = None
    tcp: Annotated[Empty | None, doc("The listener speaks TCP; the default")] = None
    allowed_route_tables: Annotated[tuple[AllowedRouteTable, ...], doc("Tables that may bind; empty is any")] = ()
    exposed_external_services: Annotated[tuple[ExternalServiceFilter, ...], doc("External services exposed")] = ()
    app_protocol: Annotated[AppProtocol, doc("Protocol; empty is inferred")] = AppProtocol.INFERRED


class VirtualGatewaySpec(ApiStruct):
    """Gateway workloads and what they listen on."""

    needs = (("listeners",),)
    rules = (
        Rule(
            "!has(self.kind) || self.kind == 'KUBE'",
            "selector kind must be KUBE or not set",
            items_of="workloads",
        ),
    )

    workloads: Annotated[tuple[WorkloadSelector, ...], doc("Gateway workloads; unset is all")] = ()
    listeners: Annotated[
        tuple[Listener, ...], doc("Ports and their protocols", min_length=1, max_length=MAX_LISTENERS)
    ] = ()


class VirtualGateway(ApiObject):
    """Opens ports on gateways for route tables."""

    spec: Annotated[VirtualGatewaySpec, doc("Workloads and listeners")] = VirtualGatewaySpec()
    status: Annotated[VirtualGatewayStatus | None, doc("What became of it; written by the control plane")] = None
