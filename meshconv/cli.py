"""The command ``meshconv``."""

from __future__ import annotations

import json
import logging
import platform
import signal
import sys
import threading
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import NoReturn

from meshconv.errors import InputError, PlaceError, behind
from meshconv.extras import require

_USAGE = """usage: meshconv COMMAND ...

Convolutional networks on triangle meshes and on the sphere.

commands:
  demo      train on climate and on generated meshes, write a report (about six minutes)
  fit       train:    meshconv fit --config classify --data.init_args.root FOLDER
  test      evaluate: meshconv test --config runs/NAME/config.yaml --ckpt_path last
  validate  the same on the validation split
  calibrate meshconv calibrate runs/NAME/last.ckpt... --config runs/NAME/config.yaml: one or an ensemble of several
  compress  meshconv compress runs/NAME/last.ckpt --prune l0 --bits 8 --data runs/NAME/config.yaml
  predict   meshconv predict runs/NAME/last.ckpt FILE...; of a calibrated one with --uncertainty
  models    networks that come with meshconv: their names stand for a checkpoint in every command
  export    meshconv export runs/NAME/last.ckpt --to torch aoti onnx: files for other programs
  serve     meshconv serve runs/NAME/last.ckpt: predictions over HTTP, and a page to try them
  generate  meshconv generate shallow_water OUT: weather of a planet to train forecasts on
  check     meshconv check FILE...: defects of meshes; --repair OUT repairs them
  view      meshconv view FILE: a mesh with its arrays, or maps on a globe, as a page that turns
  cache     folder and size of the cache of prepared meshes; --clear empties it
  info      versions, devices, and the kernels of each operator

meshconv COMMAND --help lists all options; --debug shows tracebacks."""


def main(argv: list[str] | None = None) -> int:
    """Run one command; 0 on success, 2 with one line on bad input, 130 on Ctrl-C, 143 on SIGTERM.

    ``check`` has 1 for a mesh that needs repair.
    """
    args = list(sys.argv[1:] if argv is None else argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)  # that it builds a cache is no news
    if not args or args[0] in ("-h", "--help"):
        print(_USAGE)
        return 0
    commands = {"demo": _demo, "fit": _lightning, "test": _lightning, "validate": _lightning, "calibrate": _calibrate,
                "compress": _compress, "predict": _predict, "models": _models, "export": _export, "serve": _serve,
                "prepare": _prepare, "generate": _generate, "check": _check, "view": _view, "cache": _cache,
                "info": _info}  # fmt: skip
    if args[0] not in commands:
        print(f"meshconv: error: no command {args[0]!r}; there are {', '.join(commands)}", file=sys.stderr)
        return 2
    try:
        with _terminable():
            status = commands[args[0]](args)
    except Exception as error:
        bad_input = behind(error) or _bad_place(error)
        if bad_input is None or "--debug" in args:
            raise
        print(f"meshconv: error: {bad_input}", file=sys.stderr)
        return 2
    except Terminated:
        print("meshconv: terminated", file=sys.stderr)
        return 128 + signal.SIGTERM
    except KeyboardInterrupt:
        print("meshconv: interrupted", file=sys.stderr)
        return 128 + signal.SIGINT
    return status or 0


class Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a command as Ctrl-C does: what is half written is removed."""


@contextmanager
def _terminable() -> Iterator[None]:
    """Context in which SIGTERM raises :class:`Terminated`, unless the program has a handler of its own."""

    def terminate(*_: object) -> NoReturn:
        raise Terminated

    plain = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    if plain:
        signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        if plain:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _bad_place(error: BaseException | None) -> PlaceError | None:
    """A full disk or missing rights behind an exception."""
    while error is not None and not (isinstance(error, OSError) and error.errno in PlaceError.ERRNOS):
        error = error.__cause__ or error.__context__
    return None if error is None else PlaceError.of(error)


class _Parser(ArgumentParser):
    """A parser whose objections are one line, as all others."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{self.prog.removeprefix('meshconv ')}: {message}; {self.prog} --help lists the options")


def _truth(word: str) -> bool:
    """An option's value as configurations write it; argparse says what is wrong with another."""
    if word.lower() not in ("true", "false"):
        raise ValueError(word)
    return word.lower() == "true"


def _folder(word: str) -> bool | str:
    """A folder, or whether there is one."""
    return word.lower() == "true" if word.lower() in ("true", "false") else word


