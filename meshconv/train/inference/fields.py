"""Base class of what predicts fields, or numbers of whole surfaces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from meshconv.errors import InputError
from meshconv.fields import FieldType
from meshconv.train.inference.base import Inference


class FieldInference(Inference):
    """Prediction of fields of the type that the data have.

    Attributes
    ----------
    out_type : FieldType
    field_names : list of str
        One for each field of ``out_type``.
    """

    need: ClassVar[str] = "a regression needs data with fields to predict"
    """What it asks of the data, for messages."""

    @classmethod
    def type_in(cls, spec: Mapping[str, Any]) -> str:
        """Type of the fields that the data of a ``spec`` have.

        Raises
        ------
        InputError
            They have none.
        """
        if "out_type" not in spec:
            raise InputError(f"{cls.need}, these have none: {spec.get('data')}")
        return spec["out_type"]

    @classmethod
    def check_spec(cls, spec: Mapping[str, Any]) -> None:
        super().check_spec(spec)
        cls.type_in(spec)

    @property
    def out(self) -> str:
        return self.type_in(self.spec)

    def complete(self) -> None:
        self.out_type, self.field_names = FieldType(self.out), list(self.hparams["field_names"])
        if len(self.field_names) != self.out_type.num_fields:
            count = len(self.field_names)
            raise InputError(f"{count} names for {self.out_type.num_fields} fields of type {self.out_type}")
