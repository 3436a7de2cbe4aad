"""The guide: JWT for mesh routes, step by step, against a running mesh, with every answer checked."""

from __future__ import annotations

import asyncio
import http.client
import json
import textwrap
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meshpass.cli.jose import Algorithm, decode_token, generate_key, private_pem, public_pem, sign_token
from meshpass.errors import MeshpassError
from meshpass.kube.apply import apply_raw
from meshpass.kube.client import KubeClient
from meshpass.kube.discovery import discover
from meshpass.localmesh.directory import MeshRecord, StateDirectory
from meshpass.localmesh.meshcontrol import wait_mesh
from meshpass.secretfile import write_secret_file

HOST = "www.example.com"
NAMESPACE = "httpbin"
_CLUSTER = "cluster1"
_MATCHED = "X-httpbin-mesh"
_CLAIMS = {
    "iss": "https://dev.example.com",
    "org": "internal",
    "email": "dev1@solo.io",
    "group": "engineering",
    "scope": "is:developer",
}
_LIFETIME = 3600
_SYNC_TIMEOUT = 10.0

ROUTE_TABLE = f"""\
apiVersion: networking.gloo.solo.io/v2
kind: RouteTable
metadata:
  name: www-example-com
  namespace: {NAMESPACE}
  labels:
    route: httpbin
spec:
  hosts:
  - {HOST}
  workloadSelectors:
  - {{}}
  http:
  - name: httpbin-mesh
    labels:
      route: httpbin
    matchers:
    - headers:
      - name: {_MATCHED}
    forwardTo:
      destinations:
      - ref:
          name: httpbin
          namespace: {NAMESPACE}
        port:
          number: 8000
"""

JWT_POLICY = f"""\
apiVersion: security.policy.gloo.solo.io/v2
kind: JWTPolicy
metadata:
  name: jwt-policy
  namespace: {NAMESPACE}
spec:
  applyToRoutes:
  - route:
      labels:
        route: httpbin
  config:
    phase:
      preAuthz: {{}}
    providers:
      dev-example:
        issuer: {_CLAIMS["iss"]}
        tokenSource:
          headers:
          - name: X-Auth
            prefix: 'Bearer '
          queryParams:
          - auth_token
        claimsToHeaders:
        - claim: org
          header: x-org
          append: true
        - claim: email
          header: x-email
          append: true
        local:
          inline: |
"""


