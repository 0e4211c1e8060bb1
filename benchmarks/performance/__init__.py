"""What compressed memory costs and saves: every measure with an aim, as ratios within one run.

Run: python -m benchmarks.performance [--only NAME ...]
"""
