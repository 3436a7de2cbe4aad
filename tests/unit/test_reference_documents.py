"""The generated reference says what types and commands say."""

from __future__ import annotations

import pytest
from docs.reference.generate import ANSWERED_500, HERE, KINDS, NOTES, WITHOUT_EFFECT, documents, schema_paths

from meshpass.api.kinds import kind_of_type


@pytest.mark.parametrize("name", documents())
def test_the_reference_is_current(name: str) -> None:
    """If not: `.venv/bin/python -m docs.reference.generate`."""
    assert (HERE / name).read_text() == documents()[name]


def test_remarks_are_about_fields_that_there_are() -> None:
    """A field that is renamed takes its remark along."""
    known = {kind.__name__: set(schema_paths(kind_of_type(kind))) for kind in KINDS}

    assert set(NOTES) <= set().union(*known.values())
    for named in (ANSWERED_500, WITHOUT_EFFECT):
        assert all(paths <= known[kind] for kind, paths in named.items())
