"""perf/simulate, and python -m cpdperf.simulate."""

import sys

from cpdperf.simulate.command_line import main

sys.exit(main())
