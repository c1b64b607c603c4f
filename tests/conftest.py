"""In which order cases run, and which of them share a worker where there are several.

Cases that ask ranks that live on (mark `on_ranks`, tests/torch/served.py) stand together by launch,
and each launch and each other file goes to one worker.
"""

import os

import pytest

WORKERS = 2  # launches wait a lot: two keep even one core busy
# Before torch is there: many processes share few cores here, each with one thread of its own.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_configure(config):
    config.addinivalue_line("markers", "on_ranks(ranks, launcher, ...): asks ranks that live on")
    config.addinivalue_line("markers", "xdist_group(name): one worker for all of this name")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    """What `-n auto` means: workers for the whole suite; a part of it is sooner there without."""
    whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    return WORKERS if whole and not config.option.keyword else 0


def launch_of(item):
    """The arguments of mpirun.ranks_of for a case that asks ranks that live on; else None.

    They are those of the mark `on_ranks`, and the case's parameters of these names.
    """
    mark = item.get_closest_marker("on_ranks")
    if mark is None:
        return None
    parameters = parameters_of(item)
    asked = {name: parameters[name] for name in ("ranks", "launcher") if name in parameters}
    return {"launcher": "mpirun"} | asked | mark.kwargs


def parameters_of(item):
    return item.callspec.params if hasattr(item, "callspec") else {}


def _group(item):
    """What shares a worker."""
    launch = launch_of(item)
    if launch is None:
        return item.path.stem
    return " ".join(f"{name}={value}" for name, value in sorted(launch.items()))


def _order(item):
    """Cases of one launch stand together, first; last among them those that end it."""
    if launch_of(item) is None:
        return (1,)
    return (0, _group(item), "check" not in parameters_of(item))


@pytest.hookimpl(tryfirst=True)  # before xdist looks at the groups
def pytest_collection_modifyitems(items):
    items.sort(key=_order)
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_group(item)))


@pytest.fixture
def launch(request):
    """The arguments of mpirun.ranks_of where the case asks such ranks for a check; else None."""
    asks = "check" in parameters_of(request.node)
    return launch_of(request.node) if asks else None
