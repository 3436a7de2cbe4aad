"""Upstream: another service of Bookinfo, asked through the sidecar on behalf of a request."""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any
from urllib.parse import quote

import httpx2
from starlette.requests import Request

PROPAGATED = frozenset(
    {
        # Who asks, so that policies further down see it too.
        *(b"end-user", b"user-agent", b"cookie", b"authorization", b"jwt"),
        # What makes one trace of several requests.
        *(b"x-request-id", b"traceparent", b"tracestate", b"grpc-trace-bin", b"x-cloud-trace-context"),
        *(b"b3", b"x-b3-traceid", b"x-b3-spanid", b"x-b3-parentspanid", b"x-b3-sampled", b"x-b3-flags"),
        *(b"x-ot-span-context", b"x-datadog-trace-id", b"x-datadog-parent-id", b"x-datadog-sampling-priority", b"sw8"),
    }
)
"""Headers that go on with a request; a program of a mesh has to do this, its sidecar cannot."""
_PORT = "9080"

Headers = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What an upstream said."""

    status: int
    """500 where nothing came in time."""
    content: Mapping[str, Any] | None
    """The JSON object of a 200; None for every other answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """One service, and how patiently it is asked."""

    client: httpx2.AsyncClient
    name: str
    """``details``, ``ratings`` or ``reviews``: also the first part of its paths."""
    address: str
    """``host:port``."""
    timeout: float
    """Seconds for one attempt."""
    attempts: int = 1

    async def ask(self, identifier: str, headers: Headers) -> Reply:
        """What it says about the book of this id. Never raises: an upstream that is not there is a reply too."""
        reply = Reply(status=500, content=None)
        for _ in range(self.attempts):
            reply = await self._ask_once(f"http://{self.address}/{self.name}/{quote(identifier, safe='')}", headers)
            if reply.content is not None:
                break
        return reply

    async def _ask_once(self, url: str, headers: Headers) -> Reply:
        try:
            answer = await self.client.get(url, headers=list(headers), timeout=self.timeout)
            content = answer.json() if answer.status_code == 200 else None
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError):
            return Reply(status=500, content=None)
        if isinstance(content, dict):
            return Reply(status=200, content=content)
        return Reply(status=500 if answer.status_code == 200 else answer.status_code, content=None)


def make_client() -> httpx2.AsyncClient:
    """A client that goes through the sidecar (``http_proxy``) and remembers nothing of one request at the next."""
    return httpx2.AsyncClient(
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        # Nothing is asked over TLS. This context trusts nobody, and spares the start the reading of all authorities.
        verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
    )


def upstream_address(name: str, environment: Mapping[str, str]) -> str:
    """``host:port`` of a service, by the sample's variables: ``DETAILS_HOSTNAME``, ``SERVICES_DOMAIN`` and so on."""
    host = environment.get(f"{name.upper()}_HOSTNAME", name)
    domain = environment.get("SERVICES_DOMAIN")
    port = environment.get(f"{name.upper()}_SERVICE_PORT", _PORT)
    return f"{host}.{domain}:{port}" if domain else f"{host}:{port}"


def propagated_headers(request: Request) -> tuple[tuple[bytes, bytes], ...]:
    """The headers of a request that go on with the requests made for it."""
    return tuple((name, value) for name, value in request.headers.raw if name in PROPAGATED)
