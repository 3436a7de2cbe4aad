"""The annotation in which ``kubectl apply`` remembers what it applied, when it does so on the client's side.

An object that was managed so comes to server-side apply without conflicts (``util/managedfields``, lastapplied*.go).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from meshpass.apiserver.body import check_depth
from meshpass.apiserver.fieldmanager import FieldManager
from meshpass.apiserver.fieldset import EMPTY, FieldSet
from meshpass.apiserver.objectmeta import ANNOTATIONS_MAX_BYTES, annotations_size
from meshpass.apiserver.status import StatusError

_ANNOTATION: Final = "kubectl.kubernetes.io/last-applied-configuration"
KUBECTL: Final = "kubectl"
"""The manager on whose behalf the annotation is read and kept."""


def fields_last_applied(manager: FieldManager, live: Mapping[str, Any]) -> FieldSet:
    """The fields that the annotation states and that are still as it says: kubectl's own, whoever is named for them."""
    text = _text(live)
    if not text:
        return EMPTY
    try:
        applied = msgspec.json.decode(text)
        check_depth(applied)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError, StatusError):
        return EMPTY
    if not isinstance(applied, dict) or applied.get("apiVersion") != manager.resource.group_version:
        return EMPTY
    return manager.fields_as_applied(live, applied)


def remember_applied(merged: dict[str, Any], config: Mapping[str, Any]) -> None:
    """The annotation of ``merged``, if it has one, is ``config``; it goes when annotations would become too long."""
    if not _text(merged):
        return
    metadata = dict(config["metadata"])
    annotations = {key: value for key, value in (metadata.get("annotations") or {}).items() if key != _ANNOTATION}
    if "annotations" in metadata:
        metadata["annotations"] = annotations
    text = msgspec.json.encode({**config, "metadata": metadata}, order="sorted").decode()
    told = {**merged["metadata"]["annotations"], _ANNOTATION: f"{text}\n"}
    if annotations_size(told) > ANNOTATIONS_MAX_BYTES:
        del told[_ANNOTATION]
    merged["metadata"] = {**merged["metadata"], "annotations": told}


def _text(value: Mapping[str, Any]) -> str:
    annotations = value["metadata"].get("annotations") or {}
    text = annotations.get(_ANNOTATION)
    return text if isinstance(text, str) else ""
