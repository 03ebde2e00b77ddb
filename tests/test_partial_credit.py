"""Partial credit: what earns it, and that the ways to farm it do not."""

import json
from collections import Counter

import pytest

from oneshot.sandbox import Sandbox
from oneshot.verifiers import Status
from oneshot.verifiers.code import CodeVerifier, ProgramTest
from oneshot.verifiers.partial_credit import calculation_credit, evaluate, prefix_credit
from oneshot.verifiers.program_credit import MAX_TRACE, passed_credit, trace_credit

PASS, FAIL = Status.CORRECT, Status.WRONG


def expecting(*values):
    return [ProgramTest(value, call="f", args=(index,)) for index, value in enumerate(values)]


def by_constant(tests, constant):
    return [PASS if test.expected == constant else FAIL for test in tests]


def test_a_constant_earns_nothing_however_the_tests_are_spread():
    for values in ([0] * 98 + [1, 2], [True, False], [1, 2, 3, 4], [[], [], [], [1]]):
        tests = expecting(*values)
        assert max(passed_credit(tests, by_constant(tests, value)) for value in values) == 0
        assert passed_credit(tests, [PASS] * len(tests)) == 1
        assert passed_credit(tests, [FAIL] * len(tests)) == 0


def test_more_tests_of_more_kinds_earn_more():
    tests = expecting(0, 0, 1, 2)
    credits = [passed_credit(tests, [PASS] * n + [FAIL] * (4 - n)) for n in range(5)]
    assert credits == sorted(credits)
    assert credits == pytest.approx([0, 0, 0, 0.5, 1])


def test_with_one_output_there_is_no_half_way():
    tests = expecting(1, 1, 1)
    assert passed_credit(tests, [PASS, PASS, FAIL]) == 0
    assert passed_credit(tests, [PASS] * 3) == 1


def test_shown_and_repeated_tests_do_not_count():
    shown, repeated = ProgramTest(1, call="f", args=(1,)), ProgramTest(2, call="f", args=(2,))
    tests = [shown, repeated, repeated, ProgramTest(3, call="f", args=(3,))]
    assert passed_credit(tests, [PASS, FAIL, FAIL, FAIL], [shown]) == 0
    assert passed_credit(tests, [FAIL, PASS, PASS, PASS], [shown]) == 1
    assert passed_credit([shown], [PASS], [shown]) == 0


def test_traces():
    reference = [[3, 1, 2], [1, 2, 3], [3, 2, 1]]
    assert trace_credit(reference, reference) == 1
    assert trace_credit(reference, reference[:2]) == pytest.approx(2 / 3)
    assert trace_credit(reference, [[3, 2, 1], [1, 2, 3]]) == pytest.approx(1 / 3)  # order counts
    assert trace_credit(reference, []) == trace_credit([], reference) == 0
    assert trace_credit([1, 2], [True, 2.0]) == pytest.approx(1 / 2)
    assert trace_credit([5, 50], list(range(100))) == pytest.approx(2 / 100)  # a dump of all values
    assert trace_credit([5, 50], [5, 50] * 1000) == pytest.approx(2 / 2000)
    assert trace_credit([5], list(range(11 * MAX_TRACE))) == 0
    assert trace_credit([5], "5") == 0


def test_a_trace_is_what_the_variables_became():
    program = "def f(x):\n    y = x + 1\n    for _ in range(2):\n        y = y * 2\n    return [y]"
    with Sandbox(num_workers=1) as sandbox:
        verifier = CodeVerifier(sandbox)
        tests = [ProgramTest(None, call="f", args=(1,)), ProgramTest(None, call="f", args=("a",))]
        traces = verifier.traces(program, tests)
        assert traces == {0: [2, 0, 4, 1, 8, [8]]}
        other = verifier.traces("def f(x):\n    y = x + 1\n    return [y]", tests)
        assert trace_credit(traces[0], other[0]) == pytest.approx(1 / 6)


