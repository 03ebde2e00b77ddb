r"""The math verifier's rules as small pairs, one per line; and pairs derived from public bug reports, if available.

Each pair shows a decision of `reading` (what an answer is), `comparing` (when two are the same) or `boxed` (which boxes
count). The reports' pairs are `verifier_cases/cases.jsonl` in the folder that ONESHOT_BENCHMARKS names.
"""

import json
import random
from collections import Counter
from itertools import product

import pytest

from oneshot.verifiers import Status
from oneshot.verifiers.math import Gold, MathVerifier

# gold | answer | paid? | why
TABLE = r"""
# names in front of a value
18 | y = 18 | yes | a letter names it
18 | CD = 18 | yes | a segment
18 | \text{Perimeter} = 18 | yes | words
18 | \text{Answer: }18 | yes | words and a colon
18 | \angle PQR = 18^\circ | yes | an angle
18 | |w| = 18 | yes | an absolute value
18 | [PQRS] = 18 | yes | an area
18 | g(4) = 18 | yes | a value of a function
\frac{2}{7} | P(B) = \frac27 | yes | a probability
\frac{2}{7} | P(X=3) = \frac27 | yes | with an equals sign in brackets
\frac{3}{5} | \sin\alpha = 0.6 | yes | a sine
18 | a + b = 18 | yes | a sum of letters is what was asked for
18 | 9 + 9 = 18 | no | arithmetic in front: a chain
18 | x = y = 18 | no | a chain
18 | 3x = 18 | no | not solved
18 | x^2 = 18 | no | not solved
18 | -x = 18 | no | the negative is 18
18 | \text{not} = 18 | no | denies it
x=18 | 18 | yes | the gold's name may be left out
x=18 | y=18 | no | another name
x=18 | x=17=18 | no | a chain, whatever the gold
x-y+z = 0 | 0 | no | an equation is no number
x-y+z = 0 | 3x-3y+3z=0 | yes | a multiple of the same equation
x-y+z = 0 | x-y+z=1 | no | another equation
y = 3x-2 | 3x-y-2=0 | yes | the same line
# words
\text{north} | \text{North} | yes | case of a word
\text{north} | north | yes | not set upright
\text{north} | \text{not north} | no | other words
\text{north} | \text{north or south} | no | a hedge
PQR | pqr | no | capitals name points
NOON | ONNO | no | letters of a name stand in order
\text{(D)} | D | yes | a choice
\text{(D)} | d | no | case of a single letter
\text{(D)} | \text{(C) or (D)} | no | a hedge
E | e | no | a letter is not a number
(\text{K}) | K | yes | a gold of letters in brackets
(\text{K}) | x+1 | no | and it stops nothing
40 | \text{not }40 | no | denies it
40 | \text{minus }40 | no | a sign in words
40 | \text{at least }40 | no | a bound
40 | 40\text{ or so} | no | a bound
40 | 40\text{ thousand} | no | a multiplier
40000 | 40\text{ thousand} | yes | read, not dropped
40 | \text{39 or }40 | no | two answers
40 | 40\text{ (or 41)} | no | two answers
# units
40\text{ km} | 40 | yes | left out
40 | 40\ \text{km} | yes | given, behind a control space
40 | \text{40 hours} | yes | in one group
40 | 40\text{ marbles} | yes | counted
40 | 40^{\text{th}} | yes | an ordinal
40\text{ km} | 40\text{ kilometres} | yes | written out
40\text{ feet} | 40\text{ ft} | yes | abbreviated
40\text{ cm}^2 | 40\text{ square centimeters} | yes | in words
40\text{ miles per hour} | 40\text{ mph} | yes | a quotient
40\text{ m} | 40\text{ m/s} | no | another unit
40\text{ m} | 40\text{ s} | no | another unit
40\text{ cm}^3 | 40\text{ cm}^2 | no | another power
\$40 | 40\text{ cents} | no | another currency
\$40 | 40\text{ dollars} | yes | the sign
2.75\ \text{USD} | 2.75 | yes | a gold with a control space
3^2\text{ m} | 3 | no | the power is the number's
3^2\text{ m} | 9 | yes | and is worked out
8cd | 8 | no | letters are no unit
3ab+b^2 | b^2+3ab | yes | in another order
5ts | 5st | yes | in another order
x^2+3xy | x^2 | no | a term lost
# upright letters and functions
2+5i | 2+5\mathrm{i} | yes | upright i
2+5\mathrm{i} | 7 | no | not dropped
\mathrm{e}^3 | e^3 | yes | upright e
\ln 7 | \operatorname{ln} 7 | yes | a function
7 | \operatorname{ln} 7 | no | not dropped
# numbers
\frac{1}{3^{60}} | \frac{1}{3^{61}} | no | however small
10^{-40} | 0 | no | however small
\frac{1}{4} | 0.2500001 | no | exact or nothing
\sqrt{5} | 2.2360679775 | no | exact or nothing
2^{80} | 2^{80}+1 | no | however large
\frac{5}{11} | 0.\overline{45} | yes | repeating decimals
0.\overline{45} | 0.45 | no | and not cut off
87 | 8 7 | no | two numbers
87 | 8 \quad 7 | no | two numbers
64 | 8² | yes | a superscript
82 | 8² | no | a superscript
\frac{9}{4} | 2¼ | yes | a fraction in one character
1500 | 1,500\text{ dollars} | yes | thousands and a unit
1500 | n = 1{,}500. | yes | thousands, a name, a full stop
500 | 1,500 | no | another number
\frac{9}{4} | 2 1/4\text{ hours} | yes | mixed, with a unit
16 | {\bf 16} | yes | type
16 | \underline{16}\\ | yes | type
16 | 16_8 | no | another base
1011_2 | (1011)_{2} | yes | brackets around digits
1011_2 | 1011_3 | no | another base
# percentages
35\% | 0.35 | yes | the sign says it
35\% | 35 | yes | and may be left out
35 | 35\% | no | the question did not ask for one
\frac{7}{20} | 35\% | yes | the same number
35 | 0.35 | no | another number
# lists, sets, intervals
4, 9 | 9\text{ or }4 | yes | in any order
4, 9 | x=4, x=9 | yes | named alike
4, 9 | x=4, y=9 | no | named apart
4, 9 | 4, 4, 9 | no | as often as in the gold
4, 9 | 4 | no | one is missing
4, 9 | 13 | no | not added up
4, 8\text{, and }9 | 4, 8, 9 | yes | a conjunction in the gold
-3 \text{ or } -7 | -10 | no | not added up
(4,9),(1,2) | \{(1,2),(4,9)\} | yes | a set of pairs
\text{P}, \text{Q} | \text{Q}, \text{P} | no | words may be in order
\pm 7 | 7, -7 | yes | both
7 | \pm 7 | no | two are not one
2\pm\sqrt{3} | 2+\sqrt3\text{ and }2-\sqrt3 | yes | both
2\pm\sqrt{3} | 2+\sqrt3 | no | one is missing
(2,9] | 2<x\le 9 | yes | the same set
x \in [0,8] | [0,8] | yes | the same set
x>6 | (6,\infty) | yes | the same set
x>6 | x\ge 6 | no | another end
(2,9] | (2,9) | no | another bracket
(-\infty,0)\cup(5,\infty) | x<0\text{ or }x>5 | yes | the same set
\emptyset | \varnothing | yes | another glyph
\{4,9\} | (4,9) | no | a pair is no set
(4,9) | \bigl(4,9\bigr) | yes | larger brackets
# the four golds of MATH that could not be read
r + s + t | t+s+r | yes | letters are no units
\cos^2 u | (\cos u)^2 | yes | a power of a function
1999 + \frac\pi 3 | 1999+\frac{\pi}{3} | yes | a fraction without braces
1999 + \frac\pi 3 | 1999 | no | and all of it
"""
ROWS = [line.split(" | ") for line in TABLE.strip().splitlines() if not line.startswith("#")]

