"""What this machine has for cpdcomm, and whether it works: ``python -m cpdcomm.doctor``.

Its parts import neither the C++ module nor a process group, so that they can tell what keeps these
from being had.
"""
