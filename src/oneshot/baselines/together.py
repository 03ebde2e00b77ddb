"""What several models answer together: the vote of an ensemble, and two models decoded in lock-step."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import pandas as pd

from oneshot.baselines.lab import Step
from oneshot.engines import get_engine, taken
from oneshot.engines.extrapolating import ExtrapolatingEngine
from oneshot.engines.protocol import Engine
from oneshot.engines.torch import TorchEngine
from oneshot.measures.evaluate import Examination
from oneshot.measures.voting import majority
from oneshot.policies.models import Policy
from oneshot.sampling import GREEDY
from oneshot.steps.line_search import moved
from oneshot.vectors import Vector


def together(step: Step, exam: Examination, policy: Policy, base: Policy, engine: dict) -> Iterator[tuple[str, float]]:
    """(quantity, accuracy) of what a step hands back beside the policy: its ensemble, or factors of its logits.

    `engine` is the config's. Raises ValueError for factors with an engine that does not decode two models.
    """
    if step.voters:
        yield "ensemble_accuracy", ensemble_accuracy(exam, get_engine(policy=base, **engine), step.voters)
    settings = {key: value for key, value in taken(TorchEngine, engine).items() if key != "name"}
    if step.factors and engine["name"] != "torch":
        raise ValueError(f"only the engine 'torch' decodes two models in lock-step, not '{engine['name']}'")
    for factor in step.factors:
        drawn = exam.draw_both(ExtrapolatingEngine(policy, base, factor, **settings))
        for name, rollouts in zip(("accuracy", "greedy_accuracy"), drawn, strict=True):
            yield f"{name}_at_{factor:g}", rollouts.reward.mean()


def ensemble_accuracy(exam: Examination, engine: Engine, voters: Sequence[Callable[[], Vector]]) -> float:
    """The share of problems on which the vote of the greedy answers of several policies is right.

    `voters` give moves from the engine's policy, which is θ0 again afterwards, bit for bit.
    """
    greedy = replace(exam, sampling=replace(exam.sampling, temperature=GREEDY, group_size=1))
    drawn = []
    for voter in voters:
        with moved(engine.policy.model, voter(), 1.0):
            drawn.append(greedy.draw(engine))
    return float(majority(pd.concat(drawn), exam.problems).mean())
