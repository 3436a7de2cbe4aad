"""A protected host in a few words: a RouteTable and a JWTPolicy like the guide's, and requests for them.

async with mesh.having(*protect(requiredScopes=["read"])):
    answer = await mesh.request(HOST, headers=bearer(sign(DEV)))
"""

from __future__ import annotations

from typing import Any

from tests.support.objects import forward, jwt_policy, route_table
from tests.support.tokens import DEV_ISSUER, public_pem

HOST = "www.example.com"
LABEL = {"route": "protected"}

MISSING = "Jwt is missing"
FAILS = "Jwt verification fails"
UNKNOWN_ISSUER = "Jwt issuer is not configured"
NO_KEY = "Jwks doesn't have key to match kid or alg from Jwt"
MALFORMED = "Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections"
DENIED = "RBAC: access denied"
WRONG_AUDIENCE = "Audiences in Jwt are not allowed"

Manifest = dict[str, Any]


def provider(issuer: str = DEV_ISSUER, **changes: Any) -> Manifest:
    """The guide's provider without its claim headers; with ``jwks`` as its keys instead of the key "main"."""
    keys = changes.pop("jwks", None) or public_pem("main")
    return {
        "issuer": issuer,
        "local": {"inline": keys},
        "tokenSource": {"headers": [{"name": "X-Auth", "prefix": "Bearer "}], "queryParams": ["auth_token"]},
        **changes,
    }


def table(*http: Manifest, host: str = HOST, name: str = "table") -> Manifest:
    """A RouteTable of ``host`` with these routes, or with one labelled LABEL to the Service httpbin."""
    return route_table(name, hosts=[host], workloadSelectors=[{}], http=list(http) or [forward(**LABEL)])


def policy(name: str = "policy", *, labels: Manifest | None = None, created: str = "", **config: Any) -> Manifest:
    """A JWTPolicy on the routes with these labels (LABEL if not said); provider ``dev`` if ``config`` names none."""
    config = {"providers": {"dev": provider()}} | config
    routes = [{"route": {"labels": LABEL if labels is None else labels}}]
    return jwt_policy(name, created=created, applyToRoutes=routes, config=config)


def protect(**config: Any) -> tuple[Manifest, Manifest]:
    """The table and the policy, with this configuration."""
    return table(), policy(**config)


def protect_with(**changes: Any) -> tuple[Manifest, Manifest]:
    """The table and the policy, with one provider that is changed so."""
    return protect(providers={"dev": provider(**changes)})


def bearer(token: str, **more: str) -> dict[str, str]:
    """Headers with the token where the providers look, and more (``x_org`` is x-org)."""
    return {"X-Auth": f"Bearer {token}"} | {name.replace("_", "-"): value for name, value in more.items()}
