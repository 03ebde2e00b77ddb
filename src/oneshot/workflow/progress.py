"""Progress in a notebook: one line, overwritten while work goes on, that stays behind as a record of the rate.

(tqdm's bars are either a line an update or a widget without its last state once a notebook has been executed
by papermill and is read as a page.)
"""

import time
from collections.abc import Iterable, Iterator

from IPython.display import display

SECONDS_BETWEEN_UPDATES = 1.0


class Progress:
    """`advance(n)` when n more units are done. Shown at once, then at most once a second, and when all are done."""

    def __init__(self, total: int, unit: str):
        self.total, self.unit, self.done = total, unit, 0
        self.started = self.shown = time.perf_counter()
        self.handle = display(self._line(), raw=True, display_id=True)

    def advance(self, count: int = 1) -> None:
        self.done += count
        now = time.perf_counter()
        if now - self.shown >= SECONDS_BETWEEN_UPDATES or self.done == self.total:
            self.shown = now
            if self.handle:
                self.handle.update(self._line(), raw=True)

    def _line(self) -> dict[str, str]:
        seconds = time.perf_counter() - self.started
        rate = f"{self.done / seconds:,.3g} per second" if self.done else "starting"
        return {"text/plain": f"{self.done:,} of {self.total:,} {self.unit} · {seconds:,.0f} s · {rate}"}


def track(items: Iterable, unit: str) -> Iterator:
    """The items one by one, counted as done when the next one is asked for. Their number must be known."""
    items = list(items)
    progress = Progress(len(items), unit)
    for item in items:
        yield item
        progress.advance()
