"""Base class of what predicts classes."""

from __future__ import annotations

from typing import Any

from meshconv.train.inference.base import Inference


class ClassInference(Inference):
    """Prediction of classes from logits."""

    class_names: list[str]
    """In the order of the outputs."""

    @property
    def out(self) -> int:
        return len(self.hparams["class_names"])

    def complete(self) -> None:
        self.class_names = list(self.hparams["class_names"])

    def describe_output(self) -> dict[str, Any]:
        rows = "points" if "inputs" in self.spec else self.spec.get("element", "surfaces")
        names = list(self.class_names)
        return {"name": "logits", "kind": "logits", "rows": rows, "columns": names, "units": ["1"] * len(names)}
