"""Brain surfaces in folders of BIDS, as the developing Human Connectome Project (dHCP) publishes them."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from meshconv.datasets.meshes.files import Split, cut
from meshconv.datasets.meshes.layouts.segments import LabelledFile
from meshconv.datasets.meshes.numbers import MeshNumbers, number_of, read_table
from meshconv.errors import InputError
from meshconv.io.text import read_text

_PARTICIPANTS = "participants.tsv"
_SUBJECT, _SESSION = re.compile(r"sub-([A-Za-z0-9]+)"), re.compile(r"ses-([A-Za-z0-9]+)")


class BidsSurfaces(MeshNumbers):
    """Data module of brain surfaces with a number of their subject or session: age at scan, age at birth.

    Surfaces are ``sub-<subject>/ses-<session>/anat/*_hemi-left*_wm.surf.gii`` or without sessions. Numbers are columns
    of ``participants.tsv``, by ``participant_id``, and of ``sub-<subject>/sub-<subject>_sessions.tsv``, by
    ``session_id``. Overlays beside a surface are inputs by their names: ``scalars: [sulc, curv]``.

    Parameters
    ----------
    root
        The folder with ``participants.tsv``. All surfaces of a subject are in one split: subjects are drawn, or listed
        in ``train.txt`` and ``test.txt`` (``val.txt``), a subject or ``sub-<subject>_ses-<session>`` a line.
    targets : list of str
        Names of columns.
    surface
        ``wm``, ``pial``, ``midthickness`` and others, the last word of the file's name.
    hemisphere
        As file names have it, ``left``, ``right``, ``L`` or ``R``; none: both, each a sample.
    test_fraction, val_fraction
        Shares of subjects for testing, and of the rest for validation, without lists.
    options
        Preparation and batches: see :class:`~meshconv.datasets.meshes.module.MeshData`.

    Raises
    ------
    InputError
        No such files, tables or columns, or a list with nothing of the folder.
    """

    def __init__(
        self,
        root: str,
        targets: Sequence[str] = ("scan_age",),
        surface: str = "wm",
        hemisphere: str | None = None,
        test_fraction: float = 0.2,
        val_fraction: float = 0.0,
        **options: Any,
    ):
        side = "*" if hemisphere is None else f"*_hemi-{hemisphere}*"
        options.setdefault("pattern", f"{side}_{surface}.surf.gii")
        super().__init__(root, targets, None, test_fraction, val_fraction, **options)

    def numbers(
        self, meshes: Sequence[Path], targets: Sequence[str] | None, table: str | None
    ) -> tuple[list[str], dict[Path, list[float]]]:
        """From the tables of participants and sessions."""
        names, by_name = list(targets or ()), self._rows()
        known = sorted({name for row in by_name.values() for name in row})
        if not names or len(set(names)) < len(names):
            raise InputError(f"targets {names}: name at least one, each once")
        for name in names:
            if name not in known:
                there = ", ".join(known)
                raise InputError(f"{self.root}: no column {name!r} of participants or sessions; there is {there}")
        found = {}
        for mesh in meshes:
            subject, session = _ids(mesh.relative_to(self.root))
            row = {**by_name.get((subject, ""), {}), **by_name.get((subject, session), {})}
            if any(name in row for name in names):
                found[mesh] = [number_of(row.get(name, "")) for name in names]
        if not found:
            raise InputError(f"{self.root}: no surface is of a subject in {_PARTICIPANTS} or a table of sessions")
        return names, found

    def _rows(self) -> dict[tuple[str, str], dict[str, str]]:
        """Cells by column, of each subject and of each session."""
        found: dict[tuple[str, str], dict[str, str]] = {}
        of_subjects = self.root / _PARTICIPANTS
        if of_subjects.is_file():
            for row in _table(of_subjects, "participant_id"):
                found[row.pop("participant_id").removeprefix("sub-"), ""] = row
        for path in sorted(self.root.glob("sub-*/sub-*_sessions.tsv")):
            subject = path.parent.name.removeprefix("sub-")
            for row in _table(path, "session_id"):
                found[subject, row.pop("session_id").removeprefix("ses-")] = row
        if not found:
            raise InputError(f"{of_subjects}: no such table, nor sub-*/sub-*_sessions.tsv; put it into the folder")
        return found

    def split(
        self, pairs: Sequence[LabelledFile], test_fraction: float, val_fraction: float
    ) -> dict[Split, list[LabelledFile]]:
        """Surfaces by subjects."""
        by_subject: dict[str, list[LabelledFile]] = {}
        for pair in pairs:
            by_subject.setdefault(_ids(pair.mesh.relative_to(self.root))[0], []).append(pair)
        lists = {split: self.root / f"{split}.txt" for split in get_args(Split)}
        if lists["train"].is_file():
            return {split: self._listed(path, pairs) if path.is_file() else [] for split, path in lists.items()}
        rng = random.Random(f"{self.seed}/subjects")
        rest, test = cut(by_subject, test_fraction, rng)
        train, val = cut(rest, val_fraction, rng)
        chosen: dict[Split, list[str]] = {"train": train, "val": val, "test": test}
        return {split: [pair for name in names for pair in by_subject[name]] for split, names in chosen.items()}

    def _listed(self, path: Path, pairs: Sequence[LabelledFile]) -> list[LabelledFile]:
        names = {line.strip().removeprefix("sub-") for line in read_text(path).split("\n")} - {""}
        found = []
        for pair in pairs:
            subject, session = _ids(pair.mesh.relative_to(self.root))
            if names & {subject, f"{subject}_ses-{session}", f"{subject}_{session}"}:
                found.append(pair)
        if names and not found:
            raise InputError(f"{path}: none of its {len(names)} names is that of a surface, e.g. {min(names)!r}")
        return found


def _ids(place: Path) -> tuple[str, str]:
    """Subject and session of a file, by its folders or its name; "": none."""
    found = [pattern.search(place.as_posix()) for pattern in (_SUBJECT, _SESSION)]
    subject, session = (match[1] if match else "" for match in found)
    return subject, session


def _table(path: Path, key: str) -> list[dict[str, str]]:
    content = read_table(path)
    if key not in content.names:
        raise InputError(f"{path}: no column {key!r}; it has {', '.join(content.names)}")
    return [dict(zip(content.names, row, strict=True)) for row in content.rows]
