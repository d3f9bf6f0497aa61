"""Every CUDA kernel on the small graphs of tests/kernel_case.py: against the CPU, and with the same bits every time.

python benchmarks/gpu_kernels.py --repeats 20
compute-sanitizer --tool racecheck python benchmarks/gpu_kernels.py --repeats 1
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from kernel_case import BOUND, CASES, assert_equal_the_cpu, calls

from meshconv.ops import is_compiled


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=1, help="runs of each call, whose bits are compared")
    given = parser.parse_args()
    if not is_compiled(torch.device("cuda")):
        raise SystemExit("this meshconv has no CUDA operators")
    failed = 0
    for case in CASES:
        for dtype in BOUND:
            start, worst = time.perf_counter(), ""
            for detail, name, arguments in calls(case, dtype):
                on_device = tuple(a.cuda() if isinstance(a, Tensor) else a for a in arguments)
                found = [getattr(torch.ops.meshconv, name)(*on_device) for _ in range(given.repeats)]
                if not all(torch.equal(found[0], other) for other in found[1:]):
                    worst = f"{name} {detail}: other bits in other runs"
                try:
                    assert_equal_the_cpu(found[0], name, arguments, detail)
                except AssertionError as error:
                    worst = str(error)
            failed += bool(worst)
            seconds = time.perf_counter() - start
            print(f"{case:34} {dtype!s:14} {seconds:6.2f} s  {worst or 'equal'}", flush=True)
    if failed:
        raise SystemExit(f"{failed} of {2 * len(CASES)} fail")


if __name__ == "__main__":
    main()