def _lightning(args: list[str]) -> None:
    require(f"meshconv {args[0]}", "train")
    from meshconv.train.fit import RunCLI
    from meshconv.train.loop.run import quiet

    quiet()
    RunCLI(args)


def _calibrate(args: list[str]) -> None:
    require("meshconv calibrate", "train")
    from meshconv.train.loop.run import quiet
    from meshconv.uncertainty.command import run

    quiet()
    run(args[1:])


def _predict(args: list[str]) -> None:
    parser = _Parser(prog="meshconv predict", description="Prediction for meshes or maps by a trained network.")
    parser.add_argument("checkpoint", type=Path, help="of meshconv fit, export, or a name of meshconv models")
    parser.add_argument("files", nargs="+", help="meshes or folders of them, or NetCDF files with maps")
    parser.add_argument("--output", type=Path, default=Path("predictions"), help="path without suffix")
    parser.add_argument("--strict", action="store_true", help="stop at the first unusable input")
    parser.add_argument("--template", type=Path, help="mesh to which the others are matched; default: the first")
    parser.add_argument("--pixel_order", choices=("nest", "ring"), help="pixel order of maps without the attribute")
    parser.add_argument("--join", action="store_true", help="map files together are one input (a variable in each)")
    parser.add_argument("--select", nargs="+", default=[], metavar="NAME=VALUE", help="of maps: member=3 level=850")
    parser.add_argument("--dimension", nargs="+", help="of maps: predict along these; default: that of the training")
    parser.add_argument("--maps", type=_truth, default=True, help="false: no pictures of predicted maps")
    parser.add_argument("--step", type=int, nargs="+", help="steps to draw, from 0; default: the first and the last")
    parser.add_argument("--steps", type=int, help="of a forecast from the last time of a file")
    parser.add_argument("--probability", help="class whose probability is drawn too")
    parser.add_argument("--uncertainty", action="store_true", help="of a calibrated checkpoint (meshconv calibrate)")
    parser.add_argument("--device", default="auto", help="cpu, cuda or cuda:1; auto: the GPU if there is one")
    parser.add_argument("--trust", action="append", metavar="PACKAGE", help="may be imported for the checkpoint")
    parser.add_argument("--cache", type=_folder, default=True, help="folder of prepared meshes; false: none")
    parser.add_argument("--workers", type=int, help="processes that prepare meshes; 0: this one")
    parser.add_argument("--debug", action="store_true", help="show a traceback for bad input")
    given = parser.parse_args(args[1:])
    from meshconv.train import MapOptions, MapPictures, Predictor

    if given.uncertainty:
        require("meshconv predict --uncertainty", "train")
        from meshconv.uncertainty import UncertainPredictor as Predictor

    if given.select:  # of maps alone
        from meshconv.io.maps.selection import parse_selection

        given.select = parse_selection(given.select)
    predictor = Predictor(given.checkpoint, given.device, given.trust or (), given.cache, given.workers)
    for path in predictor.save(
        given.files, given.output, strict=given.strict, template=given.template,
        maps=MapOptions(given.pixel_order, given.select, given.dimension, given.join),
        pictures=MapPictures(given.step, given.probability) if given.maps else None, horizon=given.steps,
    ):  # fmt: skip
        print(path)


def _models(args: list[str]) -> None:
    parser = _Parser(
        prog="meshconv models",
        description="Networks that come with meshconv. Their names stand for a checkpoint in predict, test, export, "
        "serve, compress, calibrate and --model.init_args.pretrained.",
    )
    parser.add_argument("--json", action="store_true", help="print all that is known of them instead of a table")
    parser.add_argument("--debug", action="store_true", help="show a traceback for bad input")
    given = parser.parse_args(args[1:])
    from meshconv.shipped import shipped_models

    models = shipped_models()
    if given.json:
        print(json.dumps(models, indent=1))
        return
    for name, about in models.items():
        scores = ", ".join(f"{score} {value:.3g}" for score, value in about["scores"].items())
        print(f"{name:8}  {about['bytes'] / 1e6:.2f} MB  test: {scores}")
        print(f"{'':8}  data: {about['data']}")
        print(f"{'':8}  licence: {about['licence']}")


