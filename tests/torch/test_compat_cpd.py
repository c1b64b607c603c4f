"""CPD's names: arguments, casts and dist_init here; sums and whole programs on several ranks."""

import importlib
import inspect
import itertools
import json
import pickle
import shlex
import socket
import subprocess
import sys
from types import SimpleNamespace

import compat_cpd
import harness
import mpirun
import numpy as np
import pytest
import reference as ref
import torch
import torch.distributed as dist
import warm
from patterns import probe, same_bits

from cpdcomm import UnsupportedError
from cpdcomm.compat.cpd import quant
from cpdcomm.compat.cpd.quant import Quantizer, float_quantize, quantizer
from cpdcomm.compat.cpd.utils import _dist_init, dist_util
from cpdcomm.compat.cpd.utils._dist_init import rendezvous
from cpdcomm.compat.cpd.utils._nodelist import expand

RANKS = [2, 3, 4]

# --- on several ranks -----------------------------------------------------------------------------


@pytest.mark.on_ranks
@pytest.mark.parametrize("check", harness.checks_of(compat_cpd))
@pytest.mark.parametrize("ranks", RANKS)
def test_on_ranks(check, ranks):
    mpirun.passes("compat_cpd", check, ranks)


@pytest.mark.on_ranks
@pytest.mark.parametrize("ranks", RANKS)
def test_the_launch_ends_well(ranks):
    mpirun.ends("compat_cpd", ranks)


PROGRAM = mpirun.CHECKS / "cpd_program.py"
FLAGS = [[], ["--use_APS"], ["--use_APS", "--use_kahan"]]


def trained(end, ranks):
    """What the ranks of the program found; they learned, and have the same parameters."""
    assert end.code == 0, end.output
    lines = [line.partition("FOUND ")[2] for line in end.output.splitlines() if "FOUND " in line]
    found = [json.loads(line) for line in lines]
    assert sorted(words["rank"] for words in found) == list(range(ranks)), end.output
    assert {words["size"] for words in found} == {ranks}
    assert len({words["digest"] for words in found}) == 1, end.output
    assert len({words["last"] for words in found}) == 1, end.output
    assert found[0]["last"] < 0.6 * found[0]["first"], end.output
    return found


@pytest.mark.parametrize("flags", FLAGS, ids=lambda flags: "".join(flags) or "plain")
def test_a_program_under_mpirun(flags):
    trained(mpirun.launch(PROGRAM.name, 3, *flags), 3)


def as_processes(program, environments):
    """Starts ranks without any launcher, each with variables of its own."""
    ranks = []
    for environ in environments:
        words = [f"{name}={value}" for name, value in environ.items()]
        ranks.append(shlex.join(["env", *words, warm.python(), str(program), "--use_APS"]))
    orphans = "trap 'kill $(jobs -p) 2>/dev/null' EXIT"  # of a rank that failed
    script = f"{orphans}; {' & '.join(ranks)} & {'wait -n && ' * len(ranks)} true"
    return mpirun.run(["bash", "-c", script], 300.0)


def free_port():
    with socket.socket() as probe_socket:
        probe_socket.bind(("127.0.0.1", 0))
        return probe_socket.getsockname()[1]


def test_a_program_under_torchrun():
    words = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", free_port()]
    end = mpirun.run([warm.python(), *words, PROGRAM, "--use_APS"], 300.0)
    trained(end, 2)


def test_a_program_under_srun_without_mpi():
    """The variables that srun sets for the tasks of a step on this host."""
    port = free_port()
    host = socket.gethostname()

    step = {"SLURM_STEP_NUM_TASKS": 2, "SLURM_STEP_NODELIST": host, "MASTER_PORT": port}
    tasks = [step | {"SLURM_PROCID": rank, "SLURM_LOCALID": rank} for rank in range(2)]
    found = trained(as_processes(PROGRAM, tasks), 2)
    assert {words["address"] for words in found} == {host}


