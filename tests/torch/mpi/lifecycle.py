"""Programs that begin and end in all the ways that programs do; the arguments say which."""

import builtins
import ctypes
import multiprocessing
import os
import signal
import sys
import time

import torch
import torch.distributed as dist

import cpdcomm

SOON = 60.0  # seconds, on a busy machine, of half an hour that a group waits by default


def say(*words):
    """One line, in one piece among those of other ranks."""
    os.write(1, (" ".join(str(word) for word in words) + "\n").encode())


def summed(group=None, wire=None):
    """Asserts that a group sums."""
    x = torch.full((1000,), dist.get_rank(group) + 1.0)
    cpdcomm.all_reduce(x, wire=wire, group=group)
    size = dist.get_world_size(group)
    assert (x == size * (size + 1) / 2).all(), x[0]


def store():
    """Over which ranks tell each other what they have come to."""
    return dist.distributed_c10d._get_default_store()


def timed(call):
    """(exception, seconds)"""
    start = time.monotonic()
    try:
        call()
    except Exception as error:
        return error, time.monotonic() - start
    raise AssertionError("nothing was raised")


# --- ends -----------------------------------------------------------------------------------------


def without_destroy():
    dist.init_process_group("cpd")
    summed(wire="e4m3")
    summed(dist.new_group())


def without_waiting():
    """What was asked for before the end is done, or at least does not hang it."""
    dist.init_process_group("cpd")
    for _ in range(10):
        dist.all_reduce(torch.ones(100_000), async_op=True)


def without_a_group():
    x = torch.tensor([1.03])
    assert cpdcomm.float_quantize(x, 4, 3).item() == 1.0


def destroyed_and_made_again():
    for wire in ("e4m3", "fp32", "bf16"):
        dist.init_process_group("cpd", pg_options=cpdcomm.Options(wire=wire))
        summed()
        group = dist.new_group()
        summed(group)
        dist.destroy_process_group()
        error, _ = timed(lambda: cpdcomm.all_reduce(torch.ones(3)))
        assert isinstance(error, ValueError) and "init_process_group" in str(error), repr(error)


def a_group_that_was_destroyed():
    dist.init_process_group("cpd")
    group = dist.new_group()
    summed(group)
    dist.destroy_process_group(group)
    error, _ = timed(lambda: cpdcomm.all_reduce(torch.ones(3), group=group))
    assert isinstance(error, (ValueError, RuntimeError)), repr(error)
    summed()
    dist.destroy_process_group()


def uncaught_exception():
    dist.init_process_group("cpd")
    summed()
    if dist.get_rank() == 1:
        raise ArithmeticError("rank 1 has had enough")
    summed()


def early_exit():
    """One rank has done its part; the others wait for it in vain."""
    dist.init_process_group("cpd")
    summed()
    if dist.get_rank() == 1:
        sys.exit(7)
    error, seconds = timed(summed)
    say("told", type(error).__name__, f"{seconds:.1f}")


def late_end():
    """One rank still has a checkpoint to write when the others have ended."""
    dist.init_process_group("cpd")
    summed()
    summed(dist.new_group())
    if dist.get_rank() == 1:
        dist.destroy_process_group()
        time.sleep(3)


def the_next_group():
    """What a call that failed has left on the way must not come in at the next group."""
    dist.init_process_group("cpd")
    for _ in range(3):
        group = dist.new_group()
        try:
            if dist.get_rank() == 0:
                cpdcomm.all_reduce(torch.ones(9), wire="e99m9", group=group)
            else:
                time.sleep(0.2)  # by then rank 0 has destroyed the group
                cpdcomm.all_reduce(torch.full((9,), 100.0), group=group)
            raise AssertionError("nothing was raised")
        except (ValueError, cpdcomm.MismatchError):
            dist.destroy_process_group(group)
        group = dist.new_group()
        x = torch.ones(9)
        cpdcomm.all_reduce(x, group=group)
        assert x.tolist() == [dist.get_world_size()] * 9
        summed(group)
        dist.destroy_process_group(group)
    dist.destroy_process_group()


def the_group_after_a_broadcast():
    """A root does not wait for its peers, nor for their complaints: they come when it has gone."""
    dist.init_process_group("cpd")
    size = dist.get_world_size()
    for _ in range(3):
        group = dist.new_group()
        x = torch.ones(9 if dist.get_rank() == 0 else 10)
        if dist.get_rank() > 0:
            time.sleep(0.2)
            error, _ = timed(lambda: dist.broadcast(x, src=0, group=group))  # noqa: B023
            assert isinstance(error, cpdcomm.MismatchError), repr(error)
        else:
            dist.broadcast(x, src=0, group=group)
        dist.destroy_process_group(group)
        pairs = [dist.new_group([i, (i + 1) % size]) for i in range(0, size, 2)]
        for pair in pairs:
            if pair is not dist.GroupMember.NON_GROUP_MEMBER:
                summed(pair)
        group = dist.new_group()
        summed(group)
        dist.destroy_process_group(group)


