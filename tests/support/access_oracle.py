"""What AccessPolicies on one HTTP port mean, read from their manifests: an oracle that shares no code with the product.

``answer(policies, request)`` is True for a request that may pass.
"""

from __future__ import annotations

import fnmatch
import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Manifest = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who calls, and how."""

    account: str | None
    """Name of a service account of namespace httpbin; None: nobody knows."""
    address: str
    token: tuple[str, str] | None
    """Issuer and subject of a token that was verified."""
    method: str
    path: str
    """As the proxy matches it, without the query."""
    headers: tuple[tuple[str, str], ...] = ()


def answer(policies: Iterable[Manifest], caller: Caller) -> bool:
    """Any entry that is enforced allows; where there is none, everybody may."""
    entries = [entry for one in policies for entry in one["spec"]["config"].get("authzList", ())]
    enforced = [entry for entry in entries if not entry.get("dryRun")]
    return not enforced or any(_allows(entry, caller) for entry in enforced)


def _allows(entry: Manifest, caller: Caller) -> bool:
    said = {name: value for name, value in entry.items() if name != "dryRun" and value}
    if not said:
        return False
    for name, value in said.items():
        match name:
            case "allowedClients":
                fits = any(_is_client(one, caller) for one in value)
            case "allowedPaths":
                fits = any(_glob(one, caller.path) for one in value)
            case "allowedMethods":
                fits = caller.method in value
            case "allowedIpBlocks":
                fits = any(_within(one, caller.address) for one in value)
            case "match":
                fits = all(_fits(caller, header, one) for header, one in value["request"]["headers"].items())
            case _:
                raise AssertionError(f"the oracle does not know {name}")
        if not fits:
            return False
    return True


def _is_client(client: Manifest, caller: Caller) -> bool:
    selector = client.get("serviceAccountSelector")
    if selector is not None:
        known = {"name": caller.account, "namespace": "httpbin"}
        if caller.account is None or any(known[name] != value for name, value in selector.items()):
            return False
    matcher = client.get("requestIdentityMatcher")
    if matcher is None:
        return True
    principal = None if caller.token is None else "/".join(caller.token)
    wanted, refused = matcher.get("requestPrincipals"), matcher.get("notRequestPrincipals", ())
    if wanted and not any(principal is not None and _glob(one, principal) for one in wanted):
        return False
    return not any(principal is not None and _glob(one, principal) for one in refused)


def _fits(caller: Caller, name: str, condition: Manifest) -> bool:
    lines = [value for key, value in caller.headers if key == name]
    values, refused = condition.get("values"), condition.get("notValues", ())
    if values and not any(_glob(one, line) for one in values for line in lines):
        return False
    parts = [part.strip() for line in lines for part in line.split(",")] + lines
    return not any(_glob(one, part) for one in refused for part in parts)


def _glob(pattern: str, text: str) -> bool:
    special = "".join(f"[{c}]" if c in "?[" else c for c in pattern)
    return re.fullmatch(fnmatch.translate(special), text) is not None


def _within(block: str, address: str) -> bool:
    return ipaddress.ip_address(address) in ipaddress.ip_network(block, strict=False)