# --- names and casts ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "want"),
    [
        (dist_util.sum_gradients, "model use_APS=False grad_exp=5 grad_man=2 use_kahan=False"),
        (dist_util.normal_sum_gradients, "model grad_exp=8 grad_man=23"),
        (dist_util.kahan_sum_gradients, "model grad_exp=8 grad_man=23"),
        (dist_util.broadcast_params, "model"),
        (dist_util.dist_init, ""),
        (dist_util.DistModule, "module"),
        (quantizer, "forward_exp=8 forward_man=23 backward_exp=8 backward_man=23"),
        (Quantizer, "forward_exp=8 forward_man=23 backward_exp=8 backward_man=23"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_arguments_are_those_of_cpd(function, want):
    found = []
    for parameter in inspect.signature(function).parameters.values():
        default = "" if parameter.default is parameter.empty else f"={parameter.default}"
        found.append(parameter.name + default)
    assert " ".join(found) == want


def test_float_quantize_takes_cpds_arguments():
    x = torch.from_numpy(probe(4, 3))
    before = x.clone()
    want = ref.cast(x.numpy(), 4, 3)
    same_bits(float_quantize(x, 4, 3).numpy(), want)
    same_bits(float_quantize(x=x, exp=4, man=3).numpy(), want)
    same_bits(x.numpy(), before.numpy(), "the input, which CPD overwrites")


def test_quantizer_casts_both_ways():
    values = np.random.default_rng(0).standard_normal(200).astype(np.float32)
    for make in (quantizer, Quantizer):
        x = torch.from_numpy(values).requires_grad_()
        y = make(4, 3, 5, 2)(x)
        same_bits(y.detach().numpy(), ref.cast(values, 4, 3))
        y.backward(torch.from_numpy(values))
        same_bits(x.grad.numpy(), ref.cast(values, 5, 2))


def test_quantizer_leaves_fp32_alone():
    values = probe(8, 23)
    x = torch.from_numpy(values).requires_grad_()
    y = quantizer()(x)
    assert y.data_ptr() == x.data_ptr(), "copied"
    same_bits(y.detach().numpy(), values)
    y.backward(torch.from_numpy(values))
    same_bits(x.grad.numpy(), values)
    y = quantizer(forward_exp=4, forward_man=3)(x.detach())
    same_bits(y.numpy(), ref.cast(values, 4, 3))


def test_a_quantizer_can_be_saved():
    layer = pickle.loads(pickle.dumps(Quantizer(4, 3, 5, 2)))
    x = torch.tensor([0.3])
    assert layer(x).item() == float_quantize(x, 4, 3).item()


@pytest.mark.parametrize("widths", [(0, 3), (9, 3), (4, -1), (4, 24)])
def test_widths_out_of_range(widths):
    allowed = "1 to 8" if widths[1] == 3 else "0 to 23"
    with pytest.raises(ValueError, match=allowed):
        quantizer(*widths)
    with pytest.raises(ValueError):
        Quantizer(5, 2, *widths)


@pytest.mark.parametrize("width", [None, 4.0, "4", True])
def test_widths_of_other_types(width):
    with pytest.raises(TypeError, match="exp is"):
        quantizer(width, 3)


@pytest.mark.parametrize("name", ["quant_gemm", "Quant_Linear", "Quant_Conv"])
def test_names_that_are_not_here_yet(name):
    program = f"from cpdcomm.compat.cpd.quant import {name}"
    end = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert end.returncode == 1
    assert f"ImportError: {name} needs a GEMM" in end.stderr
    with pytest.raises(ImportError, match="Quantizer"):
        getattr(quant, name)


def test_names_that_never_were():
    assert not hasattr(quant, "nonsense")
    with pytest.raises(ImportError, match="nonsense"):
        importlib.import_module("cpdcomm.compat.cpd.quant.nonsense")


def test_a_group_is_needed():
    model = torch.nn.Linear(2, 2)
    for aps in (False, True):
        with pytest.raises(ValueError, match="init_process_group"):
            dist_util.sum_gradients(model, use_APS=aps)


# --- Slurm's node lists ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("node7", "node7"),
        ("a,b-1,c.example.org", "a b-1 c.example.org"),
        ("node[001-004,7]", "node001 node002 node003 node004 node7"),
        ("node[001-004,7],gpu-a[1-2]b", "node001 node002 node003 node004 node7 gpu-a1b gpu-a2b"),
        ("n[8-11]", "n8 n9 n10 n11"),
        ("n[08-11]", "n08 n09 n10 n11"),
        ("n[098-101]", "n098 n099 n100 n101"),
        ("n[5]", "n5"),
        ("n[3,1,3]", "n3 n1 n3"),
        ("login,n[1-2]-ib,x", "login n1-ib n2-ib x"),
        ("rack[1-2]node[03-04]", "rack1node03 rack1node04 rack2node03 rack2node04"),
        ("r[1,3]n[1-2]u[0]", "r1n1u0 r1n2u0 r3n1u0 r3n2u0"),
        ("SH-IDC1-10-5-30-[21-22,40]", "SH-IDC1-10-5-30-21 SH-IDC1-10-5-30-22 SH-IDC1-10-5-30-40"),
        ("10-5-[30-31]-7", "10-5-30-7 10-5-31-7"),
        ("[1-2]x", "1x 2x"),
        (" n1\n", "n1"),
        ("n[0000000001]", "n0000000001"),
    ],
)
def test_node_lists(text, want):
    assert expand(text) == want.split()


