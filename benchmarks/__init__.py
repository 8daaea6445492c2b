"""How fast the GIC is, as ratios to a floor in C: `python -m benchmarks.ratios`, or `pytest benchmarks`."""
