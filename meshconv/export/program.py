"""Programs of networks: traced by ``torch.export``, with operators or in plain torch operations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from meshconv.datasets.batch import SurfaceBatch
from meshconv.errors import InputError, first_line
from meshconv.export.layout import Layout
from meshconv.export.quiet import quiet_torch
from meshconv.geometry.graph.gauge_graph import GaugeGraph
from meshconv.geometry.graph.hierarchy import Hierarchy
from meshconv.ops.plain import plain_operators

# Tables of neighbours have at most this many entries for an edge.
_PADDING = 2


class _Used(TorchFunctionMode):
    """Records the tensors whose values are used, by their ids; a few more may be among them."""

    _OF_SIZES = tuple(getattr(Tensor, name).__get__ for name in ("shape", "dtype", "device"))
    _OF_SIZES += (Tensor.is_floating_point, Tensor.dim, Tensor.numel, Tensor.size)

    def __init__(self) -> None:
        super().__init__()
        self.ids: set[int] = set()

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func not in self._OF_SIZES:
            self.ids |= {id(leaf) for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        return func(*args, **(kwargs or {}))


class _OnMeshes(nn.Module):
    """A network whose surface is an input."""

    def __init__(self, task: nn.Module, layout: Layout):
        super().__init__()
        self.network = getattr(task, "network", task)
        self._task, self._layout = (task,), layout  # not a module of its own: metrics and losses stay behind

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        return self._task[0](self._layout.unpack(inputs))


class _OnMaps(nn.Module):
    """A network on one surface, which is part of the program."""

    def __init__(self, task: nn.Module, surface: GaugeGraph | Hierarchy):
        super().__init__()
        self.network = getattr(task, "network", task)
        self._task, self._surface = (task,), surface

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        x = inputs["x"]
        return self._task[0](SurfaceBatch(x, self._surface, x.new_zeros(0), None, []))


def mesh_program(task: nn.Module, batch: SurfaceBatch) -> tuple[ExportedProgram, Layout]:
    """The program of a network on meshes, with any number of vertices, edges, clusters and elements.

    Parameters
    ----------
    task
        Called with batches.
    batch : SurfaceBatch
        One mesh: an example.

    Returns
    -------
    program, layout
        Its inputs are those that it uses.

    Raises
    ------
    InputError
        The network cannot be traced.
    """
    layout = Layout.of(batch)
    given = layout.pack(batch)
    with torch.no_grad(), _Used() as used:
        task(layout.unpack(given))
    layout = layout.keep({name for name, tensor in given.items() if id(tensor) in used.ids} | {"x"})
    return _trace(_OnMeshes(task, layout), layout.pack(batch), _dims(layout)), layout


def map_program(task: nn.Module, x: Tensor, surface: GaugeGraph | Hierarchy) -> ExportedProgram:
    """The program of a network for one map on one surface; what depends on the surface alone is computed.

    Parameters
    ----------
    task
        Called with batches.
    x : Tensor [1, V, dim]
        An example.
    surface
        Of V points.
    """
    program = _trace(_OnMaps(task, surface), {"x": x}, {"x": {}})
    if any(_in_place(node) for node in program.graph.nodes):
        with quiet_torch():
            program = program.run_decompositions({})
    return _trace(_folded(program.module()), {"x": x}, {"x": {}})


def plain_program(program: ExportedProgram, matrices: bool = False) -> ExportedProgram:
    """The same program in core operations of torch, of the form of :func:`~meshconv.ops.plain.plain_operators`.

    Raises
    ------
    InputError
        It has an operator without such a form.
    """
    table = torch.export.default_decompositions()
    table.update(plain_operators(matrices, _degrees(program)))
    with quiet_torch():
        found = program.run_decompositions(table)
    names = {str(node.target) for node in found.graph.nodes if node.op == "call_function"}
    left = sorted(name.split(".")[1] for name in names if name.startswith("meshconv."))
    if left:
        raise InputError(f"the network uses {', '.join(left)}, which has no form in plain torch; export --to torch")
    return found


def _degrees(program: ExportedProgram) -> dict[tuple[int, int], int]:
    """Of graphs that are part of a program, by numbers of targets and edges: the most edges of a target."""
    signature = program.graph_signature
    stored = {**signature.inputs_to_buffers, **signature.inputs_to_lifted_tensor_constants}
    found: dict[tuple[int, int], int] = {}
    for node in program.graph.nodes:
        schema = getattr(node.target, "_schema", None)
        if schema is None or not schema.name.startswith(("meshconv::gauge_conv", "meshconv::transport_sum")):
            continue
        given = dict(zip([argument.name for argument in schema.arguments], node.args, strict=False))
        pointers = given["src_ptr" if given["transpose"] else "dst_ptr"]
        name = stored.get(pointers.name)
        if name is None:
            continue
        ptr = program.state_dict[name] if name in program.state_dict else program.constants[name]
        rows, edges, degree = len(ptr) - 1, int(ptr[-1]), int(ptr.diff().max())
        if 0 < rows * degree <= _PADDING * edges:
            found[rows, edges] = max(degree, found.get((rows, edges), 0))
    return found


def _trace(module: nn.Module, inputs: dict[str, Tensor], dims: Mapping[str, Any]) -> ExportedProgram:
    try:
        with torch.no_grad(), quiet_torch():
            return torch.export.export(module, (inputs,), dynamic_shapes=(dims,))
    except InputError:
        raise
    except Exception as error:  # torch raises many kinds for what it cannot trace
        raise InputError(f"the network cannot be exported ({first_line(error)})") from error


def _dims(layout: Layout) -> dict[str, dict[int, Any]]:
    """Dimensions of every input that vary."""
    known: dict[str, Dim] = {}
    found: dict[str, dict[int, Any]] = {}
    for entry in layout.inputs:
        rows = entry.shape[0]
        if isinstance(rows, int):
            found[entry.name] = {}
            continue
        name = rows.removesuffix(" + 1")
        dim = known.setdefault(name, Dim(name, min=2))
        found[entry.name] = {0: dim if name == rows else dim + 1}
    return found


def _in_place(node: torch.fx.Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    return schema is not None and schema.is_mutable


class _Folder(torch.fx.Interpreter):
    """Computes everything in a graph that does not depend on its inputs."""

    def __init__(self, module: torch.fx.GraphModule):
        super().__init__(module, garbage_collect_values=False)
        self.constant: dict[torch.fx.Node, Any] = {}

    def run_node(self, n: torch.fx.Node) -> Any:
        given = n.all_input_nodes
        fixed = n.op == "get_attr" or (n.op == "call_function" and all(node in self.constant for node in given))
        if not fixed:
            return None
        self.constant[n] = super().run_node(n)
        return self.constant[n]


def _folded(module: torch.fx.GraphModule) -> torch.fx.GraphModule:
    """The module with constants in place of what they are computed to; each is stored once."""
    folder = _Folder(module)
    with torch.no_grad():
        folder.run(*[None] * sum(node.op == "placeholder" for node in module.graph.nodes))
    stored: list[tuple[str, Tensor]] = []

    def place(value: Tensor) -> str:
        for name, other in stored:
            if other.dtype == value.dtype and other.shape == value.shape and torch.equal(other, value):
                return name
        stored.append((f"constant{len(stored)}", value.detach().clone()))
        module.register_buffer(*stored[-1])
        return stored[-1][0]

    for node in list(module.graph.nodes):
        if node.op == "call_module":  # checks of the sizes of inputs, which the next trace makes anew
            module.graph.erase_node(node)
        value = folder.constant.get(node)
        inner = all(user in folder.constant for user in node.users)
        if node.op != "call_function" or inner or not isinstance(value, Tensor):
            continue
        with module.graph.inserting_before(node):
            node.replace_all_uses_with(module.graph.get_attr(place(value)))
    # Dead code includes what is never removed by itself: checks of constants, and what changes them in place.
    for node in reversed(module.graph.nodes):
        if node in folder.constant and not node.users:
            module.graph.erase_node(node)
    module.graph.eliminate_dead_code()
    module.delete_all_unused_submodules()
    module.recompile()
    return module