def large_sums_that_failed():
    """What was sent in them is taken in: the launch ends as if nothing had happened."""
    dist.init_process_group("cpd")
    group = dist.new_group()
    for i in range(6):
        size = 300_000 + (dist.get_rank() if i % 2 else 1000 * (dist.get_rank() == 0))
        error, _ = timed(lambda: cpdcomm.all_reduce(torch.ones(size), group=group))  # noqa: B023
        assert isinstance(error, cpdcomm.MismatchError), repr(error)
        summed(group)
    dist.destroy_process_group()


def mpi_ended_by_another():
    """mpi4py ends MPI when it was imported last, before the groups have ended."""
    dist.init_process_group("cpd")
    summed()
    ctypes.CDLL(None).MPI_Finalize()
    error, _ = timed(summed)
    assert isinstance(error, cpdcomm.PeerFailedError), repr(error)


# --- time -----------------------------------------------------------------------------------------


def sleeper():
    """The last rank oversleeps the timeout of one group; the other group lives on."""
    dist.init_process_group("cpd")
    group = dist.new_group(pg_options=cpdcomm.Options(timeout=1))
    other = dist.new_group()
    summed(other)
    awake = range(dist.get_world_size() - 1)
    asleep = dist.get_rank() not in awake
    if asleep:
        store().wait([f"told {rank}" for rank in awake])
        error, seconds = timed(lambda: summed(group))
        assert isinstance(error, cpdcomm.PeerFailedError), repr(error)
        assert seconds < 3, seconds
    else:
        error, seconds = timed(lambda: summed(group))
        assert isinstance(error, (cpdcomm.TimeoutError, cpdcomm.PeerFailedError)), repr(error)
        assert seconds < SOON, seconds
        if isinstance(error, cpdcomm.TimeoutError):
            assert isinstance(error, builtins.TimeoutError) and seconds > 0.9, seconds
        say("told", type(error).__name__)
        store().set(f"told {dist.get_rank()}", "")
    for call in (
        lambda: cpdcomm.all_reduce(torch.ones(3), group=group),
        lambda: dist.all_reduce(torch.ones(3), group=group),
        lambda: dist.broadcast(torch.ones(3), src=0, group=group),
        lambda: dist.barrier(group=group),
        lambda: dist.all_reduce(torch.ones(3), group=group, async_op=True).wait(),
    ):
        error, seconds = timed(call)
        assert isinstance(error, cpdcomm.PeerFailedError), repr(error)
        assert isinstance(error, ConnectionError) and seconds < SOON, seconds
    summed(other, wire="e4m3")
    say("rank is done")
    # mpirun ends all ranks when the first leaves without MPI_Finalize: let all of them speak.
    dist.barrier(group=other)


def overslept_by_the_environment():
    """CPDCOMM_TIMEOUT is the group's."""
    dist.init_process_group("cpd")
    if dist.get_rank() == 0:
        store().wait(["told"])
        return
    error, seconds = timed(summed)
    assert isinstance(error, cpdcomm.TimeoutError), repr(error)
    assert 1.9 < seconds < SOON, seconds
    say("rank is done")
    store().set("told", "")


# --- forks ----------------------------------------------------------------------------------------


def in_a_fork(work):
    """Does something in a fork, which then ends as any process does; its exit code."""
    child = os.fork()
    if child == 0:
        work()
        sys.exit(0)
    for _ in range(3000):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    raise AssertionError("the child hangs")


def fail():
    raise ArithmeticError("a child has had enough")


def forks_that_end():
    """In every way: none of their parents' groups notices."""
    dist.init_process_group("cpd")
    group = dist.new_group()
    peer = dist.get_rank() ^ 1
    message = torch.zeros(3)
    under_way = dist.irecv(message, peer)  # on a thread of its own
    summed(wire="e4m3")
    for end, code in (
        (lambda: sys.exit(3), 3),
        (lambda: os._exit(4), 4),
        (fail, 1),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), -signal.SIGKILL),
        (dist.destroy_process_group, 0),
    ):
        assert in_a_fork(end) == code
        summed(wire="e4m3")
        summed(group)
    dist.send(torch.ones(3), peer)
    under_way.wait()
    assert message.tolist() == [1, 1, 1]
    dist.destroy_process_group()


class Squares(torch.utils.data.Dataset):
    def __len__(self):
        return 8

    def __getitem__(self, index):
        return torch.tensor([float(index * index)])


