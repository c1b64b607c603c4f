"""A rank that runs checks as it is told to.

serve.py SOCKET GRADIENTS
"""

import sys

import harness

if __name__ == "__main__":
    harness.serve(*sys.argv[1:])
