"""The switch, the links to it and their rates.

Every host has one interface, eth0; its other end, portI, hangs on a bridge in the switch's own
namespace. tc's token bucket limits what a host sends at eth0 and what it receives at portI.
"""

from cpdperf.lab.namespaces import create
from cpdperf.lab.state import Settings, address, host_name, switch_name
from cpdperf.lab.tools import call

# The token bucket holds what the link carries in this time: its depth is sent free of any limit.
BUCKET_SECONDS = 100e-6
# The queue before the link holds this time, and at least so many bytes: none is dropped.
QUEUE_SECONDS = 10e-3
QUEUE_BYTES = 8_000_000
# The kernel sends packets larger than the MTU as one (GSO). One that does not fit into the bucket
# is cut in software, which halves the rate: slow links have small ones, so that buckets stay small.
LARGE_GSO = 65_536
SMALL_GSO = 16_384
SMALL_GSO_UP_TO_MBIT = 4000


def create_switch(settings: Settings) -> None:
    switch = switch_name(settings.name)
    create(switch)
    bridge = ("type", "bridge", "stp_state", "0", "mcast_snooping", "0", "forward_delay", "0")
    call("ip", "-n", switch, "link", "add", "br0", "mtu", str(settings.mtu), *bridge)
    call("ip", "-n", switch, "link", "set", "br0", "up")


def create_host(settings: Settings, host: int) -> None:
    """A namespace with eth0, connected to the switch; no limit yet."""
    name, switch = host_name(settings.name, host), switch_name(settings.name)
    create(name)
    # MPI libraries and gloo look for devices by name: eth0 is what they expect.
    mtu = ("mtu", str(settings.mtu))
    peer = ("type", "veth", "peer", "name", "eth0", *mtu, "netns", name)
    call("ip", "-n", switch, "link", "add", _port(host), *mtu, *peer)
    call("ip", "-n", switch, "link", "set", _port(host), "master", "br0", "up")
    call("ip", "-n", name, "address", "add", f"{address(host)}/24", "dev", "eth0")
    call("ip", "-n", name, "link", "set", "eth0", "up")


def limit_links(settings: Settings) -> None:
    """Sets the rate of all links, both ways; may be called again with another."""
    for host in range(settings.hosts):
        _limit(host_name(settings.name, host), "eth0", settings.rate_mbit)
        _limit(switch_name(settings.name), _port(host), settings.rate_mbit)


def _port(host: int) -> str:
    return f"port{host}"


def _limit(namespace: str, device: str, rate_mbit: int | None) -> None:
    slow = rate_mbit is not None and rate_mbit <= SMALL_GSO_UP_TO_MBIT
    gso = SMALL_GSO if slow else LARGE_GSO
    sizes = ("gso_max_size", str(gso), "gso_max_segs", str(gso // 1024))
    call("ip", "-n", namespace, "link", "set", device, *sizes)
    if rate_mbit is None:
        call("tc", "-n", namespace, "qdisc", "replace", "dev", device, "root", "noqueue")
    else:
        bucket = ("tbf", "rate", f"{rate_mbit}mbit", *_bucket(rate_mbit, gso))
        call("tc", "-n", namespace, "qdisc", "replace", "dev", device, "root", *bucket)


def _bucket(rate_mbit: int, gso: int) -> tuple[str, ...]:
    bytes_per_second = rate_mbit * 1_000_000 / 8
    headers = 2048  # of the largest packet
    depth = max(int(bytes_per_second * BUCKET_SECONDS), gso + headers)
    queue = max(int(bytes_per_second * QUEUE_SECONDS), QUEUE_BYTES)
    return ("burst", f"{depth}b", "limit", f"{queue}b")