BOXES = [
    ("5", r"\boxed{5}. Again: \boxed{5}. Again: \boxed{5}. Again: \boxed{5}. Again: \boxed{5}. Yes: \boxed{5}", True),
    ("5", r"\boxed{5}. Again: \boxed{5}. Again: \boxed{6}", False),
    ("2,4,8", r"They are \boxed{2}, \boxed{4} and \boxed{8}.", True),
    ("2,4,8", r"They are \boxed{2}, \boxed{4} and \boxed{9}.", False),
    ("8", r"They are \boxed{2}, \boxed{4} and \boxed{8}.", False),
    ("2,4", r"\boxed{2,4} or \boxed{4}", False),
    ("12", r"It goes into \boxed{}: \boxed{12}", True),
    ("12", r"\boxed{12}, so \boxed{}", False),
    ("12", r"\boxed{12}, so \boxed{1", False),
    ("12", r"<think>\boxed{12}, but", False),
    ("12", r"\boxed{12\\}", True),
]
NAMES = {"correct": "yes", "wrong": "no", "unparsable": "no"}


@pytest.fixture(scope="module")
def verifier():
    with MathVerifier(num_workers=1) as started:
        yield started


def test_the_table_has_both_kinds():
    assert len(ROWS) >= 100
    assert min(Counter(paid for _, _, paid, _ in ROWS).values()) >= 50


