"""What `benchmarks.train` measured, in words: a table, and the targets that were missed.

A cell's kind is seen from its figures, so that nothing here knows the cells by name but for the two whose memory has a
target.
"""

from typing import Any

MEMORY_TARGETS = {"dpo-m-float32": 0.22, "dpo-m-best": 0.40}  # our peak memory at M over TRL's, each beside its own
_HEAD = "cell            TRL/ours (low to high, n)   rows/s ours, TRL     useful ours, TRL   peak MB ours, TRL"
_GRID_HEAD = "vocabulary   prompt share   batch   TRL/ours   rows/s ours, TRL   peak MB ours, TRL"
Found = dict[str, Any]


def table(found: dict[str, Found]) -> str:
    lines, is_headed = [], {"cell": False, "grid": False}
    for name, one in found.items():
        kind = "grid" if "prompt_share" in one else "cell" if "ratio" in one else None
        if kind and not is_headed[kind]:
            is_headed[kind] = True
            lines.append(_HEAD if kind == "cell" else _GRID_HEAD)
        lines.append(_line(name, one))
    return "\n".join(lines)


def _line(name: str, one: Found) -> str:
    if "prompt_share" in one:
        return _grid_line(one)
    if "ratio" in one:
        return _cell_line(name, one)
    if "ours_bf16" in one:
        return (
            f"{name}: from float32 ours {one['ours_bf16']:.3%}, TRL {one['trl_bf16']:.3%}; "
            f"the two float32 gradients differ by {one['trl_float32']:.1e}"
        )
    return (
        f"vocabulary 32k -> 248k: peak grows by {one['grown_bytes'] / 1e6:,.0f} MB beside weights and AdamW; "
        f"a chunk of logits is {one['chunk_bytes'] / 1e6:,.0f} MB"
    )


def _cell_line(name: str, one: Found) -> str:
    ours, trl = one["ours"], one["trl"]
    if trl is None:
        return f"{name:15} TRL asks for more memory than there is; ours {ours['peak_bytes'] / 1e6:,.0f} MB"
    return (
        f"{name:15} {one['ratio']:6.2f} ({one['ratio_low']:.2f} to {one['ratio_high']:.2f}, {one['repeats']})"
        f"{ours['rows_per_s']:13.3f} {trl['rows_per_s']:8.3f}{ours['useful']:14.0%} {trl['useful']:6.0%}"
        f"{ours['peak_bytes'] / 1e6:14,.0f} {trl['peak_bytes'] / 1e6:9,.0f}"
    )


def _grid_line(one: Found) -> str:
    ours, trl = one["ours"], one["trl"]
    place = f"{one['vocabulary']:>10,}{one['prompt_share']:>15.2f}{one['batch']:>8}"
    if trl is None:
        return f"{place}{'–':>11}{ours['rows_per_s']:>12.2f} {'–':>6}{ours['peak_bytes'] / 1e6:>12,.0f} > memory"
    return (
        f"{place}{one['ratio']:>11.2f}{ours['rows_per_s']:>12.2f} {trl['rows_per_s']:>6.2f}"
        f"{ours['peak_bytes'] / 1e6:>12,.0f} {trl['peak_bytes'] / 1e6:>7,.0f}"
    )


def misses(found: dict[str, Found]) -> list[str]:
    """Targets that were not reached, in words."""
    missed = []
    for name, one in found.items():
        if one.get("target") and one["ratio"] is not None and one["ratio"] < one["target"]:
            missed.append(f"{name}: {one['ratio']:.2f} times as fast as TRL, target {one['target']}")
        if one.get("least_useful") and one["ours"]["useful"] < one["least_useful"]:
            missed.append(f"{name}: {one['ours']['useful']:.0%} useful, target {one['least_useful']:.0%}")
        if "ours_bf16" in one and one["ours_bf16"] > one["trl_bf16"]:
            missed.append(f"{name}: {one['ours_bf16']:.2%} from float32, TRL {one['trl_bf16']:.2%}")
        if name in MEMORY_TARGETS and one["trl"] is not None:
            share = one["ours"]["peak_bytes"] / one["trl"]["peak_bytes"]
            if share > MEMORY_TARGETS[name]:
                missed.append(f"{name}: {share:.1%} of TRL's peak memory, target {MEMORY_TARGETS[name]:.0%}")
        if "grown_bytes" in one and one["grown_bytes"] > one["chunk_bytes"]:
            grown, chunk = one["grown_bytes"] / 1e6, one["chunk_bytes"] / 1e6
            missed.append(f"{name}: {grown:.0f} MB more, a chunk is {chunk:.0f}")
    return missed
