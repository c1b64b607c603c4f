"""A program that has MPI for purposes of its own, from before cpdcomm is imported."""

import atexit
import ctypes
import sys
import warnings

library = ctypes.CDLL("libmpi.so.40", ctypes.RTLD_GLOBAL)
SINGLE, MULTIPLE = 0, 3


def begin(level):
    library.MPI_Init_thread(None, None, level, ctypes.byref(ctypes.c_int()))
    atexit.register(library.MPI_Finalize)


def with_threads():
    begin(MULTIPLE)
    import torch
    import torch.distributed as dist

    import cpdcomm

    dist.init_process_group("cpd")
    x = torch.ones(9)
    cpdcomm.all_reduce(x, wire="e4m3")
    assert x.tolist() == [dist.get_world_size()] * 9


def without_threads():
    """No operation could run beside the program's: told at the import and at the group."""
    begin(SINGLE)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        import cpdcomm
    assert any("MPI_Init_thread" in str(w.message) for w in told), [str(w.message) for w in told]
    assert cpdcomm.float_quantize is not None
    import torch.distributed as dist

    try:
        dist.init_process_group("cpd")
    except cpdcomm.UnsupportedError as error:
        assert "MPI_Init_thread" in str(error), error
        return
    raise AssertionError("nothing was raised")


if __name__ == "__main__":
    globals()[sys.argv[1]]()
    print("rank ends")
