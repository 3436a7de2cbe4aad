"""Documents: what clients read to learn what is served — version, discovery, OpenAPI — rendered once per change."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from meshpass.apiserver.discovery import (
    AGGREGATED_V2,
    AGGREGATED_V2_BETA1,
    aggregated,
    core_versions,
    legacy_group,
    legacy_groups,
    legacy_resources,
)
from meshpass.apiserver.openapi import v2_document, v2_protobuf, v3_document, v3_index
from meshpass.apiserver.registry import Registry
from meshpass.apiserver.resource import Resource
from meshpass.apiserver.review import REVIEWS, review_discovery
from meshpass.apiserver.status import not_acceptable, unknown_path

_JSON = "application/json"
_OPENAPI_V2_PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
_ASKED_AS = (_OPENAPI_V2_PROTOBUF, "application/com.github.proto-openapi.spec.v2@v1.0+protobuf")
"""kubectl asks with an @, which is no media type (RFC 6838, section 4.2), and does not take it in an answer."""
_VERSION: Mapping[str, str] = {
    "major": "1",
    "minor": "32",
    "gitVersion": "v1.32.0+meshpass",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "none",
    "compiler": f"cpython-{platform.python_version()}",
    "platform": f"{platform.system().lower()}/{platform.machine()}",
}
"""The release whose behaviour is followed; clients compare major and minor with their own."""

Build = Callable[[], dict[str, Any] | None]


class Documents:
    """Bodies by path; built when first asked for, forgotten when the served resources change."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._of: tuple[Resource, ...] = ()
        self._bodies: dict[str, tuple[bytes, str]] = {}

    def version(self, request: Request) -> Response:
        """``/version``."""
        return self._answer(request, "version", lambda: dict(_VERSION))

    def root(self, request: Request) -> Response:
        """``/``: the paths that there are."""
        paths = ["/api", "/api/v1", "/apis", "/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/readyz", "/version"]
        return self._answer(request, "root", lambda: {"paths": paths})

    def groups(self, request: Request, *, core: bool) -> Response:
        """``/api`` and ``/apis``: aggregated when the Accept header prefers that, else legacy."""
        resources = self._registry.resources
        kind = "core" if core else "named"
        for media, version in _aggregated_media(request.headers.get("accept", "")):
            return self._answer(
                request,
                f"aggregated {kind} {version}",
                lambda version=version: aggregated(resources, core=core, api_version=version),  # type: ignore[misc]
                media,
            )
        return self._answer(request, kind, core_versions if core else lambda: self._legacy_groups(resources))

    def group(self, request: Request, group: str) -> Response:
        """``/apis/<group>``."""
        groups = self._legacy_groups(self._registry.resources)["groups"]
        found = next((entry for entry in groups if entry["name"] == group), None)
        single = found and {"kind": "APIGroup", "apiVersion": "v1", **found}
        return self._answer(request, f"group {group}", lambda: single)

    def resources(self, request: Request, group: str, version: str) -> Response:
        """``/api/v1`` and ``/apis/<group>/<version>``."""
        resources = self._registry.resources
        return self._answer(
            request,
            f"resources {group}/{version}",
            lambda: legacy_resources(resources, group, version) or review_discovery(group, version),
        )

    def openapi_v2(self, request: Request) -> Response:
        """``/openapi/v2``, as JSON or as the protobuf that kubectl reads. Raises StatusError 406 for other clients."""
        accepted = request.headers.get("accept", "*/*")
        if any(media in accepted for media in (_JSON, "*/*", "application/*")):
            return self._answer(request, "openapi v2", lambda: v2_document(self._registry.resources))
        if any(media in accepted for media in _ASKED_AS):
            return Response(v2_protobuf(), headers={"Vary": "Accept", "Content-Type": _OPENAPI_V2_PROTOBUF})
        raise not_acceptable((_JSON, _OPENAPI_V2_PROTOBUF))

    def openapi_v3(self, request: Request, parts: tuple[str, ...]) -> Response:
        """``/openapi/v3`` and the documents of its groups and versions."""
        resources = self._registry.resources
        match parts:
            case ():
                return self._answer(request, "openapi v3", lambda: v3_index(resources))
            case ("api", version):
                return self._answer(request, f"v3 {version}", lambda: v3_document(resources, "", version))
            case ("apis", group, version):
                return self._answer(request, f"v3 {group}/{version}", lambda: v3_document(resources, group, version))
        raise unknown_path()

    @staticmethod
    def _legacy_groups(resources: tuple[Resource, ...]) -> dict[str, Any]:
        """The served groups and those of the reviews."""
        served = legacy_groups(resources)
        reviews = []
        for group, version in REVIEWS:
            if legacy_group(resources, group) is None:
                entry = {"groupVersion": f"{group}/{version}", "version": version}
                reviews.append({"name": group, "versions": [entry], "preferredVersion": entry})
        return {**served, "groups": [*served["groups"], *reviews]}

    def _answer(self, request: Request, name: str, build: Build, media: str = _JSON) -> Response:
        if self._of is not self._registry.resources:
            self._of = self._registry.resources
            self._bodies.clear()
        if name not in self._bodies:
            value = build()
            if value is None:
                raise unknown_path()
            body = msgspec.json.encode(value)
            self._bodies[name] = body, f'"{hashlib.sha256(body).hexdigest().upper()}"'
        body, tag = self._bodies[name]
        headers = {"ETag": tag, "Vary": "Accept", "Cache-Control": "no-cache, private"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(body, headers={**headers, "Content-Type": media})


def _aggregated_media(accept: str) -> tuple[tuple[str, str], ...]:
    """The aggregated forms that come before plain JSON in an Accept header: content type and apiVersion."""
    found = []
    for part in accept.split(","):
        pieces = {piece.strip() for piece in part.split(";")}
        if _JSON in pieces and "g=apidiscovery.k8s.io" in pieces and "as=APIGroupDiscoveryList" in pieces:
            if "v=v2" in pieces:
                found.append((AGGREGATED_V2, "apidiscovery.k8s.io/v2"))
            elif "v=v2beta1" in pieces:
                found.append((AGGREGATED_V2_BETA1, "apidiscovery.k8s.io/v2beta1"))
        elif pieces & {_JSON, "*/*", "application/*"}:
            break
    return tuple(found)
