"""Records: frozen dataclasses of tensors with declared roles of their fields."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from itertools import accumulate
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

R = TypeVar("R", bound="Record")


@dataclass(frozen=True)
class Role:
    """Role of a field: rows along ``axis`` of values, or of indices into the axis ``of``.

    ``"pointers"`` are one more than ``axis`` has entries, from 0 to the size of ``of``, whose entries are in the
    order of the field ``by`` if there is one; an ``"order"`` is a permutation of ``of``, its own axis.
    """

    kind: Literal["values", "numbers", "pointers", "order"]
    axis: str
    of: str = ""
    shape: tuple[int, ...] = ()
    dtype: torch.dtype | None = None
    by: str = ""

    def check(self, name: str, value: Tensor, sizes: Mapping[str, int]) -> None:
        """Raise ``ValueError`` for a wrong shape or type, an index out of range, a number that is not finite."""
        shape = (sizes[self.axis] + (self.kind == "pointers"), *self.shape)
        if value.shape != shape or (self.dtype is not None and value.dtype != self.dtype):
            found = f"is {value.dtype} with" if value.shape == shape else "has"
            wanted = "" if self.dtype is None else f", {self.dtype}"
            counts = ", ".join(f"{size} {axis}" for axis, size in sizes.items())
            raise ValueError(f"{name} {found} shape {tuple(value.shape)}, expected {shape}{wanted} ({counts})")
        if self.kind == "values":
            bad = (~torch.isfinite(value)).nonzero()
            if len(bad):
                raise ValueError(f"{name} is not finite in {len(bad)} places, first at {bad[0].tolist()}")
        count = sizes.get(self.of, 0)
        if self.kind == "numbers" and len(value) and not (int(value.min()) >= 0 and int(value.max()) < count):
            span = f"{int(value.min())}..{int(value.max())}"
            raise ValueError(f"{name} has indices {span}, out of range for {count} {self.of}")
        if self.kind == "order" and not torch.equal(torch.sort(value).values, torch.arange(count, device=value.device)):
            raise ValueError(f"{name} is not a permutation of the {self.of}")


def values(axis: str, *shape: int, dtype: torch.dtype | None = None, default: Any = MISSING) -> Any:
    """Field of values along an axis, of this shape each; real ones unless there is a ``dtype``."""
    return field(default=default, metadata={"role": Role("values", axis, "", shape, dtype)})


def numbers(axis: str, of: str) -> Any:
    """Field of indices into ``of``, int64, one for each entry of ``axis``."""
    return field(metadata={"role": Role("numbers", axis, of, (), torch.int64)})


def pointers(axis: str, of: str, by: str = "") -> Any:
    """Field of row pointers: entry ``a`` of ``axis`` owns ``ptr[a]:ptr[a + 1]`` of ``of``, or of the order ``by``."""
    return field(metadata={"role": Role("pointers", axis, of, (), torch.int64, by)})


def order(of: str) -> Any:
    """Field of the entries of ``of`` in another order."""
    return field(metadata={"role": Role("order", of, of, (), torch.int64)})


class Record:
    """Base class of frozen dataclasses of tensors or records.

    Every subclass is a pytree of torch: ``torch.export`` and ``torch.func`` flatten it, ``torch.load`` reads it
    with ``weights_only``. Where fields have roles (:func:`values`, :func:`numbers`, :func:`pointers`, :func:`order`)
    and the class defines :attr:`sizes`, records can be batched, split and cut.

    Notes
    -----
    ``tests/test_record.py`` checks it.
    """

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        torch.serialization.add_safe_globals([cls])  # tensors and no code: torch.load reads them as it does tensors
        pytree.register_pytree_node(
            cls,
            lambda record: ([getattr(record, f.name) for f in fields(record)], None),
            lambda children, _: _made(cls, list(children)),
            serialized_type_name=f"meshconv.{cls.__name__}",
            # Keys instead of attributes: torch.export takes `graph.dst` for the beginning of `graph.dst_ptr`.
            flatten_with_keys_fn=lambda record: (
                [(pytree.MappingKey(f.name), getattr(record, f.name)) for f in fields(record)],
                None,
            ),
        )

    def __getstate__(self) -> dict[str, Any]:
        """The fields: what has been derived from them is neither stored nor sent to other processes."""
        return {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]

    @property
    def sizes(self) -> dict[str, int]:
        """Number of entries along every axis."""
        raise NotImplementedError

    @classmethod
    def along(cls, axis: str) -> tuple[str, ...]:
        """Names of the value fields along an axis."""
        return tuple(name for name, role in _roles(cls) if (role.kind, role.axis) == ("values", axis))

    @classmethod
    def derived(cls, given: Mapping[str, Any]) -> dict[str, Tensor]:
        """Fields that follow from the others, so that files need not have them; none by default."""
        return {}

    def _parts(self) -> list[tuple[str, Role, Tensor]]:
        """Name, role and tensor of the fields that are not None."""
        found = ((name, role, getattr(self, name)) for name, role in _roles(type(self)))
        return [part for part in found if part[2] is not None]

    def map(self: R, function: Callable[[Tensor], Tensor]) -> R:
        """Apply ``function`` to every tensor, at any depth; the record itself if no tensor changes."""
        leaves, structure = pytree.tree_flatten(self, is_leaf=lambda v: v is not self and isinstance(v, Record))
        found = [
            function(leaf) if isinstance(leaf, Tensor) else leaf.map(function) if isinstance(leaf, Record) else leaf
            for leaf in leaves
        ]
        unchanged = all(new is old for new, old in zip(found, leaves, strict=True))
        return self if unchanged else pytree.tree_unflatten(found, structure)

    def to(self: R, *args: Any, **kwargs: Any) -> R:
        """Move to a device, or cast real tensors, as :meth:`torch.Tensor.to`; indices and masks keep their types.

        If nothing changes, the record itself is returned, with its cached properties.
        """
        if any(isinstance(a, Tensor) for a in (*args, *kwargs.values())):
            raise TypeError(f"{type(self).__name__}.to takes a device or a dtype, not a tensor")
        dtype = kwargs.pop("dtype", next((a for a in args if isinstance(a, torch.dtype)), None))
        if dtype is not None and not dtype.is_floating_point:
            raise ValueError(f"{type(self).__name__}.to casts real tensors, they cannot become {dtype}")
        rest = [a for a in args if not isinstance(a, torch.dtype)]
        real = kwargs if dtype is None else {**kwargs, "dtype": dtype}

        def moved(value: Tensor) -> Tensor:
            how = real if value.is_floating_point() else kwargs
            return value.to(*rest, **how) if rest or how else value

        return self.map(moved)

    def pin_memory(self: R) -> R:
        """Copy to page-locked memory, for ``to(device, non_blocking=True)``."""
        return self.map(Tensor.pin_memory)

    def check_fields(self) -> None:
        """Check shape, type, range and finiteness of every field; raise ``ValueError`` with its name."""
        sizes = self.sizes
        for name, role, value in self._parts():
            role.check(name, value, sizes)

    @classmethod
    def batch(cls: type[R], records: Sequence[R]) -> R:
        """Disjoint union, in the order given; each keeps its own numbers bit for bit.

        A field that is None in some records is zero, or False, there.

        Raises
        ------
        ValueError
            An empty list.
        """
        records = list(records)
        if not records:
            raise ValueError(f"cannot batch an empty list of {cls.__name__}")
        sizes = [record.sizes for record in records]
        starts = {axis: [0, *accumulate(size[axis] for size in sizes)] for axis in sizes[0]}
        joined: dict[str, Tensor] = {}
        for name, role in _roles(cls):
            given = [getattr(record, name) for record in records]
            present = next((value for value in given if value is not None), None)
            if present is None:
                continue
            found = [
                present.new_zeros((size[role.axis], *role.shape)) if value is None else value
                for value, size in zip(given, sizes, strict=True)
            ]
            if role.of:
                found = [value + start for value, start in zip(found, starts[role.of], strict=False)]
            if role.kind == "pointers":
                found = [*(value[:-1] for value in found), found[-1][-1:]]
            joined[name] = torch.cat(found)
        return cls(**joined)

    def split(self: R, bounds: Mapping[str, Sequence[int]]) -> list[R]:
        """The parts between the bounds of every axis, the inverse of :meth:`batch`; part ``k`` ends at bound ``k + 1``.

        Indices out of their part are not checked.
        """
        count = len(next(iter(bounds.values()))) - 1
        return [replace(self, **self._slice({a: (b[k], b[k + 1]) for a, b in bounds.items()})) for k in range(count)]  # type: ignore[type-var]

    def _slice(self, spans: Mapping[str, tuple[int, int]]) -> dict[str, Tensor]:
        cut = {}
        for name, role, value in self._parts():
            start, stop = spans[role.axis]
            rows = value[start : stop + (role.kind == "pointers")]
            cut[name] = rows - spans[role.of][0] if role.of else rows
        return cut

    def take(self: R, masks: Mapping[str, Tensor]) -> R:
        """The entries of every axis where its mask is True, renumbered; axes without a mask stay whole.

        Targets of the indices of kept rows have to be kept, and members of removed rows removed.
        """
        number = {axis: _counted(mask) for axis, mask in masks.items()}
        taken: dict[str, Tensor] = {}
        for name, role, value in self._parts():
            mask, of = masks.get(role.axis), role.of
            if mask is not None:
                if role.kind == "order":
                    value = value[mask[value]]
                elif role.kind == "pointers":
                    value = torch.cat([value[:-1][mask], value[-1:]])
                else:
                    value = value[mask]
            if of in masks:
                value = (_counted(masks[of][getattr(self, role.by)]) if role.by else number[of])[value]
            taken[name] = value
        return replace(self, **taken)  # type: ignore[type-var]


def _counted(mask: Tensor) -> Tensor:
    """Number of True before each place, and in total."""
    return torch.nn.functional.pad(mask.cumsum(0), (1, 0))


def _roles(cls: type[Record]) -> list[tuple[str, Role]]:
    return [(f.name, f.metadata["role"]) for f in fields(cls) if "role" in f.metadata]  # type: ignore[arg-type]


def _made(cls: type[R], children: Sequence[Any]) -> R:
    """Record without checks, as torch replaces tensors by other objects."""
    record = object.__new__(cls)
    for f, child in zip(fields(cls), children, strict=True):  # type: ignore[arg-type]
        object.__setattr__(record, f.name, child)
    return record
