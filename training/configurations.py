"""What is compared: how the gradients of one training run are summed."""

import re
from dataclasses import dataclass

GRAMMAR = "[ddp- | ranks-]WIRE[-none | -aps | -aps:N][-rounded | -kahan | -majority][-ef]"

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

# Of one to four bits a value; `ranks-` has 4 parts in a sum, where emulated nodes make it 32.
FEW_BITS = {
    "fp32": "the reference",
    "ranks-e3m0-aps": "4 bits, one gradient per rank",
    "ranks-e3m0-aps-ef": "the same with error feedback: what a cast loses joins the next step",
    "ranks-int2": "2 bits: -1, 0 or 1 times the largest magnitude of 512 values",
    "ranks-int2-ef": "the same with error feedback",
    "ranks-sign-majority": "1 bit: signSGD, the update is the sign that most of 4 ranks have",
    "sign-majority": "the same with a vote of 32 emulated nodes",
}

_NAME = re.compile(
    r"(?:(?P<way>ddp|ranks)-)?(?P<wire>[a-z0-9]+)(?:-(?P<scaling>none|aps|aps:\d+))?"
    r"(?:-(?P<accumulate>rounded|kahan|majority))?(?P<ef>-ef)?"
)


@dataclass(frozen=True)
class Configuration:
    """One way to sum gradients; the arguments have cpdcomm's names and meaning."""

    name: str
    wire: str
    scaling: str
    accumulate: str
    way: str  # "emulated": micro-batches stand for nodes; "ranks": a gradient a rank; "ddp"
    error_feedback: bool = False

    @property
    def emulated(self) -> bool:
        """Does each micro-batch stand for a node (NodeEmulator)?"""
        return self.way == "emulated"

    @property
    def votes(self) -> bool:
        """Is the sum a vote, so that the update is a sign (signSGD)?"""
        return self.accumulate == "majority"

    @property
    def uses_aps(self) -> bool:
        """Does a shared exponent scale the gradients before the cast?"""
        return self.wire != "fp32" and self.scaling.startswith("aps")


def parse(name: str) -> Configuration:
    """Reads a name like "e4m3-aps-kahan" or "ddp-fp32"; raises ValueError for others."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise ValueError(f"unknown configuration '{name}': a name is {GRAMMAR}")
    if match["ef"] and match["way"] != "ranks":
        raise ValueError(
            f"error feedback (-ef) is for ranks-, one gradient per rank: ranks-{name}?"
        )
    return Configuration(
        name=name,
        wire=match["wire"],
        scaling=match["scaling"] or _default_scaling(match["wire"]),
        accumulate=match["accumulate"] or "wide",
        way=match["way"] or "emulated",
        error_feedback=match["ef"] is not None,
    )


def _default_scaling(wire: str) -> str:
    """As in cpdcomm: APS for a float format that is narrower than FP32."""
    return "aps" if re.match(r"e\d|bf16|fp16", wire) else "none"


def describe() -> str:
    """The text of `--list`."""
    return "\n".join(
        [
            "Configurations that run by default:",
            *_lines(DEFAULTS),
            "",
            "With --few-bits:",
            *_lines(FEW_BITS),
            "",
            "--configs takes any other name of this form, too, such as e5m2-none or e4m3-aps:1024:",
            f"  {GRAMMAR}",
            "none casts as it is; aps has an exponent for each parameter, aps:N for each N values;",
            "left out it is aps for float formats, as everywhere in cpdcomm.",
            "ranks- sums one gradient per rank, ddp- lets DistributedDataParallel do it; without",
            "either each micro-batch stands for a node. -majority is for sign, -ef for ranks-.",
        ]
    )


def _lines(configurations: dict[str, str]) -> list[str]:
    width = max(len(name) for name in configurations)
    return [f"  {name:<{width}}  {text}" for name, text in configurations.items()]
