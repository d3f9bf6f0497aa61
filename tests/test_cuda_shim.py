"""The CUDA kernels compiled for the host, one fiber a thread, against the CPU operators.

It is no GPU. It tests what the kernels compute, their barriers and their addresses; not nvcc, not the device, and
nothing that needs threads to run at the same time. `make shim` builds tests/cuda_shim with AddressSanitizer and
UndefinedBehaviorSanitizer and runs this file.
"""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from kernel_case import BOUND, CASES, assert_equal_the_cpu, calls
from torch import Tensor

from meshconv.ops import LAYER_OPERATORS, is_compiled

LIBRARY = os.environ.get("MESHCONV_SHIM", "")
pytestmark = pytest.mark.skipif(not LIBRARY, reason="the kernels are not compiled for the host; `make shim` does it")

ORDERS = range(4)
"""Of threads and blocks: ascending, descending, two shuffles."""


@pytest.fixture(scope="module")
def shim() -> ctypes.CDLL:
    if not is_compiled(torch.device("cpu")):
        pytest.skip("the compiled extension is absent")
    return ctypes.CDLL(LIBRARY)


def run(name: str, arguments: tuple) -> Tensor:
    return getattr(torch.ops.meshconv_on_fibers, name)(*arguments)


def bits(t: Tensor) -> Tensor:
    return t.contiguous().reshape(-1).view(torch.uint8)


@pytest.mark.parametrize("dtype", BOUND)
@pytest.mark.parametrize("case", CASES)
def test_kernels_equal_the_cpu_in_every_order_of_threads(shim, case, dtype):
    for detail, name, arguments in calls(case, dtype):
        found = []
        for order in ORDERS:
            shim.shim_order(order)
            found.append(run(name, arguments))
        assert all(torch.equal(bits(found[0]), bits(other)) for other in found[1:]), f"{name} {detail}: a race"
        assert_equal_the_cpu(found[0], name, arguments, detail)


def test_every_kernel_has_run(shim):
    """Every instance of every kernel that the library holds, and every operator; the table lies beside the library."""
    shim.shim_order(0)
    names = set()
    for case in CASES:
        for dtype in BOUND:
            for _, name, arguments in calls(case, dtype):
                run(name, arguments)
                names.add(name)
    assert names == set(LAYER_OPERATORS)
    kernels = {}
    for line in subprocess.run(["nm", "-C", LIBRARY], capture_output=True, text=True, check=True).stdout.splitlines():
        address, kind, symbol = f"{line}  ".split(" ", 2)
        plain = re.sub(r"meshconv::|\(anonymous namespace\)::", "", symbol)
        if kind in tuple("tTwW") and re.match(r"void \w+_kernel<", plain):
            kernels[int(address, 16)] = plain.removeprefix("void ").partition("(")[0].replace(" >", ">")
    assert len(set(kernels.values())) == len(kernels) > 60
    numbers = (ctypes.c_int64 * 5)()
    rows = {}
    index = 0
    while shim.shim_launched(ctypes.c_int64(index), numbers):
        if numbers[0] in kernels:
            rows[kernels[numbers[0]]] = list(numbers[1:])
        index += 1
    head = f"{'kernel':46} {'launches':>8} {'blocks <=':>9} {'threads':>8} {'shared bytes <=':>16}"
    table = [f"{name:46} {'{:8} {:9} {:8} {:16}'.format(*row)}" for name, row in sorted(rows.items())]
    Path(LIBRARY).with_name("coverage.txt").write_text("\n".join([head, *table]) + "\n", encoding="utf-8")
    assert set(rows) == set(kernels.values())


def in_all_orders(shim: ctypes.CDLL, fault: str) -> list[Tensor]:
    found = []
    for order in ORDERS:
        shim.shim_order(order)
        found.append(run("fault", (torch.arange(64.0), fault)))
    return found


def test_a_kernel_without_fault_passes(shim):
    assert all(torch.equal(y, torch.arange(64.0).flip(0)) for y in in_all_orders(shim, "no_fault"))


@pytest.mark.parametrize("fault", ["no_barrier", "no_second_barrier", "unwritten", "two_owners"])
def test_races_change_the_bits(shim, fault):
    found = in_all_orders(shim, fault)
    assert any(not torch.equal(bits(found[0]), bits(other)) for other in found[1:])


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("divergent", r"divergent barrier: 32 of 64 threads wait, one of them at faults\.cu:\d+ for .* its block"),
        ("two_barriers", r"divergent barrier: 64 of 64 threads wait"),
        ("half_a_warp", r"divergent barrier: 32 of 64 threads wait, .* for the rest of its warp"),
        ("wrong_index", r"assertion n - t < n at faults\.cu:\d+ fails; block \(0, 0, 0\), thread \(0, 0, 0\)"),
    ],
)
def test_barriers_that_not_all_reach_and_failed_assertions_are_errors(shim, fault, message):
    shim.shim_order(0)
    with pytest.raises(RuntimeError, match=message):
        run("fault", (torch.arange(64.0), fault))
    assert torch.equal(run("fault", (torch.arange(64.0), "no_fault")), torch.arange(64.0).flip(0))


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("past_the_block", "AddressSanitizer: use-after-poison"),
        ("past_a_tensor", "AddressSanitizer: heap-buffer-overflow"),
        ("past_an_array", "runtime error: index 128 out of bounds"),
    ],
)
def test_accesses_out_of_bounds_end_the_process(shim, fault, message):
    code = f"""import ctypes, torch
ctypes.CDLL({LIBRARY!r})
torch.ops.meshconv_on_fibers.fault(torch.arange(64.0), {fault!r})"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode != 0
    assert message in done.stderr


def test_wrong_indices_fail_the_launch(shim):
    for _, name, arguments in calls("conv", torch.float32)[:1]:
        wrong = list(arguments)
        wrong[6] = arguments[6] + 9  # sources
        with pytest.raises(RuntimeError, match=r"gauge_conv: assertion v >= 0 && v < from at rows\.h"):
            run(name, tuple(wrong))
