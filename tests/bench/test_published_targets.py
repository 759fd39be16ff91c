"""A published target beside a measured gain: met from its lower end on; why not, only where it is not."""

from gradus.bench.published_targets import TARGETS, Target

TARGET = Target(figure="ttft_seconds", least=3.0, most=10.0, differs="because")


def test_a_target_is_met_from_its_lower_end_on():
    assert TARGET.beside(3.0)["is_met"] is True
    assert "differs" not in TARGET.beside(12.0)
    missed = TARGET.beside(2.9)
    assert (missed["is_met"], missed["measured"], missed["differs"]) == (False, 2.9, "because")


def test_targets_are_gains_in_order():
    for targets in TARGETS.values():
        assert all(1 < target.least <= target.most for target in targets)
