"""CPD's two numbers as a format."""

from __future__ import annotations

from cpdcomm.errors import InvalidArgumentError

FP32 = (8, 23)


def float_format(exp: int, man: int) -> str:
    """The name of the float with ``exp`` exponent and ``man`` mantissa bits: ``"e5m2"``.

    Raises:
        ValueError: a width is out of range.
        TypeError: a width is no int.
    """
    for name, bits, least, most in (("exp", exp, 1, 8), ("man", man, 0, 23)):
        if isinstance(bits, bool) or not isinstance(bits, int):
            raise TypeError(f"{name} is {bits!r}, a {type(bits).__name__}; an int is taken")
        if not least <= bits <= most:
            raise InvalidArgumentError(f"{name} is {bits}; {least} to {most} is allowed")
    return f"e{exp}m{man}"
