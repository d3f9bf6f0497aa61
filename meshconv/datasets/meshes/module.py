"""Base data module of meshes: preparation, batches, and checks of splits."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import torch

from meshconv.datasets.batch import SurfaceBatch
from meshconv.datasets.class_path import class_path
from meshconv.datasets.data_module import LightningDataModule
from meshconv.datasets.loader import Loader
from meshconv.datasets.meshes.collation import collate
from meshconv.datasets.meshes.collection import fill_cache, prepare_meshes
from meshconv.datasets.meshes.given_inputs import GivenInputs, given_inputs
from meshconv.datasets.meshes.patches import in_patches
from meshconv.datasets.meshes.preparation import Preparation
from meshconv.datasets.meshes.sample import Labelling
from meshconv.datasets.meshes.stored import EntryMemory
from meshconv.datasets.meshes.variants import Variants, variant_preparations
from meshconv.datasets.vertex_budget import VertexBudget
from meshconv.errors import InputError
from meshconv.fields import FieldType
from meshconv.geometry.graph.hierarchy import Rings
from meshconv.geometry.mesh.neighbourhood import Neighbourhood
from meshconv.geometry.mesh.transport import Transport
from meshconv.geometry.repair.augmentation import Augmentation
from meshconv.geometry.repair.repair import OnDefect
from meshconv.io.cache.cache import Cache
from meshconv.io.cache.content import file_content

log = logging.getLogger(__name__)

# Of one split with its variants: large sets vary enough by themselves, and all are prepared and in memory.
_MOST_PREPARED = 6000


class MeshData(LightningDataModule):
    """Base data module of meshes: three splits, prepared once, in batches.

    Parameters
    ----------
    batch_size
        Meshes per batch.
    batch_vertices
        Maximum number of vertices of a batch, instead of ``batch_size``: see
        :class:`~meshconv.datasets.vertex_budget.VertexBudget`.
    transport
        ``"levi_civita"`` or ``"normal_aligning"`` (see :class:`~meshconv.TriangleMesh`).
    on_defect
        ``"repair"`` defective meshes, ``"drop"`` their defective faces, or raise an ``"error"`` (see
        :meth:`TriangleMesh.repair <meshconv.TriangleMesh.repair>`).
    rings, radius, nearest
        At most one: geodesic neighbourhoods of k rings, of a radius in units of the square root of the surface area, or
        of k nearest neighbours (see :meth:`TriangleMesh.gauge_graph <meshconv.TriangleMesh.gauge_graph>`). By default
        each vertex has its direct neighbours. Points without faces need ``nearest``, and features of ``curvature``,
        ``areas``, ``coordinates`` and ``normals``.
    features
        Names of inputs: ``default`` (invariant fields), ``hks``, ``wks``, ``curvature``, ``coordinates``, ... as
        :func:`~meshconv.geometry.features.inputs.surface_features` has them.
    scalars, vectors
        Names of arrays at the vertices that are inputs too, as :class:`~meshconv.datasets.meshes.fields.MeshFields`
        finds them: thickness, distance to the inlet, boundary conditions, the stream. They are measured from their mean
        over the training files in standard deviations, vectors in their root mean square length.
    size
        The logarithm of the square root of the area as an input. Predictions then depend on the unit of length, and are
        no longer the same for a scaled mesh.
    pattern
        Of the mesh files below the root, where there are others: ``"*/surf/lh.white"``.
    num_levels
        Number of levels of hierarchies; 1: graphs.
    resolution
        Spacing of points on the finest level, in units of the square root of the surface area: 0.015 makes 4,444
        points. They lie evenly on the surface, whatever its triangles, and have neighbours within ``radius`` (by
        default 2.3 spacings, about 16 neighbours); every further level has twice the spacing and the radius. Labels
        and predictions are those of the mesh's own vertices, faces or edges, interpolated from the points near them.
        None: the points are the vertices.
    max_faces
        Meshes with more faces are simplified to this number first; labels follow.
    max_vertices
        Meshes with more vertices are learned in geodesic patches of at most so many, halo included, and predicted in
        them, for networks without a global context (:func:`~meshconv.geometry.geodesic_patches`). A vertex or element
        counts in one patch, an epoch has all of them.
    volume_surface
        Of files of volume cells the surface, as of :func:`~meshconv.io.meshes.load.load_mesh`.
    augment
        Augmentation of training meshes, values of :class:`~meshconv.geometry.repair.augmentation.Augmentation`:
        ``{noise: 0.02, decimate: 0.5}``.
    variants
        Number of augmented variants of each training mesh; an epoch uses one of them or the mesh itself. Training sets
        that would exceed 6,000 meshes with their variants get fewer variants, at least one.
    cache
        Folder of prepared meshes; true: ``MESHCONV_CACHE`` or ``~/.cache/meshconv``; false: nothing is kept. Entries
        hold graph, features and the map back to the file, about 100 KB for 250 vertices with direct neighbours.
    workers
        Processes that prepare meshes; 0: this one; none given: see
        :func:`~meshconv.datasets.meshes.collection.prepare_meshes`.
    strict
        Stop at the first unusable mesh instead of leaving it out.
    seed
        Of splits and of batches.

    Raises
    ------
    InputError
        Values out of range.
    """

    takes_patches: ClassVar[bool] = False
    """Whether targets are of vertices or elements, which patches of a mesh have."""

    reach: Sequence[Rings] | None
    """How far the network sees, with ``max_vertices``; the task says it."""

    def __init__(
        self,
        *,
        batch_size: int = 16,
        batch_vertices: int | None = None,
        transport: Transport = "levi_civita",
        on_defect: OnDefect = "repair",
        rings: int | None = None,
        radius: float | None = None,
        nearest: int | None = None,
        features: Sequence[str] = ("default",),
        scalars: Sequence[str] = (),
        vectors: Sequence[str] = (),
        size: bool = False,
        pattern: str | None = None,
        num_levels: int = 1,
        resolution: float | None = None,
        max_faces: int | None = None,
        max_vertices: int | None = None,
        volume_surface: bool = False,
        augment: Mapping[str, Any] | None = None,
        variants: int = 0,
        cache: bool | str | None = True,
        workers: int | None = None,
        strict: bool = False,
        seed: int = 0,
    ):
        super().__init__()
        for name, value, least in (("batch_size", batch_size, 1), ("batch_vertices", batch_vertices, 1),
                                   ("workers", workers, 0), ("max_vertices", max_vertices, 1)):  # fmt: skip
            if value is not None and value < least:
                raise InputError(f"{name} {value} has to be at least {least}")
        self.batch_size, self.batch_vertices, self.strict, self.seed = batch_size, batch_vertices, strict, seed
        self.pattern = pattern
        if max_vertices is not None and not self.takes_patches:
            kind = type(self).__name__
            raise InputError(f"max_vertices {max_vertices}: {kind} has targets of whole meshes; leave it out")
        if max_vertices is not None and (variants or resolution is not None):
            raise InputError(
                f"max_vertices {max_vertices}: patches are of the meshes themselves; leave variants and resolution out"
            )
        self.max_vertices, self.reach = max_vertices, None
        near = Neighbourhood(rings, radius, nearest)
        if vectors and (augment or {}).get("rotation"):
            raise InputError("augment: rotation would leave the vectors behind; invariant inputs do not need it")
        self._how = Preparation(
            transport, on_defect, near, tuple(features), num_levels, max_faces, resolution=resolution,
            volume_surface=volume_surface, given=GivenInputs(tuple(scalars), tuple(vectors), size),
        )  # fmt: skip
        self._variation = Augmentation.from_spec(augment), variants
        variant_preparations(self._how, *self._variation)  # what is wrong is said now
        self.cache, self.workers = Cache.choose(cache), workers
        self.root = Path()
        self.files: dict[str, list[tuple[Path, int | Labelling]]] = {"train": [], "val": [], "test": []}
        self.memory = EntryMemory(self.cache)
        self._samples: dict[str, list[Any]] = {}
        self._variants: Variants | None = None

    @property
    def how(self) -> Preparation:
        """How meshes are prepared, with the statistics of the training files where there are inputs to measure."""
        if self._how.given and self._how.given.statistics is None:
            paths = [path for path, _ in self.files["train"]]
            self._how = replace(self._how, given=self._how.given.measured(paths, "measuring inputs"))
        return self._how

    @property
    def preparations(self) -> list[Preparation]:
        """Of a training mesh itself and of its variants."""
        return variant_preparations(self.how, *self._variation)

    def take_statistics(self, spec: Mapping[str, Any]) -> None:
        """Take the statistics of inputs from the :attr:`spec` of a training."""
        if self._how.given:
            statistics = given_inputs(spec).statistics
            self._how = replace(self._how, given=replace(self._how.given, statistics=statistics))

    @property
    def num_levels(self) -> int:
        """Levels of the surfaces that the loaders give; 1: graphs."""
        return self._how.num_levels

    @property
    def in_type(self) -> FieldType:
        return self._how.in_type

    @staticmethod
    def inputs_from(spec: Mapping[str, Any]) -> Preparation:
        """What makes inputs, from :attr:`spec`."""
        return Preparation.from_spec(spec)

    @property
    def spec(self) -> dict[str, Any]:
        """Specification of the inputs, in plain values, for prediction."""
        most = {} if self.max_vertices is None else {"max_vertices": self.max_vertices}
        return {"data": class_path(type(self)), **self.how.spec, **most}

    def samples(self, split: str) -> list[Any]:
        """Prepared meshes of ``"train"``, ``"val"`` or ``"test"``, computed once.

        Each has what a :class:`~meshconv.datasets.meshes.sample.MeshSample` has; with a cache it reads its inputs
        from there, so that memory does not grow with their number.
        """
        if split not in self._samples:
            if split == "train" and not self.files["train"]:
                raise InputError(f"{self.root}: no mesh is left for training; add some beside those for testing")
            samples, problems = self._prepare(split, self.how, f"preparing {split} meshes")
            if problems and not samples and split != "val":  # training does without
                raise InputError(f"{self.root}: none of the {len(problems)} {split} meshes can be used: {problems[0]}")
            self._samples[split] = samples
        return self._samples[split]

    def _prepare(self, split: str, how: Preparation, what: str) -> tuple[list[Any], list[str]]:
        return prepare_meshes(
            self.files[split], how, strict=self.strict, what=what, cache=self.cache, workers=self.workers,
            memory=self.memory,
        )  # fmt: skip

    def hashes(self) -> dict[str, str]:
        """Hashes of the content of the files of each split, and of their places in its order."""
        found = {}
        for split, files in self.files.items():
            total = hashlib.blake2b(digest_size=16)
            for path, target in files:
                place = path.relative_to(self.root) if path.is_relative_to(self.root) else path.name
                label = target if isinstance(target, int) else ""
                total.update(f"{place}\0{label}\0{_content(path)}\0".encode())
            found[split] = total.hexdigest()
        return found

    def fill_cache(self, scheduler: str | None = None) -> tuple[int, int, list[str]]:
        """Prepare all meshes of all splits, with their variants, into the cache.

        Parameters
        ----------
        scheduler
            Address of a ``dask.distributed`` scheduler; see
            :func:`~meshconv.datasets.meshes.collection.fill_cache`.

        Returns
        -------
        made, there, problems

        Raises
        ------
        InputError
            There is no cache.
        """
        if self.cache.folder is None:
            raise InputError("cache: there is none to fill; give its folder, or set MESHCONV_CACHE")
        variants = [how for _, how in self._ways] if self.files["train"] else []
        meshes = [(path, self.how) for files in self.files.values() for path, _ in files]
        meshes += [(path, how) for how in variants for path, _ in self.files["train"]]
        return fill_cache(meshes, self.cache, workers=self.workers, scheduler=scheduler)

    @property
    def _ways(self) -> list[tuple[int, Preparation]]:
        """Variants of training meshes by number."""
        most = max(_MOST_PREPARED // len(self.files["train"]) - 1, 1)
        return list(enumerate(self.preparations))[1 : most + 1]

    def _varied(self) -> Variants:
        """Training meshes with their variants."""
        if self._variants is None:
            own, ways = self.samples("train"), self._ways
            if len(ways) < len(self.preparations) - 1:
                log.info("%d training meshes: %d variants of each, not %d", len(self.files["train"]), len(ways),
                         len(self.preparations) - 1)  # fmt: skip
            changed = [self._prepare("train", how, f"variant {k} of {len(ways)}")[0] for k, how in ways]
            self._variants = Variants([own, *changed])
        return self._variants

    def _loader(self, samples: Any, train: bool = False) -> Loader:
        if self.batch_vertices is None:
            return Loader(samples, self.batch_size, train, collate_fn=collate)
        varied = samples.choices if isinstance(samples, Variants) else [[s] for s in samples]
        sizes, names = [max(s.num_points for s in choice) for choice in varied], [choice[0].name for choice in varied]
        batches = VertexBudget(sizes, self.batch_vertices, train, self.seed, names)
        return Loader(samples, train=train, batches=batches, collate_fn=collate)

    def transfer_batch_to_device(self, batch: SurfaceBatch, device: torch.device, dataloader_idx: int) -> SurfaceBatch:
        return batch.to(device, non_blocking=True)

    def train_dataloader(self) -> Loader:
        if self.max_vertices is not None:
            return self._loader(in_patches(self.samples("train"), self.max_vertices, self.reach), train=True)
        return self._loader(self._varied(), train=True)

    def val_dataloader(self) -> Loader | list:
        samples = self.samples("val") if self.files["val"] else []
        return self._loader(samples) if samples else []

    def test_dataloader(self) -> Loader:
        if not self.files["test"]:
            raise InputError(
                f"{self.root}: there are no test meshes; add some, or of several meshes set test_fraction above 0"
            )
        return self._loader(self.samples("test"))


def _content(path: Path) -> str:
    """Hash of a file; of one that cannot be read nothing, which the preparation reports."""
    try:
        return file_content(path)
    except InputError:
        return ""
