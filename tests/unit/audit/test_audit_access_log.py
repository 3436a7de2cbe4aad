"""What Envoy is told to log."""

from __future__ import annotations

import pytest
from envoy.extensions.access_loggers.grpc.v3.als_pb2 import TcpGrpcAccessLogConfig

from meshpass.envoy.access_log import DECISION_FIELDS, DECISION_TAG, build_access_log
from meshpass.envoy.filters import Side


@pytest.mark.parametrize("side", Side)
def test_access_log(side):
    """Entries leave within half a second, under the side's name, to the given cluster, with no header of the request."""
    log = build_access_log(side, cluster="control")
    config = TcpGrpcAccessLogConfig()
    assert log.typed_config.Unpack(config)
    common = config.common_config

    assert common.log_name == side.value
    assert common.grpc_service.envoy_grpc.cluster_name == "control"
    assert common.buffer_flush_interval.ToMilliseconds() <= 500
    (tag,) = common.custom_tags
    assert tag.tag == DECISION_TAG
    assert len(tag.value.split("\n")) == len(DECISION_FIELDS)
    assert [line for line in tag.value.split("\n") if "REQ(" in line or "PATH(" in line] == ["%REQ(:METHOD):16%"]
    assert [line for line in tag.value.split("\n") if "FILTER_STATE(" in line] == [
        "%FILTER_STATE(meshpass.host:PLAIN):253%",
        "%FILTER_STATE(meshpass.path:PLAIN):256%",
    ]
    assert log == build_access_log(side, cluster="control")
