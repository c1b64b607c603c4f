"""A machine without MPI, or UCX, or both: the package without the modules that need them."""

import shutil
from pathlib import Path

import mpirun
import pytest
import warm

import cpdcomm

PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
import torch, torch.distributed as dist, cpdcomm
assert cpdcomm.__file__.startswith(sys.argv[1]), cpdcomm.__file__

assert cpdcomm.float_quantize(torch.tensor([1.03]), 4, 3).item() == 1
assert cpdcomm.encode(torch.ones(8), "e2m0").numel() == 3

p = torch.nn.Parameter(torch.zeros(3))
emulator = cpdcomm.NodeEmulator([p], 2, wire="e4m3")
for _ in range(2):
    p.grad = torch.ones(3)
    emulator.add()
emulator.reduce()
assert p.grad.tolist() == [2.0] * 3

dist.init_process_group("cpd", store=dist.HashStore(), rank=0, world_size=1)
x = torch.tensor([1.03])
assert cpdcomm.all_reduce(x, wire="e4m3").wire_bytes == 0 and x.item() == 1
dist.all_reduce(torch.ones(3, dtype=torch.int64))
dist.barrier()
dist.destroy_process_group()

try:
    dist.init_process_group("cpd", init_method="file://" + sys.argv[1] + "/store",
                            rank=int(sys.argv[2]), world_size=2)
except NotImplementedError as error:
    print("told", error)
print("end")
"""


PAIR = """
import sys, torch, torch.distributed as dist, cpdcomm
dist.init_process_group("cpd")
x = torch.full((1000,), 1.03)
report = cpdcomm.all_reduce(x, wire="e4m3")
assert x.eq(2).all() and report.wire_bytes > 0, (x, report)
print("summed")
dist.destroy_process_group()
"""


def copy_without(folder, *transports):
    """The folder of a copy of the package that lacks these modules."""
    copy = shutil.copytree(Path(cpdcomm.__file__).parent, folder / "cpdcomm")
    for transport in transports:
        modules = list(copy.glob(f"libcpdcomm_{transport}*"))
        assert modules, f"the package has no module for {transport} to begin with"
        for module in modules:
            module.unlink()
    return folder


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    return copy_without(tmp_path_factory.mktemp("without_both"), "mpi", "ucx")


def run(package, rank, **environment):
    command = [warm.python(), "-c", PROGRAM, str(package), rank]
    return mpirun.run(command, 300.0, **environment)


def test_all_but_several_ranks(package):
    """Casts, node emulation and a group of one work; a larger group says what is missing."""
    # One process is enough: the first rank that cannot tells the other over the store.
    end = run(package, "0")
    assert end.code == 0 and "end" in end.output, end.output
    assert "told" in end.output and "libcpdcomm_ucx" in end.output, end.output
    assert "arning" not in end.output, end.output


def test_the_one_asked_for_is_missing(package):
    end = run(package, "0", CPDCOMM_TRANSPORT="mpi")
    assert end.code == 0 and "told" in end.output, end.output
    assert "libcpdcomm_mpi" in end.output, end.output


def test_under_a_launcher(package):
    """Started by mpirun all the same: nothing breaks before somebody needs MPI, and then it says
    what is missing."""
    launched = {"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2"}
    end = run(package, "1", **launched)
    assert end.code == 0 and "end" in end.output, end.output
    assert "arning" not in end.output, end.output
    group = "import sys; sys.path.insert(0, sys.argv[1]); import torch.distributed as dist, cpdcomm"
    group += "; dist.init_process_group('cpd')"
    end = mpirun.run([warm.python(), "-c", group, package], 300.0, **launched)
    assert end.code != 0 and "UnsupportedError" in end.output, end.output
    assert "without MPI" in end.output and "MASTER_ADDR" in end.output, end.output


@pytest.mark.parametrize("missing, launcher", [("mpi", "torchrun"), ("ucx", "mpirun")])
def test_one_of_them_is_enough(tmp_path, missing, launcher):
    folder = copy_without(tmp_path, missing)
    script = tmp_path / "pair.py"
    script.write_text(PAIR)
    command = mpirun.launch_command(launcher, 2, script, warm.python())
    end = mpirun.run(command, 300.0, PYTHONPATH=str(folder))
    assert end.code == 0 and end.output.count("summed") == 2, end.output
