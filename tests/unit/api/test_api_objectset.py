from __future__ import annotations

import pytest

from meshpass.api.core import Namespace, ServiceAccount
from meshpass.api.manifest import Parsed
from meshpass.api.metadata import ObjectMeta
from meshpass.api.objectset import ObjectKey, ObjectSet


def _key(kind, name):
    return ObjectKey(kind=kind, cluster="c1", namespace="", name=name)


def _namespace(name, version="1"):
    return Namespace(metadata=ObjectMeta(name=name, resource_version=version))


_ONE, _TWO = _key("Namespace", "one"), _key("Namespace", "two")
_ACCOUNT = _key("ServiceAccount", "a")


@pytest.fixture
def objects():
    return ObjectSet.empty().with_changes(
        {
            _ONE: Parsed(_namespace("one")),
            _TWO: Parsed(_namespace("two"), ("bad",)),
            _ACCOUNT: Parsed(ServiceAccount(metadata=ObjectMeta(name="a"))),
        }
    )


def test_the_empty_set_has_nothing():
    """There is a set without objects, whose mappings are empty."""
    empty = ObjectSet.empty()

    assert (len(empty), list(empty), dict(empty.problems)) == (0, [], {})
    assert dict(empty.all(Namespace)) == {}
    assert empty.get(Namespace, _ONE) is None


def test_objects_are_found_by_type_and_key(objects):
    """all and get see the objects of their type only, and problems are kept beside them."""
    assert set(objects.all(Namespace)) == {_ONE, _TWO}
    assert objects.get(Namespace, _ONE) == _namespace("one")
    assert objects.get(ServiceAccount, _ONE) is None
    assert objects.problems == {_TWO: ("bad",)}
    assert sorted(objects) == [_ONE, _TWO, _ACCOUNT]
    assert len(objects) == 3


def test_a_change_leaves_the_old_set_alone(objects):
    """A set does not change; the new one has the upserts and lacks the deletes."""
    after = objects.with_changes({_ONE: Parsed(_namespace("one", "2"))}, [_TWO])

    assert after.get(Namespace, _ONE).metadata.resource_version == "2"
    assert after.get(Namespace, _TWO) is None
    assert after.problems == {}
    assert objects.get(Namespace, _ONE).metadata.resource_version == "1"
    assert objects.problems == {_TWO: ("bad",)}


def test_what_did_not_change_is_the_same(objects):
    """Kinds that were not touched keep their mapping, and objects of a touched kind keep their identity."""
    after = objects.with_changes({_ONE: Parsed(_namespace("one", "2"))})

    assert after.all(ServiceAccount) is objects.all(ServiceAccount)
    assert after.all(Namespace) is not objects.all(Namespace)
    assert after.get(Namespace, _TWO) is objects.get(Namespace, _TWO)
    assert after.problems is objects.problems


def test_a_change_that_changes_nothing_is_the_same_set(objects):
    """A relist that brings equal objects, or a delete of what is not there, makes no new set."""
    assert objects.with_changes({_ONE: Parsed(_namespace("one"))}, [_key("Pod", "p")]) is objects


def test_problems_alone_are_a_change(objects):
    """An object that is equal but has other problems makes a new set with the same mapping."""
    after = objects.with_changes({_ONE: Parsed(_namespace("one"), ("new",)), _TWO: Parsed(_namespace("two"))})

    assert after is not objects
    assert after.all(Namespace) is objects.all(Namespace)
    assert after.problems == {_ONE: ("new",)}


def test_an_upsert_beats_a_delete_of_the_same_key(objects):
    """Deletes come first, so an object that was deleted and made again is there."""
    after = objects.with_changes({_ONE: Parsed(_namespace("one", "9"))}, [_ONE])

    assert after.get(Namespace, _ONE).metadata.resource_version == "9"


def test_views_cannot_be_written(objects):
    """No one can change a set by way of its mappings."""
    with pytest.raises(TypeError):
        objects.all(Namespace)[_ONE] = None
