"""Loads a transport's module in a process of its own, to which nothing can happen that matters.

``python probe.py mpi|ucx MODULE`` prints one JSON object: the version of the library behind the
module, or the loader's error. A file to run, not to import.
"""

import ctypes
import json
import sys

_LONGEST = 8192  # MPI_MAX_LIBRARY_VERSION_STRING of MPICH; Open MPI's is shorter


def mpi_version(process: ctypes.CDLL) -> str:
    """As MPI says it; that needs no MPI_Init."""
    text = ctypes.create_string_buffer(_LONGEST)
    process.MPI_Get_library_version(text, ctypes.byref(ctypes.c_int()))
    return text.value.decode()


def ucx_version(process: ctypes.CDLL) -> str:
    process.ucp_get_version_string.restype = ctypes.c_char_p
    return f"UCX {process.ucp_get_version_string().decode()}"


def probe(transport: str, module: str) -> dict[str, str]:
    try:
        ctypes.CDLL(module, mode=ctypes.RTLD_GLOBAL)  # as the library loads it
    except OSError as error:
        return {"error": str(error)}
    version = {"mpi": mpi_version, "ucx": ucx_version}[transport](ctypes.CDLL(None))
    first = version.splitlines()[0].split(",")[0]
    return {"library": " ".join(first.split())}


if __name__ == "__main__":
    print(json.dumps(probe(*sys.argv[1:])))
