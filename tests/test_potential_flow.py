"""Potential flow: closed forms of sphere and ellipsoid, turned bodies, d'Alembert's paradox, and the data set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from meshes import icosphere
from scipy.spatial.transform import Rotation

from meshconv import InputError
from meshconv.cli import main
from meshconv.datasets import BodyFlow, MeshFields, PotentialFlowBodies
from meshconv.datasets.potential_flow.solver import ellipsoid_velocity
from meshconv.io import load_mesh

STREAM = np.array([1.0, 0.5, -0.3]) / np.linalg.norm([1.0, 0.5, -0.3])


def relative(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


def test_a_sphere_to_one_percent() -> None:
    ball = icosphere(3)
    flow = BodyFlow(ball.vertices, ball.faces)(STREAM)
    along = ball.vertices @ STREAM
    wanted = 1.5 * (STREAM - along[:, None] * ball.vertices)
    assert relative(flow.velocity, wanted) < 0.005
    assert relative(flow.pressure, 1 - 9 / 4 * (1 - along**2)) < 0.01
    assert relative(flow.potential, 1.5 * along) < 0.005


@pytest.mark.parametrize("axes", [(2.0, 1.0, 1.0), (1.0, 0.6, 0.4), (0.5, 1.0, 0.7)])
def test_ellipsoids_to_one_and_a_half_percent(axes: tuple[float, float, float]) -> None:
    ball = icosphere(3)
    points = ball.vertices * axes
    flow = BodyFlow(points, ball.faces)(3 * STREAM)
    wanted = ellipsoid_velocity(axes, points, STREAM)
    assert relative(flow.velocity, wanted) < 0.01
    assert relative(flow.pressure, 1 - (wanted**2).sum(axis=1)) < 0.015


def test_the_closed_form_is_that_of_quadrature() -> None:
    """Lamb's integral for the half length along the stream, by the substitution of half-angle."""
    axes = np.array([2.0, 1.0, 0.7])
    t = (np.arange(200_000) + 0.5) / 200_000
    lam = (t / (1 - t)) ** 2
    root = np.sqrt(((axes**2)[:, None] + lam).prod(axis=0))
    alpha = axes.prod() * (2 * t / (1 - t) ** 3 / ((axes[0] ** 2 + lam) * root)).mean()
    found = ellipsoid_velocity(axes, [[0.0, 1.0, 0.0]], [1, 0, 0])
    assert found[0] == pytest.approx([2 / (2 - alpha), 0, 0], rel=1e-4)


@pytest.mark.slow
def test_the_error_falls_as_the_square_of_the_spacing() -> None:
    errors = []
    for level in (3, 4):
        ball = icosphere(level)
        points = ball.vertices * [1.0, 0.6, 0.5]
        flow = BodyFlow(points, ball.faces)(STREAM)
        wanted = ellipsoid_velocity([1.0, 0.6, 0.5], points, STREAM)
        errors.append(relative(flow.velocity, wanted))
    assert errors[1] < errors[0] / 3.5


def test_bodies_that_turn_with_the_stream_and_pressure_has_no_drag() -> None:
    mesh, stream, flow = PotentialFlowBodies().body(5)
    turn = Rotation.random(random_state=2).as_matrix()
    turned = BodyFlow(2 * mesh.vertices @ turn.T + 1, mesh.faces)(turn @ stream)
    assert relative(turned.pressure, flow.pressure) < 1e-6
    assert relative(turned.velocity, flow.velocity @ turn.T) < 1e-6
    solver = BodyFlow(mesh.vertices, mesh.faces)
    assert np.abs((flow.velocity * solver.normals).sum(axis=1)).max() < 1e-10
    force = ((flow.pressure * solver.areas)[:, None] * solver.normals).sum(axis=0)
    assert np.linalg.norm(force) < 0.01 * (np.abs(flow.pressure) * solver.areas).sum()


def test_bad_bodies_are_one_line() -> None:
    ball = icosphere(2)
    for faces, stream, says in (
        (ball.faces[1:], STREAM, "not closed"),
        (ball.faces[:, ::-1], STREAM, "look inward"),
        (ball.faces, np.zeros(3), "is no vector"),
        (ball.faces, np.ones(2), "is no vector"),
    ):
        with pytest.raises(InputError, match=says):
            BodyFlow(ball.vertices, faces)(stream)
    with pytest.raises(InputError, match="potential flow takes 25 to"):
        BodyFlow(icosphere(0).vertices, icosphere(0).faces)
    for options in ({"level": 9}, {"roughness": 0.5}, {"seed": -1}):
        with pytest.raises(InputError, match=next(iter(options))):
            PotentialFlowBodies(**options)


def test_the_command_writes_a_data_set_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "bodies"
    command = ["generate", "potential_flow", str(out), "--level", "2", "--test", "1", "--train"]
    assert main([*command, "2"]) == 0
    first = (out / "train" / "0000.vtp").read_bytes()
    (out / "train" / "0001.vtp").unlink()
    assert main([*command, "3"]) == 0
    assert "4 bodies" in capsys.readouterr().out
    assert (out / "train" / "0000.vtp").read_bytes() == first
    data = MeshFields(str(out), ["cp", "velocity"], vectors=["stream"], cache=False, workers=0)
    assert [len(data.files[k]) for k in ("train", "test")] == [3, 1]
    assert str(data.out_type) == "1x0 + 1x1"
    sample, mesh = data.samples("train")[0], load_mesh(data.files["train"][0][0])
    speed = sample.target[:, 1:].norm(dim=1).numpy()
    # On coarse meshes their normals are not the solver's, whose velocity is tangential to the smooth body.
    assert np.median(np.abs(1 - speed**2 - mesh.vertex_data["cp"])) < 0.01
    assert main([*command, "2", "--seed", "1"]) == 2
    assert "bodies of other options" in capsys.readouterr().err
    assert main(["generate", "potential_flow", str(out), "--level", "x"]) == 2
