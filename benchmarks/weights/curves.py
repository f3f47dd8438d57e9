"""Draw the curves of ``mnist.py`` from their records: ``python benchmarks/weights/curves.py``."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib.pyplot as plt

RECORDS = Path(__file__).parent / "records"
PICTURE = Path(__file__).parents[2] / "docs" / "pictures" / "mnist.png"
NAMES = {
    "low-rank-es": "low-rank-es, one unit at a time",
    "low-rank-es-whole": "low-rank-es, whole network",
    "random-features": "random features, linear readout",
    "softmax": "softmax regression",
    "node-perturbation": "node perturbation (not black box)",
    "adam": "Adam (gradients)",
}


def main() -> None:
    figure, panels = plt.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
    for colour, (method, name) in enumerate(NAMES.items()):
        for seed, file in enumerate(sorted(RECORDS.glob(f"mnist-{method}-s*.json"))):
            curve = json.loads(file.read_text())["curve"]
            label = name if seed == 0 else None
            for panel, column in zip(panels, ("cpu_s", "evaluations"), strict=True):
                x, y = zip(*((row[column], row["test"]) for row in curve), strict=True)
                panel.plot(x, y, color=f"C{colour}", label=label, linewidth=1.4)
    for panel, words in zip(panels, ("CPU seconds", "evaluations on a minibatch"), strict=True):
        panel.set(xscale="log", xlabel=words, ylim=(0.7, 1.0))
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("accuracy on the 10,000 test images")
    panels[0].legend(fontsize=8, loc="lower right")
    PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(PICTURE, dpi=110)


if __name__ == "__main__":
    main()
