"""The network lab: rates, bytes, ranks and exit codes are as promised, and nothing stays."""

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lab_command import count_sleeping, lab, namespaces, start, state_of, succeed
from needs import needs_namespaces

from cpdperf.lab import Counters, Interrupted, Lab, LabError, interruptible
from cpdperf.lab.command_line import main
from cpdperf.lab.rates import format_rate, parse_rate
from cpdperf.lab.tools import find

HERE = Path(__file__).parent
MBIT = 100
TRIES = 10
SOON = 120  # seconds, on a busy machine
needs_openmpi = pytest.mark.skipif(
    shutil.which("mpirun.openmpi") is None, reason="Open MPI is not installed (openmpi-bin)"
)
needs_mpich = pytest.mark.skipif(
    shutil.which("mpiexec.hydra") is None or shutil.which("mpicc.mpich") is None,
    reason="MPICH is not installed (mpich)",
)
numbers = itertools.count()


@pytest.fixture
def name() -> Iterator[str]:
    """The name of a lab that no one else has; the test must leave nothing of it."""
    name = f"t{os.getpid()}-{next(numbers)}"
    yield name
    left = namespaces(name), state_of(name).exists()
    succeed("down", "--name", name)
    assert left == ([], False)


def wait_until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen"
        time.sleep(0.01)


def full_stream(
    network: Lab, output: Path, seconds: float, mbit: int
) -> tuple[int, float, list[Counters]]:
    """A stream that fills the link, and what each host counted of it."""
    for _ in range(TRIES):  # on a busy machine a sender may fall behind
        with network.counting() as counted:
            received, found = stream(network, output, seconds)
        assert found <= mbit
        if found >= 0.8 * mbit:
            break
    return received, found, counted


def stream(network: Lab, output: Path, seconds: float) -> tuple[int, float]:
    """A TCP stream from host 0 to host 1: bytes and Mbit/s that host 1 received."""
    command = [sys.executable, str(HERE / "lab_stream.py"), str(seconds)]
    with output.open("w") as file:
        assert network.run(command, launcher="each", limit=SOON, output=file) == 0
    received, mbit = output.read_text().split()
    return int(received), float(mbit)


@pytest.mark.parametrize(
    ("text", "mbit"), [("100mbit", 100), ("2.5gbit", 2500), ("10gbit", 10_000), ("none", None)]
)
def test_rates_are_read_and_written(text: str, mbit: int | None) -> None:
    assert parse_rate(text) == mbit
    assert format_rate(mbit) == text


@pytest.mark.parametrize("text", ["", "fast", "1", "1g", "-1gbit", "0mbit", "200gbit", "1.5mbit"])
def test_other_rates_are_refused_by_value(text: str) -> None:
    with pytest.raises(LabError, match=f"rate '{text}': allowed are 1mbit"):
        parse_rate(text)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hosts": 0}, "0 hosts: allowed are 1 to 250"),
        ({"hosts": 251}, "251 hosts"),
        ({"rate_mbit": 0}, "rate 0 Mbit/s: allowed are 1mbit to 100gbit"),
        ({"mtu": 9001}, "mtu 9001: allowed are 576 to 9000"),
        ({"name": "../etc"}, "name '../etc': allowed"),
    ],
)
def test_impossible_labs_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(LabError, match=message):
        Lab(**settings)


def test_only_root_can_make_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert main(["up", "2", "--name", "t-never"]) == 2
    assert "network namespaces need root" in capsys.readouterr().err


def test_what_is_not_installed_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda program, path: None)
    with pytest.raises(LabError, match="tc is not installed: apt-get install iproute2"):
        find("tc")


def test_a_signal_interrupts_once() -> None:
    with pytest.raises(Interrupted, match="SIGTERM") as caught, interruptible():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            os.kill(os.getpid(), signal.SIGINT)  # cleaning up goes on
    assert caught.value.exit_code == 128 + signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@needs_namespaces
