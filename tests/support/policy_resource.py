"""A custom resource with a field of every kind that a schema knows, and objects of it."""

from __future__ import annotations

from typing import Any

from meshpass.apiserver.crd import resources_from_crd

(POLICY,) = resources_from_crd(
    {
        "spec": {
            "group": "policy.example.io",
            "scope": "Namespaced",
            "names": {"plural": "policies", "singular": "policy", "kind": "Policy"},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "required": ["spec"],
                            "properties": {
                                "spec": {
                                    "type": "object",
                                    "properties": {
                                        "phase": {"type": "string", "enum": ["pre", "post"]},
                                        "queryParams": {"type": "array", "items": {"type": "string"}},
                                        "headers": {
                                            "type": "array",
                                            "items": {
                                                "type": "object",
                                                "required": ["name"],
                                                "properties": {"name": {"type": "string"}},
                                            },
                                        },
                                        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                                        "closed": {"type": "object"},
                                        "any": {"type": "object", "additionalProperties": True},
                                        "map": {
                                            "type": "object",
                                            "additionalProperties": {
                                                "type": "object",
                                                "properties": {"a": {"type": "string"}},
                                            },
                                        },
                                        "template": {
                                            "type": "object",
                                            "x-kubernetes-embedded-resource": True,
                                            "properties": {"spec": {"type": "object"}},
                                        },
                                    },
                                }
                            },
                        }
                    },
                }
            ],
        }
    }
)


def make_policy(**spec: Any) -> dict[str, Any]:
    """An object with this spec."""
    return {
        "apiVersion": "policy.example.io/v1",
        "kind": "Policy",
        "metadata": {"name": "p", "namespace": "n"},
        "spec": spec,
    }
