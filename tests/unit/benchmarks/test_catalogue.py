"""Every benchmark can be called by name."""

from benchmarks.__main__ import BY_NAME


def test_every_benchmark_can_be_loaded_and_has_a_main():
    assert {"serving", "heads", "peers", "overload", "adaptation", "precision", "gpu"} <= set(BY_NAME)
    assert all(callable(module.main) for module in BY_NAME.values())
