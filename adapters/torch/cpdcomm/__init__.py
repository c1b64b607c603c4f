"""All-reduce of low-precision gradients: few bits on the wire, for real.

Importing the package registers the ``torch.distributed`` backend ``"cpd"`` for CPU tensors and,
under mpirun or srun, fills in RANK and WORLD_SIZE where they are unset. MASTER_ADDR and MASTER_PORT
follow when the first group is made: for that the ranks agree over MPI, which the import alone does
not start::

    import torch
    import torch.distributed as dist
    import cpdcomm

    dist.init_process_group("cpd")
    gradients = [torch.randn(1000), torch.randn(10)]
    report = cpdcomm.all_reduce(gradients, wire="e4m3")
    print(report.wire_bytes, report.logical_bytes)

Defaults lose no precision: compression is asked for, by the call, by the group's ``Options`` or by
``CPDCOMM_*`` variables.
"""

from __future__ import annotations

import torch  # noqa: F401  its libraries must be there before the extension's are

try:
    from . import _C
except ImportError as error:
    from .doctor import extension

    extension.explain(error)
from . import _launch, errors
from ._backend import register as _register
from ._backend import stats
from ._collective import all_reduce, reduce_scatter
from ._delayed_scaling import DelayedScaling
from ._error_feedback import ErrorFeedback
from ._fake_quantize import fake_quantize
from ._finfo import FormatInfo, finfo
from ._geometry import Geometry
from ._options import Options, options
from ._tensor_ops import block_scales, decode, encode, float_quantize, quantize
from .errors import (
    Error,
    InvalidArgumentError,
    MismatchError,
    PeerFailedError,
    TimeoutError,
    UnsupportedError,
)
from .node_emulator import NodeEmulator

__version__ = _C.__version__
Report = _C.Report
Pending = _C.Pending

__all__ = [
    "DelayedScaling",
    "Error",
    "ErrorFeedback",
    "FormatInfo",
    "Geometry",
    "InvalidArgumentError",
    "MismatchError",
    "NodeEmulator",
    "Options",
    "PeerFailedError",
    "Pending",
    "Report",
    "TimeoutError",
    "UnsupportedError",
    "all_reduce",
    "block_scales",
    "decode",
    "encode",
    "errors",
    "fake_quantize",
    "finfo",
    "float_quantize",
    "options",
    "quantize",
    "reduce_scatter",
    "stats",
]

_register()
_launch.register()
