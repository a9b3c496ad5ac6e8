"""Text for a terminal: what of it is shown, how wide it is, and columns."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

GAP = "  "
NARROWEST = 8  # cells that a column keeps at least


def shown(text: str) -> str:
    """The text on one line, with everything escaped that could change the terminal or the order of the characters."""
    return "".join(each if each.isprintable() or each in "\u200c\u200d" or _is_space(each) else _escaped(each)
                   for each in text)  # fmt: skip


def width(text: str) -> int:
    """How many cells a terminal takes for it."""
    return sum(map(_cells, text))


def cut(text: str, cells: int) -> str:
    """The text in at most so many cells; … says that something is left out."""
    if width(text) <= cells:
        return text
    kept, used = "", 1
    for each in text:
        used += _cells(each)
        if used > cells:
            break
        kept += each
    return kept + "…"


def padded(text: str, cells: int, right: bool = False) -> str:
    """The text with spaces to fill so many cells; `right` puts it to the right."""
    space = " " * (cells - width(text))
    return space + text if right else text + space


@dataclass(frozen=True)
class Column:
    """A column; one that is `flexible` is cut where the terminal is narrow, the last one first left out."""

    title: str
    right: bool = False
    flexible: bool = False


def layout(columns: Sequence[Column], rows: Sequence[Sequence[str]], cells: int | None) -> list[list[str]]:
    """The cells of all rows, the titles first, cut and padded to columns that together fit in so many cells.

    Columns without any text are left out. Without `cells` nothing is cut.
    """
    used = [number for number in range(len(columns)) if any(row[number] for row in rows)]
    widths = {n: max(width(columns[n].title), *(width(row[n]) for row in rows)) for n in used}
    while cells is not None and (over := sum(widths.values()) + len(GAP) * (len(widths) - 1) - cells) > 0:
        flexible = [number for number in widths if columns[number].flexible]
        widest = max(flexible, key=lambda number: widths[number], default=None)
        if widest is None:
            break
        if widths[widest] > NARROWEST:
            others = [widths[number] for number in flexible if number != widest]
            widths[widest] = max(NARROWEST, widths[widest] - over, min(max(others, default=0), widths[widest] - 1))
        elif len(flexible) > 1:
            del widths[flexible[-1]]
        else:
            break
    titles = [each.title for each in columns]
    return [
        [padded(cut(row[n], widths[n]), widths[n], columns[n].right) for n in widths] for row in (titles, *rows)
    ]  # fmt: skip


def bar(share: float, cells: int) -> str:
    """A bar of this share (0 to 1) of so many cells, in eighths of a cell."""
    full, rest = divmod(round(min(1.0, share) * cells * 8), 8)
    return "█" * full + (" ▏▎▍▌▋▊▉"[rest] if rest else "")


def spark(values: Sequence[int]) -> str:
    """A small chart: a character for each value; a dot for 0."""
    most = max(values, default=0)
    return "".join("▁▂▃▄▅▆▇█"[round(each / most * 7)] if each else "·" for each in values)


def _cells(each: str) -> int:
    if unicodedata.category(each) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(each) in "WF" else 1


def _is_space(each: str) -> bool:
    return unicodedata.category(each) == "Zs"


def _escaped(each: str) -> str:
    return each.encode("unicode_escape").decode()
