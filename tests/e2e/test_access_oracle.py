"""Generated AccessPolicies and requests: the real Envoy answers what an oracle reads from the policies' text."""

from __future__ import annotations

import asyncio
import os
import random
from typing import Any

import pytest
from tests.support.access_objects import access_policy, by_account, by_token
from tests.support.access_oracle import Caller, answer
from tests.support.envoy_mesh import CALLER, CLIENT, GUARDED, EnvoyMesh, run_envoy_mesh
from tests.support.jwt_objects import bearer, provider
from tests.support.mesh_issuer import MeshIssuer
from tests.support.objects import jwt_policy
from tests.support.tokens import DEV, DEV_ISSUER, LOGIN, LOGIN_ISSUER, sign

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

ROUNDS = int(os.environ.get("MESHPASS_FUZZ_EXAMPLES", "60"))
REQUESTS = 12
SUBJECTS = ("dev/1", "dev", "/", "a")
CLAIMS = {DEV_ISSUER: DEV, LOGIN_ISSUER: LOGIN}
PLACES = {CLIENT: "client", CALLER: "caller", None: None}


class Chance:
    """Policies and requests, the same for the same seed; what requests have is what policies ask for, more or less."""

    def __init__(self, seed: int, mesh: EnvoyMesh) -> None:
        self.random = random.Random(seed)
        self.mesh = mesh

    def some(self, *values: Any, most: int = 2) -> list[Any]:
        return self.random.sample(values, self.random.randint(1, min(most, len(values))))

    def maybe(self, name: str, *values: Any) -> dict[str, Any]:
        return {name: self.some(*values)} if self.random.random() < 0.35 else {}

    def principal(self) -> str:
        text = f"{self.random.choice((DEV_ISSUER, LOGIN_ISSUER))}/{self.random.choice(SUBJECTS)}"
        cut = self.random.randrange(1, len(text))
        return self.random.choice((text, text, f"{text[:cut]}*", f"*{text[cut:]}", f"{DEV_ISSUER}/*", "*"))

    def client(self) -> dict[str, Any]:
        token = by_token(
            *(self.principal() for _ in range(self.random.randint(0, 2))),
            but=tuple(self.principal() for _ in range(self.random.randint(0, 1))),
        )
        account = by_account(self.random.choice(("client", "caller")))
        identities: list[dict[str, Any]] = [{}, account, {"serviceAccountSelector": {"namespace": "httpbin"}}]
        if token["requestIdentityMatcher"]:
            identities += [token, token, token | account]
        return self.random.choice(identities)

    def entry(self) -> dict[str, Any]:
        header = {
            "x-team": self.maybe("values", "blue", "b*", "*e", "b*e", "*") | self.maybe("notValues", "red", "*d", "r*d")
        }
        match = {"match": {"request": {"headers": header}}} if header["x-team"] and self.random.random() < 0.5 else {}
        clients = [self.client() for _ in range(self.random.randint(0, 2))]
        addresses = [self.mesh.address(CLIENT), f"{self.mesh.network}.0/30", "127.0.0.1/32"]
        return (
            ({"allowedClients": clients} if clients else {})
            | self.maybe("allowedPaths", "/get", "/anything/*", "*/one", "/anything", "*", "/any*")
            | self.maybe("allowedMethods", "GET", "PUT", "DELETE")
            | self.maybe("allowedIpBlocks", *addresses)
            | match
            | ({"dryRun": True} if self.random.random() < 0.15 else {})
        )

    def policies(self) -> list[dict[str, Any]]:
        return [
            access_policy(*(self.entry() for _ in range(self.random.randint(1, 3))), name=f"access-{number}")
            for number in range(self.random.randint(1, 2))
        ]

    async def ask(self, policies: list[dict[str, Any]]) -> None:
        """One request; AssertionError if the answer is another than the oracle's."""
        node, account = self.random.choice(list(PLACES.items()))
        issuer = self.random.choice((None, DEV_ISSUER, LOGIN_ISSUER))
        token = None if issuer is None else (issuer, self.random.choice(SUBJECTS))
        method, path = self.random.choice(("GET", "PUT", "DELETE")), self.random.choice(PATHS)
        headers = [("x-team", value) for value in self.random.choice(TEAMS)]
        caller = Caller(
            account=account,
            address=self.mesh.address(node) if node is not None else "127.0.0.1",
            token=token,
            method="GET" if node is None else method,
            path=path,
            headers=tuple(headers),
        )
        if token is not None:
            headers += bearer(sign({**CLAIMS[token[0]], "sub": token[1]})).items()
        query = {"x": "/get"} if self.random.random() < 0.3 else None
        if node is None:
            got = await self.mesh.request_inbound(path, headers=headers, query=query)
        else:
            got = await self.mesh.request("guarded:8000", path, headers=headers, query=query, method=method, node=node)
        expected = answer(policies, caller)
        assert (got.upstream == "guarded", got.status == 403) == (expected, not expected), (policies, caller)


PATHS = ("/get", "/anything/one", "/anything", "/anything/two")
TEAMS = ((), ("blue",), ("red",), ("blue", "red"), ("be",), ("blue, red",), ("green,red ,x",))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", [1, 2])
async def test_real_answers_are_what_the_policies_say(seed: int) -> None:
    """By account, address, token, method, path and header, in entries that are all combined."""
    providers = {"dev": provider(), "login": provider(LOGIN_ISSUER)}
    config = {"providers": providers, "validationPolicy": "ALLOW_MISSING"}
    tokens = jwt_policy("tokens", applyToDestinations=[{"selector": {"name": "guarded"}}], config=config)
    async with run_envoy_mesh(CLIENT, CALLER, GUARDED, issuer=MeshIssuer()) as mesh, mesh.having(tokens):
        chance = Chance(seed, mesh)
        for _ in range(ROUNDS // 2):
            policies = chance.policies()
            async with mesh.having(*policies):
                await asyncio.gather(*(chance.ask(policies) for _ in range(REQUESTS)))
