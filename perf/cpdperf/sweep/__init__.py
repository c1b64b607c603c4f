"""Runs the benchmarks over many networks, ranks, sizes and formats."""