def test_up_and_down_leave_nothing(name: str) -> None:
    succeed("up", "3", "--rate", "2.5gbit", "--name", name)
    assert sorted(namespaces(name)) == [f"{name}-0", f"{name}-1", f"{name}-2", f"{name}-switch"]
    assert f"{name}: 3 hosts, rate 2.5gbit" in succeed("status", "--name", name)
    names = succeed("exec", "0", "--name", name, "--", "cat", "/etc/hosts")
    assert f"10.77.0.3 {name}-2\n" in names
    succeed("down", "--name", name)
    assert namespaces(name) == []


@needs_namespaces
def test_down_ends_what_runs_in_the_lab(name: str) -> None:
    succeed("up", "1", "--name", name)
    sleeping = f"{os.getpid()}.25"
    running = start("exec", "0", "--name", name, "--", "sleep", sleeping)
    wait_until(lambda: count_sleeping(sleeping) == 1, "sleep")
    succeed("down", "--name", name)
    assert running.wait(SOON) == 128 + signal.SIGTERM
    assert count_sleeping(sleeping) == 0


@needs_namespaces
def test_a_name_is_taken_once_and_its_lab_survives_the_second_try(name: str) -> None:
    with Lab(hosts=1, name=name):
        second = lab("up", "2", "--name", name)
        assert second.returncode == 2
        assert f"lab '{name}' is up already" in second.stderr
        assert len(namespaces(name)) == 2


@needs_namespaces
def test_streams_keep_to_the_rate_and_counters_see_them(name: str, tmp_path: Path) -> None:
    with Lab(hosts=2, rate_mbit=MBIT, name=name) as network:
        received, mbit, counted = full_stream(network, tmp_path / "out", 1, MBIT)
        assert 0.8 * MBIT <= mbit <= MBIT
        assert received <= counted[0].sent_bytes <= 1.05 * received
        assert received <= counted[1].received_bytes <= 1.05 * received
        assert counted[1].sent_bytes <= 0.05 * received

        network.set_rate(3 * MBIT)
        _, faster, _ = full_stream(network, tmp_path / "out", 0.5, 3 * MBIT)
        assert 0.8 * 3 * MBIT <= faster <= 3 * MBIT


@needs_namespaces
def test_links_are_limited_towards_the_host_too(name: str) -> None:
    with Lab(hosts=2, rate_mbit=MBIT, name=name):
        for namespace, device in ((f"{name}-1", "eth0"), (f"{name}-switch", "port1")):
            command = ["tc", "-n", namespace, "-json", "qdisc", "show", "dev", device]
            shown = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
            assert [discipline["kind"] for discipline in shown] == ["tbf"]
            assert shown[0]["options"]["rate"] == MBIT * 1_000_000 // 8


@needs_namespaces
def test_counters_around_a_command(name: str) -> None:
    script = str(HERE / "lab_stream.py")
    with Lab(hosts=2, rate_mbit=MBIT, name=name):
        inner = [str(HERE.parents[1] / "perf" / "lab"), "run", "--launcher", "each", "--"]
        inner += [sys.executable, script, "0.2"]
        printed = succeed("counters", "--json", "--name", name, "--", *inner)
        streamed, counted = printed.splitlines()
        hosts = json.loads(counted)
        assert [host["host"] for host in hosts] == [f"{name}-0", f"{name}-1"]
        received = int(streamed.split()[0])
        assert received <= hosts[0]["sent_bytes"] <= 1.05 * received
        assert lab("counters", "--name", name, "--", "sh", "-c", "exit 5").returncode == 5


@needs_namespaces
@needs_openmpi
def test_openmpi_puts_one_rank_on_each_host(name: str) -> None:
    script = "echo $OMPI_COMM_WORLD_RANK $(hostname) $(hostname -I) $(nproc) $SECRET"
    printed = succeed(
        *("with", "3", "--name", name, "--", "run", "--", "sh", "-c", script), SECRET="x"
    )
    assert sorted(printed.splitlines()) == [
        f"{rank} {name}-{rank} 10.77.0.{rank + 1} 1 x" for rank in range(3)
    ]


