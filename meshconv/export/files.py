"""Exported files: programs of torch, packages of AOTInductor, and ONNX, written and run."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.export import ExportedProgram

from meshconv import ops as _registers_operators  # noqa: F401  # which programs call
from meshconv.errors import InputError, first_line
from meshconv.export.quiet import quiet_torch
from meshconv.extras import require
from meshconv.io.cache.atomic import atomic_write
from meshconv.ops.backend import BACKEND

SUFFIXES = (".pt2", ".onnx")
"""Of exported files."""

# Numbers that a constant has at most which is computed when ONNX is written.
_FOLDED = 1024

Program = Callable[[dict[str, Tensor]], Tensor]

# Members of archives that torch reads as pickles.
_PICKLES = (b"\x80", b"PK")


def write_torch(program: ExportedProgram, path: Path) -> None:
    """Write a program for ``torch.export.load``, without the example it was traced with."""
    _forget_places(program)
    example, program.example_inputs = program.example_inputs, None  # type: ignore[assignment]
    try:
        with quiet_torch(), atomic_write(path) as part, part.open("wb") as stream:
            torch.export.save(program, stream)
    finally:
        program.example_inputs = example


def write_aoti(program: ExportedProgram, path: Path) -> None:
    """Compile a program to a package for ``torch._inductor.aoti_load_package`` and C++; it takes minutes.

    Raises
    ------
    InputError
        There is no working C++ compiler.
    """
    from torch._inductor import aoti_compile_and_package

    with quiet_torch(), atomic_write(path) as part:
        made = part.with_suffix(".pt2")
        try:
            aoti_compile_and_package(program, package_path=str(made))
        except Exception as error:  # whatever the compiler or inductor raise
            raise InputError(f"{path}: AOTInductor cannot compile it ({first_line(error)})") from error
        made.replace(part)


def write_onnx(program: ExportedProgram, path: Path, inputs: Sequence[str], output: str) -> int:
    """Write a program in plain torch as ONNX; returns the opset.

    Raises
    ------
    InputError
        An operation without a counterpart in ONNX, or without one that onnxruntime computes reliably.
    """
    require("export to ONNX", "export")
    import onnx
    from onnxscript.optimizer import fold_constants, remove_unused_nodes

    with quiet_torch(), atomic_write(path) as part:
        try:
            # Small constants are folded alone: to look for patterns takes minutes, and runtimes do it when they load.
            found = torch.onnx.export(
                program, (), input_names=list(inputs), output_names=[output], verbose=False, optimize=False
            )
            assert found is not None  # without a path it returns the model
            fold_constants(found.model, onnx_shape_inference=False, output_size_limit=_FOLDED)
            remove_unused_nodes(found.model)
            found.save(part)
        except Exception as error:  # torch raises many kinds
            raise InputError(f"{path}: the network has no form in ONNX ({first_line(error)})") from error
        model = onnx.load(part)
        for node in [*model.graph.node, *(node for function in model.functions for node in function.node)]:
            del node.metadata_props[:]  # lines of the source, with their paths on this machine
            if node.op_type == "ScatterND" and any(a.name == "reduction" and a.s != b"none" for a in node.attribute):
                raise InputError(
                    f"{path}: the network adds up rows by index_put(accumulate=True), which onnxruntime gets wrong now "
                    "and then with several threads; use index_add or scatter_add"
                )
        onnx.checker.check_model(model)
        onnx.save(model, part)
    return next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))


def open_program(path: Path, code: bool = False) -> Program:
    """Load an exported file, to be called with inputs by name.

    Parameters
    ----------
    path
    code
        Load packages of AOTInductor too, which are machine code.

    Raises
    ------
    InputError
        It is damaged, needs what is not installed, or is code.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    if path.suffix == ".onnx":
        return _open_onnx(path)
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            packed = any("/aotinductor/" in name for name in names)
            if not packed:
                _check_archive(archive, path)
                _check_operators(archive, path)
    except (zipfile.BadZipFile, OSError) as error:
        raise InputError(f"{path}: no exported program; use one from meshconv export") from error
    if packed:
        return _open_aoti(path, code)
    try:
        with quiet_torch():
            module = torch.export.load(path).module()
    except Exception as error:  # torch raises many kinds on a file that is not its own
        raise InputError(f"{path}: not a readable program ({first_line(error)}); export it again") from error

    def run(inputs: dict[str, Tensor]) -> Tensor:  # no module of torch: those of programs have no modes
        return module(inputs)

    return run


def digest_of(path: Path) -> bytes:
    """SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.digest()


def _forget_places(program: ExportedProgram) -> None:
    """Remove what nodes say of the lines they come from: most of a small file, with paths of this machine."""
    for module in program.graph_module.modules():
        if isinstance(module, torch.fx.GraphModule):
            for node in module.graph.nodes:
                for key in ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn", "from_node"):
                    node.meta.pop(key, None)


def _check_archive(archive: zipfile.ZipFile, path: Path) -> None:
    """Refuse what torch would unpickle: programs hold tensors as bytes, and text."""
    for entry in archive.infolist():
        if entry.file_size > 2 * path.stat().st_size:
            raise InputError(f"{path}: {entry.filename[:80]!r} would unpack to {entry.file_size / 1e6:.0f} MB")
        with archive.open(entry) as member:
            start = member.read(2)
        text = entry.filename.endswith(".json") and b'"use_pickle": true' in archive.read(entry)
        if text or (start.startswith(_PICKLES) and not _is_plain(archive.read(entry), entry.filename)):
            raise InputError(f"{path}: holds objects that could run code; use a file that meshconv export wrote")


def _check_operators(archive: zipfile.ZipFile, path: Path) -> None:
    """Refuse a program of operators whose library is not here."""
    programs = (archive.read(name) for name in archive.namelist() if name.endswith("models/model.json"))
    if not BACKEND.devices and any(b"torch.ops.meshconv." in program for program in programs):
        raise InputError(f"{path}: calls compiled operators, which are not installed; use plain.pt2 beside it")


def _is_plain(content: bytes, name: str) -> bool:
    """Whether torch reads it without code; weights and constants are bytes of numbers, whatever they begin with."""
    if "/weights/weight_" in name or "/constants/tensor_" in name:
        return True
    try:
        torch.load(io.BytesIO(content), weights_only=True)
    except Exception:
        return False
    return True


def _open_aoti(path: Path, code: bool) -> Program:
    if not code:
        raise InputError(
            f"{path}: a package of AOTInductor is machine code, which would run; if you trust it, give --trust aoti, "
            'in Python trust=("aoti",)'
        )
    from torch._inductor import aoti_load_package

    return aoti_load_package(str(path))


def _open_onnx(path: Path) -> Program:
    require("ONNX", "export", only="onnxruntime")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # threads that wait leave their cores
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises many kinds
        raise InputError(f"{path}: onnxruntime does not take it ({first_line(error)}); export it again") from error
    names = [entry.name for entry in session.get_inputs()]

    def run(inputs: dict[str, Tensor]) -> Tensor:
        (output,) = session.run(None, {name: inputs[name].numpy() for name in names})
        return torch.from_numpy(np.asarray(output))

    return run