def _compress(args: list[str]) -> None:
    parser = _Parser(
        prog="meshconv compress",
        description="A smaller network with the same symmetry: fields are pruned, weights are rounded. Writes a "
        "checkpoint for meshconv predict, and prints what it costs and how good it is, before and after.",
    )
    parser.add_argument("checkpoint", type=Path, help="written by meshconv fit, or a name of meshconv models")
    parser.add_argument("--prune", choices=("l0", "jeffreys", "magnitude"), help="how fields are chosen; default: none")
    parser.add_argument("--bits", type=int, help="of weights: 8 or 4; default: floats")
    parser.add_argument("--data", type=Path, metavar="CONFIG", help="configuration with the data, to train and to test")
    parser.add_argument("--sparsity", type=float, default=0.5, help="of l0 and jeffreys: weight of their cost")
    parser.add_argument("--keep", type=float, default=0.3, help="of magnitude: share of the fields that stays")
    parser.add_argument("--epochs", type=int, default=10, help="of training, with gates and after pruning together")
    parser.add_argument("--learning_rate", type=float, help="default: that of the checkpoint")
    parser.add_argument("--samples", type=int, default=0, help="training samples for rounding; 0: to the nearest")
    parser.add_argument("--bf16", action="store_true", help="features in bfloat16: the symmetry is no longer exact")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("compressed.ckpt"))
    parser.add_argument("--trust", action="append", metavar="PACKAGE", help="may be imported for the checkpoint")
    parser.add_argument("--debug", action="store_true", help="show a traceback for bad input")
    given = vars(parser.parse_args(args[1:]))
    require("meshconv compress", "train")
    from meshconv.compress import Pruning, compress_checkpoint
    from meshconv.train.loop.run import quiet

    quiet()
    del given["debug"]
    method, how = given.pop("prune"), {f.name: given.pop(f.name) for f in fields(Pruning) if f.name != "method"}
    given |= {"config": given.pop("data"), "trust": given["trust"] or ()}
    given["pruning"] = None if method is None else Pruning(method, **how)
    print(compress_checkpoint(**given))
    print(given["output"])


def _export(args: list[str]) -> None:
    parser = _Parser(
        prog="meshconv export",
        description="A trained network for other programs, with preprocess.json, which describes inputs and output.",
    )
    parser.add_argument("checkpoint", type=Path, help="written by meshconv fit, or a name of meshconv models")
    parser.add_argument("--to", nargs="+", required=True, choices=("torch", "aoti", "onnx"))
    parser.add_argument("--output", type=Path, default=Path("exported"), help="folder of the files")
    parser.add_argument("--like", type=Path, help="of maps: a file whose points the network works on")
    parser.add_argument("--trust", action="append", metavar="PACKAGE", help="may be imported for the checkpoint")
    parser.add_argument("--debug", action="store_true", help="show a traceback for bad input")
    given = parser.parse_args(args[1:])
    if "onnx" in given.to:
        require("meshconv export --to onnx", "export")
    from meshconv import __version__
    from meshconv.export import export_network
    from meshconv.train import load_inference

    trained = load_inference(given.checkpoint, given.trust or ())
    for found in export_network(trained, trained.task_path, __version__, given.to, given.output, given.like):
        print(found)


def _serve(args: list[str]) -> None:
    parser = _Parser(
        prog="meshconv serve", description="Predictions over HTTP, and a page to try them, see docs/deployment.md."
    )
    parser.add_argument("network", type=Path, help="checkpoint, name of meshconv models, or file of meshconv export")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at; default: this machine alone")
    parser.add_argument("--name", action="append", default=[], help="further host name that clients call it by")
    parser.add_argument("--template", type=Path, help="mesh that others are matched to")
    parser.add_argument("--megabytes", type=float, default=50.0, help="largest upload")
    parser.add_argument("--seconds", type=float, default=60.0, help="longest prediction")
    parser.add_argument("--memory_gigabytes", type=float, default=16.0, help="of the process that predicts; 0: any")
    parser.add_argument("--waiting", type=int, default=64, help="requests that wait; further ones are refused")
    parser.add_argument("--trust", action="append", metavar="PACKAGE", help="may be imported for the checkpoint")
    parser.add_argument("--debug", action="store_true", help="show a traceback for bad input")
    given = parser.parse_args(args[1:])
    require("meshconv serve", "serve")
    from meshconv.serve import Limits, Worker, run

    limits = Limits(given.megabytes, given.seconds, given.memory_gigabytes, given.waiting)
    run(Worker(given.network, limits, given.trust or (), given.template), given.host, given.port, given.name)