@pytest.mark.parametrize(
    "text",
    [
        "", ",", "a,", ",a", "a,,b", "n[", "n]", "n[1", "n1]", "n[]", "n[1-]", "n[-1]", "n[1,]",
        "n[a-b]", "n[2-1]", "n[[1]]", "n[1-2-3]", "a b", "n[1, 2]", "n[1x2]",
    ],
)  # fmt: skip
def test_what_is_no_node_list(text):
    with pytest.raises(ValueError) as caught:
        expand(text)
    assert "such as" in str(caught.value)


# --- dist_init ------------------------------------------------------------------------------------

STEP = {
    "SLURM_JOB_ID": "400",
    "SLURM_STEP_ID": "2",
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_NTASKS": "16",
    "SLURM_STEP_NODELIST": "node[003-004]",
    "SLURM_JOB_NODELIST": "node[001-004]",
    "SLURM_NODELIST": "node[001-004]",
}
OPEN_MPI = {
    "OMPI_COMM_WORLD_RANK": "2",
    "OMPI_COMM_WORLD_SIZE": "4",
    "OMPI_COMM_WORLD_LOCAL_RANK": "2",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "4",
}
HERE = "127.0.0.1"
TORCHRUN = {
    "RANK": "3",
    "LOCAL_RANK": "1",
    "WORLD_SIZE": "6",
    "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "head",
    "MASTER_PORT": "29500",
}
STEP_PORT = str(12345 + (64 * 400 + 2) % 20000)


def without(environ, *names):
    return {name: value for name, value in environ.items() if name not in names}


OLD_STEP = without(STEP, "SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST")
# Around an mpirun on two nodes; the script's own task is number 0.
BATCH = {
    "SLURM_JOB_ID": "1",
    "SLURM_PROCID": "0",
    "SLURM_NTASKS": "4",
    "SLURM_JOB_NODELIST": "a[7-8]",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
}


@pytest.fixture
def names_resolve(monkeypatch):
    """Every host has a name service that knows it."""
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: ["known"])


@pytest.mark.parametrize(
    ("environ", "want"),
    [
        (TORCHRUN, ("3", "6", "head", "29500")),
        (TORCHRUN | STEP, ("3", "6", "head", "29500")),  # torchrun started by srun
        (TORCHRUN | OPEN_MPI, ("3", "6", "head", "29500")),
        (STEP, ("5", "8", "node003", STEP_PORT)),
        (STEP | {"MASTER_ADDR": "io1"}, ("5", "8", "io1", STEP_PORT)),
        (STEP | {"MASTER_PORT": "700"}, ("5", "8", "node003", "700")),
        (STEP | {"MASTER_ADDR": "", "MASTER_PORT": ""}, ("5", "8", "node003", STEP_PORT)),
        (without(STEP, "SLURM_STEP_NODELIST"), ("5", "8", "node001", STEP_PORT)),
        (OLD_STEP, ("5", "8", "node001", STEP_PORT)),
        (STEP | {"PMIX_RANK": "6"}, ("6", "8", "node003", STEP_PORT)),
        (STEP | {"PMI_RANK": "4", "PMI_SIZE": "7"}, ("4", "7", "node003", STEP_PORT)),
        (STEP | {"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"}, ("0", "1", HERE, STEP_PORT)),
        (OPEN_MPI, ("2", "4", HERE, "12345")),
        (OPEN_MPI | {"MASTER_PORT": "5"}, ("2", "4", HERE, "5")),
        (OPEN_MPI | BATCH, ("2", "4", "a7", "12409")),
        ({"PMI_RANK": "1", "PMI_SIZE": "2", "MPI_LOCALNRANKS": "2"}, ("1", "2", HERE, "12345")),
        ({"PMI_RANK": "0", "PMI_SIZE": "1"}, ("0", "1", HERE, "12345")),
    ],
)
def test_rendezvous(environ, want, names_resolve):
    found = rendezvous(environ)
    assert tuple(found) == ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    assert tuple(found.values()) == want


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({}, "torchrun, mpirun or srun"),
        ({"RANK": "1"}, "WORLD_SIZE"),
        (without(STEP, "SLURM_STEP_NUM_TASKS"), "batch script"),  # where one process runs
        (OPEN_MPI | {"OMPI_COMM_WORLD_LOCAL_SIZE": "2"}, "MASTER_ADDR"),
        ({"PMI_RANK": "1", "PMI_SIZE": "2"}, "rank 0 of 2"),
    ],
)
def test_no_rendezvous(environ, says):
    with pytest.raises(UnsupportedError, match=says) as caught:
        rendezvous(environ)
    assert isinstance(caught.value, NotImplementedError), "what CPD raises"


