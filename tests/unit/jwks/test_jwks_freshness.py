from __future__ import annotations

import httpx2 as httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshpass.jwks.freshness import read_lifetime, show_time

NOW = 784_111_777.0
"""Sun, 06 Nov 1994 08:49:37 GMT"""


@pytest.mark.parametrize(
    ("headers", "lifetime"),
    [
        ({}, None),
        ({"Cache-Control": "public"}, None),
        ({"Cache-Control": "max-age=60"}, 60),
        ({"Cache-Control": 'public, MAX-AGE="60", must-revalidate'}, 60),
        ({"Cache-Control": "max-age=60", "Age": "45"}, 15),
        ({"Cache-Control": "max-age=60", "Age": "90"}, 0),
        ({"Cache-Control": "max-age=60, no-store"}, 0),
        ({"Cache-Control": "no-cache"}, 0),
        ({"Cache-Control": "max-age=-1"}, 0),
        ({"Cache-Control": "max-age"}, 0),
        ({"Cache-Control": "max-age=" + "9" * 5000}, 2**31),
        ({"Cache-Control": "max-age=60", "Expires": "Sun, 06 Nov 1994 09:49:37 GMT"}, 60),
        ({"Expires": "Sun, 06 Nov 1994 08:50:37 GMT"}, 60),
        ({"Expires": "Sun, 06 Nov 1994 08:50:37 GMT", "Date": "Sun, 06 Nov 1994 08:50:07 GMT"}, 30),
        ({"Expires": "Sun, 06 Nov 1994 08:00:00 GMT"}, 0),
        ({"Expires": "0"}, 0),
        ({"Expires": "-1"}, 0),
    ],
)
def test_how_long_a_server_says_that_its_answer_is_fresh(headers, lifetime):
    assert read_lifetime(httpx.Headers(headers), NOW) == lifetime


@given(st.dictionaries(st.sampled_from(["cache-control", "expires", "age", "date"]), st.text()))
def test_any_headers_give_a_lifetime_that_is_not_negative(headers):
    lifetime = read_lifetime(headers, NOW)
    assert lifetime is None or lifetime >= 0


def test_times_are_shown_as_rfc_3339():
    assert show_time(NOW) == "1994-11-06T08:49:37Z"