@needs_namespaces
@needs_openmpi
def test_ranks_fill_the_first_hosts_and_share_memory_inside_of_them(name: str) -> None:
    script = (
        "touch /dev/shm/rank$OMPI_COMM_WORLD_RANK; here=$((2 - OMPI_COMM_WORLD_RANK / 2)); "
        "until [ $(ls /dev/shm | grep -c rank) -ge $here ]; do sleep 0.05; done; "
        "sleep 0.5; "  # no one else comes
        "echo $OMPI_COMM_WORLD_RANK $(hostname) $(ls /dev/shm | grep rank | tr '\\n' ' ')"
    )
    command = ["with", "3", "--name", name, "--", "run", "-n", "3", "--per-host", "2", "--"]
    printed = succeed(*command, "sh", "-c", script)
    assert sorted(printed.splitlines()) == [
        f"0 {name}-0 rank0 rank1",
        f"1 {name}-0 rank0 rank1",
        f"2 {name}-1 rank2",
    ]


@needs_namespaces
@pytest.mark.parametrize("launcher", ["each", pytest.param("openmpi", marks=needs_openmpi)])
def test_the_exit_code_is_that_of_the_program_that_failed(name: str, launcher: str) -> None:
    variable = {"each": "RANK", "openmpi": "OMPI_COMM_WORLD_RANK"}[launcher]
    script = f"[ ${variable} = 1 ] && exit 3; exec sleep 1000"
    command = ["with", "2", "--name", name, "--", "run", "--launcher", launcher, "--"]
    begin = time.monotonic()
    assert lab(*command, "sh", "-c", script).returncode == 3
    assert time.monotonic() - begin < SOON  # rank 0 was ended


@needs_namespaces
def test_a_limit_ends_the_run(name: str) -> None:
    with Lab(hosts=1, name=name) as network:
        sleeping = f"{os.getpid()}.5"
        assert network.run(["sleep", sleeping], launcher="each", limit=0.5) == 124
        assert count_sleeping(sleeping) == 0


@needs_namespaces
@pytest.mark.parametrize(("launcher", "per_host"), [("each", 1), ("torchrun", 2)])
def test_gloo_meets_through_the_lab(
    name: str, tmp_path: Path, launcher: str, per_host: int
) -> None:
    with Lab(hosts=2, name=name) as network, (tmp_path / "out").open("w+") as file:
        command = [sys.executable, str(HERE / "lab_gloo.py")]
        code = network.run(command, launcher=launcher, per_host=per_host, limit=SOON, output=file)
        assert code == 0
        file.seek(0)
        ranks = range(2 * per_host)
        assert sorted(file.read().splitlines()) == [
            f"{name}-{rank // per_host} {rank} {rank % per_host} {sum(ranks)}" for rank in ranks
        ]


@needs_namespaces
@needs_mpich
def test_mpich_talks_through_the_links_even_with_several_ranks_a_host(
    name: str, tmp_path: Path
) -> None:
    program = str(tmp_path / "program")
    subprocess.run(["mpicc.mpich", "-o", program, str(HERE / "lab_mpi.c")], check=True)
    with Lab(hosts=2, name=name) as network, (tmp_path / "out").open("w+") as file:
        with network.counting() as counted:
            code = network.run([program], launcher="mpich", per_host=2, limit=SOON, output=file)
        assert code == 0
        file.seek(0)
        assert sorted(file.read().splitlines()) == [
            f"rank {rank} of 4 on {name}-{rank // 2} with 2" for rank in range(4)
        ]
        message = 8 * 100_000  # of lab_mpi.c, from rank 0 to rank 3
        assert message <= counted[0].sent_bytes <= 1.2 * message


@needs_namespaces
@pytest.mark.parametrize(
    ("launcher", "signum"),
    [
        ("each", signal.SIGINT),
        ("each", signal.SIGTERM),
        ("each", signal.SIGHUP),
        pytest.param("openmpi", signal.SIGINT, marks=needs_openmpi),
    ],
)
def test_an_interrupt_leaves_no_process_and_no_lab(
    name: str, launcher: str, signum: signal.Signals
) -> None:
    sleeping = f"{os.getpid()}.75"
    command = ["with", "2", "--name", name, "--", "run", "--launcher", launcher, "--"]
    running = start(*command, "sleep", sleeping)
    wait_until(lambda: count_sleeping(sleeping) == 2, "sleep")
    running.send_signal(signum)
    assert running.wait(SOON) == 128 + signum
    assert count_sleeping(sleeping) == 0
    assert namespaces(name) == []


