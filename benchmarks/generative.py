"""Variational auto-encoders of fields against principal components of as many numbers.

    python benchmarks/generative.py sst --data ersst_ibtracs_hp32_nested.npz --out runs/generative
    python benchmarks/generative.py shapes --out runs/generative --picture shapes.png
    python benchmarks/generative.py print --out runs/generative      # the tables of docs/generative.md

``sst``: monthly sea-surface temperature (``sst_degC [month, pixel]``, NESTED) on a HEALPix sphere, less the mean of a
calendar month of the training years 2010 to 2017; later months are the test. EOFs are those of the training months.
Turned fields: the sphere turned by 90 degrees about its axis, land with it, an exact permutation of pixels.

``shapes``: spheres under smooth random maps of space, 642 vertices; the errors are of meshes to which noise was added,
from the mesh without noise, in percent of the square root of the area. Results of several ``--seeds`` go to a file;
stopped, a run goes on.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import numpy as np
import torch
from map_training import Results
from scipy.spatial import ConvexHull, cKDTree
from scipy.special import sph_harm_y
from torch import Tensor

import meshconv
from meshconv import HealpixSphere, Hierarchy, TriangleMesh
from meshconv.datasets.generated import deform
from meshconv.generative import FieldVAE, GenerationTask
from meshconv.generative.displacements import aligned
from meshconv.io import save_mesh
from meshconv.train import load_task
from meshconv.viz import contact_sheet

TRAIN_MONTHS = 96


def sst(given: argparse.Namespace) -> None:
    celsius = np.load(given.data)["sst_degC"].astype(np.float64)
    celsius = celsius.reshape(len(celsius), 12 * given.nside**2, -1).mean(-1)  # NaN where a part is land
    month = np.arange(len(celsius)) % 12
    climatology = np.stack([celsius[:TRAIN_MONTHS][month[:TRAIN_MONTHS] == m].mean(0) for m in range(12)])
    off = celsius - climatology[month]
    sea = np.isfinite(off).all(0)
    size = off[:TRAIN_MONTHS, sea].std()
    x = torch.from_numpy(off / size).float()[..., None]
    levels = given.nside.bit_length() - 1  # down to 48 points
    surface = HealpixSphere(given.nside).hierarchy(levels).to(torch.float32)
    turn = quarter_turn(HealpixSphere(given.nside))
    results = Results(given.out / "results.jsonl")
    for latent in given.latent:
        numbers = surface.levels[-1].num_vertices * meshconv.FieldType(latent).dim
        for model, errors in (("EOFs", principal), ("harmonics", harmonics)):
            if not results.has(set="sst", model=model, numbers=numbers):
                add(results, model, numbers, 0, errors(x, numbers, sea, turn), size)
        for seed in given.seeds:
            if results.has(set="sst", model="FieldVAE", numbers=numbers, seed=seed):
                continue
            torch.manual_seed(seed)
            vae = FieldVAE("1x0", latent, [8 * (k + 2) for k in range(levels)], aggregation="quadrature")
            start = time.process_time()
            fit(vae, x[:TRAIN_MONTHS], surface, given.steps)
            seconds = time.process_time() - start
            with torch.no_grad():
                errors = [rmse(vae(v, surface), v) for v in (x[TRAIN_MONTHS:], x[TRAIN_MONTHS:, turn])]
            add(results, "FieldVAE", numbers, seed, errors, size, seconds)


def add(
    results: Results, model: str, numbers: int, seed: int, errors: list[float], size: float, seconds: float = 0.0
) -> None:
    row = {"set": "sst", "model": model, "numbers": numbers, "seed": seed}
    results.add(row | {"rmse": errors[0] * size, "turned": errors[1] * size, "seconds": seconds})


def quarter_turn(sphere: HealpixSphere) -> np.ndarray:
    """The pixel that each pixel's value comes from when the sphere turns by 90 degrees about its axis."""
    x, y, z = sphere.xyz.T
    distance, found = cKDTree(sphere.xyz).query(np.stack([y, -x, z], axis=1))
    assert distance.max() < 1e-9
    return found


