"""What is rewarded and what is not: small programs of every kind that graders have been seen to judge wrongly.

The tables are ours. A larger collection, derived from public reports, is run if its file is available.
"""

import json

import pytest

from oneshot.sandbox import PACKAGES, Limits, Sandbox
from oneshot.verifiers.code import CodeVerifier, ProgramTest, extract_program
from oneshot.verifiers.preludes import LIVECODEBENCH_PRELUDE

SUM = (("2\n5\n", "7\n"), ("-1\n4\n", "3\n"))
"""Two tests of a program that reads two numbers and prints their sum: the second would see what the first leaves."""
READ = "a, b = int(input()), int(input())\n"
OPT_IN = "a printed tolerance is opt-in: LiveCodeBench's rule is exact"
OWN_INTERPRETER = "the interpreter's own limit holds, as for `python file.py`"
REFUSED_BY_RULE = {
    "c0742": OPT_IN,
    "c0743": OPT_IN,
    "c0757": OWN_INTERPRETER,
    "c0843": "what is returned is judged, not what became of the arguments",
    "c0860": "an event loop takes sockets, and there are none",
}
"""Cases of the collection that are decided otherwise here, each with the rule."""

PRINTING = [
    # how programs end
    (READ + "print(a + b)\nquit()", SUM, "correct", "the shell's quit()"),
    (READ + "print(a + b)\nif a > 0:\n    exit()\nexit(0)", SUM, "correct", "and exit(), early or late"),
    (READ + "print(a + b)\nexit('bad luck')", SUM, "error", "a message is an exit code of 1"),
    (READ + "print(a + b)\nraise ValueError", SUM, "error", "a traceback is an exit code of 1"),
    (READ + "import atexit\natexit.register(print, a + b)", SUM, "correct", "exit handlers run"),
    (
        READ + "import weakref\nclass C: pass\nc = C()\nweakref.finalize(c, print, a + b)",
        SUM,
        "correct",
        "finalisers too",
    ),
    (
        READ + "class C:\n    def __del__(self): print(a + b)\ndef f():\n    g = C()\n    g.me = g\nf()",
        SUM,
        "correct",
        "even of what holds itself",
    ),
    (READ + "out = open(1, 'w')\nout.write(str(a + b))", SUM, "correct", "a file left open is flushed"),
    (READ + "import os\nprint(a + b)\nos._exit(0)", SUM, "wrong", "os._exit flushes nothing"),
    # threads
    (
        READ + "import threading\nthreading.Timer(0.1, print, [a + b]).start()",
        SUM,
        "correct",
        "a thread is waited for, and does not print into the next test",
    ),
    (
        READ
        + "import threading, time\nthreading.Thread(target=time.sleep, args=(99,), daemon=True).start()\nprint(a + b)",
        SUM,
        "correct",
        "a daemon is not waited for",
    ),
    (
        "import sys, threading\nsys.setrecursionlimit(10**6)\nthreading.stack_size(300 << 20)\ndef f():\n"
        "    print(int(input()) + int(input()))\nt = threading.Thread(target=f)\nt.start()\nt.join()",
        SUM * 3,
        "correct",
        "a large stack is there in every test",
    ),
    # streams
    (READ + "import sys\nsys.__stdout__.write(str(a + b))", SUM, "correct", "the stream behind the stream"),
    (
        "import io, sys\nsys.stdin = io.TextIOWrapper(sys.stdin.buffer)\n"
        "sys.stdout = io.TextIOWrapper(sys.stdout.buffer, line_buffering=True)\n" + READ + "print(a + b)",
        SUM,
        "correct",
        "both streams wrapped anew",
    ),
    (
        READ + "import os\nos.dup2(1, 9)\nos.close(1)\nos.write(9, str(a + b).encode())",
        SUM,
        "correct",
        "descriptor 1 is new in every test",
    ),
    ("print(sum(map(int, open('/dev/stdin'))))", SUM, "correct", "standard input by its path"),
    (
        "import os\nprint(sum(map(int, os.read(os.open('/dev/stdin', os.O_RDONLY), 99).split())))",
        SUM,
        "correct",
        "and without a stream",
    ),
    (
        "import pathlib\nprint(sum(map(int, pathlib.Path('/dev/fd/0').read_text().split())))",
        SUM,
        "correct",
        "by number",
    ),
    ("print(sum(map(int, open('/proc/self/fd/0'))))", SUM, "correct", "and by number of this process"),
    (
        "import sys\nassert (sys.stdin.mode, sys.stdout.mode) == ('r', 'w')\n" + READ + "print(a + b)",
        SUM,
        "correct",
        "streams have a mode, which templates ask for",
    ),
    (
        READ + "import io, sys\nsys.stdout = io.TextIOWrapper(sys.stdout.detach())\nprint(a + b)",
        SUM,
        "correct",
        "a buffer taken away",
    ),
    # a process of its own
    (
        READ + "import string\nprint(a + b if not hasattr(string, 'x') else 0)\nstring.x = 1",
        SUM,
        "correct",
        "modules are fresh",
    ),
    (READ + "import sys\nassert sys.argv == [__file__]\nprint(a + b)", SUM, "correct", "a file has a name"),
    (
        "import resource as r\nr.setrlimit(r.RLIMIT_STACK, r.getrlimit(r.RLIMIT_STACK))\n" + READ + "print(a + b)",
        SUM,
        "correct",
        "a program may set its stack",
    ),
    ("import numpy as np\nprint(np.loadtxt('/dev/stdin').sum())", SUM, "correct", "numpy, and 7.0 for 7"),
    (
        READ + "from sortedcontainers import SortedList\nprint(sum(SortedList([a, b])))",
        SUM,
        "correct",
        "sortedcontainers",
    ),
    ("import torch\n" + READ + "print(a + b)", SUM, "missing_module", "what judges do not have"),
    # what is printed
    ("print('\\n'.join(map(str, range(300000))))", [("", "\n".join(map(str, range(300000))))], "correct", "2 MB"),
    ("print(1, ' ' * 3 * 10**6)", [("", "1")], "output_limit", "3 MB of blanks"),
    ("print('\\n\\n 5  6 ')", [("", "5 6")], "correct", "blanks around all do not count"),
    ("print('5\\n\\n6')", [("", "5\n6")], "wrong", "an empty line between does"),
    ("print('sum:  5')", [("", "sum: 5")], "wrong", "and so do blanks beside words"),
    ("print('mean 0.50 of 4')", [("", "mean 0.5 of 4")], "correct", "a decimal beside words"),
    ("print('item 2.0')", [("", "item 2")], "wrong", "a whole number beside words is a name"),
    ("print('12_345')", [("", "12345")], "wrong", "no underscores"),
    ("print('٣')", [("", "3")], "wrong", "no digits of other scripts"),
    ("print(2 / 3)", [("", "0.666667")], "wrong", "a printed float is exact unless a tolerance is asked for"),
]
CALLS = [
    # names
    (
        "class Solution:\n    def f(self, x: List[int]) -> Optional[int]: return max(x)",
        [([1, 3], 3)],
        "correct",
        "typing",
    ),
    ("class Solution:\n    def f(self, x): return list(accumulate(x))", [([1, 3], [1, 4])], "correct", "itertools"),
    ("class Solution:\n    def f(self, x): return pow(3, x, 7)", [(2, 2)], "correct", "pow takes a modulus"),
    ("class Solution: pass", [(2, 2)], "error", "no method of that name"),
    (
        "from __future__ import annotations\nclass Solution:\n    def f(self, x: Nothing): return x",
        [(2, 2)],
        "correct",
        "",
    ),
    ("def f(x: List[int]): return max(x)", [([1], 1)], "error", "a function's file imports what it needs"),
    (LIVECODEBENCH_PRELUDE + "def f(x): return (date(2024, 3, x) - date.min).days % 7", [(1, 4)], "correct", "date"),
    (LIVECODEBENCH_PRELUDE + "def f(x): return x if x == 0 else f(x - 1)", [(9000, 0)], "correct", "50,000 deep"),
    # modules
    ("def f(x): return x + 1\nif __name__ == '__main__':\n    f(int(input()))", [(1, 2)], "correct", "a guard holds"),
    (
        "from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int\ndef f(x): return P(x).x",
        [(1, 1)],
        "correct",
        "",
    ),
    (
        "import sys\ndef f(x):\n    sys.stdout.close()\n    return x",
        [(1, 1), (2, 2), (3, 3)],
        "correct",
        "closed streams",
    ),
    (
        "import os\ndef f(x):\n    os.close(1)\n    print(x)\n    return x",
        [(0, 0)] * 5,
        "correct",
        "what is printed is not judged",
    ),
    ("import nowhere\ndef f(x): return x", [(1, 1)], "missing_module", "a module that is not there"),
    # values
    (
        "from typing import NamedTuple\nclass P(NamedTuple):\n    x: int\ndef f(x): return P(x)",
        [(1, [1])],
        "correct",
        "",
    ),
    ("class T(str): pass\ndef f(x): return T(x)", [("a", "a")], "correct", "a subclass of text"),
    (
        "class T(int):\n    __eq__ = lambda s, o: True\ndef f(x): return T(9)",
        [(1, 1)],
        "wrong",
        "with its own equality",
    ),
    ("def f(x): return {x: 'a', 2: 'b'}", [(1, {"1": "a", "2": "b"})], "correct", "JSON's keys are texts"),
    ("def f(x): return {x: 'a', '1': 'b'}", [(1, {"1": "b"})], "wrong", "one key each"),
    ("def f(x): return {i: i for i in range(x)}", [(30000, {str(i): i for i in range(30000)})], "correct", "large"),
    ("def f(x): return len({i for i in range(x)})", [(30000, 30000)], "correct", "a large set"),
    ("from fractions import Fraction\ndef f(x): return Fraction(x, 4)", [(1, 0.25)], "correct", "a fraction"),
    ("import numpy\ndef f(x): return numpy.array(x).sum()", [([1, 2], 3)], "correct", "a number of numpy's"),
    ("def f(x): x.sort()", [([2, 1], [1, 2])], "wrong", "what is returned is judged"),
    ("def f(x):\n    for _ in range(99): x = [x]\n    return x", [(0, eval("[" * 99 + "0" + "]" * 99))], "correct", ""),
    (LIVECODEBENCH_PRELUDE + "class Solution: pass", [(2, 2)], "error", "no function f anywhere"),
]
PROGRAM = "print(1)\n"
COMPLETIONS = [
    (
        "<think>\nSay\n```python\nprint(0)\n```\n</think>\n\n### Solution\n\n```python\nprint(1)\n```\n\n**Why**: so.",
        PROGRAM,
    ),
    (
        "Okay, so ```python\nprint(0)\n``` is it.\n</think>\n\nThe approach:\n\n```python\nprint(1)\n```<|im_end|>",
        PROGRAM,
    ),
    ("</think>\n\nHere it is.\n\n```python3\nprint(1)\n```\n\nIt takes O(1) time.", PROGRAM),
    ("<think>\n```python\nprint(1)\n```\n</think>\nDone.", None),
    ("<think>\n```python\nprint(1)\n```\nBut wait", None),
    ("```bash\npython a.py\n```\n```py\nprint(1)\n```\n```cpp\nint main() {}\n```", PROGRAM),
    ("```\n3 4\n```\n\n```Python\nprint(1)\n```\n\nOutput:\n```\n1\n```", PROGRAM),
    ("```\nprint(1)\n```\nprints\n```\n1\n```", PROGRAM),
    ("<answer>```python\nprint(1)\n```</answer>", PROGRAM),
    ("- so:\n\n  ```python\n  print(1)\n  ```\n", PROGRAM),
    ("1) ```{python}\nprint(1)\n```", PROGRAM),
    ("~~~python\nprint(1)\n~~~", PROGRAM),
    ("````python\nprint(1)\n````", PROGRAM),
    ("```python\r\nprint(1)\r\n```\r\n", PROGRAM),
    ("```python\nprint(1)```", PROGRAM),
    ("```python\nprint(0)\n\n```python\nprint(1)\n```", PROGRAM),
    ("```python\nprint(1)\n```\n```python\nprint(0", PROGRAM),
    ('```python\ns = """\n```\n"""\nprint(1)\n```', 's = """\n```\n"""\nprint(1)\n'),
    ("```python\n# not '''\nprint(1)\n```\nSo `x`.", "# not '''\nprint(1)\n"),
    ("```python\nprint(1)\n```\n```python\n\n```", PROGRAM),
    ("Use ```x``` here.\n```python\nprint(1)\n```", PROGRAM),
    ("```json\n{}\n```", None),
]


