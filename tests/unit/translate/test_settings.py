"""Feature gates as text."""

from __future__ import annotations

import pytest

from meshpass.errors import MeshpassError
from meshpass.translate.settings import FeatureGates, parse_feature_gates


@pytest.mark.parametrize(
    ("text", "gates"),
    [
        pytest.param("", FeatureGates(), id="none"),
        pytest.param(" , ", FeatureGates(), id="commas"),
        pytest.param("EnableJWTPolicyEastWestRoute=false", FeatureGates(EnableJWTPolicyEastWestRoute=False), id="one"),
        pytest.param(
            " enablejwtpolicyeastwestroute=FALSE , GatewayDefaultDenyAllHTTPRequests=True",
            FeatureGates(EnableJWTPolicyEastWestRoute=False, GatewayDefaultDenyAllHTTPRequests=True),
            id="two-in-other-case",
        ),
        pytest.param(
            "EnableJWTPolicyEastWestRoute=false,EnableJWTPolicyEastWestRoute=true", FeatureGates(), id="last-wins"
        ),
    ],
)
def test_gates_are_read(text: str, gates: FeatureGates) -> None:
    """What is not named keeps its default."""
    assert parse_feature_gates(text) == gates


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        pytest.param("Nope=true", "unknown feature gate Nope", "EnableJWTPolicyEastWestRoute", id="unknown"),
        pytest.param(
            "GatewayDefaultDenyAllHTTPRequests", "neither true nor false", "DenyAllHTTPRequests=true", id="no-value"
        ),
        pytest.param(
            "GatewayDefaultDenyAllHTTPRequests=yes", "neither true nor false", "DenyAllHTTPRequests=true", id="yes"
        ),
    ],
)
def test_a_mistake_is_refused_with_a_hint(text: str, message: str, hint: str) -> None:
    """A gate that decides about denial must not be misread in silence."""
    with pytest.raises(MeshpassError, match=message) as caught:
        parse_feature_gates(text)

    assert hint in (caught.value.hint or "")