def test_steps_up_to_the_first_wrong_one():
    assert prefix_credit([1, 2, 3], [1, 2, 3]) == 1
    assert prefix_credit([1, 2, 3], [1, 2, 4]) == pytest.approx(2 / 3)
    assert prefix_credit([1, 2, 3], [0, 2, 3]) == 0
    assert prefix_credit([1, 2, 3], [1]) == pytest.approx(1 / 3)
    assert prefix_credit([1, 2, 3], [1, 1, 2, 3]) == 0  # padded
    assert prefix_credit([1, 2, 3], []) == prefix_credit([], []) == 0


QUESTION = "Natalia sold clips to 46 friends in April, and half as many in May. How many did she sell in all?"
GOLD = "She sold 46/2 = <<46/2=23>>23 in May.\nAltogether 46+23 = <<46+23=69>>69.\n#### 69"


@pytest.mark.parametrize(
    ("completion", "credit"),
    [
        (GOLD, 1),
        ("<<46/2=23>> #### 23", 0.5),
        ("<<46/2=22>> <<46+22=68>>", 0),
        ("<<46/2=23>> <<46/2=23>>", 0.5),  # repeated
        ("<<46/2=23>> <<46+23=69>> <<46+23=69>>", 2 / 3),
        ("<<1+1=2>> <<46/2=23>> <<46+23=69>>", 2 / 3),  # padded with what is true and trivial
        ("<<46*1=46>> <<46/2=23>> <<46+23=69>>", 1),  # finds what the question says: neither use nor harm
        ("<<29-6=23>> <<71-2=69>>", 0),  # numbers from nowhere
        ("<<46+23=69>>", 0),  # 23 was never found
        ("<<46+46=92>> <<92+46=138>>", 0),  # true, and leads nowhere
        ("#### 69 <<46/2=23>> <<46+23=69>>", 0),  # after the answer
        ("<<23=23>> <<69=69>>", 0),  # no calculation
        ("<<46/2=23", 0),
        ("<<__import__('os')=23>>", 0),
        ("<<9**9**9=23>>", 0),
        ("<<46/0=23>>", 0),
        ("", 0),
        ("<<46/2=23>>" * 10**5, 0.01),
    ],
)
def test_calculations(completion, credit):
    assert calculation_credit(QUESTION, completion, GOLD) == pytest.approx(credit)


@pytest.mark.parametrize("expression", ["2**9", "(1).__class__", "a", "1 if 1 else 2", "[1]", "1/0", "(" * 500])
def test_only_sums_and_products_have_a_value(expression):
    assert evaluate(expression) is None


def test_gold_solutions_of_gsm8k_earn_most_and_others_nothing(benchmarks):
    rows = [json.loads(line) for line in (benchmarks / "gsm8k/test.jsonl").read_text().splitlines()]
    own = [calculation_credit(row["question"], row["answer"], row["answer"]) for row in rows]
    others = [
        calculation_credit(row["question"], other["answer"], row["answer"])
        for row, other in zip(rows, rows[1:] + rows[:1], strict=True)
    ]
    assert sum(own) / len(own) > 0.8
    assert sum(others) / len(others) < 0.02


@pytest.mark.slow
def test_constants_earn_nothing_on_mbppplus(benchmarks):
    """Unweighted, the best constant passes 28 % of the tests of MBPP+."""
    from oneshot.tasks.benchmarks import load_benchmark
    from oneshot.verifiers.code import unpack_tests

    plain, weighted = [], []
    for problem in load_benchmark("mbppplus", path=benchmarks / "mbppplus/MbppPlus-OriginFmt.jsonl.gz"):
        tests, _ = unpack_tests(problem.answer)
        if tests[0].oracle == "equal" and any(test.expected is not None for test in tests):
            outputs = [repr(test.expected) for test in tests]
            constant, count = Counter(outputs).most_common(1)[0]
            statuses = [PASS if output == constant else FAIL for output in outputs]
            plain.append(count / len(tests))
            weighted.append(passed_credit(tests, statuses) if count < len(tests) else 0)
    assert sum(plain) / len(plain) > 0.25
    assert max(weighted) < 0.01
