"""Experts, windows and caps keep the promise of `tests.test_batch_invariance`: the engine's, bit for bit."""

import pytest

from gradus.config import SchedulerConfig
from gradus.engine.core import EngineCore
from tests.test_batch_invariance import MAX_MODEL_LEN, SYSTEM_PROMPT, FewBlocks, a_request, run
from tests.tiny_models import (
    tiny_backend,
    tiny_gemma2_config,
    tiny_gemma3_config,
    tiny_moe_config,
    tiny_phi3_config,
)

CONFIGS = [tiny_moe_config(), tiny_gemma2_config(), tiny_gemma3_config(), tiny_phi3_config()]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.architecture)
def test_company_chunks_preemption_and_threads_change_nothing(config):
    """The last prompt is longer than a partition of the context; all share a prefix."""
    prompts = [SYSTEM_PROMPT[i:] for i in range(4)] + [SYSTEM_PROMPT, SYSTEM_PROMPT + [5] * 220]
    requests = [a_request(str(i), prompt) for i, prompt in enumerate(prompts)]
    scheduler = SchedulerConfig(max_model_len=MAX_MODEL_LEN, max_num_batched_tokens=48)
    together, alone = (tiny_backend(config=config, num_threads=threads) for threads in (2, 1))
    core = EngineCore(FewBlocks(together, 24), scheduler)
    results = run(core, requests)
    assert core.stats().num_preemptions > 0
    idle = SchedulerConfig(
        max_model_len=MAX_MODEL_LEN, enable_prefix_caching=False, max_num_batched_tokens=256
    )
    for request, result in zip(requests, results, strict=True):
        assert run(EngineCore(alone, idle), [request]) == [result]
