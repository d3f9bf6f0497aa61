"""``meshconv generate``: data to train on."""

from __future__ import annotations

from pathlib import Path

from meshconv.commands.parser import Parser
from meshconv.extras import require


def run(args: list[str]) -> None:
    if args[1:2] == ["potential_flow"]:
        _generate_bodies(args)
        return
    parser = Parser(
        prog="meshconv generate",
        description="Data to train on: shallow_water is a planet of shallow water, series of maps for forecasts; "
        "potential_flow (which has options of its own) bodies with pressure and velocity. It goes on where it stopped; "
        "more runs only append.",
    )
    parser.add_argument("what", choices=("shallow_water", "potential_flow"))
    parser.add_argument("output", type=Path, help="folder of the runs, a file or store each")
    parser.add_argument("--format", dest="form", choices=("netcdf", "zarr"), default="netcdf")
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--days", type=int, default=40, help="of each run")
    parser.add_argument("--step_hours", type=float, default=6.0, help="between two maps")
    parser.add_argument("--spin_up_days", type=int, default=1, help="before the first map of a run")
    parser.add_argument("--grid", choices=("healpix", "latlon"), default="healpix")
    parser.add_argument("--nside", type=int, default=16, help="of HEALPix; latlon has 2 nside rows")
    parser.add_argument("--truncation", type=int, default=42, help="largest degree of the solver's harmonics")
    parser.add_argument("--axis", type=float, nargs=3, default=(0.0, 0.0, 1.0), metavar=("X", "Y", "Z"))
    parser.add_argument("--rotation", type=float, default=1.0, help="in rates of the Earth; 0: none")
    parser.add_argument("--speed", type=float, default=30.0, help="largest wind of the initial states, m/s")
    parser.add_argument("--seed", type=int, default=0)
    given = vars(parser.parse_args(args[1:]))
    require("meshconv generate", "planet", "climate")
    from meshconv.datasets.shallow_water.runs import ShallowWaterRuns

    output, runs, form = (given.pop(name) for name in ("output", "runs", "form"))
    del given["what"], given["debug"]
    for path in ShallowWaterRuns(**given).write(output, runs, form):
        print(path)


def _generate_bodies(args: list[str]) -> None:
    parser = Parser(
        prog="meshconv generate potential_flow",
        description="Smooth bodies in a stream: pressure coefficient and tangential velocity at their vertices. It "
        "goes on where it stopped.",
    )
    parser.add_argument("output", type=Path, help="folder, with train/ and test/ of .vtp files")
    parser.add_argument("--train", type=int, default=200, help="bodies for training")
    parser.add_argument("--test", type=int, default=50, help="bodies for testing")
    parser.add_argument("--level", type=int, default=3, help="subdivisions of an icosahedron; 3: 642 vertices")
    parser.add_argument("--roughness", type=float, default=0.08, help="height of waves on the ellipsoids, in radii")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(args[2:])
    from meshconv.datasets.potential_flow.bodies import PotentialFlowBodies

    paths = PotentialFlowBodies(given.level, given.roughness, given.seed).write(given.output, given.train, given.test)
    print(f"{len(paths)} bodies in {given.output}")
