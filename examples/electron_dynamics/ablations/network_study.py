"""Networks with one thing changed at a time, trained on few geometries and measured on others of the same molecules."""

from __future__ import annotations

import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from kstep_training.rttddft.training import evaluate, train

GEOMETRIES = 12
SMALL = {
    "channels": [32, 16, 12, 6, 6],
    "pseudo_channels": [4, 4, 2],
    "pair_channels": 16,
    "product_channels": 8,
    "hidden": 32,
}
VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "one round of messages": {"model": {"rounds": 1}},
    "4 product channels": {"model": {"product_channels": 4}},
    "1 pseudo channel": {"model": {"pseudo_channels": [1, 1, 1]}},
    "projected kernel as label": {"damping": 1e6},
    "small": {"model": SMALL},
    "small, refined by 300 steps": {"model": SMALL, "refinement": {"steps": 300}},
}


def network_study(responses: Path, test: Path) -> dict[str, Any]:
    """Errors of every variant.

    Args:
        responses: file to learn from.
        test: file of other geometries.
    """
    results = {}
    for name, change in VARIANTS.items():
        with tempfile.TemporaryDirectory() as folder:
            configuration = Path(folder) / "train.yaml"
            content = {
                "method": "response",
                "data": {"files": [str(responses.resolve())], "limit": GEOMETRIES},
                "members": 1,
                "regularisation": [1e-8, 1e-6],
                "output": "run",
                **change,
            }
            configuration.write_text(yaml.safe_dump(content), encoding="utf-8")
            begin = time.process_time()
            checkpoint = train(configuration).checkpoint
            seconds = time.process_time() - begin
            molecules = evaluate(checkpoint, [test]).molecules
        results[name] = {
            "training_seconds": seconds,
            "molecules": {molecule: asdict(errors) for molecule, errors in molecules.items()},
        }
    return results
