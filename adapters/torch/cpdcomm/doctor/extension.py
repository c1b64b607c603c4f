"""The package where its C++ module cannot be loaded."""

from __future__ import annotations

import platform
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import NoReturn


def explain(error: ImportError) -> NoReturn:
    """Ends the import of the package, or, where the doctor is what was asked for, becomes it.

    To run ``python -m cpdcomm.doctor`` Python imports the package first: here is the last place
    where the doctor can still be reached.

    Raises:
        ImportError: in all other programs.
        SystemExit: the doctor has said what there is to say.
    """
    if _doctor_is_asked():
        from .command_line import main

        sys.exit(main(sys.argv[1:], _reason(error)))
    raise ImportError(
        f"cpdcomm's C++ module cannot be loaded: {_reason(error)}; "
        "`python -m cpdcomm.doctor` says what to do about it"
    ) from error


def _reason(error: ImportError) -> str:
    folder = Path(__file__).parents[1]
    if any((folder / f"_C{suffix}").exists() for suffix in EXTENSION_SUFFIXES):
        return str(error)
    return f"{folder} has none for Python {platform.python_version()}"


def _doctor_is_asked() -> bool:
    """While Python looks for the module of ``-m``, its arguments begin with that."""
    asked = ("cpdcomm.doctor", "-mcpdcomm.doctor")
    return sys.argv[0] == "-m" and any(word in asked for word in sys.orig_argv)
