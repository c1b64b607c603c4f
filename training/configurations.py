"""What is compared: how the gradients of one training run are summed."""

import re
from dataclasses import dataclass

GRAMMAR = "[ddp-]WIRE[-none | -aps | -aps:N][-rounded | -kahan]"

DEFAULTS = {
    "fp32": "the reference: 8 emulated nodes on each rank, FP32 on the wire",
    "e4m3-none": "8 bits, gradients cast as they are",
    "e4m3-aps": "8 bits, one shared exponent per parameter (APS); sums in FP32",
    "e4m3-aps-rounded": "the same, every partial sum rounded to e4m3",
    "e4m3-aps-kahan": "the same, rounded partial sums with Kahan's compensation",
    "e3m0-none": "4 bits (sign and exponent), gradients cast as they are",
    "e3m0-aps": "4 bits with APS; sums in FP32",
    "e3m0-aps-rounded": "the same, every partial sum rounded to e3m0",
    "e3m0-aps-kahan": "the same, rounded partial sums with Kahan's compensation",
    "ddp-fp32": "plain DistributedDataParallel over cpd, nothing emulated",
    "ddp-e4m3-aps": "plain DistributedDataParallel, e4m3 with APS by the group's options",
}

QUICK = ["fp32", "e4m3-aps"]

_NAME = re.compile(
    r"(?P<ddp>ddp-)?(?P<wire>[a-z0-9]+)(?:-(?P<scaling>none|aps|aps:\d+))?(?:-(?P<accumulate>rounded|kahan))?"
)


@dataclass(frozen=True)
class Configuration:
    """One way to sum gradients; the arguments have cpdcomm's names and meaning."""

    name: str
    wire: str
    scaling: str
    accumulate: str
    emulated: bool  # micro-batches stand for nodes (NodeEmulator); else plain DDP

    @property
    def uses_aps(self) -> bool:
        """Does a shared exponent scale the gradients before the cast?"""
        return self.wire != "fp32" and self.scaling.startswith("aps")


def parse(name: str) -> Configuration:
    """Reads a name like "e4m3-aps-kahan" or "ddp-fp32"; raises ValueError for others."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise ValueError(f"unknown configuration '{name}': a name is {GRAMMAR}")
    return Configuration(
        name=name,
        wire=match["wire"],
        scaling=match["scaling"] or _default_scaling(match["wire"]),
        accumulate=match["accumulate"] or "wide",
        emulated=match["ddp"] is None,
    )


def _default_scaling(wire: str) -> str:
    """As in cpdcomm: APS for a float format that is narrower than FP32."""
    return "aps" if re.match(r"e\d|bf16|fp16", wire) else "none"


def describe() -> str:
    """The text of `--list`."""
    width = max(len(name) for name in DEFAULTS)
    lines = [f"  {name:<{width}}  {text}" for name, text in DEFAULTS.items()]
    return "\n".join(
        [
            "Configurations that run by default:",
            *lines,
            "",
            "--configs takes any other name of this form, too, such as e5m2-none or e4m3-aps:1024:",
            f"  {GRAMMAR}",
            "none casts as it is; aps has an exponent for each parameter, aps:N for each N values;",
            "left out it is aps for float formats, as everywhere in cpdcomm.",
        ]
    )
