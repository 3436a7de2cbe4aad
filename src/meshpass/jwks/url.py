"""URLs of key sets: what they may be, and how they are shown."""

from __future__ import annotations

import re

import httpx2 as httpx

from meshpass.jwks.address import check_name
from meshpass.jwks.failure import FetchError

DEFAULT_PORTS = {"http": 80, "https": 443}

_PATH = re.compile(r"[/?#]")
"""What ends the authority (RFC 3986 §3.2)."""


def parse_source_url(text: str) -> httpx.URL:
    """The URL, fit to be requested; the parser is the one of the client, so that both see the same host.

    Raises FetchError for a scheme other than http and https, user information, a fragment, a host that is not written
    in ASCII, and the name of a metadata service.
    """
    try:
        url = httpx.URL(text)
        host = url.raw_host.decode("ascii")
    except (httpx.InvalidURL, ValueError) as error:
        raise FetchError("the URL cannot be read") from error
    if url.scheme not in DEFAULT_PORTS:
        raise FetchError("the URL is neither http nor https")
    if not host:
        raise FetchError("the URL has no host")
    if url.userinfo or "@" in _PATH.split(text.partition("//")[2])[0]:
        raise FetchError("the URL holds a user name or a password")
    if "#" in text:
        raise FetchError("the URL has a fragment")
    if not text.isascii():
        raise FetchError("the URL is not written in ASCII; names in other scripts are written xn--…")
    if not 0 < port_of(url) < 65_536:
        raise FetchError("the URL has a port that there is not")
    check_name(host)
    return url


def port_of(url: httpx.URL) -> int:
    """The port that is connected to."""
    return url.port if url.port is not None else DEFAULT_PORTS[url.scheme]


def parse_redirect(url: httpx.URL, location: str) -> httpx.URL:
    """Where ``location``, said in an answer to ``url``, leads. Raises FetchError for another scheme, host or port."""
    try:
        target = url.join(location.partition("#")[0])
        target_port = port_of(target) if target.scheme in DEFAULT_PORTS else None
    except (httpx.InvalidURL, ValueError) as error:
        raise FetchError("redirects to what cannot be read") from error
    if (target.scheme, target.raw_host, target_port) != (url.scheme, url.raw_host, port_of(url)) or target.userinfo:
        raise FetchError("redirects to another scheme, host or port")
    return target


def shown_url(text: str) -> str:
    """The URL without what may be secret in it: user information, query, fragment."""
    bare = text.partition("#")[0].partition("?")[0]
    scheme, separator, rest = bare.partition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}{separator}{authority.rpartition('@')[2]}{slash}{path}" if separator else bare
