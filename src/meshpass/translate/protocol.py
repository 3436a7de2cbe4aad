"""Protocol: what is spoken on a port, from what Kubernetes or the API says of it."""

from __future__ import annotations

from enum import StrEnum

from meshpass.api.common import PortProtocol
from meshpass.api.core import ServicePort


class Protocol(StrEnum):
    """What connections to a port carry, as far as a proxy has to know."""

    HTTP = "http"
    """HTTP/1.1."""
    HTTP2 = "http2"
    """HTTP/2 without TLS, with prior knowledge (RFC 9113 §3.3); gRPC is spoken in it."""
    TLS = "tls"
    """TLS that the two ends speak with each other."""
    TCP = "tcp"
    """Anything else, passed on as it is."""

    @property
    def http(self) -> bool:
        """True where a proxy can route single requests."""
        return self in {Protocol.HTTP, Protocol.HTTP2}


_BY_NAME = {
    "grpc": Protocol.HTTP2,
    "grpc-web": Protocol.HTTP2,
    "http2": Protocol.HTTP2,
    "kubernetes.io/h2c": Protocol.HTTP2,
    "tcp": Protocol.TCP,
    "mongo": Protocol.TCP,
    "redis": Protocol.TCP,
    "mysql": Protocol.TCP,
    "tls": Protocol.TLS,
    "https": Protocol.TLS,
}


def service_protocol(port: ServicePort) -> Protocol:
    """What a Service's port speaks: its ``appProtocol``, else the part of its name before the first dash (Istio's rule).

    A port that says neither speaks HTTP/1.1.
    """
    if port.app_protocol:
        return _BY_NAME.get(port.app_protocol.lower(), Protocol.HTTP)
    name = port.name.lower()
    if name == "grpc-web" or name.startswith("grpc-web-"):
        return Protocol.HTTP2
    return _BY_NAME.get(name.partition("-")[0], Protocol.HTTP)


def speaks_grpc(port: ServicePort) -> bool:
    """True for a port that is said to speak gRPC, and not just HTTP/2."""
    name = (port.app_protocol or port.name).lower()
    return name == "grpc" or (not port.app_protocol and name.startswith("grpc-") and not name.startswith("grpc-web"))


def port_protocol(protocol: PortProtocol | None) -> Protocol:
    """What a port of an ExternalService or a VirtualDestination speaks; unset is HTTP/1.1."""
    return _BY_NAME.get(protocol.value.lower(), Protocol.HTTP) if protocol is not None else Protocol.HTTP
