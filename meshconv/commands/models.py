"""``meshconv models``: networks that come with meshconv."""

from __future__ import annotations

import json

from meshconv.commands.parser import Parser


def run(args: list[str]) -> None:
    parser = Parser(
        prog="meshconv models",
        description="Networks that come with meshconv. Their names stand for a checkpoint in predict, test, export, "
        "serve, compress, calibrate and --model.init_args.pretrained.",
    )
    parser.add_argument("--json", action="store_true", help="print all that is known of them instead of a table")
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
