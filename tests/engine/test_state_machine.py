"""Random adds, steps, aborts and failures, with any switches: nothing leaks, and every choice ends once."""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from gradus.engine.core import MAX_CONSECUTIVE_FAILURES
from gradus.messages import EngineRequest
from tests.engine.fake_backend import FakeBackend
from tests.engine.harness import Recorder, backends, check_idle, checked_step, configs, make_core, requests

POISON = 29  # a context with this token has no finite logits


class EngineMachine(RuleBasedStateMachine):
    @initialize(config=configs(), backend=backends(), with_poison=st.booleans())
    def build(self, config: dict, backend: FakeBackend, with_poison: bool) -> None:
        self.backend = backend
        self.backend.poison = POISON if with_poison else None
        self.backend.fail_when = lambda step: self.fails
        self.fails = False
        self.any_step_failed = False
        self.num_failures_in_a_row = 0
        self.core = make_core(backend=backend, **config)
        self.requests: dict[str, EngineRequest] = {}
        self.recorder = Recorder()

    @rule(data=st.data(), count=st.integers(1, 3))
    def add(self, data: st.DataObject, count: int) -> None:
        for _ in range(count):
            request = data.draw(requests(f"r{len(self.requests)}"))
            self.core.add_request(request)
            self.requests[request.request_id] = request

    @rule(count=st.integers(1, 6))
    def step(self, count: int) -> None:
        for _ in range(count):
            self.take_step()

    def take_step(self) -> None:
        num_steps = self.backend.num_steps
        self.recorder.take(checked_step(self.core))
        if self.backend.num_steps > num_steps:
            self.num_failures_in_a_row = self.num_failures_in_a_row + 1 if self.fails else 0

    @precondition(lambda self: self.num_failures_in_a_row < MAX_CONSECUTIVE_FAILURES - 1)
    @rule()
    def fail_one_step(self) -> None:
        self.fails = self.any_step_failed = True
        self.take_step()
        self.fails = False

    @precondition(lambda self: self.requests)
    @rule(data=st.data(), choice=st.sampled_from([None, 0, 1, 2]), steps=st.integers(0, 1))
    def abort(self, data: st.DataObject, choice: int | None, steps: int) -> None:
        request_id = data.draw(st.sampled_from([*self.requests, "unknown"]))
        self.core.abort(request_id, choice)
        self.core.check_integrity()
        self.core.abort(request_id, choice)
        for _ in range(steps):
            self.take_step()

    def teardown(self) -> None:
        if not hasattr(self, "core"):
            return
        for _ in range(5000):
            if not self.core.has_unfinished_requests:
                break
            self.take_step()
        check_idle(self.core)
        assert not self.core.is_dead
        for request in self.requests.values():
            self.recorder.check(request, poison=self.backend.poison, steps_failed=self.any_step_failed)
        stats = self.core.stats()
        assert sum(stats.num_finished.values()) == len(self.recorder.last)
        assert stats.num_generated_tokens == sum(map(len, self.recorder.token_ids.values()))


TestEngine = EngineMachine.TestCase
TestEngine.settings = settings(
    max_examples=200,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
