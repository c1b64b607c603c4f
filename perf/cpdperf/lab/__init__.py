"""A network on one machine: hosts behind a switch, with links of a limited rate.

`perf/lab --help` says what it does; programs use `Lab`, and `interruptible` around it.
"""

from cpdperf.lab.counters import Counters
from cpdperf.lab.errors import LabError
from cpdperf.lab.lab import Lab
from cpdperf.lab.signals import Interrupted, interruptible

__all__ = ["Counters", "Interrupted", "Lab", "LabError", "interruptible"]
