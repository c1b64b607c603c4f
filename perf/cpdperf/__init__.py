"""Tools around the benchmarks: a network on one machine, sweeps, pictures, peers."""
