"""What a GPU reaches of the limits that docs/benchmarks.md computes with: a copy, and dense products.

python benchmarks/gpu_rates.py
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from meshconv import FieldType


def seconds(run: Callable[[], object], repeats: int = 10) -> float:
    """The median of as many runs, by the device's own clock."""
    run()
    times = []
    for _ in range(repeats):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        run()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) / 1e3)
    return sorted(times)[len(times) // 2]


def main() -> None:
    torch.manual_seed(0)
    source, target = torch.empty(2, 2**30, device="cuda")
    time = seconds(lambda: target.copy_(source))
    print(f"copy of 4.3 GB: {2 * source.nbytes / time / 1e12:.2f} TB/s, read and written")
    dim = FieldType.uniform(64, 2).dim
    # A square product, and that of a convolution of 64 channels of orders 0 to 2: moments of 65,536 rows by weights.
    for name, (rows, inner, columns) in {
        "8192 x 8192 x 8192": (8192, 8192, 8192),
        f"131072 x {2 * dim} x 128": (131072, 2 * dim, 128),
    }.items():
        for kind, dtype, tf32 in (
            ("float32", torch.float32, False),
            ("TF32", torch.float32, True),
            ("bfloat16", torch.bfloat16, False),
        ):
            torch.backends.cuda.matmul.allow_tf32 = tf32
            a, b = (torch.randn(shape, device="cuda", dtype=dtype) for shape in ((rows, inner), (inner, columns)))
            out = torch.empty(rows, columns, device="cuda", dtype=dtype)

            def product(a: torch.Tensor = a, b: torch.Tensor = b, out: torch.Tensor = out) -> torch.Tensor:
                return torch.mm(a, b, out=out)

            rate = 2 * rows * inner * columns / seconds(product) / 1e12
            print(f"product {name} in {kind}: {rate:.0f} TFLOP/s")


if __name__ == "__main__":
    main()
