r"""The math verifier against pairs judged by hand, real golds if they are available, and adversarial text."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oneshot.verifiers import Status
from oneshot.verifiers.boxed import MAX_CHARACTERS, final_answers
from oneshot.verifiers.comparing import settle
from oneshot.verifiers.math import BadGold, MathVerifier
from oneshot.verifiers.reading import take_apart

EQUAL = r"""
70 | 70
70 | 070
70 | 70.
70 | 70.0
70 | +70
70 | \,70\,
70 | $70$
70 | x=70
70 | x = 70
70 | \color{red}{70}
70 | \text{70}
25 | 025
025 | 25
073 | 73
-3 | −3
-3 | –3
1000000 | 1{,}000{,}000
1000000 | 1,000,000
12345 | 12,\!345
12345 | 12\,345
12345 | 12,345
12,\!345 | 12345
36 | \$36
\$36 | 36
1200000 | 1.2\times10^6
1200000 | 1.2e6
1.2\times10^6 | 1200000
\frac{1}{2} | 0.5
\frac{1}{2} | .5
\frac{1}{2} | 1/2
\frac{1}{2} | \frac12
\frac{1}{2} | \dfrac{1}{2}
\frac{1}{2} | \tfrac12
\frac{1}{2} | \frac{2}{4}
\frac{1}{2} | 2^{-1}
-\frac{1}{2} | \frac{-1}{2}
-\frac{1}{2} | -\frac12
\frac34 | \frac{3}{4}
\frac34 | 0.75
\frac{7}{2} | 3\frac12
\frac{7}{2} | 3 1/2
\frac{7}{2} | 3\frac{1}{2}
\frac{7}{2} | 3.5
\frac{1}{3} | \frac{2}{6}
2\sqrt{3} | \sqrt{12}
2\sqrt{3} | 2\sqrt3
\sqrt{2} | √2
\sqrt{2} | \sqrt2
\sqrt{2} | 2^{1/2}
\frac{\sqrt{2}}{2} | \frac{1}{\sqrt{2}}
\frac{\sqrt{3}}{3} | \frac{1}{\sqrt3}
2\pi | 2\pi
2\pi | 2π
2\pi | \pi\cdot2
\frac{\pi}{2} | \pi/2
\frac{3\pi}{4} | \frac{3}{4}\pi
1024 | 2^{10}
2^{10} | 1024
3 + 4i | 4i+3
1+\sqrt{2} | \sqrt{2}+1
x^2+2x+1 | (x+1)^2
x^2+2x+1 | 1+2x+x^2
(x+1)(x-1) | x^2-1
2x+3 | 3+2x
y=2x+3 | y = 3+2x
(1,2) | (1, 2)
(1,2) | \left(1,2\right)
(3, \frac{\pi}{2}) | \left( 3, \frac{\pi}{2} \right)
\left(\frac12,-1\right) | (0.5,-1)
[2,5) | [2,5)
[2,5) | \left[2,5\right)
(-\infty,3) | (-\infty, 3)
(-\infty,3)\cup(5,\infty) | (-\infty,3)\cup(5,\infty)
\{1,2,3\} | \{3,2,1\}
1,2,3 | 3,2,1
1, 2 | 2,1
\{1,2\} | 1,2
1,-2 | -2,1
\begin{pmatrix}1\\2\end{pmatrix} | \begin{bmatrix}1\\2\end{bmatrix}
\begin{pmatrix}1&0\\0&1\end{pmatrix} | \begin{pmatrix} 1 & 0 \\ 0 & 1 \end{pmatrix}
2516_8 | 2516_8
2516_8 | 2516_{8}
2516_8 | 02516_8
4210_{5} | 4210_5
\text{Evelyn} | \text{Evelyn}
\text{Evelyn} | Evelyn
\text{(C)} | \text{(C)}
\text{even} | even
5 \text{ cm} | 5
5 \text{ cm} | 5\text{ cm}
5 \text{ cm} | 5\mathrm{cm}
5 \text{ cm} | 5 cm
5 \text{ cm}^2 | 5
10\text{ inches} | 10 \text{ inch}
50\% | 50
50\% | 50\%
50\% | 0.5
50 | 50 \text{ degrees}
0.5 | 50\%
90^\circ | 90
90^\circ | 90^{\circ}
90^\circ | 90°
3:2 | 3:2
3:2 | 3 : 2
10:30 | 10:30\text{ a.m.}
6 - 5i | 6-5i
\frac{9}{256} | 0.03515625
-2 + 7i | 7i - 2
A | A
\text{A} | A
5x - 7y + 11z + 4 = 0 | 5x-7y+11z+4=0
f(x)=2x | f(x) = 2x
\frac{14}{3} | 4\frac{2}{3}
\sqrt[3]{2} | 2^{1/3}
e^2 | e^{2}
\ln 2 | \ln(2)
7! | 5040
123456789012345678 | 123456789012345678
"""

DIFFERENT = r"""
70 | 69=70
70 | 69 = 70
70 | 1+69=70
70 | 35\cdot2=70
70 | x=y=70
70 | 70=x=70
70 | 71
70 | -70
70 | 700
70 | 7.0
70 | 70.0000001
70 | 70.5
70 | \{1,2,70\}
70 | 69,70
70 | 69 or 70
70 | 69 \text{ or } 70
70 | 70\pm1
70 | 0,1,2,3,4,5,6,7,8,9,10,70
70 | 70x
70 | 70i
70 | \frac{70}{2}
70 | 70^2
70 | \sqrt{70}
70 | 70\%
70 | [70,71]
70 | (70,70)
70 | \infty
70 | \text{seventy}
70 | x
70 | ?
70 | __import__('os').system('true')
123456789012345678 | 123456789012345679
1101_2 | 1101_3
1101_2 | 1101
2516_8 | 2516
2516_8 | 1358
2516_8 | 2516_9
2516 | 2516_8
5 \text{ cm} | 5\text{ m}
5 \text{ cm} | 5 \text{ inches}
5 \text{ cm} | 6\text{ cm}
50\% | 5\%
50 | 50\%
A | a
A | B
\text{A} | a
x | X
C | c
A+b | a+B
2a | 2A
3:2 | 3/2
3:2 | 1.5
3:2 | 2:3
10:30 | \frac{1}{3}
10:30 | 1/3
\{1,2\} | \{\{1\},\{2\}\}
\{1,2\} | (1,2)
(1,2) | \{1,2\}
(1,2) | x=1, y=2
(1,2) | (2,1)
(1,2) | [1,2]
(1,2) | 1,2
[2,5) | (2,5)
[2,5) | [2,5]
[2,5) | (2,5]
(-\infty,3) | (-\infty,3]
(-\infty,3)\cup(5,\infty) | (-\infty,3)
(-\infty,3)\cup(5,\infty) | (-\infty,\infty)
1,2,3 | 1,2
1,2,3 | 1,2,3,4
1,2 | 1,2,2,3
5050 | \sum_{i=1}^{100} i
252 | \binom{10}{5}
24 | \prod_{i=1}^4 i
12 | \lcm(3,4)
1 | \int_0^1 2x dx
\pi | 3.14159
\pi | 3.14
\pi | \frac{22}{7}
\sqrt{2} | 1.414
\sqrt{2} | \sqrt{3}
\sqrt{2} | -\sqrt{2}
2\sqrt{3} | 3\sqrt{2}
\frac{1}{3} | 0.33
\frac{1}{3} | 0.333
\frac{1}{2} | \frac{2}{1}
\frac{1}{2} | -\frac12
\frac{7}{2} | 3\cdot\frac12
\frac{7}{2} | 31/2
x^2+2x+1 | x^2+2x-1
x^2-1 | (x-1)^2
(x+1)(x-1) | (y+1)(y-1)
3+4i | 3-4i
3+4i | 4+3i
3+4i | 5
y=2x+3 | y=2x-3
y=2x+3 | x=2y+3
\begin{pmatrix}1\\2\end{pmatrix} | \begin{pmatrix}2\\1\end{pmatrix}
\begin{pmatrix}1\\2\end{pmatrix} | (1,2)
\text{Evelyn} | \text{Evan}
\text{even} | odd
\text{(C)} | \text{(B)}
90^\circ | 91^\circ
12345 | 12\,346
1200000 | 1.2e5
1.2 | 1.2e6
2\pi | 2
2\pi | \pi
-3 | 3
0 | 
0 | \emptyset
10 | 9.999999999
\frac{9}{256} | 0.035
"""


def pairs(table):
    rows = [tuple(part.strip() for part in line.split(" | ", 1)) for line in table.strip().split("\n")]
    return [row if len(row) == 2 else (row[0].rstrip(" |"), "") for row in rows]


@pytest.fixture(scope="module")
def verifier():
    with MathVerifier(num_workers=1, cpu_seconds=2.0) as started:
        yield started


def verdicts(verifier, rows):
    return [verdict.status for verdict in verifier.verify_many((gold, rf"so \boxed{{{a}}}") for gold, a in rows)]


def test_equal_answers_are_paid(verifier):
    rows = pairs(EQUAL)
    assert len(rows) + len(pairs(DIFFERENT)) >= 150
    refused = [row for row, status in zip(rows, verdicts(verifier, rows), strict=True) if status != Status.CORRECT]
    assert refused == []


def test_different_answers_are_not(verifier):
    rows = pairs(DIFFERENT)
    paid = [row for row, status in zip(rows, verdicts(verifier, rows), strict=True) if status == Status.CORRECT]
    assert paid == []


@pytest.mark.parametrize(
    ("completion", "answers"),
    [
        ("", []),
        ("70", []),
        ("I am not sure but maybe 70", []),
        (r"\boxed{70}", ["70"]),
        (r"\boxed {70}", ["70"]),
        (r"\boxed{70", []),
        (r"\boxed{}", []),
        (r"\boxed{ }", []),
        (r"\boxed 70", []),
        (r"\fbox{70}", []),
        (r"\boxed{69}. Some more thought shows that this was wrong, and it is \boxed{70}", ["70"]),
        (r"\boxed{69} or \boxed{70}", ["69", "70"]),
        (r"\boxed{1}\boxed{2}\boxed{3}\boxed{4}\boxed{5}", []),
        (r"\boxed{69}. Final answer is $70$. I hope", ["69"]),
        (r"\boxed{\frac{1}{2}}", [r"\frac{1}{2}"]),
        (r"\boxed{\{1,2\}}", [r"\{1,2\}"]),
        (r"\boxed{\boxed{70}}", [r"\boxed{70}"]),
        (r"<think>\boxed{69}</think> so \boxed{70}", ["70"]),
        (r"<think>\boxed{70}</think> I do not know", []),
        (r"<think>\boxed{70}", []),
        (r"\boxed{69} and then many words that go on for a while \boxed{70", []),
        (r"\boxed{" + "1" * MAX_CHARACTERS + "}", ["1" * MAX_CHARACTERS]),
        (r"\boxed{" + "1" * (MAX_CHARACTERS + 1) + "}", []),
        (r"\boxed{" + "{" * 21 + "}" * 21 + "}", []),
        ("\\boxed{7\x000}", ["7\x000"]),
        ("\\boxed{７０}", ["７０"]),
    ],
)
def test_extraction(completion, answers):
    assert final_answers(completion) == answers


def test_every_answer_given_together_must_be_right(verifier):
    completions = [r"\boxed{0.5} or \boxed{\frac12}", r"\boxed{0.5} or \boxed{0.6}", r"\boxed{0.6} or \boxed{0.5}"]
    found = verifier.verify_many((r"\frac{1}{2}", completion) for completion in completions)
    assert [verdict.status for verdict in found] == ["correct", "wrong", "wrong"]


@pytest.mark.parametrize("gold", ["", r"\frac{", r"\foo", "]"])
def test_a_gold_that_cannot_be_read_is_an_error(verifier, gold):
    with pytest.raises(BadGold, match=r"problem 7: gold answer .* cannot be read"):
        verifier.check_golds({"70": "problem 6", gold: "problem 7"})


HOSTILE = [
    "9^{9^{9^{9}}}",
    "9^9^9^9",
    "10^{8}!",
    "((100!)!)!",
    r"\binom{10^9}{5\cdot10^8}",
    r"\sum_{i=1}^{10^9} i",
    r"7^{10^8}",
    "(x+y+z+1)^{500}",
    r"\frac{" * 15 + "1" + "}{2}" * 15,
    r"\sqrt{" * 15 + "2" + "}" * 15,
    "1" * 300,
    r"\dfrac{5^{5^{5^{5^5}}-4}-5}{16}",
    ",".join("1" * 140),
    "x_{" * 15 + "1" + "}" * 15,
    "\\" * 299,
    "\x00\x01\x02",
    r"\begin{pmatrix}" + "&".join("1" * 100) + r"\end{pmatrix}",
]


@pytest.mark.parametrize("count", [3, pytest.param(len(HOSTILE), marks=pytest.mark.slow)])
def test_hostile_answers_end_by_their_deadline_and_are_not_paid(count):
    started = time.perf_counter()
    with MathVerifier(num_workers=1, cpu_seconds=0.5) as verifier:
        statuses = verdicts(verifier, [("70", answer) for answer in HOSTILE[:count]])
        assert Status.CORRECT not in statuses
        assert verifier.verify("70", r"\boxed{70}").reward == 1  # and the verifier lives
        assert verifier.verify(r"\frac12", r"\boxed{\frac{3}{6}}").reward == 1
    assert time.perf_counter() - started < 10 * len(HOSTILE)


@pytest.mark.parametrize("unit", ["{", "}", "\\", r"\boxed{", "\\{", "{}", "a", "</think>", "\\boxed{1}"])
def test_a_megabyte_of_anything_is_read_in_time(unit):
    started = time.perf_counter()
    final_answers(unit * (10**6 // len(unit)))
    assert time.perf_counter() - started < 5


PIECES = [*"0123456789{}()[]\\,.=+-*/^_ xyzAB%$:", r"\frac", r"\sqrt", r"\text", r"\pi"]
LATEX = st.lists(st.sampled_from(PIECES), max_size=30).map("".join)


@pytest.mark.parametrize("text", [r"\boxed{" * 140_000, r"\boxed{70}\boxed{71}" * 50_000, "7" * 10**6, "{" * 10**6])
def test_a_megabyte_gets_its_verdict_in_time(verifier, text):
    started = time.perf_counter()
    assert verifier.verify("70", text).status in (Status.UNPARSABLE, Status.WRONG)
    assert time.perf_counter() - started < 5


@settings(deadline=None, max_examples=300)
@given(gold=LATEX, answer=LATEX)
def test_whatever_it_is_given_is_settled_or_left_to_algebra(gold, answer):
    assert settle(gold, answer) in (True, False, None)
    if take_apart(answer).kind != "nothing":
        assert settle(answer, answer) is True


@settings(deadline=None, max_examples=300)
@given(st.text())
def test_extraction_never_fails(text):
    assert all(answer in text for answer in final_answers(text))


@settings(deadline=None, max_examples=300)
@given(st.text())
def test_the_last_box_is_found_behind_any_text_that_is_not_open_thinking(text):
    answered = text.replace("boxed", "").replace("<think>", "") + r"\boxed{70}"
    assert final_answers(answered)[-1] == "70"
    assert not final_answers("<think>" + answered.replace("</think>", ""))
