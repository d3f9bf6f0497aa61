"""Brain surfaces in folders of BIDS: files of the published schema, written here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from meshes import icosphere

from meshconv import InputError
from meshconv.datasets import BidsSurfaces

nibabel = pytest.importorskip("nibabel")
OPTIONS = {"cache": False, "workers": 0, "features": ["areas"]}


def gifti(path: Path, *arrays: tuple[np.ndarray, str]) -> None:
    image = nibabel.gifti.GiftiImage()
    for values, intent in arrays:
        image.add_gifti_data_array(nibabel.gifti.GiftiDataArray(values, intent=f"NIFTI_INTENT_{intent}"))
    nibabel.save(image, path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Six infants, of which two were scanned twice, with both hemispheres."""
    ball, rows = icosphere(1), ["participant_id\tsex\tbirth_age\tsingleton"]
    for k in range(6):
        subject = f"CC{k:05}XX0{k}"
        rows.append(f"{subject}\tMale\t{30 + k}.5\tS")
        sessions = ["session_id\tscan_age\tscan_number"]
        for n, session in enumerate(("7702", "9000") if k < 2 else ("7702",)):
            sessions.append(f"{session}\t{40 + k + 5 * n}\t{n + 1}")
            folder = tmp_path / f"sub-{subject}" / f"ses-{session}" / "anat"
            folder.mkdir(parents=True)
            for side in ("left", "right"):
                stem = f"sub-{subject}_ses-{session}_hemi-{side}"
                points = (ball.vertices * [1, 1 + 0.1 * k, 1 + 0.1 * n]).astype(np.float32)
                surface = (points, "POINTSET"), (ball.faces.astype(np.int32), "TRIANGLE")
                for kind in ("wm", "pial"):
                    gifti(folder / f"{stem}_{kind}.surf.gii", *surface)
                value = np.full(42, k + (10 if side == "right" else 0), np.float32) + ball.vertices[:, 0]
                gifti(folder / f"{stem}_sulc.shape.gii", (value.astype(np.float32), "SHAPE"))
        (tmp_path / f"sub-{subject}" / f"sub-{subject}_sessions.tsv").write_text("\n".join(sessions) + "\n")
    (tmp_path / "participants.tsv").write_text("\n".join(rows) + "\n")
    return tmp_path


def test_numbers_are_those_of_the_session_and_no_subject_is_in_two_splits(root: Path) -> None:
    data = BidsSurfaces(str(root), ["scan_age", "birth_age"], test_fraction=0.34, val_fraction=0.25, scalars=["sulc"],
                        **OPTIONS)  # fmt: skip
    files = {split: [path for path, _ in files] for split, files in data.files.items()}
    every = [path for paths in files.values() for path in paths]
    assert len(every) == 16 and all(path.name.endswith("_wm.surf.gii") for path in every)
    subjects = {split: {path.parts[-4] for path in paths} for split, paths in files.items()}
    assert [len(subjects[split]) for split in ("train", "val", "test")] == [3, 1, 2]
    assert len(set.union(*subjects.values())) == 6
    for split in ("train", "val", "test"):
        for sample in data.samples(split):
            k, again = int(Path(sample.name).parts[-4][6:11]), "ses-9000" in sample.name
            assert sample.target.tolist() == [[40 + k + 5 * again, 30.5 + k]]
    left = BidsSurfaces(str(root), ["birth_age"], hemisphere="left", surface="pial", scalars=["sulc"], **OPTIONS)
    names = [path.name for files in left.files.values() for path, _ in files]
    assert len(names) == 8 and all("hemi-left_pial" in name for name in names)
    mean, _ = left.how.given.statistics["sulc"]
    assert 0 <= mean < 6  # of the left hemispheres alone


def test_lists_name_subjects_or_sessions(root: Path) -> None:
    (root / "train.txt").write_text("sub-CC00000XX00\nCC00002XX02\n")
    (root / "test.txt").write_text("sub-CC00001XX01_ses-9000\n")
    data = BidsSurfaces(str(root), hemisphere="left", **OPTIONS)
    assert [len(data.files[split]) for split in ("train", "val", "test")] == [3, 0, 1]
    (root / "test.txt").write_text("nobody\n")
    with pytest.raises(InputError, match="none of its 1 names is that of a surface"):
        BidsSurfaces(str(root), **OPTIONS)


def test_what_is_missing_is_one_line(root: Path) -> None:
    with pytest.raises(InputError, match="there is birth_age, scan_age, scan_number, sex, singleton"):
        BidsSurfaces(str(root), ["age"], **OPTIONS)
    with pytest.raises(InputError, match="none of 48 mesh files is named like"):
        BidsSurfaces(str(root), surface="white", **OPTIONS)
    (root / "participants.tsv").write_text("id\tbirth_age\nx\t3\n")
    with pytest.raises(InputError, match="no column 'participant_id'; it has id, birth_age"):
        BidsSurfaces(str(root), **OPTIONS)
    (root / "participants.tsv").unlink()
    for path in root.glob("sub-*/*_sessions.tsv"):
        path.unlink()
    with pytest.raises(InputError, match=r"participants\.tsv: no such table"):
        BidsSurfaces(str(root), **OPTIONS)
