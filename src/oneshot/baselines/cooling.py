r"""No learning: the base policy at the temperature τ that does best on validation problems.

    π_τ(token) ∝ π_0(token)^{1/τ}

A gain that this arm has as well is one of choice, not of skill: the answers were the base's most probable ones already.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from oneshot.baselines.lab import Lab, Step
from oneshot.sampling import summarise_rollouts

MAY_STAND_STILL = True


@dataclass(frozen=True)
class Settings:
    temperatures: tuple[float, ...]


def run(lab: Lab, settings: Settings) -> Iterator[Step]:
    """One search round a temperature; the best is measured. Of equals the highest wins: it changes the policy least."""
    found = {}
    for temperature in lab.track(settings.temperatures):
        with lab.ledger.clock():
            found[temperature] = summarise_rollouts(lab.validate(temperature)[0])
    best = max(found, key=lambda temperature: (found[temperature]["accuracy"], temperature))
    for temperature, record in found.items():
        chosen = temperature == best
        yield Step(temperature, record, measured=chosen, chosen=chosen, temperature=temperature)
