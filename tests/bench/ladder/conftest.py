"""One ladder over the demo model for all of these tests."""

import pytest

from gradus.bench.ladder.ladder import Ladder
from gradus.bench.workloads.fixed import FixedWorkload
from gradus.config import EngineConfig

WORKLOAD = FixedWorkload(name="small", num_requests=4, concurrency=4, input_len=9, output_len=6)


@pytest.fixture(scope="package")
def ladder():
    with Ladder(EngineConfig(num_threads=1, huge_pages=False), WORKLOAD) as standing:
        yield standing
