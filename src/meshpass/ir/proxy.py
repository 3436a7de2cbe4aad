"""Proxy: the whole task of one Envoy."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """The whole task of one Envoy (fields follow in this file)."""

    node: str
    """``sidecar~<cluster>~<namespace>~<workload>``: what the Envoy says as its node id."""
