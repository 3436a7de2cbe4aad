"""The answers that a proxy gives by itself, where they are not to be Envoy's own."""

from __future__ import annotations

from envoy.config.accesslog.v3.accesslog_pb2 import AccessLogFilter, ExtensionFilter, ResponseFlagFilter
from envoy.config.core.v3.base_pb2 import HeaderValue, HeaderValueOption
from envoy.extensions.access_loggers.filters.cel.v3.cel_pb2 import ExpressionFilter
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    LocalReplyConfig,
    ResponseMapper,
)

from meshpass.envoy.resource import pack

REALM = "%REQ(:SCHEME)%://%REQ(:AUTHORITY)%%PATH(NQ:PATH):256%"
"""The request's URL without its query: Envoy's own realm would echo a token that came as a query parameter."""

UNREACHED = "x-meshpass-unreached"
"""The header of an answer by which a proxy says that it does not reach its application, which so has seen nothing of the
request."""


def build_local_replies() -> LocalReplyConfig:
    """Refusals name the URL without its query, and never list the requirements that the filter knows."""
    challenge = f'Bearer realm="{REALM}"'
    return LocalReplyConfig(
        mappers=[
            _unknown_class(),
            _challenge("response.code_details == 'jwt_authn_access_denied{Jwt_is_missing}'", challenge),
            _challenge(
                "response.code_details.startsWith('jwt_authn_access_denied')",
                f'{challenge}, error="invalid_token"',
            ),
        ]
    )


def tell_unreached() -> ResponseMapper:
    """Where no connection to the application can be had, the answer says so."""
    return ResponseMapper(
        filter=AccessLogFilter(response_flag_filter=ResponseFlagFilter(flags=["UF"])),
        headers_to_add=[HeaderValueOption(header=HeaderValue(key=UNREACHED, value="true"))],
    )


def _challenge(expression: str, value: str) -> ResponseMapper:
    # RFC 6750 §3.1: a request without a token is answered without an error code. Envoy sends the header with a wrong
    # audience (403) too, and then as well with the query in it.
    header = HeaderValueOption(
        header=HeaderValue(key="www-authenticate", value=value),
        append_action=HeaderValueOption.OVERWRITE_IF_EXISTS,
    )
    return ResponseMapper(filter=_when(expression), headers_to_add=[header])


def _unknown_class() -> ResponseMapper:
    mapper = ResponseMapper(
        filter=_when("response.code_details.startsWith('jwt_authn_access_denied{Wrong_requirement_name')")
    )
    mapper.body.inline_string = "RBAC: access denied"
    return mapper


def _when(expression: str) -> AccessLogFilter:
    return AccessLogFilter(
        extension_filter=ExtensionFilter(
            name="envoy.access_loggers.extension_filters.cel",
            typed_config=pack(ExpressionFilter(expression=expression)),
        )
    )