def _prepare(args: list[str]) -> int:
    parser = _Parser(
        prog="meshconv prepare",
        description="Fill the cache with the meshes of a configuration and their variants, ahead of fit, test and "
        "validate. Meshes that are there already stay: after an interruption the same command goes on. Further "
        "options are those of fit, as --data.init_args.nearest 8. Exit status: 1 if a mesh cannot be used.",
    )
    parser.add_argument("root", type=Path, help="folder of the meshes, the configuration's data.init_args.root")
    parser.add_argument("--config", required=True, help="of the training: a path, or a name that ships")
    parser.add_argument("--workers", type=int, help="processes; 0: this one; default: one for each core")
    parser.add_argument("--scheduler", help="of dask.distributed, tcp://HOST:8786: its workers compute instead")
    parser.add_argument("--debug", action="store_true", help="show a traceback for bad input")
    given, more = parser.parse_known_args(args[1:])
    require("meshconv prepare", "train")
    from meshconv.datasets.meshes.module import MeshData
    from meshconv.train.fit import RunCLI
    from meshconv.train.loop.run import quiet

    quiet()
    workers = [] if given.workers is None else [f"--data.init_args.workers={given.workers}"]
    data = RunCLI(["--config", str(given.config), f"--data.init_args.root={given.root}", *workers, *more], run=False)
    if not isinstance(data.datamodule, MeshData):
        kind = type(data.datamodule).__name__
        raise InputError(f"{given.config}: {kind} has no meshes to prepare; fit reads its files")
    made, there, problems = data.datamodule.fill_cache(given.scheduler)
    for problem in problems:
        print(f"cannot be used: {problem}", file=sys.stderr)
    print(f"{data.datamodule.cache.folder}: {made} prepared, {there} were there, {len(problems)} cannot be used")
    return 1 if problems else 0


