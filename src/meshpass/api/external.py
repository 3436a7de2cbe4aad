"""ExternalService and ExternalEndpoint of ``networking.gloo.solo.io/v2``."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

from meshpass.api.common import Locality, NullableBool, ObjectReference, PortOrZero, PortProtocol, PortSelector
from meshpass.api.metadata import ApiObject
from meshpass.api.status import ExternalServiceStatus, ObjectStatus
from meshpass.api.struct import ApiStruct, OneOfStruct, Rule, doc


class ClientTlsMode(StrEnum):
    """How the mesh speaks TLS to an external service."""

    SIMPLE = "SIMPLE"
    DISABLE = "DISABLE"
    MUTUAL = "MUTUAL"
    ISTIO_MUTUAL = "ISTIO_MUTUAL"


class ClientsideTls(ApiStruct):
    """TLS that the mesh starts."""

    rules = (
        # A port list has no limit, so that a rule of each port may cost nine steps and no more.
        Rule(
            "!has(self.mode) || self.mode != 'MUTUAL'"
            " || has(self.credentialName) || has(self.clientCertificate) && has(self.privateKey)",
            "clientCertificate and privateKey, or credentialName, must be set when mode is MUTUAL.",
        ),
        Rule(
            "!has(self.mode) || self.mode != 'ISTIO_MUTUAL' || !(has(self.clientCertificate) || has(self.privateKey))",
            "clientCertificate and privateKey must be unset when mode is ISTIO_MUTUAL.",
        ),
        Rule(
            "!has(self.mode) || self.mode != 'ISTIO_MUTUAL' || !has(self.credentialName)",
            "credentialName must be unset when mode is ISTIO_MUTUAL.",
        ),
    )

    sni: Annotated[str, doc("Server name to ask for; empty is the only host")] = ""
    mode: Annotated[ClientTlsMode, doc("How TLS is spoken")] = ClientTlsMode.SIMPLE
    client_certificate: Annotated[str, doc("Path, for the control plane, of the client's certificate; for MUTUAL")] = ""
    private_key: Annotated[str, doc("Path, for the control plane, of the client's key; for MUTUAL")] = ""
    ca_certificates: Annotated[str, doc("Path, for the control plane, of authorities that the server must have")] = ""
    credential_name: Annotated[str, doc("Secret that holds the certificates")] = ""
    insecure_skip_verify: Annotated[NullableBool | None, doc("Do not verify the server")] = None


class EgressGatewayRoutes(ApiStruct):
    """Send through egress gateways."""

    port_match: Annotated[PortOrZero, doc("Port that mesh clients use")] = 80
    virtual_gateway_refs: Annotated[tuple[ObjectReference, ...], doc("The egress gateways")] = ()


class ExternalServicePort(ApiStruct):
    """A port of an external service."""

    number: Annotated[PortOrZero, doc("Port number")] = 0
    target_port: Annotated[PortSelector | None, doc("Port of the endpoint; unset is the same number")] = None
    name: Annotated[str, doc("Name of the port")] = ""
    protocol: Annotated[PortProtocol | None, doc("Protocol of the port")] = None
    clientside_tls: Annotated[ClientsideTls | None, doc("TLS that the mesh starts")] = None
    egress_gateway_routes: Annotated[EgressGatewayRoutes | None, doc("Send through egress gateways")] = None


class ExternalServiceSpec(OneOfStruct):
    """A service outside the mesh."""

    one_of = (("hosts", "addresses"),)
    rules = (
        Rule(
            "!has(self.addresses) || size(self.addresses) == 0 || !has(self.ports)"
            " || !self.ports.exists(p, has(p.egressGatewayRoutes))",
            "egressGatewayRoutes can only be set for external services with hosts.",
        ),
    )

    hosts: Annotated[tuple[str, ...], doc("Hostnames; a first wildcard segment is allowed")] = ()
    addresses: Annotated[tuple[str, ...], doc("IP addresses or CIDRs")] = ()
    ports: Annotated[tuple[ExternalServicePort, ...], doc("Ports of the service")] = ()
    selector: Annotated[Mapping[str, str], doc("Labels of its ExternalEndpoints; empty is none")] = {}
    subject_alt_names: Annotated[tuple[str, ...], doc("Names that its certificate must have")] = ()


class ExternalService(ApiObject):
    """Makes a service outside the mesh known to it."""

    spec: Annotated[ExternalServiceSpec, doc("Hosts and ports")] = ExternalServiceSpec()
    status: Annotated[ExternalServiceStatus | None, doc("What became of it; written by the control plane")] = None


class ExternalEndpointPort(ApiStruct):
    """A port of an external endpoint."""

    name: Annotated[str, doc("Name of the port; needed when there are several")] = ""
    number: Annotated[PortOrZero, doc("Port number")] = 0


class ExternalEndpointSpec(ApiStruct):
    """An address outside the mesh."""

    address: Annotated[str, doc("IP address, hostname or unix:///path")] = ""
    ports: Annotated[tuple[ExternalEndpointPort, ...], doc("Ports of the endpoint")] = ()
    locality: Annotated[Locality | None, doc("Where the endpoint is")] = None


class ExternalEndpoint(ApiObject):
    """One address of an ExternalService."""

    spec: Annotated[ExternalEndpointSpec, doc("Address and ports")] = ExternalEndpointSpec()
    status: Annotated[ObjectStatus | None, doc("What became of it; written by the control plane")] = None
