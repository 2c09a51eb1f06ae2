"""The critical-difference diagram of Demsar (2006), as SVG."""

import io

from benchmarks.accuracy.models import OURS
from benchmarks.accuracy.summary import groups_alike

# In points, as is the size of the letters.
LETTERS = 10
ROW = 19
AXIS_WIDTH = 330
TOP = 70
GROUP_STEP = 8

# Where the columns beside the axis end or begin, from its end on.
RANK, NAME = 6, 42

INK, GREY, BLUE = "#222222", "#8a8a8a", "#0b5cad"

# The text stays text, and nothing in the file is random or of the day.
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "skcgmvae",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial"],
    "font.size": LETTERS,
    "lines.solid_capstyle": "round",
}


def critical_difference_svg(models, ranks, difference):
    """Models on an axis of mean ranks; bars join those that are not different."""
    import matplotlib.style
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    order = sorted(range(len(models)), key=lambda i: ranks[i])
    groups = groups_alike(ranks, difference)
    n_left = (len(models) + 1) // 2
    # Letters are 0.62 of their height on average, or less.
    margin = 0.62 * LETTERS * max(map(len, models)) + NAME + 10
    width = 2 * margin + AXIS_WIDTH
    first_row = TOP + 16 + GROUP_STEP * len(groups) + ROW
    height = first_row + ROW * (n_left - 1) + 14

    with matplotlib.style.context(["default", STYLE]):
        figure = Figure(figsize=(width / 72, height / 72), facecolor="white")
        axes = figure.add_axes([0, 0, 1, 1], xlim=(0, width), ylim=(height, 0))
        axes.set_axis_off()

        def place(rank):
            return margin + AXIS_WIDTH * (rank - 1) / (len(models) - 1)

        draw_axis(axes, place, len(models), difference)
        for row, i in enumerate(order[:n_left]):
            y = first_row + ROW * row
            draw_model(axes, models[i], ranks[i], place(ranks[i]), margin, y, -1)
        for row, i in enumerate(reversed(order[n_left:])):
            y = first_row + ROW * row
            end = width - margin
            draw_model(axes, models[i], ranks[i], place(ranks[i]), end, y, 1)
        for number, (first, last) in enumerate(groups):
            y = TOP + 16 + GROUP_STEP * number
            x = [place(first) - 3, place(last) + 3]
            axes.plot(x, [y, y], color=INK, linewidth=3, zorder=4)

        file = io.BytesIO()
        metadata = {"Date": None, "Creator": None}
        FigureCanvasSVG(figure).print_svg(file, metadata=metadata)
    return file.getvalue().decode()


def draw_axis(axes, place, n_models, difference):
    """The axis with its ticks, and a ruler as long as the critical difference."""
    axes.plot([place(1), place(n_models)], [TOP, TOP], color=INK, linewidth=1)
    for rank in range(1, n_models + 1):
        axes.plot([place(rank)] * 2, [TOP, TOP - 5], color=INK, linewidth=1)
        axes.text(place(rank), TOP - 9, f"{rank}", ha="center", color=INK)
    text = f"critical difference {difference:.2f}"
    y = 28
    if difference > n_models - 1:
        axes.text(place(1), y, f"{text}, longer than the axis", color=INK)
        return
    axes.text(place(1), y - 9, text, color=INK)
    start, end = place(1), place(1 + difference)
    axes.plot([start, end], [y, y], color=INK, linewidth=1.5)
    for x in (start, end):
        axes.plot([x, x], [y - 4, y + 4], color=INK, linewidth=1.5)


def draw_model(axes, model, rank, x, edge, y, side):
    """A name beside the axis (side -1: left), its rank, and a line up to the axis."""
    ours = model == OURS
    color = BLUE if ours else INK
    axes.plot(
        [edge + side, x, x],
        [y, y, TOP],
        color=BLUE if ours else GREY,
        linewidth=1.6 if ours else 0.8,
        zorder=3 if ours else 1,
    )
    weight = "bold" if ours else "normal"
    # Ranks end below each other on either side; names stand away from the axis.
    end = edge - RANK if side < 0 else edge + NAME - RANK
    align = "right" if side < 0 else "left"
    style = {"color": color, "weight": weight}
    axes.text(end, y + 3.5, f"{rank:.2f}", ha="right", **style)
    axes.text(edge + NAME * side, y + 3.5, model, ha=align, **style)
