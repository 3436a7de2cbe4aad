from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshpass.jwks.failure import FetchError
from meshpass.jwks.url import parse_redirect, parse_source_url, port_of, shown_url


@pytest.mark.parametrize(
    "text",
    [
        "",
        "keys.example.com/jwks",
        "ftp://keys.example.com/",
        "file:///etc/passwd",
        "gopher://keys.example.com/",
        "http://",
        "http:///keys",
        "https://user@keys.example.com/",
        "https://user:word@keys.example.com/",
        "https://@keys.example.com/",
        "https://169.254.169.254@keys.example.com/",
        "https://keys.example.com/#part",
        "https://keys.example.com/keys#",
        "https://keys.example.com:0/",
        "https://keys.example.com:99999/",
        "https://bücher.example/",
        "https://\uff11\uff12\uff17.0.0.1/",
        "http://metadata.google.internal/computeMetadata/v1/",
        "http://[::1",
        "http://a\nb/",
        "http://\ud800/",
    ],
)
def test_urls_that_are_refused(text):
    with pytest.raises(FetchError):
        parse_source_url(text)


@given(st.text() | st.text().map("http://".__add__) | st.text().map("https://[".__add__))
def test_any_text_is_a_url_or_is_refused(text):
    """Whatever a policy names, there is a URL with a host or a FetchError; and it can be shown."""
    shown_url(text)
    try:
        url = parse_source_url(text)
    except FetchError:
        return
    assert url.host
    assert url.scheme in {"http", "https"}


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("/other", "https://keys.example.com/other"),
        ("other?q=1", "https://keys.example.com/a/other?q=1"),
        ("https://keys.example.com:443/b", "https://keys.example.com/b"),
        ("HTTPS://KEYS.EXAMPLE.COM/b", "https://keys.example.com/b"),
        ("//keys.example.com/b#there", "https://keys.example.com/b"),
    ],
)
def test_redirects_stay_with_the_server(location, target):
    assert str(parse_redirect(parse_source_url("https://keys.example.com/a/keys"), location)) == target


@pytest.mark.parametrize(
    "location",
    [
        "http://keys.example.com/a",
        "https://keys.example.com:8443/a",
        "https://other.example.com/a",
        "https://keys.example.com.evil.example/a",
        "//169.254.169.254/latest",
        "https://user@keys.example.com/a",
        "file:///etc/passwd",
        "javascript:1",
        "https://keys.example.com:x/",
        "http://[",
    ],
)
def test_redirects_elsewhere_are_refused(location):
    with pytest.raises(FetchError):
        parse_redirect(parse_source_url("https://keys.example.com/a/keys"), location)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://keys.example.com/a?token=secret", "https://keys.example.com/a"),
        ("https://u:secret@keys.example.com/a?b@c/d#e", "https://keys.example.com/a"),
        ("https://keys.example.com?secret", "https://keys.example.com"),
        ("http://127.0.0.1:8080/keys", "http://127.0.0.1:8080/keys"),
    ],
)
def test_shown_urls_hold_no_secrets(text, shown):
    assert shown_url(text) == shown


def test_ports():
    assert port_of(parse_source_url("http://a/")) == 80
    assert port_of(parse_source_url("https://a/")) == 443
    assert port_of(parse_source_url("https://a:8443/")) == 8443