@pytest.mark.parametrize(("gold", "answer", "paid", "why"), ROWS, ids=[f"{gold} | {a}" for gold, a, _, _ in ROWS])
def test_a_pair(verifier, gold, answer, paid, why):
    verifier.check_golds({gold: "the table"})
    assert NAMES[verifier.verify(gold, rf"so \boxed{{{answer}}}").status] == paid, why


@pytest.mark.parametrize(("gold", "completion", "paid"), BOXES)
def test_which_boxes_count(verifier, gold, completion, paid):
    assert bool(verifier.verify(gold, completion).reward) is paid


@pytest.mark.parametrize(
    ("gold", "answer", "paid"),
    [("35", r"35\%", 1), ("35", "35", 1), ("35", r"35\text{ percent}", 1), ("35", "0.35", 0), ("35", r"3500\%", 0)],
)
def test_a_question_that_asks_for_a_percentage(verifier, gold, answer, paid):
    assert verifier.verify(Gold(gold, in_percent=True), rf"\boxed{{{answer}}}").reward == paid


def test_the_reports_cases(verifier, benchmarks):
    """None of the clear ones is judged wrongly; of the debatable ones, none is rewarded that should not be."""
    lines = (benchmarks / "verifier_cases/cases.jsonl").read_text().splitlines()
    cases = [case for case in map(json.loads, lines) if case["kind"] == "math"]
    verifier.check_golds({case["gold"]: case["id"] for case in cases})
    verdicts = verifier.verify_many((case["gold"], case["completion"]) for case in cases)
    wrong = [
        case
        for case, verdict in zip(cases, verdicts, strict=True)
        if (verdict.status is Status.CORRECT) != (case["expected"] == "correct")
    ]
    assert [case for case in wrong if not case["debatable"]] == []
    assert [case for case in wrong if case["expected"] == "wrong"] == []
    assert len(wrong) <= 13


def golds_made_up() -> list[str]:
    """Different answers of every kind; no two of them are equal."""
    primes = (2, 3, 5, 7, 11, 13, 17, 19)
    shapes = [
        *(
            "{a}",
            "-{a}",
            r"\frac{{{a}}}{{23}}",
            r"\sqrt{{{a}}}",
            r"{a}\pi",
            "{a}x+1",
            "x^{{{a}}}",
            r"{a}+{a}i",
            "{a}!+4",
        ),
        *(
            "({a},23)",
            "[{a},23]",
            "({a},23]",
            r"x > {a}",
            r"\{{{a},29\}}",
            r"29\pm\sqrt{{{a}}}",
            r"\frac{{1}}{{{a}^{{40}}}}",
        ),
        *(
            r"{a}31\text{{ cm}}",
            r"{a}37\%",
            "y = {a}x",
            "x+{a}y+z=0",
            r"\ln({a})",
            "e^{{{a}}}",
            "{a}:23",
            "1{a}_{{29}}",
        ),
        *(
            r"\begin{{pmatrix}} {a} \\ 1 \end{{pmatrix}}",
            r"{a}ab",
            r"\text{{row {a}}}",
            r"(-\infty,{a})\cup(40,\infty)",
        ),
    ]
    return [shape.format(a=prime) for shape, prime in product(shapes, primes)]


@pytest.mark.slow
def test_no_gold_is_taken_for_another(verifier):
    golds, rng = golds_made_up(), random.Random(0)
    verifier.check_golds({gold: "made up" for gold in golds})
    pairs = [tuple(rng.sample(golds, 2)) for _ in range(5000)]
    verdicts = verifier.verify_many((gold, rf"\boxed{{{other}}}") for gold, other in pairs)
    assert [pair for pair, verdict in zip(pairs, verdicts, strict=True) if verdict.reward] == []
    itself = verifier.verify_many((gold, rf"\boxed{{{gold}}}") for gold in golds)
    assert {verdict.status for verdict in itself} == {Status.CORRECT}
