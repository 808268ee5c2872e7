"""State diagrams out of the tables of the code: the directive `states`.

    ```{states} phases
    ```

The drawing is an SVG in the colours of the page, so that it can be read in light and dark.  States are in
rows by their distance from the first one; a line through several rows has a place in each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from pgproto.pool import slots
from pgproto.protocol import states
from pgproto.wire import tags

if TYPE_CHECKING:
    from sphinx.application import Sphinx

Edges = dict[tuple[str, str], list[str]]
ROW: Final = 104
GAP: Final = 36
LINE: Final = 14
MARKER: Final = (
    '<marker id="to" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto">'
    '<path d="M0,0 L10,5 L0,10 z"/></marker>'
)


def phases() -> Edges:
    """The start of a session: FRONTEND_PHASES and BACKEND_PHASES."""
    edges: Edges = {}
    for table in (states.FRONTEND_PHASES, states.BACKEND_PHASES):
        for phase, messages in table.items():
            for message, following in messages.items():
                pair = states.PHASE_NAMES[phase], states.PHASE_NAMES[following]
                edges.setdefault(pair, []).append(message.__name__)
    return edges


def requests(first: int, *without: int) -> Edges:
    """What may happen to a request: ANSWERS and COPY_SENDS, from a state on, without some states."""
    named = {value: name for name, value in vars(tags).items() if name.isupper() and isinstance(value, int)}
    edges: Edges = {}
    seen, todo = {first, *without}, [first]
    while todo:
        state = todo.pop(0)
        for table in (states.ANSWERS, states.COPY_SENDS):
            for tag, following in table.get(state, {}).items():
                if following in without:
                    continue
                pair = states.HEAD_NAMES[state], states.HEAD_NAMES[following]
                edges.setdefault(pair, []).append(named[tag].title().replace("_", ""))
                if following not in seen:
                    seen.add(following)
                    todo.append(following)
    return edges


def moves(names: tuple[str, ...], table: dict[int, dict[int, str]]) -> Edges:
    """The states of the pool's slots or tickets."""
    return {
        (names[before], names[after]): [why]
        for before, following in table.items()
        for after, why in following.items()
    }


DIAGRAMS: Final[dict[str, Callable[[], Edges]]] = {
    "phases": phases,
    "execute": lambda: requests(states.EXECUTE),
    "query": lambda: requests(states.QUERY, states.QUERY_COPY_BOTH),
    "slots": lambda: moves(slots.SLOT_STATES, slots.SLOT_MOVES),
    "tickets": lambda: moves(slots.TICKET_STATES, slots.TICKET_MOVES),
    "copy-both": lambda: requests(states.QUERY_COPY_BOTH, states.QUERY),
}


