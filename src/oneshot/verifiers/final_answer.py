"""Plain answer formats, compared as text: `07` is not `7`.

Marked, for from-scratch tasks: free work, one `;`, the answer, nothing after it. A second `;` makes the completion
unparsable, and so does an empty answer. The work before the `;` is not read.

Bare, for pretrained models with worked examples: only the answer, apart from blanks around it.

Worked, for those that are shown how to work: what follows the last `=`, a whole number; a full stop may end it.
"""

import re

from oneshot.verifiers import Status, Verdict

MARK = ";"


def verify_final_answer(completion: str, answer: str) -> Verdict:
    """Correct, wrong, or unparsable. Do not pass a completion that was cut off before its end token."""
    parts = completion.split(MARK)
    if len(parts) != 2 or not parts[1].isalnum():
        return Verdict(Status.UNPARSABLE)
    return Verdict(Status.CORRECT if parts[1] == answer else Status.WRONG)


def verify_bare_answer(completion: str, answer: str) -> Verdict:
    """Correct, wrong, or (anything but one word) unparsable."""
    words = completion.split()
    if len(words) != 1:
        return Verdict(Status.UNPARSABLE)
    return Verdict(Status.CORRECT if words[0] == answer else Status.WRONG)


def verify_worked_answer(completion: str, answer: str) -> Verdict:
    """Correct, wrong, or (anything but one whole number at the end) unparsable. The work is not read."""
    number = re.fullmatch(r"(-?\d+)\.?", completion.rpartition("=")[2].strip(), re.ASCII)
    if not number:
        return Verdict(Status.UNPARSABLE)
    return Verdict(Status.CORRECT if number[1] == answer else Status.WRONG)
