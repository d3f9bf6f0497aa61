"""Base class of what predicts: a network with the meaning of its outputs."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from torch import Tensor, nn

from meshconv.datasets.batch import SurfaceBatch
from meshconv.datasets.meshes.patches import output_in_patches
from meshconv.datasets.meshes.preparation import Preparation
from meshconv.errors import InputError
from meshconv.fields import FieldType
from meshconv.geometry.graph.hierarchy import Rings
from meshconv.nn.compact.plan import compact
from meshconv.train.networks import make_network
from meshconv.train.predict.meshes import Meshes, MeshResult

if TYPE_CHECKING:
    import xarray as xr

    from meshconv.train.predict.maps import Maps

Own = TypeVar("Own", bound="Inference")


class Inference(nn.Module):
    """Base class of what predicts: a network, and what its outputs mean.

    A :class:`~meshconv.train.Task` is one that can be trained. Those that ship, ``SegmentationTask``, have theirs
    beside them, ``SegmentationInference``, which is made from the hyperparameters of a checkpoint without Lightning.

    Attributes
    ----------
    network : torch.nn.Module
    hparams : mapping
        Hyperparameters of the task, plain values.
    """

    takes_template: ClassVar[bool] = False
    """Whether it predicts meshes beside another one."""

    network: nn.Module
    hparams: Any

    @classmethod
    def of(cls: type[Own], hparams: Mapping[str, Any]) -> Own:
        """An inference with the hyperparameters of a task, and weights as they are drawn."""
        made = cls()
        made.hparams = dict(hparams)
        made.network = make_network(hparams["network"], hparams["in_type"], made.out, hparams.get("options"))
        if hparams.get("compact") is not None:
            compact(made.network, hparams["compact"])
        made.complete()
        return made

    @property
    def task_path(self) -> str:
        """Class path of the task."""
        return f"meshconv.train.{type(self).__name__.removesuffix('Inference')}Task"

    @property
    def out(self) -> int | str:
        """Second argument of the network: number of outputs, or their type."""
        raise NotImplementedError

    def complete(self) -> None:
        """Make what its outputs need besides the network."""

    @classmethod
    def check_spec(cls, spec: Mapping[str, Any]) -> None:
        """Raise an exception of any kind unless inputs can be made from a ``spec``, and have what this one predicts."""
        inputs_of(spec)

    def check_inputs(self, path: Any) -> None:
        """Raise an :class:`InputError` unless what its ``spec`` makes of files is what its network takes."""
        made = inputs_of(self.spec)
        seen = self.input_type(made)
        levels = getattr(made, "num_levels", self.num_levels)
        if seen != FieldType(self.hparams["in_type"]) or self.num_levels not in (None, levels):
            raise InputError(
                f"{path}: the network takes {self.hparams['in_type']} on {self.num_levels or 'any'} levels, its spec "
                f"makes {seen} on {levels or 1}; use a file that meshconv fit wrote"
            )

    def input_type(self, made: Any) -> FieldType:
        """Type of what the network sees of what :func:`inputs_of` has made: of a series several maps at once."""
        return (self.spec.get("targets") or {}).get("history", 1) * made.in_type

    def forward(self, batch: SurfaceBatch) -> Tensor:
        """Output of the network for each surface, point or element."""
        given = [part for part in (batch.elements, batch.shares) if part is not None]
        if given and not _takes(type(self.network), 2 + len(given)):  # type: ignore[arg-type]  # classes have hashes
            raise InputError(
                f"the network {self.hparams['network']} gives nothing at elements, which faces, edges and points at a "
                "resolution need: take ShapeUNet, or a network that is called with (x, surface, elements, shares)"
            )
        most = self.spec.get("max_vertices")
        if not self.training and isinstance(most, int) and batch.surface.num_vertices > most:
            return output_in_patches(self._output, batch, most, self.reach)
        return self._output(batch)

    def _output(self, batch: SurfaceBatch) -> Tensor:
        given = [part for part in (batch.elements, batch.shares) if part is not None]
        return self.network(batch.x, batch.surface, *given)

    @property
    def reach(self) -> Sequence[Rings] | None:
        """How far the network sees on each level; None: it does not say, or sees everything."""
        return getattr(self.network, "reach", None)

    @property
    def spec(self) -> dict[str, Any]:
        """How inputs are made."""
        return self.hparams["spec"]

    @property
    def num_levels(self) -> int | None:
        """Levels of the hierarchies that the network works on; None: any number."""
        return getattr(self.network, "num_levels", None)

    def predict_meshes(self, meshes: Meshes) -> Iterator[MeshResult]:
        """Results of a user's meshes, in any order."""
        raise InputError(f"{type(self).__name__} does not predict meshes")

    def predict_maps(self, maps: Maps) -> xr.Dataset:
        """Result of a user's maps, on their own grid."""
        raise InputError(f"{type(self).__name__} does not predict maps")

    def describe_output(self) -> dict[str, Any]:
        """The output of an exported network, in plain values.

        ``name``; ``rows``: ``"surfaces"``, ``"vertices"``, ``"faces"``, ``"edges"``, or ``"points"`` of maps;
        ``columns`` and their ``units``, None where the data have none; ``kind``: ``"logits"``, ``"fields"`` or
        ``"embedding"``.
        """
        raise InputError(f"{type(self).__name__} has no describe_output, so it cannot be exported")


def inputs_of(spec: Mapping[str, Any]) -> Any:
    """What makes inputs: :class:`~meshconv.datasets.maps.inputs.MapInputs` of maps, of meshes a preparation."""
    if "inputs" in spec:
        from meshconv.datasets.maps.spec import inputs_of_spec

        return inputs_of_spec(spec)
    return Preparation.from_spec(spec)


@cache
def _takes(network: type[nn.Module], count: int) -> bool:
    """Whether networks of a class are called with so many arguments."""
    try:
        inspect.signature(network.forward).bind(*[None] * (1 + count))
    except TypeError:
        return False
    return True
