"""Prediction of numbers of whole meshes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from meshconv.errors import InputError
from meshconv.fields import FieldType
from meshconv.train.inference.regression import RegressionInference
from meshconv.train.predict.meshes import Meshes, MeshResult


@dataclass(frozen=True, eq=False)
class MeshNumbersFound(MeshResult):
    """Numbers of a mesh.

    Attributes
    ----------
    numbers : dict of str to float
    """

    numbers: dict[str, float]

    @property
    def columns(self) -> tuple[str, ...]:  # type: ignore[override]  # those of the task's numbers
        return ("file", *self.numbers)

    def row(self) -> dict[str, Any]:
        return {"file": self.name, **self.numbers}


class ShapeRegressionInference(RegressionInference):
    """A number or several per mesh."""

    @classmethod
    def check_spec(cls, spec: Mapping[str, Any]) -> None:
        super().check_spec(spec)
        if "inputs" in spec or {"element", "tangent"} & set(spec) or FieldType(spec["out_type"]).max_order > 0:
            raise InputError(f"its data have fields of type {spec['out_type']}, numbers of whole meshes have no place")

    def describe_output(self) -> dict[str, Any]:
        names = list(self.field_names)
        units = [None] * len(names)
        return {"name": "numbers", "kind": "numbers", "rows": "surfaces", "columns": names, "units": units}

    def predict_meshes(self, meshes: Meshes) -> Iterator[MeshResult]:
        for sample, output in meshes.outputs(self, meshes.prepare(), lambda _: 1):
            numbers = dict(zip(self.field_names, output[0].tolist(), strict=True))
            yield MeshNumbersFound(sample.name, sample.source, numbers)
