"""A real Slurm on the hosts of the network lab (perf/lab): for tests, and to try batch scripts."""