def forks_of_libraries():
    """Workers of multiprocessing and of a DataLoader."""
    dist.init_process_group("cpd")
    summed()
    for code in (0, 5):
        worker = multiprocessing.get_context("fork").Process(target=sys.exit, args=(code,))
        worker.start()
        worker.join(30)
        assert worker.exitcode == code, worker.exitcode
        summed()
    data = torch.utils.data.DataLoader(
        Squares(), batch_size=2, num_workers=2, multiprocessing_context="fork"
    )
    for _ in range(2):
        assert sum(batch.sum().item() for batch in data) == 140
        summed()
    dist.destroy_process_group()


def refused_in_a_fork(inherited):
    """What a child may not do, and what it may."""
    x = torch.ones(3)
    for call in (
        lambda: dist.all_reduce(x),
        lambda: dist.barrier(),
        lambda: dist.send(x, dist.get_rank() ^ 1),
        lambda: cpdcomm.all_reduce(x),
        lambda: cpdcomm.all_reduce(x, wire="e99m9"),
        lambda: cpdcomm.stats(),
        lambda: inherited.wait(),
    ):
        error, seconds = timed(call)
        assert isinstance(error, cpdcomm.UnsupportedError), repr(error)
        assert "is a fork" in str(error) and str(os.getppid()) in str(error), error
        assert seconds < 5, seconds
    assert cpdcomm.float_quantize(torch.tensor([1.03]), 4, 3).item() == 1
    dist.destroy_process_group()


def forks_that_call():
    dist.init_process_group("cpd")
    summed()
    message = torch.zeros(3)
    under_way = dist.irecv(message, dist.get_rank() ^ 1)
    assert in_a_fork(lambda: refused_in_a_fork(under_way)) == 0
    summed()
    dist.send(torch.ones(3), dist.get_rank() ^ 1)
    under_way.wait()
    dist.destroy_process_group()


def children(rank, size):
    """The forks of all ranks have a group of their own."""
    dist.destroy_process_group()
    dist.init_process_group(
        "cpd", init_method=f"file://{os.environ['STORE']}", rank=rank, world_size=size
    )
    summed(wire="e4m3")
    summed(dist.new_group())
    dist.destroy_process_group()


def forks_with_a_group():
    dist.init_process_group("cpd")
    summed()
    rank, size = dist.get_rank(), dist.get_world_size()
    assert in_a_fork(lambda: children(rank, size)) == 0
    summed()
    dist.destroy_process_group()


# --- beginnings -----------------------------------------------------------------------------------


def ranks_in_another_order():
    """torch's ranks are not MPI's: sums are in torch's order, roots are torch's."""
    size = int(os.environ["OMPI_COMM_WORLD_SIZE"])
    rank = size - 1 - int(os.environ["OMPI_COMM_WORLD_RANK"])
    dist.init_process_group(
        "cpd", init_method=f"file://{os.environ['STORE']}", rank=rank, world_size=size
    )
    assert dist.get_rank() == rank
    x = torch.tensor([float(rank)])
    dist.broadcast(x, src=1)
    assert x.item() == 1
    values = [2.0**24, 1.0, 1.0][:size]  # 2^24 + 1 + 1 depends on the order
    y = torch.tensor([values[rank]])
    cpdcomm.all_reduce(y, algorithm="direct")
    assert y.item() == 2.0**24, y.item()
    half = dist.new_group([0, size - 1])
    if rank in (0, size - 1):
        summed(half)
    dist.destroy_process_group()


def beside_another_backend():
    """gloo is the default, cpd a group of its own; or cpd is the CPU's of several."""
    dist.init_process_group("gloo")
    group = dist.new_group(backend="cpd", pg_options=cpdcomm.Options(wire="e4m3"))
    summed(group)
    error, _ = timed(summed)
    assert isinstance(error, ValueError) and "gloo" in str(error), repr(error)
    dist.destroy_process_group()
    dist.init_process_group("cpu:cpd")
    summed(wire="e4m3")
    dist.destroy_process_group()


def one_rank():
    dist.init_process_group("cpd", pg_options=cpdcomm.Options(wire="e4m3"))
    assert dist.get_world_size() == 1
    x = torch.tensor([1.03, 0.5])
    report = cpdcomm.all_reduce(x)
    assert report.wire_bytes == 0 and x.tolist() == [1.0, 0.5]
    y = torch.tensor([3])
    dist.all_reduce(y)
    dist.barrier()
    assert y.item() == 3
    model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(3, 2))
    model(torch.ones(1, 3)).sum().backward()
    dist.destroy_process_group()


if __name__ == "__main__":
    for scenario in sys.argv[1:]:
        globals()[scenario]()
    say("rank ends")
