"""Published benchmarks as problems: AIME, MATH, GSM8K, MBPP+, LiveCodeBench.

Rows come from the hub at a pinned revision or from a local file. Differences between the copies of a benchmark (field
names, padded integers, tests as scripts or as pickles) are resolved here. Tests are stored in a problem's `answer` and
compared on the trusted side only.
"""

import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from oneshot.tasks.mbpp import read_mbpp
from oneshot.tasks.program_rows import read_leetcode, read_livecodebench, read_mbppplus
from oneshot.tasks.task import Problem
from oneshot.verifiers.boxed import final_answers

MAX_FIRST_LINE = 1 << 20
NOT_EVALPLUS = (
    "MBPP+ in EvalPlus's own form, which holds inputs and no results; "
    "give it in the form of the hub (evalplus/mbppplus, or MbppPlus-OriginFmt.jsonl.gz)"
)


class BadRow(ValueError):
    """A malformed row; the message names benchmark and row."""


@dataclass(frozen=True)
class Benchmark:
    hub_id: str
    configs: tuple[str, ...]
    split: str
    read: Callable[[dict], Problem]
    files: tuple[str, ...] = ()
    """JSON-lines files to fetch directly, if the hub's own reader would need code of the data set."""


def load_benchmark(
    name: str,
    *,
    path: str | Path | None = None,
    revision: str | None = None,
    on_bad_row: Callable[[BadRow], object] | None = None,
) -> list[Problem]:
    """All problems of a benchmark, from a local file (JSON lines, JSON array, gzip or Parquet) or from the hub.

    `revision` is the commit of the hub's repository, needed unless `path` is given: a table must name its data.
    Raises BadRow for a bad row or one without a gold answer, unless `on_bad_row` takes it (to count the losses).
    """
    if name not in BENCHMARKS:
        raise ValueError(f"unknown benchmark '{name}': expected one of {', '.join(BENCHMARKS)}")
    benchmark = BENCHMARKS[name]
    if path is None and not benchmark.hub_id:
        raise ValueError(f"{name}: no hub repository is known: give the path of a local copy")
    if path is None and not revision:
        raise ValueError(f"{name}: give the revision of {benchmark.hub_id} to load, or the path of a local copy")
    rows = _local_rows(path) if path else _hub_rows(benchmark, revision)
    problems = []
    for number, row in enumerate(rows):
        try:
            problems.append(_read(name, benchmark, number, row))
        except BadRow as error:
            if on_bad_row is None:
                raise
            on_bad_row(error)
    return problems


def _read(name: str, benchmark: Benchmark, number: int, row: dict) -> Problem:
    try:
        problem = benchmark.read({key.lower(): value for key, value in row.items()})
    except (KeyError, ValueError, TypeError, IndexError, SyntaxError, zlib.error) as error:
        raise BadRow(f"{name}, row {number}: {type(error).__name__}: {error}") from error
    if not problem.answer:
        raise BadRow(f"{name}, row {number}: no gold answer")
    if damaged := re.search(r"[\x00-\x08\x0b-\x1f]", problem.prompt):
        raise BadRow(f"{name}, row {number}: control character {damaged.group()!r} in the problem: a damaged copy")
    return Problem(name, problem.prompt, problem.answer)


