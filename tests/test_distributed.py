"""Layers under DistributedDataParallel: two processes on different surfaces give the mean of their gradients."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

WORKER = '''
import sys
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from meshconv.nn import FieldBatchNorm
from test_at_home_in_torch import Together

def steady(network):
    """With running statistics: those of a batch are of all processes (tests/test_data_parallel.py)."""
    for module in network.modules():
        if isinstance(module, FieldBatchNorm):
            module.eval()
    return network

rank, store = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
torch.manual_seed(rank)  # parameters of rank 0 count: they are sent to all
network = steady(Together(nside=2 << rank))
parallel = DistributedDataParallel(network)
alone = []
state = {k: v.clone() for k, v in network.state_dict().items()}
for other in range(2):
    copy = steady(Together(nside=2 << other))
    copy.load_state_dict(state)
    alone.append(torch.autograd.grad(copy.loss(other), list(copy.parameters())))
parallel(rank).backward()
for p, a, b in zip(network.parameters(), *alone, strict=True):
    torch.testing.assert_close(p.grad, (a + b) / 2, rtol=1e-4, atol=1e-5 * float(p.grad.abs().max() + 1e-6))
torch.optim.SGD(parallel.parameters(), lr=1e-3).step()
sums = torch.stack([p.detach().double().sum() for p in network.parameters()])
both = [torch.empty_like(sums) for _ in range(2)]
dist.all_gather(both, sums)
assert torch.equal(*both)
dist.destroy_process_group()
print("agreed on", len(alone[0]), "gradients")
'''


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no distributed package")
def test_two_processes_average_their_gradients(tmp_path):
    def start(rank: int) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", WORKER, str(rank), str(tmp_path / "store")]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, cwd=Path(__file__).parent, **pipes)

    for process in [start(rank) for rank in range(2)]:
        said, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
        assert said.startswith("agreed on")
