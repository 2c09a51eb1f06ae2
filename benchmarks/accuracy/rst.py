"""Small pieces of reStructuredText."""

import re
import textwrap

# A lone "-" would be a list.
LACKING = "–"


def title(text, underline):
    """A heading."""
    return f"{text}\n{underline * len(text)}"


def paragraph(text):
    """Lines of at most 88 letters."""
    return textwrap.fill(
        " ".join(text.split()), 88, break_long_words=False, break_on_hyphens=False
    )


def plain(text):
    """Text of unknown origin, with nothing in it that means something in RST."""
    return re.sub(r"([\\*`|_])", r"\\\1", text)


def listed(names):
    """Names in words: a, b and c."""
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def counted(n, noun):
    """How many, with the noun in its number."""
    return f"{n} {noun}{'' if n == 1 else 's'}"


def rst_table(header, rows, caption=None):
    """A simple table of texts; an empty one becomes a dash."""
    cells = [[text or LACKING for text in row] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    rule = "  ".join("=" * width for width in widths)

    def line(row):
        padded = (f"{text:{w}}" for text, w in zip(row, widths, strict=True))
        return "  ".join(padded).rstrip()

    lines = [rule, line(cells[0]), rule, *map(line, cells[1:]), rule]
    if caption:
        lines = [f".. table:: {caption}", "", *("    " + line for line in lines)]
    return "\n".join(lines)


def number(value, form=".3f"):
    """A number, or nothing for None and NaN."""
    if value is None or value != value:
        return ""
    return format(value, form).replace("-", "−")


def short(value):
    """A number with three digits that count, or all those before the point."""
    return number(value, ".0f" if value is not None and value >= 100 else ".3g")


def best_in_bold(values, form=".3f", best=max, among=None):
    """A column of numbers, bold what reads the same as the best one.

    ``among`` says of each whether it is compared with the others; all if None.
    """
    texts = [number(value, form) for value in values]
    among = [True] * len(texts) if among is None else among
    pairs = zip(values, among, strict=True)
    known = [value for value, fair in pairs if fair and number(value)]
    top = number(best(known), form) if known else None
    return [
        f"**{text}**" if fair and text == top else text
        for text, fair in zip(texts, among, strict=True)
    ]