def test_a_node_list_that_cannot_be_read():
    with pytest.raises(ValueError, match="no ascending range"):
        rendezvous(STEP | {"SLURM_STEP_NODELIST": "n[2-1]"})


@pytest.mark.parametrize(
    ("node", "want"),
    [
        ("SH-IDC1-10-5-30-[7-8]", "10.5.30.7"),
        ("site-10-5-30-7", "10.5.30.7"),
        ("10-5-30-7", "10.5.30.7"),
        ("node-300-5-30-7", "node-300-5-30-7"),
        ("rack1-2-3", "rack1-2-3"),
        ("node003", "node003"),
    ],
)
def test_nodes_without_a_name_service(node, want, monkeypatch):
    def unknown(*_):
        raise socket.gaierror("unknown")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert rendezvous(STEP | {"SLURM_STEP_NODELIST": node})["MASTER_ADDR"] == want


def test_steps_of_a_job_have_ports_of_their_own():
    ports = []
    for job, step in itertools.product(range(100_000, 100_020), range(4)):
        ids = {"SLURM_JOB_ID": str(job), "SLURM_STEP_ID": str(step), "MASTER_ADDR": "head"}
        ports.append(int(rendezvous(STEP | ids)["MASTER_PORT"]))
    assert len(set(ports)) == len(ports)
    assert all(12345 <= port < 32768 for port in ports)


class Started:
    """Stands for torch and the environment: what dist_init asks of them."""

    def __init__(self, monkeypatch, environ, devices=0):
        self.environ = dict(environ)
        self.backend = self.device = None
        monkeypatch.setattr(_dist_init, "os", SimpleNamespace(environ=self.environ))
        monkeypatch.setattr(torch.cuda, "is_available", lambda: devices > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: devices)
        monkeypatch.setattr(torch.cuda, "set_device", self._set_device)
        monkeypatch.setattr(dist, "init_process_group", self._init)
        monkeypatch.setattr(dist, "get_rank", lambda: int(self.environ["RANK"]))
        monkeypatch.setattr(dist, "get_world_size", lambda: int(self.environ["WORLD_SIZE"]))

    def _set_device(self, device):
        self.device = device

    def _init(self, backend):
        self.backend = backend
        assert {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= self.environ.keys()


def test_dist_init_without_cuda(monkeypatch, names_resolve):
    started = Started(monkeypatch, STEP)
    assert dist_util.dist_init() == (5, 8)
    assert started.backend == "cpd" and started.device is None
    assert started.environ["MASTER_ADDR"] == "node003"
    assert started.environ["MASTER_PORT"] == STEP_PORT


@pytest.mark.parametrize(
    ("environ", "device"),
    [
        (TORCHRUN, 1),
        (TORCHRUN | STEP | {"SLURM_LOCALID": "0"}, 1),
        (OPEN_MPI | {"SLURM_LOCALID": "0"}, 2),
        (STEP, 1),
        (STEP | {"SLURM_LOCALID": "6"}, 2),  # more ranks than devices
        (without(TORCHRUN, "LOCAL_RANK"), 3),
    ],
)
def test_dist_init_with_cuda(monkeypatch, names_resolve, environ, device):
    started = Started(monkeypatch, environ, devices=4)
    dist_util.dist_init()
    assert started.backend == "cpu:cpd,cuda:nccl" and started.device == device


def test_dist_init_changes_nothing_that_it_cannot_use(monkeypatch):
    started = Started(monkeypatch, {})
    with pytest.raises(UnsupportedError):
        dist_util.dist_init()
    assert started.backend is None and started.environ == {}