class Drawing:
    """Where everything is."""

    def __init__(self, edges: Edges) -> None:
        self.edges = {pair: sorted(set(labels)) for pair, labels in edges.items() if pair[0] != pair[1]}
        self.loops = {pair[0]: sorted(set(labels)) for pair, labels in edges.items() if pair[0] == pair[1]}
        names = list(dict.fromkeys(name for pair in edges for name in pair))
        self.rank = self._ranks(names)
        self.rows: list[list[str]] = [[] for _ in range(max(self.rank.values()) + 1)]
        for name in names:
            self.rows[self.rank[name]].append(name)
        self.paths = {pair: list(self._path(*pair)) for pair in self.edges}
        self._order()
        self.x = self._places()

    def _ranks(self, names: list[str]) -> dict[str, int]:
        """The longest way from a first state, without ways that lead back."""
        found: dict[str, int] = {}
        self.back: set[tuple[str, str]] = set()
        active: list[str] = []

        def depth(name: str, rank: int) -> None:
            if found.get(name, -1) >= rank:
                return
            found[name] = rank
            active.append(name)
            for source, target in self.edges:
                if source == name:
                    if target in active:
                        self.back.add((source, target))
                    else:
                        depth(target, rank + 1)
            active.pop()

        targets = {target for source, target in self.edges}
        for name in names:
            if name not in targets:
                depth(name, 0)
        for name in names:
            depth(name, 0) if name not in found else None
        return found

    def _path(self, source: str, target: str) -> Iterator[str]:
        """The states of an edge, and a name for its place in each row in between."""
        low, high = self.rank[source], self.rank[target]
        yield source
        for row in range(low + 1, high) if low < high else range(low - 1, high, -1):
            name = f"{source}>{target}>{row}"
            self.rows[row].append(name)
            yield name
        yield target

    def _order(self) -> None:
        """Put what is connected near each other: some rounds of averages, downwards and upwards."""
        near: dict[str, list[str]] = {}
        for path in self.paths.values():
            for one, other in pairwise(path):
                near.setdefault(one, []).append(other)
                near.setdefault(other, []).append(one)
        for number in range(24):
            places = {
                name: index / max(1, len(row) - 1) if len(row) > 1 else 0.5
                for row in self.rows
                for index, name in enumerate(row)
            }
            for row in self.rows if number % 2 else reversed(self.rows):
                row.sort(
                    key=lambda name: (
                        sum(places[each] for each in near.get(name, [name])) / len(near.get(name, [name]))
                    )
                )
                places |= {
                    name: index / max(1, len(row) - 1) if len(row) > 1 else 0.5
                    for index, name in enumerate(row)
                }

    def _half(self, name: str) -> float:
        return len(name) * 4 + 12 if ">" not in name else 0

    def _size(self, name: str) -> float:
        """The width for a state with the labels beside it and on its arrows, or for a line's labels."""
        pairs = [tuple(name.split(">")[:2])] if ">" in name else self._arrows(name)
        labels = [label for pair in pairs for label in self.edges[pair[0], pair[1]]]
        own = 2 * self._half(name) + max(
            (len(label) * 6.5 + 50 for label in self.loops.get(name, [])), default=0
        )
        return max(own, max((len(label) * 6.2 for label in labels), default=0))

    def _arrows(self, name: str) -> list[tuple[str, str]]:
        return [
            pair
            for pair, path in self.paths.items()
            if len(path) == 2 and pair[1] == name and self._fans(pair)
        ]

    def _fans(self, pair: tuple[str, str]) -> bool:
        """True if more arrows leave its source than reach its target: then its label is near the target."""
        leave = sum(source == pair[0] for source, target in self.edges)
        return leave > sum(target == pair[1] for source, target in self.edges)

    def _places(self) -> dict[str, float]:
        widths = [sum(self._size(name) + GAP for name in row) for row in self.rows]
        self.width = max(widths) + GAP
        self.height = (len(self.rows) - 1) * ROW + 66
        found = {}
        for row, width in zip(self.rows, widths, strict=True):
            spare = (self.width - width) / (len(row) + 1)
            x = spare
            for name in row:
                right = max((len(label) * 6.5 + 50 for label in self.loops.get(name, [])), default=0)
                found[name] = x + (self._size(name) - right) / 2
                x += self._size(name) + GAP + spare
        return found

    def _y(self, name: str) -> float:
        rank = int(name.rpartition(">")[2]) if ">" in name else self.rank[name]
        return 30 + rank * ROW

    def svg(self, title: str) -> str:
        """The drawing."""
        lines, texts, boxes = [], [], []
        for pair, path in self.paths.items():
            lines.append(self._line(pair, path))
            texts += self._labels(pair, path)
        for name in self.rank:
            x, y, half = self.x[name], self._y(name), self._half(name)
            boxes.append(
                f'<rect x="{x - half:.0f}" y="{y - 14:.0f}" width="{2 * half:.0f}" height="28" rx="6"/>'
            )
            boxes.append(f'<text class="state" x="{x:.0f}" y="{y + 4:.0f}">{escape(name)}</text>')
            if name in self.loops:
                right = x + half
                lines.append(f'<path d="M{right:.0f},{y - 8:.0f} c26,-8 26,24 1,16" marker-end="url(#to)"/>')
                for number, label in enumerate(self.loops[name]):
                    place = f'x="{right + 24:.0f}" y="{y + 4 + LINE * number:.0f}"'
                    texts.append(f'<text class="left" {place}>{label}</text>')
        size = f'viewBox="0 0 {self.width:.0f} {self.height:.0f}" style="min-width:{self.width * 0.62:.0f}px"'
        return (
            f'<div class="states"><svg {size} role="img" aria-label="{escape(title)}">'
            f"<defs>{MARKER}</defs>{''.join(lines)}{''.join(boxes)}{''.join(texts)}</svg></div>"
        )

    def _line(self, pair: tuple[str, str], path: list[str]) -> str:
        down = self.rank[pair[1]] > self.rank[pair[0]]
        points = [(self.x[name], self._y(name)) for name in path]
        sign = 1 if down else -1
        (x, y), (ex, ey) = points[0], points[-1]
        if not down and len(points) == 2 and abs(y - ey) < 1:
            curve = f"C{x:.0f},{y + 50:.0f} {ex:.0f},{ey + 50:.0f} {ex:.0f},{ey + 14:.0f}"
            return f'<path d="M{x:.0f},{y + 14:.0f} {curve}" marker-end="url(#to)"/>'
        offset = 0 if down else 10
        points[0] = (x + offset, y + 14 * sign)
        points[-1] = (ex + offset, ey - 14 * sign)
        text = f"M{points[0][0]:.0f},{points[0][1]:.0f}"
        for (x, y), (nx, ny) in pairwise(points):
            middle = (y + ny) / 2
            text += f" C{x:.0f},{middle:.0f} {nx:.0f},{middle:.0f} {nx:.0f},{ny:.0f}"
        return f'<path d="{text}" marker-end="url(#to)"/>'

    def _labels(self, pair: tuple[str, str], path: list[str]) -> Iterator[str]:
        labels = self.edges[pair]
        if len(path) > 2:
            x, y = self.x[path[1]], self._y(path[1])
        else:
            along, down = (0.95, 0.58) if self._fans(pair) else (0.42, 0.42)
            if pair[::-1] in self.edges:  # the other way has labels, too
                along, down = 0.5, 0.3 if pair in self.back else 0.36
            x = self.x[path[0]] + (self.x[path[1]] - self.x[path[0]]) * along
            y = self._y(path[0]) + (self._y(path[1]) - self._y(path[0])) * down
        y -= LINE * (len(labels) - 1) / 2 - 4
        for number, label in enumerate(labels):
            yield f'<text x="{x:.0f}" y="{y + LINE * number:.0f}">{escape(label)}</text>'


class States(SphinxDirective):
    """`states`: the diagram of this name."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """The drawing as raw HTML."""
        name = self.arguments[0]
        return [nodes.raw("", Drawing(DIAGRAMS[name]()).svg(f"states: {name}"), format="html")]


def setup(app: Sphinx) -> dict[str, Any]:
    """Add the directive."""
    app.add_directive("states", States)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
