"""Data module of mesh segmentation: a label per vertex, face or edge."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from meshconv.datasets.meshes.files import check_fractions, warn_of_duplicates
from meshconv.datasets.meshes.layouts.segments import LabelledFile, pair_files, split_files
from meshconv.datasets.meshes.module import MeshData
from meshconv.datasets.meshes.preparation import Preparation
from meshconv.datasets.meshes.transfer.elements import (
    KINDS,
    ElementKind,
    ElementLabels,
    check_kind,
    count_in_file,
    file_origin,
    wrong_length,
)
from meshconv.errors import InputError
from meshconv.geometry.mesh.triangle_mesh import TriangleMesh
from meshconv.io.meshes.labels import as_labels, color_labels, read_labels
from meshconv.io.meshes.load import read_mesh
from meshconv.io.meshes.overlays import find_overlay, read_overlay

log = logging.getLogger(__name__)

_ATTRIBUTES = ("label", "labels", "seg", "segment", "segments", "segmentation", "part", "parts", "class", "classes")
# Meshes that are read to find out what the labels belong to, at most.
_PROBES = 16


class MeshSegments(MeshData):
    """Data module of meshes below a folder with labels of their vertices, faces or edges.

    Labels are in files of the mesh's name, beside it or in a folder that runs parallel
    (:func:`~meshconv.datasets.meshes.layouts.segments.pair_files`, :func:`~meshconv.io.meshes.labels.read_labels`), or
    an attribute of
    the mesh file. Classes are the label values that occur, in ascending order. Labels are those of the file's elements:
    they follow the mesh through its repair.

    Parameters
    ----------
    root
        The folder. Splits are ``train.txt`` and ``test.txt`` in it, folders of these names at any depth, or drawn.
    element
        Labelled elements: ``"vertices"``, ``"faces"`` (polygons) or ``"edges"``; found by the number of labels if not
        given.
    labels
        Pattern of the label files below ``root``, if not found by names and folders: ``"seg/*.eseg"``.
    attribute
        Name of the vertex or face attribute with the labels, where the mesh files hold them; found if there is one. Of
        brain surfaces it may be an overlay (``aparc``). Of colours (``"color"``, or bytes by three or four) what is
        painted alike is one class, ``"#rrggbb"``.
    ignore
        Label values to exclude.
    classes
        Name of the class of each label value, as ``{"#ff0000": "handle"}``; values may share a name. The values
        themselves if not given.
    test_fraction
        Share for testing without splits in the folder; 1: all are for testing.
    val_fraction
        Share of the training meshes for validation.
    options
        Preparation and batches: see :class:`~meshconv.datasets.meshes.module.MeshData`.

    Attributes
    ----------
    class_names : list of str
        The values, as text.
    class_values : list of int or str

    Raises
    ------
    InputError
        No meshes, labels that cannot be read, or that are of nothing the meshes have, or of several things.
    """

    target_kind: ClassVar[str] = "a class for each element"
    takes_patches = True

    def __init__(
        self,
        root: str,
        element: ElementKind | None = None,
        labels: str | None = None,
        attribute: str | None = None,
        ignore: Sequence[int | str] = (),
        classes: Mapping[str, str] | None = None,
        test_fraction: float = 0.2,
        val_fraction: float = 0.0,
        **options: Any,
    ):
        super().__init__(**options)
        check_fractions(test_fraction=test_fraction, val_fraction=val_fraction)
        if element is not None:
            check_kind(element)
        self.root = Path(root)
        pairs = pair_files(self.root, labels, self.pattern)
        pairs = pairs if attribute is None else _without_labels(pairs)
        splits = split_files(self.root, pairs, test_fraction, val_fraction, self.seed)
        values: dict[Path, NDArray] = {}
        if pairs[0].labels is None:
            attribute, element = _find_attribute(self.root, pairs, attribute, element)
        problem = ""
        for pair in [p for part in splits.values() for p in part]:
            try:
                found_here = labels_of(pair, attribute, element)
                values[pair.mesh] = found_here if classes is None else _renamed(pair, found_here, classes, ignore)
            except InputError as error:
                if self.strict:
                    raise
                log.warning("skipped: %s", error)
                problem = problem or str(error)
        if not values:
            raise InputError(f"{self.root}: none of the labels of {len(pairs)} meshes can be read: {problem}")
        self.element = element or _find_element(self.root, [(p, values[p.mesh]) for p in pairs if p.mesh in values])
        found = {split: [p for p in part if p.mesh in values] for split, part in splits.items()}
        self.class_values = self._classes(found, values, [v if classes is None else str(v) for v in ignore])
        self.class_names = [str(value) for value in self.class_values]
        for split, part in found.items():
            for pair in part:
                numbers = _classes_of(values[pair.mesh], self.class_values)
                source = str(pair.labels or pair.mesh)
                self.files[split].append((pair.mesh, ElementLabels(self.element, numbers, source)))
        warn_of_duplicates(*([path for path, _ in self.files[part]] for part in ("train", "test")))

    def _classes(
        self, splits: dict[Any, list[LabelledFile]], values: dict[Path, NDArray], ignore: list[int | str]
    ) -> list[int | str]:
        """Values that occur, ascending; words if any is one."""
        occur = {split: {v for p in part for v in np.unique(values[p.mesh]).tolist()} for split, part in splits.items()}
        every = set().union(*occur.values())
        classes = sorted(every - set(ignore), key=lambda v: (isinstance(v, str), v))
        if not classes:
            raise InputError(f"{self.root}: the labels have no value that is not ignored; give ignore less of them")
        for one, other, says in (("test", "train", "for testing, but never for training: no network can know them"),
                                 ("train", "test", "for training, but never for testing")):  # fmt: skip
            alone = [v for v in classes if v in occur[one] and v not in occur[other]]
            if alone and occur[other]:
                more = ", ..." if len(alone) > 8 else ""
                log.warning("%s: %d of %d classes occur %s: %s%s", self.root, len(alone), len(classes), says,
                            ", ".join(map(str, alone[:8])), more)  # fmt: skip
        return classes

    @staticmethod
    def inputs_from(spec: Mapping[str, Any]) -> Preparation:
        """What makes inputs, from :attr:`spec`."""
        check_kind(spec.get("element"))
        values = spec.get("class_values")
        if not isinstance(values, list) or not all(type(value) in (int, str) for value in values):
            raise InputError(f"class_values {values!r} are not whole numbers or words")
        return Preparation.from_spec(spec)

    @property
    def spec(self) -> dict[str, Any]:
        """How inputs are made and what labels mean, in plain values."""
        return {**super().spec, "element": self.element, "class_values": list(self.class_values)}

    @property
    def class_counts(self) -> torch.Tensor:
        """Labelled elements of each class in the training set, int64 ``[classes]``."""
        counts = np.zeros(len(self.class_names), dtype=np.int64)
        for _, labels in self.files["train"]:
            assert isinstance(labels, ElementLabels) and labels.classes is not None
            counts += np.bincount(labels.classes[labels.classes >= 0], minlength=len(counts))
        return torch.from_numpy(counts)


def _without_labels(pairs: list[LabelledFile]) -> list[LabelledFile]:
    return [LabelledFile(pair.mesh, None) for pair in pairs]


def _classes_of(values: NDArray, classes: list[int | str]) -> NDArray[np.int64]:
    """Index of each value, -1 where it is no class."""
    distinct, place = np.unique(values, return_inverse=True)
    index = {value: k for k, value in enumerate(classes)}
    return np.array([index.get(value, -1) for value in distinct.tolist()], dtype=np.int64)[place]


def labels_of(pair: LabelledFile, attribute: str | None, element: ElementKind | None) -> NDArray:
    """Labels in the order of the file, of its label file or of an attribute.

    Raises
    ------
    InputError
        There are none, or they are neither whole numbers nor words.
    """
    if pair.labels is not None:
        return read_labels(pair.labels)
    overlay = None if attribute is None else find_overlay(pair.mesh, attribute)
    if overlay is not None:
        count = read_mesh(pair.mesh).num_vertices if overlay.suffix == ".label" else None
        return as_labels(read_overlay(overlay, count), str(overlay))
    raw = read_mesh(pair.mesh, volume_surface=True)
    data = raw.face_data if element == "faces" else raw.vertex_data
    if attribute not in data:
        raise InputError(f"{pair.mesh}: no attribute {attribute!r} of {element}; it has {', '.join(data) or 'none'}")
    values = np.asarray(data[attribute])
    if (attribute == "color" or values.dtype == np.uint8) and values.ndim == 2 and values.shape[1] in (3, 4):
        labels: NDArray = color_labels(values)
    else:
        labels = as_labels(values, f"{pair.mesh}: attribute {attribute!r}")
    origin = file_origin(raw)
    return labels[origin.face_to if element == "faces" else origin.vertex_to]


def _renamed(
    pair: LabelledFile, values: NDArray, classes: Mapping[str, str], ignore: Sequence[int | str]
) -> NDArray[np.str_]:
    """Class of each value by a table; what is ignored may be missing from it."""
    table = {str(value).lower(): str(name) for value, name in classes.items()}
    distinct, place, count = np.unique(values, return_inverse=True, return_counts=True)
    names = [table.get(str(value).lower(), str(value)) for value in distinct.tolist()]
    left = [k for k, value in enumerate(distinct.tolist())
            if str(value).lower() not in table and str(value) not in {str(v) for v in ignore}]  # fmt: skip
    if left:
        most = max(left, key=lambda k: count[k])
        raise InputError(
            f"{pair.labels or pair.mesh}: {len(left)} labels are not in classes, e.g. {str(distinct[most])!r} of "
            f"{count[most]} elements; add them there or to ignore"
        )
    return np.array(names)[place]


def _find_attribute(
    root: Path, pairs: list[LabelledFile], attribute: str | None, element: ElementKind | None
) -> tuple[str, ElementKind]:
    """Name and kind of the attribute that holds labels, by the first mesh."""
    if attribute is not None and find_overlay(pairs[0].mesh, attribute) is not None:
        return attribute, "vertices"
    raw = read_mesh(pairs[0].mesh, volume_surface=True)
    kinds: list[tuple[ElementKind, dict[str, NDArray]]] = [("vertices", raw.vertex_data), ("faces", raw.face_data)]
    found = [
        (name, kind)
        for kind, data in kinds
        for name, values in data.items()
        if element in (None, kind) and (_are_labels(values) if attribute is None else name == attribute)
    ]
    best = [entry for entry in found if entry[0].lower() in _ATTRIBUTES] or found
    if len(best) == 1:
        return best[0]
    if best:
        names = ", ".join(f"{name} of {kind}" for name, kind in best)
        raise InputError(f"{root}: several attributes may be the labels ({names}); set attribute (and element)")
    if attribute is not None:
        has = ", ".join(f"{name} of {kind}" for kind, data in kinds for name in data) or "none"
        raise InputError(f"{pairs[0].mesh}: no attribute {attribute!r}; it has {has}")
    raise InputError(
        f"{root}: no labels of {len(pairs)} meshes; put a file of the mesh's name (.seg, .eseg, .labels, .txt, .npy or "
        ".json) beside it or into labels/, or name an attribute of the meshes (color: what is painted alike is a class)"
    )


def _are_labels(values: NDArray) -> bool:
    try:
        return values.ndim == 1 and len(np.unique(as_labels(values, ""))) > 1
    except InputError:
        return False


def _find_element(root: Path, labelled: list[tuple[LabelledFile, NDArray]]) -> ElementKind:
    """What the labels belong to, by their number."""
    suffixes = {pair.labels.suffix.lower() for pair, _ in labelled if pair.labels is not None}
    if suffixes == {".eseg"}:
        return "edges"
    possible: set[ElementKind] = set(KINDS)
    misfit, tried = "", 0
    for pair, values in labelled[:_PROBES]:
        try:
            raw: TriangleMesh = read_mesh(pair.mesh, volume_surface=True)
        except InputError:
            continue  # reported when it is prepared
        counts = count_in_file(raw)
        fits = {kind for kind in KINDS if counts[kind] == len(values)}
        if not fits & possible:
            misfit = misfit or wrong_length(f"{pair.labels}", len(values), counts)
            continue
        possible, tried = possible & fits, tried + 1
        if len(possible) == 1:
            return possible.pop()
    if not tried:
        raise InputError(misfit or f"{root}: none of the meshes with labels can be read")
    either = " or ".join(sorted(possible))
    raise InputError(f"{root}: the labels may be those of {either}, of which every mesh has as many; set element")
