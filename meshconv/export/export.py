"""Export of trained networks: files for other programs, each compared with the network."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

import numpy as np
import torch
from torch import Tensor
from torch.export import ExportedProgram

from meshconv.datasets.batch import SurfaceBatch
from meshconv.datasets.generated import generate_shape
from meshconv.datasets.meshes.collation import collate
from meshconv.datasets.meshes.collection import prepare_meshes
from meshconv.datasets.meshes.preparation import Preparation
from meshconv.errors import InputError
from meshconv.export.files import open_program, write_aoti, write_onnx, write_torch
from meshconv.export.layout import Input, Layout
from meshconv.export.preprocess import FORMAT, NAME, labelling_of, point_digest
from meshconv.export.program import map_program, mesh_program, plain_program
from meshconv.geometry.graph.hierarchy import Hierarchy
from meshconv.geometry.mesh.triangle_mesh import TriangleMesh
from meshconv.io.cache.atomic import atomic_write
from meshconv.io.cache.cache import Cache
from meshconv.progress import waiting

if TYPE_CHECKING:
    from meshconv.datasets.maps.inputs import MapInputs

Target = Literal["torch", "aoti", "onnx"]
TARGETS: tuple[Target, ...] = get_args(Target)

# Of the output's size, the largest difference between a file's answers and the network's.
_TOLERANCE = 1e-4
# Sizes of the meshes that programs are traced and compared with.
_TRACED, _COMPARED = 700, 1100


class Exportable(Protocol):
    """A trained task, as :func:`export_network` needs it."""

    @property
    def spec(self) -> dict[str, Any]: ...
    @property
    def num_levels(self) -> int | None: ...
    @property
    def hparams(self) -> Any: ...
    def describe_output(self) -> dict[str, Any]: ...
    def __call__(self, batch: SurfaceBatch, /) -> Tensor: ...


@dataclass(frozen=True)
class Export:
    """An exported file.

    Attributes
    ----------
    path : Path
    error : float
        Largest difference from the network's output on inputs that it was not traced with, relative to the largest
        output.
    seconds, eager_seconds : float
        Processor time of one run, of the file and of the network: the median of several.
    opset : int or None
        Of ONNX.
    """

    path: Path
    error: float
    seconds: float
    eager_seconds: float
    opset: int | None = None

    def __str__(self) -> str:
        opset = "" if self.opset is None else f", opset {self.opset}"
        return (
            f"{self.path}: {self.path.stat().st_size / 1e6:.2f} MB{opset}, error {self.error:.1e}, "
            f"{1e3 * self.seconds:.1f} ms of processor time (network: {1e3 * self.eager_seconds:.1f} ms)"
        )


def export_network(
    task: Exportable, task_path: str, version: str, to: Sequence[Target], output: Path, like: Path | None = None,
    cache: Cache | None = None,
) -> list[Export]:  # fmt: skip
    """Write a trained network for other programs, and ``preprocess.json``, which describes its inputs and output.

    ``torch``: ``model.pt2``, for ``torch.export.load`` with the operators' library, and ``plain.pt2`` for torch alone;
    ``aoti``: ``aoti.pt2``, compiled, for C++; ``onnx``: ``model.onnx``. Programs take one mesh of any size, or one map
    on the points that are part of the program.

    Parameters
    ----------
    task
        In evaluation mode.
    task_path, version
        Class path of the task, and version of meshconv, for the description.
    to
        Targets.
    output : Path
        Folder; files of the same names are replaced.
    like : Path, optional
        Of maps: a file whose points the program works on. By default the whole HEALPix sphere of the training.
    cache : Cache, optional
        Of regridding weights.

    Raises
    ------
    InputError
        The network cannot be exported, or the file's answers are not the network's.
    """
    unknown = [name for name in to if name not in TARGETS]
    if unknown or not to:
        raise InputError(f"to {(*unknown, None)[0]}: give {', '.join(TARGETS)}")
    described = task.describe_output()
    where: dict[str, Any] | None = None
    if "inputs" in task.spec:
        program, layout, tried, where = _of_maps(task, like, cache)
    elif like is not None:
        raise InputError(f"like {like}: the network was trained on meshes, and takes any")
    else:
        program, layout, tried = _of_meshes(task, described)
    hparams = {name: value for name, value in dict(task.hparams).items() if name not in _WITH_NETWORK}
    content = {
        "format": FORMAT, "meshconv": version, "task": task_path, "output": described, **layout.spec, "maps": where,
        "hyper_parameters": hparams,
    }  # fmt: skip
    output.mkdir(parents=True, exist_ok=True)
    with atomic_write(output / NAME) as part:
        part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    names = [entry.name for entry in layout.inputs]
    given = {"x": tried.x} if where is not None else layout.pack(tried)
    found = []
    for target in to:
        for path, opset in _write(target, program, output, names, described["name"]):
            found.append(_compare(task, given, tried, path, opset))
    return found


# Of a task's hyperparameters, what only its network or its loss need.
_WITH_NETWORK = (
    "network", "options", "compact", "loss", "loss_options", "class_weights", "learning_rate", "weight_decay"
)  # fmt: skip


def _write(
    target: Target, program: ExportedProgram, output: Path, inputs: list[str], name: str
) -> list[tuple[Path, int | None]]:
    with waiting(f"export to {target}"):
        if target == "aoti":
            write_aoti(program, output / "aoti.pt2")
            return [(output / "aoti.pt2", None)]
        if target == "onnx":
            path = output / "model.onnx"
            return [(path, write_onnx(plain_program(program, matrices=True), path, inputs, name))]
        write_torch(program, output / "model.pt2")
        write_torch(plain_program(program), output / "plain.pt2")
        return [(output / "model.pt2", None), (output / "plain.pt2", None)]


def _of_meshes(task: Any, described: dict[str, Any]) -> tuple[ExportedProgram, Layout, SurfaceBatch]:
    how = Preparation.from_spec(task.spec)
    labelling = labelling_of(described)
    rng = np.random.default_rng(0)
    shapes = [_with_arrays(generate_shape("apart", rng, size), how, rng) for size in (_TRACED, _COMPARED)]
    samples, _ = prepare_meshes([(mesh, labelling) for mesh in shapes], how, strict=True, workers=0)
    first, second = (collate([sample]) for sample in samples)
    program, layout = mesh_program(task, first)
    return program, layout, second


def _with_arrays(mesh: TriangleMesh, how: Preparation, rng: np.random.Generator) -> TriangleMesh:
    """A mesh with the arrays that are inputs."""
    count = mesh.num_vertices
    scalars = {name: rng.normal(size=count) for name in how.given.scalars}
    vectors = {name: rng.normal(size=(count, 3)) for name in how.given.vectors}
    return replace(mesh, vertex_data={**scalars, **vectors})


def _of_maps(
    task: Any, like: Path | None, cache: Cache | None
) -> tuple[ExportedProgram, Layout, SurfaceBatch, dict[str, Any]]:
    from meshconv.datasets.maps.inputs import MapInputs

    inputs, levels = MapInputs(**task.spec["inputs"]), task.num_levels or 1
    surface = _surface(inputs, levels, like, cache)
    history = (task.spec.get("targets") or {}).get("history", 1)
    count, dim = surface.finest.num_vertices, history * inputs.in_type.dim
    x = torch.randn(2, count, dim, generator=torch.Generator().manual_seed(0))
    batch = SurfaceBatch(x[1:], surface, x.new_zeros(0), None, ["maps"])
    with torch.no_grad():
        task(batch)  # what is kept of a surface is computed now, and constant in the program
    program = map_program(task, x[:1], surface)
    layout = Layout([Input("x", "float32", (1, count, dim))], 0)
    where = {**point_digest(surface.finest.positions.numpy()), "levels": levels}
    return program, layout, batch, where


def _surface(inputs: MapInputs, levels: int, like: Path | None, cache: Cache | None) -> Hierarchy:
    """The points that the program works on, with their levels."""
    if like is not None:
        from meshconv.datasets.maps.surface import MapSurface
        from meshconv.io.maps.fields import open_fields

        return MapSurface(inputs, open_fields(like, None, inputs.variables), cache).hierarchy(levels)
    from meshconv.geometry.sphere.healpix import HealpixSphere

    if inputs.nside == "native" or inputs.domain is not None:
        why = "the points of its files" if inputs.nside == "native" else "a domain, which files define"
        raise InputError(f"the network works on {why}; give a file by --like FILE")
    sphere = HealpixSphere(inputs.nside)
    radius = inputs.radius and inputs.radius * float(np.sqrt(sphere.areas.mean()))
    return sphere.hierarchy(levels, radius).to(torch.float32)


def _compare(
    task: Exportable, given: dict[str, Tensor], batch: SurfaceBatch, path: Path, opset: int | None
) -> Export:
    """Run a file on inputs that it was not traced with.

    Raises
    ------
    InputError
        Its answers are others.
    """
    run = open_program(path, code=True)
    with torch.no_grad():
        expected, eager_seconds = _timed(lambda: task(batch))
        output, seconds = _timed(lambda: run(given))
    error = float((output - expected).abs().max() / expected.abs().max().clamp(min=1e-12))
    if output.shape != expected.shape or not error <= _TOLERANCE:
        raise InputError(f"{path}: its answers differ from the network's by {error:.1e}; do not use it")
    return Export(path, error, seconds, eager_seconds, opset)


def _timed(run: Callable[[], Tensor]) -> tuple[Tensor, float]:
    """The result, and the median processor time of 3 to 15 runs in two seconds.

    Two runs come before: onnxruntime plans its memory in the first and asks for it in the second, which took four times
    as long as those that follow.
    """
    times: list[float] = []
    run()
    result, end = run(), time.perf_counter() + 2
    while len(times) < 3 or (len(times) < 15 and time.perf_counter() < end):
        start = time.process_time()
        result = run()
        times.append(time.process_time() - start)
    return result, statistics.median(times)
