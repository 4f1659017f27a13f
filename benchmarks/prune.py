"""Prune MiniLM without any retraining: what each way of choosing loses, and what repair gives back.

    make bench-prune    (or: python benchmarks/prune.py [--json FILE])

Cosine is that of the pruned float model's sentence embedding to the dense one's, mean and worst of
256 held-out sentences. Repaired on the 1,024 texts of calibration_data/repair.jsonl; *seconds* is
the whole of pruning, on all CPUs.
"""

import time
from typing import Any

from running import machine, options, save
from sentences import HELDOUT, MODEL, feeds, open_minilm

from edgecompile.data.dataset import choose_data
from edgecompile.evaluate.accuracy import compare
from edgecompile.narrow.prune_units import prune_units
from edgecompile.parts import Part
from edgecompile.plan import FLOAT
from edgecompile.recipe import PruneTable, Recipe
from edgecompile.session import answer, session
from edgecompile.stages import lower
from edgecompile.target import REFERENCE
from edgecompile.trace import Trace

LONGEST = 256
WAYS = (("magnitude", False), ("activation", True), ("second-order", True))
CUTS = {(0.25, 0.0): 0.984, (0.5, 0.0): 0.955, (0.25, 0.25): 0.95, (0.5, 0.25): None}
"""Shares of FFN channels and heads, and the mean cosine that is wanted of the last way."""
WANTED_SECONDS = 60


def main() -> None:
    """Prune in each way, compare, print."""
    arguments = options(__doc__).parse_args()
    model, encoder = open_minilm(LONGEST)
    held = feeds(encoder, HELDOUT, 256)
    truths = answer(session(lower(model, FLOAT, REFERENCE)), held)
    data = choose_data(Recipe(prune=PruneTable(ffn=0.5)), model, MODEL, LONGEST)
    rows: list[dict[str, Any]] = []
    print(f"machine: {machine()}; measured on {len(held)} held-out sentences")
    print(f"  {'FFN':>4}{'heads':>7}  {'chosen by':18}{'cosine':>8}{'worst':>8}{'seconds':>9}")
    for (ffn, heads), wanted in CUTS.items():
        for importance, repair in WAYS:
            table = PruneTable(ffn=ffn, heads=heads, importance=importance, repair=repair)
            start = time.perf_counter()
            pruned = prune_units(model, Part("", model), data, table, Trace())
            seconds = time.perf_counter() - start
            narrow = lower(pruned.model, FLOAT, REFERENCE)
            found = compare("cosine", answer(session(narrow), held), truths, held)
            way = f"{importance}{', repaired' * repair}"
            aim = f"   wanted {wanted}" if wanted and importance == "second-order" else ""
            figures = f"{found.mean:8.4f}{found.min:8.4f}{seconds:9.0f}"
            print(f"  {ffn:4.0%}{heads:7.0%}  {way:22}{figures}{aim}", flush=True)
            row = {"ffn": ffn, "heads": heads, "importance": importance, "repair": repair}
            rows.append(row | {"mean": found.mean, "min": found.min, "seconds": seconds})
    print(f"  wanted: at most {WANTED_SECONDS} seconds each, on 2 CPUs")
    save(arguments.json, {"machine": machine(), "rows": rows})


if __name__ == "__main__":
    main()