@pytest.fixture(scope="module")
def verifier():
    with Sandbox(num_workers=1, limits=Limits(cpu_seconds=2, wall_seconds=10), packages=PACKAGES) as sandbox:
        yield CodeVerifier(sandbox)


@pytest.mark.parametrize(("program", "tests", "status", "why"), PRINTING)
def test_programs_that_print(verifier, program, tests, status, why):
    printed = [ProgramTest(expected, stdin=stdin) for stdin, expected in tests]
    assert verifier.verify(program, printed).status == status, why


@pytest.mark.parametrize(("program", "tests", "status", "why"), CALLS)
def test_programs_that_are_called(verifier, program, tests, status, why):
    called = [ProgramTest(expected, call="f", args=(x,), tuples_are_lists=True) for x, expected in tests]
    assert verifier.verify(program, called).status == status, why


@pytest.mark.parametrize(("completion", "program"), COMPLETIONS)
def test_programs_in_completions(completion, program):
    assert extract_program(completion) == program


@pytest.mark.parametrize("piece", ["```\n'''\n", "<a>", " ", "\n", "```python\n", "``` x", "'''", "```python\nx```\n"])
def test_extraction_takes_time_in_proportion(piece):
    extract_program("```python\n" + piece * (2_000_000 // len(piece)))


@pytest.mark.parametrize(
    ("expected", "printed", "status"),
    [
        ("0.666667", "0.66666666", "correct"),
        ("0.666667", "0.67", "wrong"),
        ("12345678.5", "12345678.6", "correct"),
        ("mean 2.5", "mean 2.4999999", "correct"),
        ("3", "3.0000001", "wrong"),
        ("3.0", "3", "correct"),
        ("1000000", "1000001", "wrong"),
        ("0.5", "nan", "wrong"),
    ],
)
def test_a_tolerance_for_printed_floats_is_opt_in_and_whole_numbers_are_exact(verifier, expected, printed, status):
    tests = [ProgramTest(expected, stdin="", printed_tolerance=1e-6)]
    assert verifier.verify(f"print({printed!r})", tests).status == status


def test_a_function_of_the_prelude_is_not_the_programs(verifier):
    tests = [ProgramTest(4, call="gcd", args=(8, 12))]
    assert verifier.verify(LIVECODEBENCH_PRELUDE + "def f(): pass", tests).status == "error"
    assert verifier.verify(LIVECODEBENCH_PRELUDE + "def gcd(a, b): return math.gcd(a, b)", tests).status == "correct"


def test_one_verdict_however_often(verifier):
    program = next(program for program, *_ in PRINTING if "stack_size" in program)
    tests = [ProgramTest(expected, stdin=stdin) for stdin, expected in SUM]
    assert {verifier.verify(program, tests).status for _ in range(10)} == {"correct"}


def test_collected_cases(benchmarks):
    """Every case except those decided otherwise by a rule; no clear one is rewarded that should not be."""
    path = benchmarks / "verifier_cases/cases.jsonl"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    cases = [case for case in map(json.loads, path.read_text().splitlines()) if case["kind"] == "code"]
    with Sandbox(num_workers=2, limits=Limits(cpu_seconds=5, wall_seconds=25), packages=PACKAGES) as sandbox:
        verify = CodeVerifier(sandbox).verify
        verdicts = dict(sandbox.map(lambda case: (case["id"], _verdict(verify, case)), cases))
    otherwise = {case["id"] for case in cases if (verdicts[case["id"]] == "correct") != (case["expected"] == "correct")}
    assert otherwise == set(REFUSED_BY_RULE)


def _verdict(verify, case):
    from oneshot.verifiers.__main__ import read_tests

    program = extract_program(case["completion"]) if "completion" in case else case["program"]
    if program is None:
        return "unparsable"
    prelude = LIVECODEBENCH_PRELUDE if case.get("prelude") else ""
    return verify(prelude + program, read_tests(case["tests"], case["id"])).status
