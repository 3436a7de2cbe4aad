"""A derived mapping is what would be made anew, and is not made anew."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from meshpass.api.objectset import ObjectKey
from meshpass.relay.derived import Derived

KEYS = [ObjectKey("Service", cluster, "apps", name) for cluster in ("a", "b") for name in "xyz"]
VALUES = [[n] for n in range(4)]
"""Told apart by identity."""
STATES = st.lists(
    st.tuples(st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES)), st.sampled_from(["a", "b"])), max_size=8
)


@given(STATES)
def test_after_any_history_it_is_what_would_be_made_anew(states: list[tuple[dict, str]]) -> None:
    """Items come, go and change; so does what they are left out for."""
    derived: Derived[list[int], str, int] = Derived()
    for items, cluster in states:

        def name(key: ObjectKey, cluster: str = cluster) -> str | None:
            return key.name if key.cluster == cluster else None

        found = derived.follow(items, name, lambda _key, item: item[0], cluster)
        assert found == {key.name: item[0] for key, item in items.items() if key.cluster == cluster}


def test_what_does_not_count_changes_nothing() -> None:
    """The same object as before, and nothing is made but what is new."""
    derived: Derived[list[int], str, int] = Derived()
    made: list[ObjectKey] = []

    def name(key: ObjectKey) -> str | None:
        return key.name if key.cluster == "a" else None

    def value(key: ObjectKey, item: list[int]) -> int:
        made.append(key)
        return item[0]

    first = derived.follow(dict.fromkeys(KEYS, VALUES[0]), name, value)
    made.clear()
    second = derived.follow({**dict.fromkeys(KEYS, VALUES[0]), KEYS[4]: VALUES[1]}, name, value)
    third = derived.follow({**dict.fromkeys(KEYS, VALUES[0]), KEYS[1]: VALUES[1]}, name, value)

    assert second is first
    assert made == [KEYS[1]]
    assert third == {"x": 0, "y": 1, "z": 0}
