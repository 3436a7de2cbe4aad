"""``token``: making, reading and signing keys for tokens."""

from __future__ import annotations

import json
import os
import sys
import time
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from meshpass.cli.output import print_data, print_json, reported_errors, say

_ALGORITHMS = "RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512 or EdDSA"


class KeyFormat(Enum):
    """How a public key is printed."""

    PEM = "pem"
    JWKS = "jwks"


def create(
    *,
    key: Annotated[Path, typer.Option("--key", help="File with the private key, PEM or JWK.", show_default=False)],
    issuer: Annotated[str | None, typer.Option("--issuer", help="Claim iss.", show_default=False)] = None,
    subject: Annotated[str | None, typer.Option("--subject", help="Claim sub.", show_default=False)] = None,
    audience: Annotated[
        list[str] | None, typer.Option("--audience", help="Claim aud; several make a list.", show_default=False)
    ] = None,
    claim: Annotated[
        list[str] | None,
        typer.Option("--claim", help="NAME=TEXT or NAME:=JSON; repeatable.", show_default=False),
    ] = None,
    expires_in: Annotated[str, typer.Option("--expires-in", help="Claim exp, from now; `none` leaves it out.")] = "1h",
    algorithm: Annotated[
        str | None, typer.Option("--alg", help=f"{_ALGORITHMS}; by the key unless said.", show_default=False)
    ] = None,
    kid: Annotated[str | None, typer.Option("--kid", help="Key id in the header.", show_default=False)] = None,
) -> None:
    """Sign a token and print it.

    Examples:
        meshpass token create --key key.pem --issuer https://dev.example.com --claim org=internal

        meshpass token create --key key.pem --issuer me --claim 'groups:=["dev","qa"]' --expires-in 5m
    """
    with reported_errors():
        from meshpass.cli.jose import read_key, sign_token

        claims = build_claims(
            now=int(time.time()),
            issuer=issuer,
            subject=subject,
            audience=audience or [],
            expires_in=expires_in,
            claims=claim or [],
        )
        print_data(sign_token(read_key(_read_file(key)), claims, algorithm=_algorithm(algorithm), kid=kid))


def build_claims(
    *, now: int, issuer: str | None, subject: str | None, audience: list[str], expires_in: str, claims: list[str]
) -> dict[str, Any]:
    """The payload that the options describe; ``now`` is seconds since 1970. Raises MeshpassError."""
    from meshpass.cli.duration import parse_duration

    payload: dict[str, Any] = {} if issuer is None else {"iss": issuer}
    if subject is not None:
        payload["sub"] = subject
    if audience:
        payload["aud"] = audience[0] if len(audience) == 1 else audience
    payload["iat"] = now
    if expires_in != "none":
        payload["exp"] = now + int(parse_duration(expires_in))
    return payload | dict(_claim(text) for text in claims)


def _claim(text: str) -> tuple[str, Any]:
    from meshpass.errors import MeshpassError

    name, equals, value = text.partition("=")
    if not equals or name in {"", ":"}:
        raise MeshpassError(
            f"--claim {text}: expected NAME=TEXT or NAME:=JSON", hint="for example --claim org=internal"
        )
    if not name.endswith(":"):
        return name, value
    try:
        return name.removesuffix(":"), json.loads(value)
    except ValueError as error:
        raise MeshpassError(f"--claim {text}: not JSON after :=", hint="text needs = alone") from error


def decode(
    token: Annotated[
        str | None, typer.Argument(help="The token; read from standard input unless said.", show_default=False)
    ] = None,
) -> None:
    """Print header and payload of a token as JSON. The signature is not verified.

    Examples:
        meshpass token decode eyJhbGciOi…

        meshpass token decode < token.jwt
    """
    with reported_errors():
        from meshpass.cli.jose import decode_token

        header, payload = decode_token(sys.stdin.read() if token in {None, "-"} or token is None else token)
        print_json({"header": header, "payload": payload})
        for name, words in (("iat", "issued"), ("nbf", "valid from"), ("exp", "expires")):
            if isinstance(payload.get(name), int | float):
                say(f"{words}: {render_time(payload[name], time.time())}")
        say("the signature is not verified")


def render_time(moment: float, now: float) -> str:
    """A time of a token, readable, and how far it is from ``now``; both are seconds since 1970."""
    try:
        text = datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):
        return f"{moment:g} s after 1970, which no calendar has"
    distance = abs(moment - now)
    for unit, seconds in (("year", 31_556_952), ("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1)):
        if distance >= seconds:
            count = int(distance // seconds)
            span = f"{count} {unit}{'' if count == 1 else 's'}"
            return f"{text} (in {span})" if moment > now else f"{text} ({span} ago)"
    return f"{text} (now)"


def create_key(
    file: Annotated[Path, typer.Argument(help="Where the private key goes, as PEM of mode 0600.", show_default=False)],
    algorithm: Annotated[str, typer.Option("--alg", help=_ALGORITHMS + ".")] = "RS256",
) -> None:
    """Make a key pair: the private key goes to FILE, which must not exist, the public one is printed as PEM.

    Examples:
        meshpass token key create key.pem

        meshpass token key create key.pem --alg ES256
    """
    with reported_errors():
        from meshpass.cli.jose import Algorithm, generate_key, private_pem, public_pem
        from meshpass.errors import MeshpassError

        key = generate_key(_algorithm(algorithm) or Algorithm.RS256)
        try:
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError as error:
            raise MeshpassError(f"{file} exists already", hint="name another file: keys are not overwritten") from error
        except OSError as error:
            raise MeshpassError(f"{file}: {error.strerror}") from error
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(private_pem(key))
        print_data(public_pem(key))


def show_public_key(
    file: Annotated[Path, typer.Argument(help="Private or public key, PEM or JWK.", show_default=False)],
    output: Annotated[KeyFormat, typer.Option("--output", "-o", help="Format.")] = KeyFormat.PEM,
    kid: Annotated[
        str | None, typer.Option("--kid", help="Key id in the JWKS; the thumbprint unless said.", show_default=False)
    ] = None,
) -> None:
    """Print the public key, as `local.inline` of a JWTPolicy takes it.

    Examples:
        meshpass token key public key.pem

        meshpass token key public key.pem -o jwks
    """
    with reported_errors():
        from meshpass.cli.jose import public_key_set, public_pem, read_key

        key = read_key(_read_file(file))
        if output is KeyFormat.JWKS:
            print_json(public_key_set(key, kid))
        else:
            print_data(public_pem(key))


def _read_file(path: Path) -> bytes:
    from meshpass.errors import MeshpassError

    try:
        return path.read_bytes()
    except OSError as error:
        raise MeshpassError(f"{path}: {error.strerror}") from error


def _algorithm(name: str | None) -> Any:
    from meshpass.cli.jose import Algorithm
    from meshpass.errors import MeshpassError

    if name is None:
        return None
    try:
        return Algorithm(name)
    except ValueError as error:
        raise MeshpassError(f"--alg {name}: no algorithm that JWTPolicy accepts", hint=_ALGORITHMS) from error
