"""What a long job has finished when it is killed, kept for the next one that starts from the same."""

import hashlib
import json
from collections.abc import Callable, Iterable

from oneshot.files import intact, read_json, resolve, seal_of, sha256, write_json
from oneshot.workflow.digests import package_digest


def origin_of(files: Iterable[str], *values) -> str:
    """A digest of all that a job starts from: the bytes of its files, its parameters, and the code that computes."""
    told = [package_digest(), *(sha256(resolve(file)) for file in files), values]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


class Kept:
    """Remember what a function returned: `Kept(output, files, *values).of(function)`.

    The memory is a sealed file beside `output`. It counts only as long as the files' bytes, the values and the code
    that computes are those that it was written under; else it begins anew. Call `forget` when `output` is written.
    """

    def __init__(self, output: str, files: Iterable[str], *values):
        output = resolve(output)
        self.path = output.with_name(f"{output.stem}_so_far.json")
        self.origin = origin_of(files, *values)
        found = read_json(intact(self.path)) if self.path.exists() else {}
        self.known: dict[str, dict] = found["known"] if found.get("origin") == self.origin else {}

    def of(self, function: Callable[[dict], dict]) -> Callable[[dict], dict]:
        """`function`, from settings to what JSON can hold, called once for equal settings."""

        def remembered(settings: dict) -> dict:
            key = json.dumps(settings, sort_keys=True)
            if key not in self.known:
                told = json.dumps(function(settings), default=lambda number: number.item())  # NumPy's, too
                self.known[key] = json.loads(told)
                write_json({"origin": self.origin, "known": self.known}, self.path)
            return self.known[key]

        return remembered

    def forget(self) -> None:
        for path in (self.path, seal_of(self.path)):
            path.unlink(missing_ok=True)