def _generate(args: list[str]) -> None:
    if args[1:2] == ["potential_flow"]:
        _generate_bodies(args)
        return
    parser = ArgumentParser(
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
    parser.add_argument("--debug", action="store_true", help="show a traceback for bad input")
    given = vars(parser.parse_args(args[1:]))
    require("meshconv generate", "planet", "climate")
    from meshconv.datasets.shallow_water.runs import ShallowWaterRuns

    output, runs, form = (given.pop(name) for name in ("output", "runs", "form"))
    del given["what"], given["debug"]
    for path in ShallowWaterRuns(**given).write(output, runs, form):
        print(path)


def _generate_bodies(args: list[str]) -> None:
    parser = _Parser(
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
    parser.add_argument("--debug", action="store_true", help="show a traceback for bad input")
    given = parser.parse_args(args[2:])
    from meshconv.datasets.potential_flow.bodies import PotentialFlowBodies

    paths = PotentialFlowBodies(given.level, given.roughness, given.seed).write(given.output, given.train, given.test)
    print(f"{len(paths)} bodies in {given.output}")


def _check(args: list[str]) -> int:
    parser = _Parser(
        prog="meshconv check",
        description="Defects of meshes. Exit status: 0 clean or repaired, 1 a mesh needs repair, 2 one is unreadable.",
    )
    parser.add_argument("files", type=Path, nargs="+", help="mesh files")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--repair", type=Path, metavar="OUT", help="write repaired: a file for one mesh, else a folder")
    parser.add_argument("--isolated", choices=("drop", "keep"), default="drop", help="vertices without faces")
    parser.add_argument("--debug", action="store_true", help="show a traceback for bad input")
    given = parser.parse_args(args[1:])
    from meshconv.io.meshes.check import as_json, as_table, check_files

    checks = check_files(given.files, given.repair, given.isolated)
    print(as_json(checks) if given.json else as_table(checks))
    return max(check.status for check in checks)


def _view(args: list[str]) -> None:
    parser = _Parser(
        prog="meshconv view",
        description="A page with meshes or globes that turn, in one file that loads nothing; or a picture.",
    )
    parser.add_argument("files", nargs="+", help="meshes or maps, also of meshconv predict; side by side")
    parser.add_argument("--labels", type=Path, action="append", help="label file of the mesh; one for each")
    parser.add_argument("--field", default="", help="array or variable that is shown first; the page has all")
    parser.add_argument("--truth", default="", help="another array, or label file, to show beside the field")
    parser.add_argument("--select", nargs="+", default=[], metavar="NAME=VALUE", help="of maps: member=3 level=850")
    parser.add_argument("--output", type=Path, default=Path("view.html"), help=".html, or a picture: .png, .pdf, .svg")
    parser.add_argument("--open", action="store_true", help="show the page in the browser")
    parser.add_argument("--debug", action="store_true", help="show a traceback for bad input")
    given = parser.parse_args(args[1:])
    require("meshconv view", "viz")
    from meshconv.viz.interactive.files import view_files

    selection = {}
    if given.select:  # of maps alone
        require("meshconv view --select", "climate")
        from meshconv.io.maps.selection import parse_selection

        selection = parse_selection(given.select)
    view = view_files(given.files, given.labels or (), given.field, given.truth, selection)
    print(view.save(given.output))
    if given.open:
        import webbrowser

        webbrowser.open(given.output.absolute().as_uri())


def _cache(args: list[str]) -> None:
    parser = _Parser(
        prog="meshconv cache",
        description="Cache of prepared meshes and regridding weights. MESHCONV_CACHE is its folder (empty: no cache), "
        "MESHCONV_CACHE_SIZE its maximum size, such as 500M or 20G (default 10G): above it the least recently used "
        "entries are removed.",
    )
    parser.add_argument("--folder", type=Path, help="default: MESHCONV_CACHE, else ~/.cache/meshconv")
    parser.add_argument("--clear", action="store_true", help="remove all entries")
    parser.add_argument("--debug", action="store_true", help="show a traceback for bad input")
    given = parser.parse_args(args[1:])
    from meshconv.io.cache.cache import Cache

    cache = Cache.choose(given.folder or True)
    if given.clear:
        print(f"{cache.clear()} files removed")
    entries, size = cache.size
    print(f"{cache.folder or 'no folder'}: {entries} entries, {size / 1e6:.1f} MB of {cache.limit / 1e6:,.0f} MB")


def _demo(args: list[str]) -> None:
    parser = _Parser(prog="meshconv demo", description="Training of both tasks, with a report.")
    parser.add_argument("--output", type=Path, default=Path("runs/demo"), help="folder of the report")
    parser.add_argument("--climate", type=Path, default=Path("koeppen_hp64.nc"), help="default: the set that ships")
    parser.add_argument("--climate_steps", type=int, help="training steps of each climate network, else as configured")
    parser.add_argument("--shape_epochs", type=int, default=20, help="training epochs of each mesh network")
    parser.add_argument("--debug", action="store_true", help="show a traceback for bad input")
    given = parser.parse_args(args[1:])
    require("meshconv demo", "train", "climate")
    from meshconv.demo.run import run_demo
    from meshconv.train.loop.run import quiet

    quiet()
    print(f"report: {run_demo(given.output, given.climate, given.climate_steps, given.shape_epochs)}")


def _info(args: list[str]) -> None:
    parser = _Parser(prog="meshconv info", description="Versions, devices, and the kernels of each operator.")
    parser.add_argument("--debug", action="store_true", help="show a traceback for bad input")
    parser.parse_args(args[1:])
    import numpy
    import torch

    import meshconv
    from meshconv.ops import BACKEND, GEOMETRY_OPERATORS, OPERATORS, has_kernel

    print(f"meshconv {meshconv.__version__}  python {platform.python_version()}  torch {torch.__version__}  "
          f"numpy {numpy.__version__}")  # fmt: skip
    print(f"processor: {platform.machine()}, {torch.get_num_threads()} threads")
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            print(f"cuda:{index}: {torch.cuda.get_device_name(index)}")
    else:
        built = f"for CUDA {torch.version.cuda}" if torch.version.cuda else "without CUDA"
        print(f"cuda: no device (torch built {built})")
    print(f"backend: {BACKEND.reason}")
    for name in OPERATORS:
        runs = {device: "compiled" if has_kernel(name, device) else "reference" for device in ("cpu", "cuda")}
        if name in GEOMETRY_OPERATORS:
            del runs["cuda"]  # geometry has no other arrays than those of the CPU
        print(f"  {name:22} {', '.join(f'{device}: {what}' for device, what in runs.items())}")


if __name__ == "__main__":
    sys.exit(main())