def fit(vae: FieldVAE, x: Tensor, surface: Hierarchy, steps: int, batch: int = 4) -> None:
    """AdamW with one cycle, the divergence warmed up; months are mixed in pairs, as Gaussian fields may be."""
    optimiser = torch.optim.AdamW(vae.parameters(), 5e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 5e-3, total_steps=steps, pct_start=0.2)
    for step in range(steps):
        one, other = (x[torch.randint(len(x), (batch,))] for _ in range(2))
        turn = 2 * torch.pi * torch.rand(batch, 1, 1)
        some = one * turn.cos() + other * turn.sin()
        loss = -vae.bound(some, surface, beta=min((step + 1) / (0.3 * steps), 1.0)).mean() / x.shape[1]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    vae.eval()


def principal(x: Tensor, numbers: int, sea: np.ndarray, turn: np.ndarray) -> list[float]:
    """Errors of the projections on EOFs, of test months and of turned ones: there where both have sea."""
    train, test = x[:TRAIN_MONTHS, sea, 0].double().numpy(), x[TRAIN_MONTHS:, :, 0].double().numpy()
    mean = train.mean(0)
    vectors = np.linalg.svd(train - mean, full_matrices=False)[2][:numbers]
    errors = []
    for fields in (test, test[:, turn]):
        there = np.isfinite(fields[0, sea])
        off = fields[:, sea][:, there] - mean[there]
        basis = vectors[:, there].T
        weights = np.linalg.lstsq(basis, off.T, rcond=None)[0]
        errors.append(float(np.sqrt(np.mean((off.T - basis @ weights) ** 2))))
    return errors


