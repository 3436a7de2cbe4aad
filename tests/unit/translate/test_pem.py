"""PEM texts that no proxy is given."""

from __future__ import annotations

import pytest
from tests.support.certificates import Authority

from meshpass.translate.pem import certificate_problem


@pytest.mark.parametrize(
    ("name", "refused"),
    [
        ("spiffe://mesh.example/meshpass/agent/cluster1", True),
        ("spiffe://mesh.example/meshpass/anything", True),
        ("spiffe://mesh.example/ns/meshpass/sa/agent", False),
        ("spiffe://mesh.example/meshpassport", False),
        ("https://mesh.example/meshpass/agent/cluster1", False),
        ("mesh.example", False),
    ],
)
def test_the_certificates_of_our_own_processes_are_not_for_proxies(name: str, refused: bool) -> None:
    """Else an ExternalService that names an agent's files, and the relay as its endpoint, would speak for the agent."""
    problem = certificate_problem(Authority().sign(name).chain)

    assert bool(problem) is refused
    assert not refused or "control plane" in problem
