"""Preludes: imports that benchmarks prepend to every program, so that it need not import those names itself."""

import re

from oneshot.sandbox.programs import PRELUDE_END

LIVECODEBENCH_PRELUDE = f"""
from string import *
from re import *
from datetime import *
from collections import *
from heapq import *
from bisect import *
from copy import *
from math import *
from random import *
from statistics import *
from itertools import *
from functools import *
from operator import *
from io import *
from sys import *
from json import *
from builtins import *
from typing import *
import string, re, datetime, collections, heapq, bisect, copy, math, random, statistics, itertools, functools, operator
import io, sys, json
sys.setrecursionlimit(50000)
{PRELUDE_END}"""
"""LiveCodeBench's, name for name and limit for limit. LeetCode's starter code relies on these names too."""
PRELUDES = {"none": "", "livecodebench": LIVECODEBENCH_PRELUDE}
SOLUTION = re.compile(r"^class[ \t]+Solution\b", re.MULTILINE)


def with_prelude(program: str, called: bool, prelude: str = "auto") -> str:
    """The program with a prelude of PRELUDES prepended, unless it has one.

    `auto`: LiveCodeBench's before a class Solution that is called, LeetCode's form, which relies on these names; none
    before any other program, which is a file that imports what it needs.
    """
    if prelude == "auto":
        prelude = "livecodebench" if called and SOLUTION.search(program) else "none"
    return program if PRELUDE_END in program else PRELUDES[prelude] + program
