"""Networks that ship: trains them, tests them, and writes data/models/NAME.ckpt and NAME.json.

    python data/build_models.py                    # all, one after the other
    python data/build_models.py koeppen shapes     # some of them
    python data/build_models.py --again            # the files anew, from trainings that are there

Runs stay in runs/models/NAME, data in runs/models/data; those of rna are to be put there. A checkpoint that ships
holds weights and hyperparameters, no state of an optimiser. NAME.json holds what the test wrote, and which data,
licence and versions.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from meshconv.cli import main as meshconv
from meshconv.compress import save
from meshconv.datasets import generate_shape
from meshconv.io import save_mesh
from meshconv.train import load_task

MODELS = Path(__file__).parent / "models"
RUNS = Path("runs/models")
DATA = RUNS / "data"


@dataclass(frozen=True)
class Recipe:
    """How a network is made.

    Attributes
    ----------
    config
        Name of its configuration.
    options
        What differs from it.
    data, licence
        Data of the training, and their licence: that of the weights.
    scores
        Entries of ``test_metrics.json`` that are listed.
    prepare
        Writes the data, or stops where they have to be put and are not.
    compress
        What ``meshconv compress`` does to the trained network, if anything.
    """

    config: str
    options: tuple[str, ...]
    data: str
    licence: str
    scores: tuple[str, ...]
    prepare: Callable[[], object] = lambda: None
    compress: tuple[str, ...] = ()


def command(*words: object) -> None:
    """Run ``meshconv`` with these words; an error ends the script."""
    print("meshconv", *words, flush=True)
    if status := meshconv([str(word) for word in words]):
        raise SystemExit(status)


def write_families(folder: Path) -> None:
    """Half of the families of generated shapes: the others are left to be learned (benchmarks/fine_tuning.py)."""
    for k, name in enumerate(("apart", "dent_beside", "dent_ahead", "ridges_abreast")):
        for i in range(60):
            split = "train" if i < 40 else "test"
            (folder / name / split).mkdir(parents=True, exist_ok=True)
            mesh = generate_shape(name, np.random.default_rng([500, k, i]))
            save_mesh(mesh, folder / name / split / f"{name}_{i:03d}.ply")


def find_rna() -> None:
    """Stop unless the data are there."""
    if not (DATA / "rna" / "train.txt").is_file():
        raise SystemExit(
            f"{DATA / 'rna'}: no RNA surfaces; clone https://github.com/nmwsharp/RNA-Surface-Segmentation-Dataset "
            "there, or unpack decimated ones with benchmarks/rna_files.py"
        )


PLANET = ("generate", "shallow_water", DATA / "planet", "--days=20", "--runs=20")

RECIPES = {
    "planet": Recipe(
        "forecast",
        (f"--data.init_args.inputs={DATA / 'planet' / '*.nc'}",),
        "shallow-water planet, nside 16: meshconv generate shallow_water --days 20 --runs 20, last fifth for testing",
        "BSD-3-Clause",
        ("rmse/h", "rmse/u+v"),
        lambda: command(*PLANET),
    ),
    "koeppen": Recipe(
        "climate_koeppen",
        (),
        "koeppen_hp64.nc: annual means of ERA5, zones of Rubel et al. 2017; fold 3 held out",
        "BSD-3-Clause; contains modified Copernicus Climate Change Service information 2026 (data/README.md)",
        ("accuracy", "mean_iou"),
    ),
    "shapes": Recipe(
        "classify",
        (
            f"--data.init_args.root={DATA / 'shapes'}",
            "--data.init_args.variants=1",
            "--data.init_args.val_fraction=0",
            "--model.init_args.options={channels: 8, max_order: 2, blocks: 3}",
            "--trainer.max_epochs=15",
        ),
        "generated shapes: 40 meshes of each of 4 families for training, 20 for testing (data/build_models.py)",
        "BSD-3-Clause",
        ("accuracy",),
        lambda: write_families(DATA / "shapes"),
    ),
    "rna": Recipe(
        "segment",
        (
            f"--data.init_args.root={DATA / 'rna'}",
            "--data.init_args.num_levels=5",
            "--data.init_args.variants=0",
            "--data.init_args.augment=null",
            "--data.init_args.val_fraction=0",
            "--model.init_args.options={channels: [12, 24, 32, 48, 48], max_order: 1, context: 16}",
            "--trainer.max_epochs=24",
            "--trainer.max_steps=20000",
        ),
        "RNA surfaces (Poulenard et al. 2019) decimated to 8,000 faces: 547 meshes for training, 136 for testing",
        "MIT, as the data",
        ("accuracy", "mean_iou"),
        find_rna,
        ("--prune=l0", "--epochs=8", "--bits=8"),
    ),
}


def train(name: str, recipe: Recipe) -> None:
    """Train and test, unless both are there; a training that was stopped goes on."""
    run = RUNS / name
    if (run / "test_metrics.json").is_file():
        return
    trained = run / "trained"
    if not trained.is_file():
        recipe.prepare()
        where = (f"--name={name}", f"--runs={RUNS}")
        command("fit", "--config", recipe.config, *recipe.options, *where, "--resume")
        if recipe.compress:
            files = ("--data", run / "config.yaml", "--output", run / "small.ckpt")
            command("compress", run / "last.ckpt", *recipe.compress, *files)
        trained.touch()
    command("test", "--config", run / "config.yaml", "--ckpt_path", final(run, recipe))


def final(run: Path, recipe: Recipe) -> Path:
    """The checkpoint that ships."""
    return run / ("small.ckpt" if recipe.compress else "last.ckpt")


def ship(name: str, recipe: Recipe) -> None:
    """Write the files of a trained network."""
    run = RUNS / name
    test = json.loads((run / "test_metrics.json").read_text(encoding="utf-8"))
    made = json.loads((run / "provenance.json").read_text(encoding="utf-8"))
    about = {
        "data": recipe.data,
        "licence": recipe.licence,
        "scores": {score: test[score] for score in recipe.scores},
        "command": ["python", "data/build_models.py", name],
        "config": recipe.config,
        "options": [option for option in recipe.options if str(DATA) not in option],
        "compress": list(recipe.compress),
        "versions": made["versions"],
        "test": test,
    }
    MODELS.mkdir(exist_ok=True)
    save(load_task(final(run, recipe)), MODELS / f"{name}.ckpt")
    (MODELS / f"{name}.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    print(MODELS / f"{name}.ckpt", *(f"{k} {v:.4g}" for k, v in about["scores"].items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(RECIPES)}; default: all")
    parser.add_argument("--again", action="store_true", help="write the files anew, from trainings that are there")
    given = parser.parse_args()
    unknown = [name for name in given.names if name not in RECIPES]
    if unknown:
        parser.error(f"no recipe for {', '.join(unknown)}; there are {', '.join(RECIPES)}")
    for name in given.names or RECIPES:
        if not given.again:
            train(name, RECIPES[name])
        ship(name, RECIPES[name])


if __name__ == "__main__":
    main()
