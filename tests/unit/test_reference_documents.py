"""The generated reference says what types and commands say."""

from __future__ import annotations

import pytest
from docs.reference.generate import ANSWERED_500, HERE, NOTES, documents, schema_paths

from meshpass.api.kinds import kind_of_type
from meshpass.api.routetable import RouteTable
from meshpass.api.security import JWTPolicy


@pytest.mark.parametrize("name", documents())
def test_the_reference_is_current(name: str) -> None:
    """If not: `.venv/bin/python -m docs.reference.generate`."""
    assert (HERE / name).read_text() == documents()[name]


def test_remarks_are_about_fields_that_there_are() -> None:
    """A field that is renamed takes its remark along."""
    known = {*schema_paths(kind_of_type(RouteTable)), *schema_paths(kind_of_type(JWTPolicy))}

    assert {*ANSWERED_500, *NOTES} <= known
