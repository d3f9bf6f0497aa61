"""Options that may be text or something else: from the command line the something else stays what it is."""

from __future__ import annotations

import inspect
from types import UnionType
from typing import Union, get_args, get_origin, get_type_hints

import lightning
import pytest
from jsonargparse import ArgumentParser

from meshconv import datasets, models, train
from meshconv.cli import main
from meshconv.train import Predictor


def classes():
    """All that configurations construct, and the predictor."""
    named = [getattr(package, name) for package in (datasets, models, train) for name in package.__all__]
    return [cls for cls in (*named, Predictor) if inspect.isclass(cls) and "__init__" in vars(cls)]


def test_text_is_the_last_kind_that_is_tried():
    """A parser takes the first kind that fits, and any word fits text."""
    assert len(classes()) > 20
    for cls in classes():
        for name, hint in get_type_hints(cls.__init__).items():
            kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else ()
            if str in kinds:
                later = set(kinds[kinds.index(str) + 1 :])
                assert not later & {bool, int, float}, (cls.__name__, name, hint)


@pytest.mark.parametrize(("text", "value"), [("false", False), ("true", True), ("null", None), ("some/folder",) * 2])
@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("SphereMaps", ["inputs=a.nc"]),
        ("MapFields", ["inputs=a.nc", "field=t"]),
        ("MeshFolder", ["root=x"]),
        ("MeshSegments", ["root=x"]),
        ("MeshFields", ["root=x", "fields=[p]"]),
        ("MeshCorrespondence", ["root=x"]),
    ],
)
def test_a_cache_may_be_switched_off(name, more, text, value):
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(lightning.LightningDataModule, "data")
    given = [f"--data.init_args.{option}" for option in (*more, f"cache={text}")]
    found = parser.parse_args([f"--data=meshconv.datasets.{name}", *given])
    assert found.data.init_args.cache == value and type(found.data.init_args.cache) is type(value)


def test_a_file_named_like_a_word_is_not_read(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("cpu", "auto", "surface"):
        (tmp_path / name).write_text("gpu\n")
    with pytest.raises(SystemExit):
        main(["fit", "--config", "segment", "--trainer.accelerator", "cpu", "--print_config"])
    printed = capsys.readouterr().out
    assert "  accelerator: cpu\n  strategy: auto\n  devices: auto\n" in printed
