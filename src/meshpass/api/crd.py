"""CustomResourceDefinitions of our kinds, made from their types."""

from __future__ import annotations

from typing import Any

import yaml

from meshpass.api.kind import Kind, PrinterColumn
from meshpass.api.kinds import KINDS
from meshpass.api.openapi import object_schema


class _PlainDumper(yaml.CSafeDumper):
    """Writes values that are used twice in full, not as anchors."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True


def custom_resource_definitions() -> tuple[dict[str, Any], ...]:
    """One CustomResourceDefinition (apiextensions.k8s.io/v1) per kind of ours, ready to apply."""
    return tuple(_definition(kind) for kind in KINDS)


def crds_yaml() -> str:
    """All CustomResourceDefinitions as YAML documents."""
    text: str = yaml.dump_all(
        custom_resource_definitions(), Dumper=_PlainDumper, sort_keys=False, explicit_start=True, width=120
    )
    return text


def _definition(kind: Kind) -> dict[str, Any]:
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{kind.group}"},
        "spec": {
            "group": kind.group,
            "names": {
                "kind": kind.kind,
                "listKind": f"{kind.kind}List",
                "plural": kind.plural,
                "singular": kind.singular,
                "shortNames": list(kind.short_names),
                "categories": list(kind.categories),
            },
            "scope": "Namespaced" if kind.namespaced else "Cluster",
            "versions": [
                {
                    "name": kind.version,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": object_schema(kind.type)},
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [_column(column) for column in kind.columns],
                }
            ],
        },
    }


def _column(column: PrinterColumn) -> dict[str, Any]:
    written: dict[str, Any] = {
        "name": column.name,
        "type": column.type,
        "jsonPath": column.json_path,
        "description": column.description,
    }
    if column.priority:
        written["priority"] = column.priority
    return written
