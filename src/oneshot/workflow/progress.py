"""Progress in a notebook: one line, overwritten during the work, that remains as a record of the rate.

(In a notebook that papermill has executed, tqdm leaves either one line per update or a widget without its
last state.)
"""

import time
from collections.abc import Iterable, Iterator

from IPython.display import display

SECONDS_BETWEEN_UPDATES = 1.0


class Progress:
    """Call `advance(n)` when n more units are done. Shown at once, then at most once a second, and at the end."""

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
    """Yield the items. Each counts as done when the next one is requested. They are collected in a list first."""
    items = list(items)
    progress = Progress(len(items), unit)
    for item in items:
        yield item
        progress.advance()
