"""How a route tells the filters its selection class."""

from __future__ import annotations

from envoy.config.core.v3.base_pb2 import Metadata
from envoy.config.route.v3.route_components_pb2 import Route
from envoy.extensions.filters.http.jwt_authn.v3.config_pb2 import PerRouteConfig
from google.protobuf.struct_pb2 import Struct

from meshpass.envoy.filters import CLASS_KEY, ROUTE_METADATA, Side, Stage, filter_name
from meshpass.envoy.resource import pack
from meshpass.ir import Phase


def set_selection_class(route: Route, side: Side, selection_class: str) -> None:
    """The JWT filters of both phases look up the class's requirement; others find the class in the route's metadata."""
    struct = Struct()
    struct.fields[CLASS_KEY].string_value = selection_class
    route.metadata.CopyFrom(Metadata(filter_metadata={ROUTE_METADATA: struct}))
    requirement = pack(PerRouteConfig(requirement_name=selection_class))
    for phase in Phase:
        route.typed_per_filter_config[filter_name(side, phase, Stage.JWT)].CopyFrom(requirement)
