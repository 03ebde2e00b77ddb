r"""A few large steps: the headline's step, taken again from where it has led.

    for s = 1 … S:   draw G rollouts each of the next problems from π_s
                     g = (1/N) Σ_it w_it ∇ log π_s(y_it)        θ ← θ + α g, α the best on validation problems

With S = 1 this is one-shot with its search. Each step has an α_base of its own, from the curvature where it is, and a
search of its own, which is charged: a step of size 0 ends nothing, as the next batch may tell more.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from oneshot.baselines.lab import Lab, Step, next_problems
from oneshot.baselines.line import Search, landscape, natural_step
from oneshot.gradients.weights import weigh
from oneshot.sampling import summarise_rollouts
from oneshot.steps.line_search import move
from oneshot.steps.search import winner


@dataclass(frozen=True)
class Settings(Search):
    steps: int = 2
    """S."""
    prompts_per_step: int = 2500
    probe_rollouts: int = 2000
    """Of each batch, for the curvature."""
    objective: str = "policy_gradient"


def run(lab: Lab, settings: Settings) -> Iterator[Step]:
    """Train the lab's policy; a step of the tables is one of its steps."""
    for step in lab.track(range(1, settings.steps + 1)):
        with lab.ledger.clock():
            rollouts = lab.draw(next_problems(lab.train, step, settings.prompts_per_step), step)
            weighted = weigh(rollouts, settings.objective, lab.rewards, lab.sampling.max_new_tokens)
            direction, (largest, mean) = lab.gradient(weighted)
        alpha = natural_step(lab, direction, rollouts.head(settings.probe_rollouts), settings.target_kl_nats)
        best = winner(landscape(lab, direction, alpha, settings))
        move(lab.policy.model, direction, best * alpha)
        lab.ledger.gradient_step()
        record = {"multiple": best, "alpha_base": alpha, "sampler_gap_max_nats": largest, "sampler_gap_mean_nats": mean}
        last = step == settings.steps
        yield Step(step, {**record, **summarise_rollouts(rollouts)}, measured=last, chosen=last)
