"""What the interfaces have carried: eth0 of each host, as the host sees it.

They count whole Ethernet frames with their headers, acknowledgements and repeated packets, too. A
large packet that the kernel has not cut yet (GSO, 16 KiB up to 4 Gbit/s) counts one header.
"""

import json
from dataclasses import dataclass

from cpdperf.lab.state import Settings, host_name
from cpdperf.lab.tools import call


@dataclass
class Counters:
    """Of one host."""

    host: str
    sent_bytes: int
    received_bytes: int
    sent_packets: int
    received_packets: int

    def since(self, before: "Counters") -> "Counters":
        return Counters(
            self.host,
            self.sent_bytes - before.sent_bytes,
            self.received_bytes - before.received_bytes,
            self.sent_packets - before.sent_packets,
            self.received_packets - before.received_packets,
        )


def read_counters(lab: Settings) -> list[Counters]:
    return [_read(host_name(lab.name, host)) for host in range(lab.hosts)]


def _read(host: str) -> Counters:
    answer = call("ip", "-n", host, "-json", "-statistics", "link", "show", "dev", "eth0")
    counted = json.loads(answer)[0]["stats64"]
    sent, received = counted["tx"], counted["rx"]
    return Counters(host, sent["bytes"], received["bytes"], sent["packets"], received["packets"])


def as_table(counters: list[Counters]) -> str:
    """Lines of text; a header first."""
    lines = [f"{'host':<16} {'sent':>15} {'received':>15} {'packets':>10} {'packets':>10}"]
    for of_host in counters:
        lines.append(
            f"{of_host.host:<16} {of_host.sent_bytes:>15,} {of_host.received_bytes:>15,} "
            f"{of_host.sent_packets:>10,} {of_host.received_packets:>10,}"
        )
    return "\n".join(lines)
