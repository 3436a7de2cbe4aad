"""An API server that refuses what Kubernetes' own refuses beyond ours: ``python -m tests.support.strict_api_server …``.

The options are those of ``meshpass api-server``. It refuses loopback addresses in EndpointSlices, and changes of the spec of
a Pod that is there. Where the file ``busy`` is in its directory, it answers 429 to every second request for each path.
"""

from __future__ import annotations

import ipaddress
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from meshpass.apiserver import corerules, server, validation
from meshpass.apiserver.cause import Cause, forbidden, invalid
from meshpass.apiserver.resource import Resource
from meshpass.cli.main import main

_FIXED = ("nodeName", "schedulerName", "serviceAccountName", "containers")


def _refuse_loopback(obj: Mapping[str, Any]) -> Iterator[Cause]:
    yield from _lenient(obj)
    for index, endpoint in enumerate(obj.get("endpoints") or ()):
        for number, address in enumerate(endpoint.get("addresses") or ()):
            if ipaddress.ip_address(address).is_loopback:
                path = f"endpoints[{index}].addresses[{number}]"
                yield invalid(path, address, "may not be in the loopback range (127.0.0.0/8, ::1/128)")


def _refuse_changes(resource: Resource, obj: Mapping[str, Any], old: Mapping[str, Any]) -> Iterator[Cause]:
    yield from _lenient_update(resource, obj, old)
    if resource.kind == "Pod" and any(obj["spec"].get(name) != old["spec"].get(name) for name in _FIXED):
        yield forbidden("spec", "pod updates may not change fields other than those of the image")


class _Busy:
    """Answers every second request for a path with 429 while it is told to."""

    def __init__(self, application: ASGIApp, mark: Path) -> None:
        self._application = application
        self._mark = mark
        self._counts: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "http" and self._mark.exists() and self._is_refused(scope["path"]):
            status = {
                "kind": "Status",
                "apiVersion": "v1",
                "status": "Failure",
                "reason": "TooManyRequests",
                "code": 429,
            }
            headers = {"retry-after": "1"}
            await JSONResponse(status, status_code=429, headers=headers)(scope, receive, send)
            return
        await self._application(scope, receive, send)

    def _is_refused(self, path: str) -> bool:
        self._counts[path] += 1
        return bool(self._counts[path] % 2)


_lenient = vars(corerules)["_RULES"]["discovery.k8s.io", "EndpointSlice"]
_lenient_update = corerules.validate_core_update

if __name__ == "__main__":
    rules = vars(corerules)["_RULES"]
    vars(corerules)["_RULES"] = {**rules, ("discovery.k8s.io", "EndpointSlice"): _refuse_loopback}
    vars(validation)["validate_core_update"] = _refuse_changes
    busy = Path(sys.argv[sys.argv.index("--directory") + 1]) / "busy"
    make = vars(server)["make_application"]
    vars(server)["make_application"] = lambda *parts: _Busy(make(*parts), busy)
    sys.argv.insert(1, "api-server")
    main()
