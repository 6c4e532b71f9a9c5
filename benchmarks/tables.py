"""Tables of what was measured, in Markdown."""

import pandas as pd

from .rows import BATCH, POINTS


def main(measured):
    """What the README shows: the rows that have a target."""
    rows = [row for row in measured["rows"] if row["targets"]]
    lines = [_line(row, name) for row in rows for name in _baselines(row)]
    columns = ["what", "aaelib", "against", "times faster", "memory", "against least time"]
    return f"{markdown(lines, columns)}\n\n{_caption(measured)}\n"


def steps(measured):
    """A training step of both recipes and of the original scheme, by points and by batch."""
    rows = {}
    for growth in measured["growth"]:
        step, _, name = growth["title"].partition(", ")
        for value in growth["values"] if step == "Training step" else ():
            by_points = growth["parameter"] == "points"
            size = (value["value"], BATCH) if by_points else (POINTS, value["value"])
            row = rows.setdefault(size, dict(zip(("points", "batch"), map(str, size), strict=True)))
            time = duration(value["seconds"], value["spread"])
            row[name] = f"{time}, {value['GB']:.1f} GB"
    lines = [rows[size] for size in sorted(rows)]
    table = pd.DataFrame(lines).fillna("").to_markdown(index=False, disable_numparse=True)
    return (
        f"{table}\n\nTime a cloud, ± half the distance between the quartiles of "
        f"{measured['rounds']} rounds; memory of a process of its own. The original scheme keeps "
        f"the differences of all pairs of points. {_machine(measured)}\n"
    )


def everything(measured):
    """All rows, growth and facts."""
    lines = [_line(row, name) for row in measured["rows"] for name in _baselines(row)]
    parts = [markdown(lines)] if lines else []
    for growth in measured["growth"]:
        heading = f"**{growth['title']}**, by {growth['parameter']}"
        if growth["targets"]:
            most = growth["values"][-1]["GB"]
            verdict = _verdict(most <= growth["targets"]["GB"])
            heading += f" (at most {growth['targets']['GB']} GB at the last: {verdict})"
        lines = [
            {
                growth["parameter"]: value["value"],
                f"time a {growth['unit']}": duration(value["seconds"], value["spread"]),
                "memory": f"{value['GB']:.1f} GB",
            }
            for value in growth["values"]
        ]
        parts.append(f"{heading}\n\n{markdown(lines)}")
    if even := measured.get("evenness"):
        parts.append(
            "Chamfer distance between a socket's cloud and a resampling of its surface, evenly "
            f"over uniformly spread: {even['mean']:.3f} in the mean, {even['worst']:.3f} at worst "
            f"(at most 0.80: {_verdict(even['mean'] <= 0.8)})."
        )
    return "\n\n".join([*parts, _caption(measured)]) + "\n"


def _baselines(row):
    return [name for name in row["contenders"] if name != "aaelib"]


def _line(row, baseline):
    ours, other = row["contenders"]["aaelib"], row["contenders"][baseline]
    middle, low, high = other["ratio"]
    targets = []
    if baseline in row["targets"]:
        wanted = row["targets"][baseline]
        targets.append(f"{wanted} times: {_verdict(middle >= wanted)}")
    if "ms" in row["targets"]:
        wanted = row["targets"]["ms"]
        targets.append(f"{wanted} ms: {_verdict(ours['seconds'] * 1e3 <= wanted)}")
    if "GB" in row["targets"]:
        wanted = row["targets"]["GB"]
        targets.append(f"{wanted} GB: {_verdict(ours['GB'] <= wanted)}")
    memory = "" if ours["GB"] is None else f"{ours['GB']:.1f} GB against {other['GB']:.1f}"
    least = (
        ""
        if row["least"] is None
        else f"{ours['seconds'] / row['least']:.1f} x {duration(row['least'])}"
    )
    return {
        "what": row["title"],
        "aaelib": f"{duration(ours['seconds'], ours['spread'])} a {row['unit']}",
        "against": f"{baseline}, {duration(other['seconds'], other['spread'])}",
        "times faster": f"{_number(middle)} ({_number(low)} to {_number(high)})",
        "memory": memory,
        "against least time": least,
        "first call": f"{duration(ours['first'])} against {duration(other['first'])}",
        "target": "; ".join(targets),
    }


def markdown(lines, columns=None):
    """A table of rows, dicts of text."""
    return pd.DataFrame(lines, columns=columns).to_markdown(index=False, disable_numparse=True)


def _verdict(met):
    return "met" if met else "**missed**"


def _number(value):
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"


def duration(seconds, spread=None):
    """Seconds in a unit that suits them."""
    scale, unit = next(
        (s, u) for s, u in ((1, "s"), (1e3, "ms"), (1e6, "µs")) if seconds * s >= 1 or u == "µs"
    )
    text = f"{seconds * scale:.3g}"
    if spread is None:
        return f"{text} {unit}"
    return f"{text} ± {float(f'{spread * scale:.1g}'):g} {unit}"


def _caption(measured):
    machine = measured["machine"]
    flops, transferred = machine["flops"] / 1e9, machine["bytes"] / 1e9
    return (
        "Medians of rounds in which ours and the other take turns, ± half the distance between the "
        "quartiles; of the ratio, smallest and largest round. Memory is the most that a process of "
        "its own takes, all libraries included. Least time: what our arithmetic, at "
        f"{flops:.0f} GFLOP/s, or memory traffic, at {transferred:.0f} GB/s, takes. "
        f"Batch {BATCH} and {POINTS} points where nothing else is said. {_machine(measured)}"
    )


def _machine(measured):
    machine = measured["machine"]
    return f"*Shapes: {measured['source']} · {machine['processor']}, {machine['cores']} cores*"
