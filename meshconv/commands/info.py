"""``meshconv info``: versions, devices and kernels."""

from __future__ import annotations

import platform

from meshconv.commands.parser import Parser


def run(args: list[str]) -> None:
    parser = Parser(prog="meshconv info", description="Versions, devices, and the kernels of each operator.")
    parser.parse_args(args[1:])
    import numpy
    import torch

    import meshconv
    from meshconv.ops import BACKEND, GEOMETRY_OPERATORS, OPERATORS, has_kernel

    print(f"meshconv {meshconv.__version__}  python {platform.python_version()}  torch {torch.__version__}  "
          f"numpy {numpy.__version__}")  # fmt: skip
    print(f"processor: {platform.machine()}, {torch.get_num_threads()} threads")
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            print(f"cuda:{index}: {torch.cuda.get_device_name(index)}")
    else:
        built = f"for CUDA {torch.version.cuda}" if torch.version.cuda else "without CUDA"
        print(f"cuda: no device (torch built {built})")
    print(f"backend: {BACKEND.reason}")
    for name in OPERATORS:
        runs = {device: "compiled" if has_kernel(name, device) else "reference" for device in ("cpu", "cuda")}
        if name in GEOMETRY_OPERATORS:
            del runs["cuda"]  # geometry has no other arrays than those of the CPU
        print(f"  {name:22} {', '.join(f'{device}: {what}' for device, what in runs.items())}")
