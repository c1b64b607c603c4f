"""torch's own distributed test suite, as it is installed, with a backend put in gloo's place."""

from __future__ import annotations

import importlib.util
import os
import sys
import types

SUITE = "torch.testing._internal.distributed.distributed_test"


class InPlaceOfGloo(str):
    """A backend's name that passes for "gloo" where the suite asks what a backend can do."""

    def __eq__(self, other: object) -> bool:
        return str.__eq__(self, other) or other == "gloo"

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = str.__hash__


def load(backend: str) -> types.ModuleType:
    """The suite's module for one backend.

    The suite decides on import which tests a backend is for, by lists of names. Those that have
    gloo get the backend as well, so that it meets every test that gloo meets.
    """
    os.environ["BACKEND"] = backend
    spec = importlib.util.find_spec(SUITE)
    suite = importlib.util.module_from_spec(spec)
    sys.modules[SUITE] = suite
    with open(spec.origin) as file:
        source = file.read()
    for old, new in _changes(backend):
        if old not in source:
            raise RuntimeError(f"this torch's {SUITE} has no {old!r}: look at tests/torch/suite")
        source = source.replace(old, new)
    exec(compile(source, spec.origin, "exec", dont_inherit=True), suite.__dict__)
    return suite


def _changes(backend: str) -> list[tuple[str, str]]:
    if backend == "gloo":
        return []
    return [
        (
            'BACKEND = os.environ["BACKEND"]',
            "from suite.load import InPlaceOfGloo\n"
            'BACKEND = InPlaceOfGloo(os.environ["BACKEND"])\n'
            "for _list in (PROFILING_SUPPORTED_BACKENDS, CUDA_PROFILING_SUPPORTED_BACKENDS,\n"
            "              SEND_RECV_PROFILING_SUPPORTED_BACKENDS):\n"
            "    _list.append(str(BACKEND))\n"
            "for _names in DistTestCases.backend_feature.values():\n"
            '    _names.update({str(BACKEND)} if "gloo" in _names else set())\n'
            'DistTestCases.backend_feature["plugin"].add(str(BACKEND))',
        ),
        (
            "    if BACKEND not in backends:\n",
            '    backends = set(backends) | ({str(BACKEND)} if "gloo" in backends else set())\n'
            "    if str(BACKEND) not in backends:\n",
        ),
        # A plain name, where it is one.
        ("backend=BACKEND,", "backend=str(BACKEND),"),
    ]