class GuideError(MeshpassError):
    """An answer was not what the guide shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back through the sidecar."""

    status: int
    reason: str
    headers: Mapping[str, str]
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Guide:
    """One walk through the guide. ``directory`` takes the files that its commands name; ``show`` prints a line."""

    directory: Path
    state: StateDirectory
    record: MeshRecord
    show: Callable[[str], None]

    def walk(self) -> None:
        """Every step was done and answered as the guide shows. Raises GuideError at the first that was not."""
        token = self._write_files()
        self._title("Route www.example.com to httpbin, for every workload of the mesh")
        self._apply("route-table.yaml", _CLUSTER)
        self._expect_ok(self._request(""), {"args": {}})
        self._title("Require a token on that route")
        self._apply("jwt-policy.yaml", None)
        self._expect_denied(self._request(""))
        self._title("Look into a token")
        self._decode(token)
        self._title("Send it along")
        answer = self._request(f"?auth_token={token}", shown="?auth_token=$TOKEN")
        self._expect_ok(answer, {"args": {}}, {"X-Email": ["dev1@solo.io"], "X-Org": ["internal"]})
        self._title("Remove both objects")
        self._delete("jwtpolicy", "jwt-policy", None)
        self._expect_ok(self._request(""), {"args": {}})
        self._delete("routetable", "www-example-com", _CLUSTER)
        self._expect_no_route(self._request(""))

    def _write_files(self) -> str:
        key = generate_key(Algorithm.RS256)
        now = int(time.time())
        token = sign_token(key, _CLAIMS | {"iat": now, "exp": now + _LIFETIME})
        write_secret_file(self.directory / "key.pem", private_pem(key))
        write_secret_file(self.directory / "token.jwt", token.encode())
        (self.directory / "route-table.yaml").write_text(ROUTE_TABLE, encoding="utf-8")
        policy = JWT_POLICY + textwrap.indent(public_pem(key), " " * 12)
        (self.directory / "jwt-policy.yaml").write_text(policy, encoding="utf-8")
        return token

    def _title(self, text: str) -> None:
        self.show(f"\n# {text}")

    def _apply(self, file: str, context: str | None) -> None:
        from meshpass.cli.objects import read_manifests

        path = self.directory / file
        self.show(f"$ meshpass apply {_context(context)}-f {path}")
        manifests = list(read_manifests([str(path)]))

        async def apply() -> None:
            async with self._client(context) as client:
                for raw in manifests:
                    applied = await apply_raw(client, raw)
                    self.show(
                        f"{applied.kind.kind.lower()}.{applied.kind.group}/{raw['metadata']['name']} {applied.outcome}"
                    )

        asyncio.run(apply())
        self._wait()

    def _delete(self, kind: str, name: str, context: str | None) -> None:
        self.show(f"$ meshpass delete {_context(context)}-n {NAMESPACE} {kind} {name}")

        async def delete() -> None:
            async with self._client(context) as client:
                found = await discover(client, kind)
                await client.delete(found, NAMESPACE, name)
                self.show(f'{kind}.{found.group} "{name}" deleted')

        asyncio.run(delete())
        self._wait()

    def _client(self, context: str | None) -> KubeClient:
        cluster = context or self.record.management
        return KubeClient.from_kubeconfig(self.state.kubeconfig, context, cluster=cluster)

    def _wait(self) -> None:
        late = wait_mesh(self.record, timeout=_SYNC_TIMEOUT)
        if late:
            raise GuideError(f"not in sync after {_SYNC_TIMEOUT:g} s: {', '.join(late)}")

    def _decode(self, token: str) -> None:
        self.show(f"$ TOKEN=$(cat {self.directory / 'token.jwt'}); meshpass token decode $TOKEN")
        payload = decode_token(token)[1]
        self.show(json.dumps(payload))
        _check("the token's payload", {name: payload.get(name) for name in _CLAIMS}, _CLAIMS)

    def _request(self, query: str, shown: str | None = None) -> Answer:
        url = f"http://{HOST}/get{query}"
        quoted = f'"http://{HOST}/get{shown}"' if shown else url
        self.show(f"$ meshpass exec -n {NAMESPACE} client -- curl -si {quoted} -H '{_MATCHED}: true'")
        client = next(one for one in self.record.workloads if one.name == "client")
        answer = request_through(client.address, url, {_MATCHED: "true", "Accept": "*/*"})
        self.show(f"HTTP/1.1 {answer.status} {answer.reason}")
        return answer

    def _expect_denied(self, answer: Answer) -> None:
        challenge = answer.headers.get("www-authenticate", "")
        self.show(f"www-authenticate: {challenge}\n\n{answer.body}")
        _check("the status", answer.status, 401)
        _check("www-authenticate", challenge, f'Bearer realm="http://{HOST}/get"')
        _check("the body", answer.body, "Jwt is missing")

    def _expect_ok(
        self, answer: Answer, fields: Mapping[str, Any], headers: Mapping[str, list[str]] | None = None
    ) -> None:
        _check("the status", answer.status, 200)
        body = json.loads(answer.body)
        shown = {name: body.get(name) for name in fields}
        if headers is not None:
            shown["headers"] = {name: body["headers"].get(name) for name in headers}
        self.show(json.dumps(shown, indent=2))
        _check("the body", shown, {**fields, **({} if headers is None else {"headers": dict(headers)})})

    def _expect_no_route(self, answer: Answer) -> None:
        self.show(f"\n{answer.body}")
        _check("the status", answer.status, 502)
        _check("the body", answer.body, f"no route in the mesh for {HOST}")


def request_through(address: str, url: str, headers: Mapping[str, str]) -> Answer:
    """The answer to GET ``url`` through the sidecar at ``address``. Raises GuideError where none came."""
    connection = http.client.HTTPConnection(address, 15001, timeout=10)
    try:
        connection.request("GET", url, headers=dict(headers))
        response = connection.getresponse()
        body = response.read().decode(errors="replace")
        found = {name.lower(): value for name, value in response.getheaders()}
        return Answer(status=response.status, reason=response.reason, headers=found, body=body)
    except (OSError, http.client.HTTPException) as error:
        raise GuideError(f"the sidecar at {address}:15001 does not answer: {error}") from error
    finally:
        connection.close()


def _context(name: str | None) -> str:
    return f"--context {name} " if name else ""


def _check(what: str, actual: object, expected: object) -> None:
    if actual != expected:
        raise GuideError(f"{what} is {actual!r}, the guide shows {expected!r}")
