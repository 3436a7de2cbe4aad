"""Where an Envoy gets what its configuration names."""

from __future__ import annotations

from envoy.config.core.v3.config_source_pb2 import AggregatedConfigSource, ApiVersion, ConfigSource
from google.protobuf.duration_pb2 import Duration


def ads_config_source() -> ConfigSource:
    """Subscribed on the one stream, and waited for as long as it takes: a proxy without policy serves nothing."""
    return ConfigSource(
        ads=AggregatedConfigSource(), resource_api_version=ApiVersion.V3, initial_fetch_timeout=Duration()
    )
