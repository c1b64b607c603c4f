"""What a run sent: bytes counted where cpdcomm hands them to the transport."""

from typing import Any


class Traffic:
    """Adds up what this rank sent, step by step.

    The FP32 size that it is compared with is 2 (P-1)/P x the gradients' bytes: what any all-reduce
    over P ranks that wastes nothing sends from each rank.
    """

    def __init__(self, already_sent: Any = None) -> None:
        self.steps = 0
        self.wire_bytes = 0
        self.logical_bytes = 0
        self.codec_seconds = 0.0
        self.wait_seconds = 0.0
        self.non_finite_steps = 0
        self._before = already_sent

    def add_report(self, report: Any) -> None:
        """One step, from the report of a call."""
        self.steps += 1
        self.wire_bytes += report.wire_bytes
        self.logical_bytes += report.logical_bytes
        self.codec_seconds += report.codec_seconds
        self.wait_seconds += report.wait_seconds
        self.non_finite_steps += any(report.non_finite)

    def add_totals(self, totals: Any) -> None:
        """One step, from a group's totals since it began."""
        self.steps += 1
        self.wire_bytes += totals.wire_bytes - self._before.wire_bytes
        self.logical_bytes += totals.logical_bytes - self._before.logical_bytes
        self._before = totals

    def summary(self, ranks: int) -> dict[str, Any]:
        """Averages per step, for the log."""
        steps = max(self.steps, 1)
        fp32_bytes = 2 * (ranks - 1) / ranks * self.logical_bytes / steps
        wire_bytes = self.wire_bytes / steps
        return {
            "wire_bytes_per_step": wire_bytes,
            "fp32_bytes_per_step": fp32_bytes,
            "wire_ratio": wire_bytes / fp32_bytes if fp32_bytes else None,
            "codec_seconds": self.codec_seconds,
            "wait_seconds": self.wait_seconds,
            "non_finite_steps": self.non_finite_steps,
        }
