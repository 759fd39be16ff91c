"""The probe decodes with a real engine; how fast is not this test's business."""

import pytest

from gradus.bench import probe as probe_module
from gradus.bench.estimate import model_bytes
from gradus.bench.probe import DecodeProbe, chosen_variant, kernel_variants, memory_bandwidth
from gradus.config import EngineConfig
from gradus.errors import ConfigError
from gradus.models.outline import outline_model
from tests.tiny_models import tiny_config, write_wide_model


def test_memory_is_read_in_several_passes_and_no_more_of_it_than_a_quarter(monkeypatch):
    asked = []

    def reads(num_threads, num_bytes, num_passes):
        asked.append((num_threads, num_bytes))
        return [0.5] * num_passes

    monkeypatch.setattr(probe_module._native, "time_memory_reads", reads)
    assert memory_bandwidth(3, 400 << 20) == [2 * (100 << 20)] * probe_module.READ_PASSES
    assert memory_bandwidth(1, 1 << 40) == [2.0 * probe_module.READ_BYTES] * probe_module.READ_PASSES
    assert asked == [(3, 100 << 20), (1, probe_module.READ_BYTES)]


def test_a_real_read_takes_some_time_in_every_pass():
    rates = memory_bandwidth(2, 64 << 20)
    assert len(rates) == probe_module.READ_PASSES
    assert all(rate > 0 for rate in rates)


def test_the_variant_is_the_best_or_the_environments(monkeypatch):
    monkeypatch.delenv("GRADUS_CPU", raising=False)
    assert chosen_variant() == kernel_variants()[0]
    monkeypatch.setenv("GRADUS_CPU", "portable")
    assert chosen_variant() == "portable"
    monkeypatch.setenv("GRADUS_CPU", "z80")
    with pytest.raises(ConfigError, match="this CPU can run"):
        chosen_variant()


def test_a_probe_of_stored_widths_packs_and_decodes_them(tmp_path):
    """Nothing is cut from a model this small, so the probe holds what the model takes."""
    outline = outline_model(str(write_wide_model(tmp_path, "q4_k_m")))
    sizes = model_bytes(outline.config, "f16", "f16", "none", outline.stored_width)
    probe = DecodeProbe(EngineConfig(), outline.config, sizes, 1, 40)
    try:
        assert probe._backend.weight_bytes == sizes.weights
        prediction = probe.measure(8)
    finally:
        probe.close()
    assert prediction.cut.weights == sizes.weights
    assert prediction.bytes_per_token == sizes.read_at(40)


@pytest.mark.parametrize("quantization", ["none", "int8"])
def test_a_prediction_scales_the_cuts_rate_to_the_models_bytes(monkeypatch, quantization):
    monkeypatch.setattr(probe_module, "CUT_BYTES", 40_000)
    monkeypatch.setattr(probe_module, "CUT_VOCAB", 64)
    monkeypatch.setattr(probe_module.cut_model, "__defaults__", (40_000,))
    model = tiny_config(num_layers=6)
    sizes = model_bytes(model, "f32", "f16", quantization)
    probe = DecodeProbe(EngineConfig(quantization=quantization), model, sizes, 2, 40)
    try:
        found = [probe.measure(8), probe.measure(8)]
    finally:
        probe.close()
    for prediction in found:
        assert 1 <= prediction.cut_layers < 6
        assert prediction.cut.weights < sizes.weights
        assert prediction.cut.quantization == quantization
        assert prediction.bytes_per_token == sizes.read_at(40)
        assert prediction.tokens_per_second == prediction.rate / sizes.read_at(40)
