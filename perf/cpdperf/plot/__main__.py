"""perf/plot, and python -m cpdperf.plot."""

import sys

from cpdperf.plot.command_line import main

sys.exit(main())
