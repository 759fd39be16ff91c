"""Schemathesis against the served description: no 500, no hang, no answer that is not declared.

The routes are those of the description, whichever they are.
"""

import json

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from gradus.config import EngineConfig
from gradus.engine.async_engine import AsyncEngine
from gradus.runtime import load_runtime
from gradus.server.http.app import ROUTES
from gradus.server.service import Service
from gradus.server.settings import ServerSettings
from tests.server.harness import hosting

MODES = [GenerationMode.POSITIVE, GenerationMode.NEGATIVE]
SECONDS = 60  # what takes longer hangs
CHECKS = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


OPERATIONS = [
    (method, route.path_format)
    for module in ROUTES
    for route in module.router.routes
    if route.include_in_schema
    for method in sorted(route.methods)
]


@pytest.fixture(scope="module")
def running():
    """A server of the embedded model, whose answers are short."""
    runtime = load_runtime(EngineConfig(model="demo", num_threads=1, seed=1, max_model_len=64))
    limits = ServerSettings(port=0, shutdown_timeout=0.0, max_n=2, max_choices=4)
    with hosting(Service(AsyncEngine(runtime.core), runtime.inputs, "demo", limits)) as running:
        yield running
        assert running.post("/v1/completions", {"prompt": "Hi"}).status_code == 200
        running.wait_until_idle()
        runtime.core.check_integrity()
    runtime.close()


@pytest.fixture(scope="module")
def api(running):
    """The description as schemathesis reads it."""
    return schemathesis.openapi.from_url(f"{running.url}/openapi.json")


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_every_answer_is_declared(api, method, path):
    """To requests that fit the description, and to such as do not."""
    operation = api[path][method]
    has_input = operation.body or operation.path_parameters

    @settings(
        max_examples=40 if has_input else 1,
        derandomize=True,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.one_of(*(operation.as_strategy(generation_mode=mode) for mode in MODES[: 1 + bool(has_input)])))
    def check(case):
        response = case.call(timeout=SECONDS)
        case.validate_response(response, checks=CHECKS)
        is_late = response.status_code == 504 and "timeout" in case.body
        assert response.status_code < 500 or is_late, response.text

    check()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize("path", [path for method, path in OPERATIONS if method == "POST"])
def test_any_body_gets_a_declared_answer(running, api, path):
    """Fields of the route with values of any type, and bytes that may be no JSON at all."""
    described = api.raw_schema["paths"][path]["post"]
    reference = described["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    names = sorted(api.raw_schema["components"]["schemas"][reference.rpartition("/")[2]]["properties"])
    bodies = st.dictionaries(st.sampled_from(names), JSON, max_size=4).map(
        lambda each: json.dumps(each).encode()
    )

    @settings(max_examples=60, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(bodies | st.binary(max_size=60))
    def check(data):
        response = running.http.post(path, content=data, headers={"content-type": "application/json"})
        assert str(response.status_code) in described["responses"], (data, response.text)
        assert response.status_code in (200, 400, 404), (data, response.text)

    check()