def harmonics(x: Tensor, numbers: int, sea: np.ndarray, turn: np.ndarray) -> list[float]:
    """Errors of the lowest spherical harmonics, fitted to the sea: the numbers of no place or pattern."""
    sphere = HealpixSphere(math.isqrt(x.shape[1] // 12))
    pairs = [(n, m) for n in range(math.isqrt(numbers) + 1) for m in range(n + 1)]
    basis = np.stack([part for pair in pairs for part in _harmonic(*pair, sphere.theta, sphere.phi)])[:numbers].T
    errors = []
    for fields in (x[TRAIN_MONTHS:, :, 0].double().numpy(), x[TRAIN_MONTHS:, turn, 0].double().numpy()):
        there = np.isfinite(fields[0])
        off, some = fields[:, there].T, basis[there]
        errors.append(float(np.sqrt(np.mean((off - some @ np.linalg.lstsq(some, off, rcond=None)[0]) ** 2))))
    return errors


def _harmonic(n: int, m: int, theta: np.ndarray, phi: np.ndarray) -> list[np.ndarray]:
    values = sph_harm_y(n, m, theta, phi)
    return [values.real, values.imag] if m else [values.real]


def rmse(found: Tensor, x: Tensor) -> float:
    return float((found - x).square().nanmean().sqrt())


def sphere(level: int) -> TriangleMesh:
    """Points of a Fibonacci spiral and their hull."""
    count = {2: 162, 3: 642}[level]
    index = np.arange(count) + 0.5
    height, turn = 1 - 2 * index / count, np.pi * (1 + 5**0.5) * index
    ring = np.sqrt(1 - height**2)
    points = np.stack([ring * np.cos(turn), ring * np.sin(turn), height], axis=1)
    faces = ConvexHull(points).simplices.astype(np.int64)
    a, b, c = (points[faces[:, k]] for k in range(3))
    inward = np.einsum("fi,fi->f", np.cross(b - a, c - a), a) < 0
    faces[inward] = faces[inward][:, ::-1]
    return TriangleMesh(points, faces, "sphere")


def shapes(given: argparse.Namespace) -> None:
    folder, base, rng = given.out / "shapes", sphere(3), np.random.default_rng(0)
    bodies = []
    for k in range(160):
        points = base.vertices
        for _ in range(2):
            points = deform(points, rng)
        bodies.append(TriangleMesh(points, base.faces, f"{k:03}"))
        path = folder / ("train" if k < 128 else "test") / f"{k:03}.ply"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            save_mesh(bodies[-1], path)
    results = Results(given.out / "results.jsonl")
    for seed in given.seeds:
        run = f"shapes_{seed}"
        path = given.out / run / "last.ckpt"
        if not path.exists():
            options = {"trainer.max_epochs": given.epochs, "trainer.accelerator": "cpu"}
            options["trainer.enable_progress_bar"] = False
            meshconv.fit("generate_shapes", root=folder, runs=given.out, name=run, seed_everything=seed, **options)
        task = load_task(path)
        if seed == given.seeds[0] and given.picture:
            drawn, way = task.draw_meshes(5), task.interpolate_meshes(bodies[128], bodies[129], 5)
            names = ["drawn"] * len(drawn) + ["a test body", "", "between", "", "another"]
            sheet = contact_sheet(drawn + way, names, ["#333333"] * len(names), columns=5, show_relief=False, cell=2.0)
            sheet.savefig(given.picture, dpi=90)
        if not results.has(set="shapes", seed=seed):
            errors = denoised(task, bodies[:128], bodies[128:], given.noise)
            results.add({"set": "shapes", "seed": seed} | errors)


def denoised(
    task: GenerationTask, train: list[TriangleMesh], test: list[TriangleMesh], noise: float
) -> dict[str, float]:
    """Errors of noisy meshes, of their reconstruction, and of that by principal components of as many numbers."""
    rng, predict = np.random.default_rng(1), meshconv.Predictor(task, "cpu", cache=False, workers=0)
    template = np.asarray(task.spec["template"]["vertices"])
    unit = 100 / np.sqrt(TriangleMesh(template, test[0].faces).area)
    numbers = task.network.latent.dim * task.template()[1].levels[-1].num_vertices
    rows = np.stack([(aligned(m.vertices, template) - template).ravel() for m in train])
    mean = rows.mean(0)
    basis = np.linalg.svd(rows - mean, full_matrices=False)[2][: min(numbers, len(rows) - 1)]
    errors: dict[str, list[float]] = {"noisy": [], "vae": [], "pca": []}
    for mesh in test:
        true = aligned(mesh.vertices, template)
        scale = noise * np.sqrt(TriangleMesh(true, mesh.faces).area)
        given = true + scale * rng.normal(size=true.shape)
        off = (aligned(given, template) - template).ravel() - mean
        found = {
            "noisy": given,
            "vae": predict(TriangleMesh(given, mesh.faces, mesh.name)).mesh.vertices,
            "pca": template + (mean + basis.T @ (basis @ off)).reshape(-1, 3),
        }
        for name, points in found.items():
            errors[name].append(np.sqrt(np.mean(np.sum((points - true) ** 2, axis=1))))
    return {"numbers": numbers, "components": len(basis)} | {k: unit * float(np.mean(v)) for k, v in errors.items()}


def table(given: argparse.Namespace) -> None:
    results = Results(given.out / "results.jsonl")
    print("| latent numbers | model | error, K | error of turned fields, K |\n| --- | --- | --- | --- |")
    for numbers in sorted({row["numbers"] for row in results.select(set="sst")}):
        for model in ("EOFs", "harmonics", "FieldVAE"):
            rows = results.select(set="sst", model=model, numbers=numbers)
            cells = [spread([row[key] for row in rows]) for key in ("rmse", "turned")]
            print(f"| {numbers} | {model} | {' | '.join(cells)} |")
    rows = results.select(set="shapes")
    if rows:
        print("\n| with noise | `FieldVAE` | principal components |\n| --- | --- | --- |")
        print(f"| {' | '.join(spread([row[key] for row in rows]) for key in ('noisy', 'vae', 'pca'))} |")
        print(f"latent numbers {rows[0]['numbers']}, components {rows[0]['components']}")


def spread(values: list[float]) -> str:
    return f"{np.mean(values):.3f}" + (f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("sst", "shapes", "print"))
    parser.add_argument("--data", type=Path, default=Path("../shared/data/sst_tc/ersst_ibtracs_hp32_nested.npz"))
    parser.add_argument("--out", type=Path, default=Path("runs/generative"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--nside", type=int, default=8, help="of the temperatures; a power of 2, from 4 to 32")
    parser.add_argument("--latent", nargs="+", default=["1x0", "1x0 + 1x1"], help="latent types on 48 points")
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--noise", type=float, default=0.01)
    parser.add_argument("--picture", type=Path)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    {"sst": sst, "shapes": shapes, "print": table}[given.what](given)


if __name__ == "__main__":
    main()