@needs_namespaces
@pytest.mark.parametrize(("signum", "made"), [(signal.SIGINT, 1), (signal.SIGTERM, 5)])
def test_an_interrupt_of_up_leaves_no_lab(name: str, signum: signal.Signals, made: int) -> None:
    running = start("up", "30", "--rate", "1gbit", "--name", name)
    wait_until(lambda: len(namespaces(name)) >= made, "up")
    running.send_signal(signum)
    running.send_signal(signum)  # an impatient user
    assert running.wait(SOON) == 128 + signum
    assert namespaces(name) == []


@needs_namespaces
def test_a_killed_run_leaves_no_process(name: str) -> None:
    sleeping = f"{os.getpid()}.875"
    running = start("with", "2", "--name", name, "--", "run", "--launcher", "each", "--",
                    "sh", "-c", f"setsid sleep {sleeping} & exec sleep {sleeping}")  # fmt: skip
    wait_until(lambda: count_sleeping(sleeping) == 4, "sleep")
    running.kill()
    running.wait(SOON)
    wait_until(lambda: count_sleeping(sleeping) == 0, "the end of all processes")
    # No one was left to remove the namespaces; down is what does.
    assert len(namespaces(name)) == 3
    succeed("down", "--name", name)


@needs_namespaces
def test_a_killed_up_is_told_from_a_lab_and_removed_by_down(name: str) -> None:
    running = start("up", "30", "--name", name)
    wait_until(lambda: len(namespaces(name)) >= 2, "up")
    running.kill()
    running.wait(SOON)
    assert f"lab '{name}' is not ready" in lab("run", "--name", name, "--", "true").stderr
    succeed("down", "--name", name)
    assert namespaces(name) == []


@needs_namespaces
def test_down_of_what_is_not_up_is_silent(name: str) -> None:
    done = lab("down", "--name", name)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert succeed("status", "--name", name).startswith(f"{name}: down\n")


@needs_namespaces
@pytest.mark.parametrize("command", [["run", "--", "true"], ["rate", "1gbit"], ["counters"]])
def test_what_needs_a_lab_says_how_to_start_it(name: str, command: list[str]) -> None:
    done = lab(command[0], "--name", name, *command[1:])
    assert done.returncode == 2
    assert f"lab '{name}' is not up: perf/lab up 4 --rate 1gbit --name {name}" in done.stderr


@needs_namespaces
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["run", "-n", "3", "--", "true"],
            "3 ranks: lab '{}' has 2 hosts, with 1 on each at most 2",
        ),
        (["run", "-n", "0", "--", "true"], "0 ranks"),
        (["run", "--per-host", "0", "--", "true"], "0 a host"),
        (["run", "true"], "run has no option or argument 'true'; a program stands behind --"),
        (["run"], "no program: perf/lab run [options] -- PROGRAM"),
        (["run", "--limit", "0", "--", "true"], "limit 0: more than 0 seconds"),
        (["run", "--launcher", "each", "-k", "2", "--", "true"], "2 ranks a host: with the"),
        (["run", "--launcher", "torchrun", "-k", "2", "-n", "3", "--", "true"], "equally many"),
        (["exec", "2", "--", "true"], "host 2: lab '{}' has hosts 0 to 1"),
        (["rate", "slow"], "rate 'slow': allowed are 1mbit to 100gbit"),
        (["status", "--", "true"], "status takes no command"),
    ],
)
def test_misuse_is_explained(name: str, arguments: list[str], message: str) -> None:
    done = lab("with", "2", "--name", name, "--", *arguments)
    assert done.returncode == 2
    assert message.format(name) in done.stderr


def test_help_teaches_with_examples() -> None:
    assert "perf/lab with 4 --rate 1gbit -- run --" in succeed("--help")
    assert "perf/lab run -n 6 --per-host 2" in succeed("run", "--help")