def _local_rows(path: str | Path) -> Iterator[dict]:
    from datasets import load_dataset
    from datasets.exceptions import DatasetGenerationError

    if not Path(path).is_file():
        raise FileNotFoundError(f"{path} is missing: give the path of a local copy of the benchmark")
    if b'"plus_input"' in _first_line(path):
        raise ValueError(f"{path}: {NOT_EVALPLUS}")
    kind = "parquet" if str(path).endswith(".parquet") else "json"
    try:
        return iter(load_dataset(kind, data_files=str(path), split="train"))
    except (DatasetGenerationError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as a table of rows: {error.__cause__ or error}") from error


def _first_line(path: str | Path) -> bytes:
    with open(path, "rb") as raw:
        zipped = raw.read(2) == b"\x1f\x8b"
    with (gzip.open if zipped else open)(path, "rb") as lines:
        return lines.readline(MAX_FIRST_LINE)


def _hub_rows(benchmark: Benchmark, revision: str) -> Iterator[dict]:
    from datasets import load_dataset
    from huggingface_hub import hf_hub_download

    try:
        for file in benchmark.files:
            local = hf_hub_download(benchmark.hub_id, file, repo_type="dataset", revision=revision)
            with open(local) as lines:
                yield from map(json.loads, lines)
        for config in benchmark.configs:
            yield from load_dataset(benchmark.hub_id, config, split=benchmark.split, revision=revision)
    except OSError as error:
        message = f"{benchmark.hub_id} at {revision} cannot be reached: give the path of a local copy ({error})"
        raise ConnectionError(" ".join(message.split())) from error


def read_integer(row: dict) -> Problem:
    """AIME: an integer from 0 to 999, in some copies padded with zeros, in one with a degree sign."""
    question = row.get("problem") or row["question"]
    match = re.fullmatch(r"\$?\s*(\d{1,3})\s*(?:\^\\circ)?\s*\$?", str(row["answer"]).strip())
    if not match:
        raise ValueError(f"answer {row['answer']!r} is no integer from 0 to 999")
    return Problem("", question, str(int(match.group(1))))


def read_math(row: dict) -> Problem:
    """MATH: the answer given, or the last box of the worked solution."""
    answer = row.get("answer") or (final_answers(row.get("solution", "")) or [""])[-1]
    return Problem("", row["problem"], str(answer).strip())


def read_dapo(row: dict) -> Problem:
    """DAPO-Math-17k as processed by Open R1: the bare problem, and an integer."""
    return Problem("", row["prompt"], str(row["solution"]).strip())


def read_gsm8k(row: dict) -> Problem:
    """GSM8K: the whole worked answer; its last line, `#### 18`, is the gold number (see `partial_credit`)."""
    if not re.search(r"^#### -?[\d,.]+\s*$", row["answer"], re.MULTILINE):
        raise ValueError("no line '#### number'")
    return Problem("", row["question"], row["answer"])


MATH_SUBJECTS = (
    "algebra",
    "counting_and_probability",
    "geometry",
    "intermediate_algebra",
    "number_theory",
    "prealgebra",
    "precalculus",
)
LIVECODEBENCH = "livecodebench/code_generation_lite"
BENCHMARKS = {
    "aime24": Benchmark("HuggingFaceH4/aime_2024", ("default",), "train", read_integer),
    "aime25": Benchmark("opencompass/AIME2025", ("AIME2025-I", "AIME2025-II"), "test", read_integer),
    "math500": Benchmark("HuggingFaceH4/MATH-500", ("default",), "test", read_math),
    "math_train": Benchmark("EleutherAI/hendrycks_math", MATH_SUBJECTS, "train", read_math),
    "dapo_math": Benchmark("open-r1/DAPO-Math-17k-Processed", ("en",), "train", read_dapo),
    "gsm8k": Benchmark("openai/gsm8k", ("main",), "train", read_gsm8k),
    "mbpp_rest": Benchmark("google-research-datasets/mbpp", ("full",), "prompt+train+validation+test", read_mbpp),
    "leetcode_train": Benchmark("", (), "train", read_leetcode),
    "mbppplus": Benchmark("evalplus/mbppplus", ("default",), "test", read_mbppplus),
    "livecodebench_v6": Benchmark(LIVECODEBENCH, (), "test", read_livecodebench, ("test6.jsonl",)),
    "livecodebench_release_v6": Benchmark(
        LIVECODEBENCH, (), "test", read_livecodebench, ("test.jsonl", *(f"test{n}.jsonl" for n in range(2, 7)))
    ),
}
"""`livecodebench_v6` is the 175 problems added last, `livecodebench_release_v6` all 1,055: papers mean either.
One without a hub repository is read from a local file."""
