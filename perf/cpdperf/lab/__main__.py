"""`python -m cpdperf.lab`."""

import sys

from cpdperf.lab.command_line import main

sys.exit(main(sys.argv[1:]))
