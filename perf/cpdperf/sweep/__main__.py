"""perf/sweep."""

import sys

from cpdperf.sweep.command_line import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
