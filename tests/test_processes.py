"""Work in other processes: order, errors as themselves, and an end when asked."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time

import pytest
import torch
from torch.utils.data import Dataset

from meshconv import InputError
from meshconv.datasets.loader import Loader
from meshconv.datasets.processes import map_in_order
from meshconv.extras import MissingExtraError


def square(n: int) -> int:
    time.sleep(0.05 * (n == 0))  # the first is the last to be done
    return n * n


def process(n: int) -> tuple[int, int]:
    return os.getpid(), torch.get_num_threads()


def refuse(n: int) -> int:
    if n == 3:
        raise InputError("3.ply: a line with the file, and the way out")
    return n


def die(n: int) -> int:
    os._exit(1)


@pytest.mark.parametrize("workers", [0, 1, 2, None])
def test_results_come_in_order(workers: int | None) -> None:
    assert list(map_in_order(square, range(40), workers)) == [n * n for n in range(40)]
    assert list(map_in_order(square, [], workers)) == []


def test_processes_are_others_of_one_thread() -> None:
    found = set(map_in_order(process, range(12), 2))
    assert os.getpid() not in {pid for pid, _ in found} and {threads for _, threads in found} == {1}
    assert {pid for pid, _ in map_in_order(process, range(3), 0)} == {os.getpid()}


@pytest.mark.parametrize("workers", [0, 2])
def test_the_users_error_is_raised_as_itself(workers: int) -> None:
    results = map_in_order(refuse, range(9), workers)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(InputError) as error:
        next(results)
    assert type(error.value) is InputError and str(error.value) == "3.ply: a line with the file, and the way out"


def test_a_process_that_is_ended_is_one_line() -> None:
    with pytest.raises(InputError, match="was ended from outside, often for want of memory; use fewer workers"):
        list(map_in_order(die, range(4), 2))


@pytest.mark.parametrize("error", [InputError("a.ply: one line"), MissingExtraError("b needs c")])
def test_errors_are_picklable(error: InputError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error) and str(again) == str(error)


class Numbers(Dataset):
    def __len__(self) -> int:
        return 6

    def __getitem__(self, n: int) -> torch.Tensor:
        return torch.tensor(refuse(n))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_loader_raises_the_users_error_as_itself(workers: int) -> None:
    batches = iter(Loader(Numbers(), 2, collate_fn=torch.stack, num_workers=workers))
    assert next(batches).tolist() == [0, 1]
    with pytest.raises(InputError) as error:
        next(batches)
    assert str(error.value) == "3.ply: a line with the file, and the way out"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_an_interruption_ends_all_processes() -> None:
    code = """
import os, sys, time
from meshconv.datasets.processes import map_in_order
def wait(n):
    print(os.getpid(), flush=True)
    time.sleep(600)
try:
    list(map_in_order(wait, range(9), 2))
except KeyboardInterrupt:
    sys.exit(130)
"""
    program = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               start_new_session=True)  # fmt: skip
    assert program.stdout is not None
    workers = [int(program.stdout.readline()) for _ in range(2)]
    os.killpg(program.pid, signal.SIGINT)  # as a terminal does
    _, said = program.communicate(timeout=60)
    assert program.returncode == 130 and "Traceback" not in said
    for pid in workers:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
