"""Route tables come to routes that mean what the tables say, delegation and its orders included."""

from __future__ import annotations

import yaml
from hypothesis import given, note, settings
from hypothesis import strategies as st
from tests.support.objects import BASE, CLIENT, key_of, object_set, translate_objects
from tests.support.route_generator import generate
from tests.support.route_model import Model
from tests.support.route_oracle import judge

CANARY = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "canary", "namespace": "httpbin"},
    "spec": {"ports": [{"name": "http", "port": 8000}]},
}
REQUESTS = 40


@settings(max_examples=150)
@given(seed=st.integers(0, 2**32))
def test_routes_mean_what_the_tables_say(seed: int) -> None:
    """For every request, the routes of the IR come to what the objects say, read without translating them."""
    generated = generate(seed, requests=REQUESTS)
    translation = translate_objects(object_set(BASE, CANARY, *generated.tables))
    (routes,) = translation.proxies[CLIENT].routes
    model = Model(generated.tables, services=("httpbin", "canary"))
    note(yaml.safe_dump_all([{str(key_of(one)): one["spec"]} for one in generated.tables]))
    for asked in generated.requests:
        note(str(asked))
        assert judge(routes, asked) == model.judge(asked)
