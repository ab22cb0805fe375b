"""Tables in Markdown, which read as well in a terminal, out of the values that a run came to."""


def seconds(value):
    return f"{value:.3f}" if value < 10 else f"{value:.1f}"


def megabytes(value):
    return "" if value is None else f"{value / 1e6:,.1f}"


def markdown(header, rows, left=1):
    """The first columns to the left, the others to the right."""
    rows = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[n]) for row in [header, *rows]) for n in range(len(header))]

    def line(row):
        pairs = enumerate(zip(row, widths))
        cells = (cell.ljust(width) if n < left else cell.rjust(width) for n, (cell, width) in pairs)
        return "| " + " | ".join(cells) + " |"

    ruler = "|" + "|".join("-" * (width + 1) + ("-" if n < left else ":") for n, width in enumerate(widths)) + "|"
    return "\n".join([line(header), ruler, *map(line, rows)])


def peak_of(value, floor):
    return f"< {megabytes(floor)}" if value <= floor * 1.02 else megabytes(value)


def measured(group, floor):
    """What each job of a group took."""
    rows = []
    for job in group["jobs"]:
        rate = f"{group['bytes'] / 1e6 / job['wall']:,.0f}" if group["bytes"] > 1e6 else ""
        name = f"**{job['name']}**" if job["ours"] else job["name"]
        peak = peak_of(job["peak"], floor)
        part = f"{job['size'] / group['bytes']:.3f}" if job["size"] else ""
        rows.append([name, seconds(job["wall"]), rate, seconds(job["cpu"]), peak, megabytes(job["size"]), part])
    header = ["", "s", "MB/s", "CPU s", "peak MB", "size MB", "of source"]
    return f"{group['title']}\n\n" + markdown(header, rows)


def against_bar(one):
    """The bar of a ratio, and whether it is met; in brackets where that is for information alone."""
    if one["bar"] is None:
        return "", ""
    met = one["ratio"] <= one["bar"]
    if not one["judged"]:
        return f"({one['bar']:.2f})", "(yes)" if met else "(no)"
    return f"{one['bar']:.2f}", "yes" if met else "**no**"


def compared(ratios):
    """Ours over each peer, with the bars."""
    rows = []
    for one in ratios:
        bar, met = against_bar(one)
        spread = f"{one['lowest']:.3f} – {one['highest']:.3f}" if "lowest" in one else ""
        cpu = f"{one['cpu']:.2f}" if "cpu" in one else ""
        rows.append([one["what"], one["of"], f"{one['ratio']:.3f}", spread, cpu, bar, met])
    return markdown(["ours / peer", "of", "ratio", "lowest – highest", "CPU", "bar", "met"], rows)
