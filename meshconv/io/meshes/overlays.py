"""Overlays of brain surfaces: a number or a label for each vertex in a file beside the surface."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from meshconv.errors import InputError, first_line
from meshconv.extras import require
from meshconv.io.meshes.readers.freesurfer import SURFACES
from meshconv.io.meshes.readers.libraries import check_gifti

# Words of GIFTI's names that tell the kind of the file.
_KINDS = {"surf", "shape", "func", "label", "gii"}


def find_overlay(mesh: Path, name: str) -> Path | None:
    """The file with an overlay of a surface; None: there is none.

    Of ``surf/lh.white``: ``thickness`` is ``surf/lh.thickness``, ``aparc`` is ``label/lh.aparc.annot``, and ``cortex``
    is ``label/lh.cortex.label``. Of ``sub-1_hemi-L_white.surf.gii``: ``thickness`` is
    ``sub-1_hemi-L_thickness.shape.gii``, or the like in ``.func.gii`` and ``.label.gii``: names are the same but for
    the surface's and the overlay's own words. ``thickness.func`` is that of a kind.

    Raises
    ------
    InputError
        Several kinds of files of that name.
    """
    if mesh.suffix.lower() in SURFACES:
        side = mesh.name.split(".")[0]
        names = [f"{side}.{name}", f"{side}.{name}.annot", f"{side}.{name}.label"]
        places = [folder / n for folder in (mesh.parent, mesh.parent.parent / "label") for n in names]
        return next((p for p in places if p.suffix.lower() not in SURFACES and p.is_file()), None)
    if mesh.name.lower().endswith(".gii") and mesh.parent.is_dir():
        ours, wanted = _words(mesh.name), _words(name)
        kind = set(_split(name)) & _KINDS
        found: list[Path] = []
        for path in sorted(mesh.parent.glob("*.gii")):
            theirs = _words(path.name)
            rest = [word for word in theirs if word not in wanted]
            # The surface has one word or so of its own: white, midthickness.
            own = [word for word in ours if word not in rest]
            fits = set(wanted) <= set(theirs) and set(rest) <= set(ours) and len(own) <= 1
            if path != mesh and fits and kind <= set(_split(path.name)):
                found.append(path)
        same = [path for path in found if _words(path.name) == _words(found[0].name)]
        if len(same) > 1:
            raise InputError(f"{mesh}: overlay {name!r} is {' and '.join(path.name for path in same)}; name its kind, "
                             f"such as {name}.{_split(same[0].name)[-2]}")  # fmt: skip
        return found[0] if found else None
    return None


def _words(name: str) -> list[str]:
    return [word for word in _split(name) if word not in _KINDS]


def _split(name: str) -> list[str]:
    return [word for word in re.split(r"[._]", name.lower()) if word]


def read_overlay(path: Path, count: int | None = None) -> NDArray:
    """An overlay ``[V]``: float64 numbers, or the labels' names.

    Parameters
    ----------
    path : Path
        FreeSurfer's ``curv``, ``sulc``, ``thickness`` and others, ``.annot``, ``.label``; GIFTI with one array.
    count : int, optional
        Vertices of the surface, which a ``.label`` does not tell: 1 where it has a vertex, else 0.

    Raises
    ------
    InputError
        Damaged, labels without a table of names, several arrays.
    """
    require(f"{path}: an overlay", "formats", only="nibabel")
    import nibabel

    with _one_line(path):
        if path.suffix.lower() == ".annot":
            return _annotation(path)
        if path.suffix.lower() == ".label":
            if count is None:
                raise ValueError("a label alone does not tell the number of vertices; give it with its surface")
            chosen = np.atleast_1d(nibabel.freesurfer.read_label(str(path)))
            if len(chosen) and (chosen.min() < 0 or chosen.max() >= count):
                raise ValueError(f"it has vertex {chosen.max()}, the surface {count}")
            return np.bincount(chosen, minlength=count).clip(max=1).astype(np.float64)
        if path.suffix.lower() == ".gii":
            return _gifti(path, nibabel.gifti.GiftiImage)
        _check_size(path, 3, 4)
        return np.asarray(nibabel.freesurfer.read_morph_data(str(path)), dtype=np.float64)


def _annotation(path: Path) -> NDArray:
    """Names of an annotation, "" where a vertex has none."""
    import nibabel

    _check_size(path, 0, 8)
    # The library takes the vertices for ascending, and a colour that its table lacks for the next one.
    (count,) = np.fromfile(path, ">i4", 1)
    vertices = np.fromfile(path, ">i4", 2 * int(count), offset=4)[::2]
    if not np.array_equal(np.sort(vertices), np.arange(count)):
        raise ValueError(f"its vertices are not 0 to {count - 1}")
    colours, table, names = nibabel.freesurfer.read_annot(str(path), orig_ids=True)
    known = table[:, 4].tolist()
    named = {0: ""} | dict(zip(known, (name.decode(errors="replace") for name in names), strict=True))
    unknown = sorted(set(colours.tolist()) - set(named))
    if unknown:
        raise ValueError(f"label {unknown[0]} is not in its table")
    if len(set(known)) < len(known):
        raise ValueError("two names of its table have one colour, which tells vertices their label; change one")
    return np.array([named[colour] for colour in colours[np.argsort(vertices)].tolist()], dtype=str)


def _gifti(path: Path, image: type) -> NDArray:
    check_gifti(path)
    content = image.from_filename(path, mmap=False)  # type: ignore[attr-defined]
    arrays = [array for array in content.darrays if array.intent not in (1008, 1009)]
    if len(arrays) != 1 or np.size(arrays[0].data) != np.shape(arrays[0].data)[0]:
        raise ValueError(f"it has {len(arrays)} arrays of values; write a file with one number for each vertex")
    values = np.asarray(arrays[0].data).reshape(-1)
    if arrays[0].intent != 1002:  # NIFTI_INTENT_LABEL
        return values.astype(np.float64)
    table = {int(k): str(v) for k, v in content.labeltable.get_labels_as_dict().items()}
    unknown = sorted(set(np.unique(values).tolist()) - set(table))
    if unknown:
        raise ValueError(f"label {unknown[0]} has no name in its table; write the table of names")
    keys, place = np.unique(values, return_inverse=True)
    return np.array([table[int(key)] for key in keys.tolist()], dtype=str)[place]


def _check_size(path: Path, start: int, width: int) -> None:
    """Raise where the number of vertices in the header is more than the file can hold."""
    with path.open("rb") as stream:
        head = stream.read(start + 4)
    if start and head[:3] != b"\xff\xff\xff":
        # The old layout: three bytes of a number, and two for each vertex.
        count, width = int.from_bytes(head[:3], "big"), 2
    else:
        count = int.from_bytes(head[start : start + 4], "big", signed=True)
    if not 0 <= count * width <= path.stat().st_size:
        raise ValueError(f"its {path.stat().st_size} bytes are too few for {count} vertices")


@contextlib.contextmanager
def _one_line(path: Path) -> Iterator[None]:
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    except InputError:
        raise
    # A parser can fail in any way on a damaged file, and all of them mean the same to the user.
    except Exception as error:
        why = "it ends too early" if isinstance(error, IndexError) else first_line(error)
        raise InputError(f"{path}: cannot be read as an overlay ({why}); write it again") from error
