"""The four designs: base policies that differ in why one step could fall short.

one_decision   ways to answer, one choice between them          nothing in the way
contexts       K habits, right with probability p_c             curvature: K decisions, shared features
plan           a first choice whose worth depends on a second   the sign of the gradient turns on the way
ladder         pass rates falling to almost 0, rung by rung     coverage: what is never right is never learnt
"""

import numpy as np
from scipy import sparse

from oneshot.theory.trees import Tree, check_rates, check_shares


def one_decision(shares: list[float], rewards: list[float]) -> Tree:
    """One prompt, and a way to answer it for each share: taken that often by the base, right that often."""
    check_shares("shares", shares)
    num_ways = len(shares)
    return Tree(
        logits_O=np.log(shares),
        features_OD=np.eye(num_ways),
        first_I=np.array([0]),
        paths_YO=sparse.csr_array(np.eye(num_ways)),
        first_P=np.array([0]),
        rewards_Y=np.array(rewards, dtype=float),
        frequencies_P=np.ones(1),
    )


def contexts(rates_P: np.ndarray, frequencies_P: np.ndarray, features_PM: np.ndarray | None = None) -> Tree:
    """Contexts met with these frequencies; in each the habit is right at this rate, else one fixed wrong value.

    The margin of a context, logit of right minus logit of wrong, is z_c = log p_c/(1 - p_c) + θ·φ_c. Without features
    every context has a parameter of its own (Φ the identity).
    """
    check_rates("rates", rates_P)
    rates_P, num_contexts = np.asarray(rates_P, dtype=float), len(rates_P)
    features_PM = np.eye(num_contexts) if features_PM is None else features_PM
    if len(features_PM) != num_contexts or len(frequencies_P) != num_contexts:
        raise ValueError(
            f"contexts: {num_contexts} rates, {len(frequencies_P)} frequencies, features of {len(features_PM)}"
        )
    first = np.arange(0, 2 * num_contexts, 2)
    return Tree(
        logits_O=np.log(np.stack([rates_P, 1 - rates_P], axis=1)).ravel(),
        features_OD=np.stack([features_PM / 2, -features_PM / 2], axis=1).reshape(2 * num_contexts, -1),
        first_I=first,
        paths_YO=sparse.csr_array(sparse.eye_array(2 * num_contexts)),
        first_P=first,
        rewards_Y=np.tile([1.0, 0.0], num_contexts),
        frequencies_P=np.asarray(frequencies_P, dtype=float),
    )


def random_features(num_contexts: int, size: int, seed: int) -> np.ndarray:
    """[P, M] directions drawn evenly from the unit sphere: two of them have an inner product of about 1/√M."""
    features_PM = np.random.default_rng(seed).normal(size=(num_contexts, size))
    return features_PM / np.linalg.norm(features_PM, axis=1, keepdims=True)


def plan(plans: float, careful: float, rewards: tuple[float, float, float]) -> Tree:
    """First plan (at that rate) or about; after a plan, steps (at the rate `careful`) or skip.

    `rewards`: how often plan-steps, plan-skip and about are right.
    """
    check_rates("plans, careful", [plans, careful])
    return Tree(
        logits_O=np.log([plans, 1 - plans, careful, 1 - careful]),
        features_OD=np.eye(4),
        first_I=np.array([0, 2]),
        paths_YO=sparse.csr_array([[1.0, 0, 1, 0], [1, 0, 0, 1], [0, 1, 0, 0]]),
        first_P=np.array([0]),
        rewards_Y=np.array(rewards, dtype=float),
        frequencies_P=np.ones(1),
    )


def ladder(rates_P: np.ndarray, overlap: float) -> Tree:
    """Contexts as rungs, all equally frequent; a rung's features overlap with those of the rungs next to it alone.

    φ_l = a e_l + b e_(l+1) with a² + b² = 1 and ab = overlap: whatever moves rung l moves its neighbours by overlap.
    """
    if not 0 <= overlap <= 0.5:
        raise ValueError(f"overlap: expected a number between 0 and 0.5, not {overlap:g}")
    angle, num_rungs = np.arcsin(2 * overlap) / 2, len(rates_P)
    features_PM = np.cos(angle) * np.eye(num_rungs, num_rungs + 1)
    features_PM += np.sin(angle) * np.eye(num_rungs, num_rungs + 1, k=1)
    return contexts(rates_P, np.full(num_rungs, 1 / num_rungs), features_PM)


def all_designs(settings: dict[str, dict], seed: int) -> dict[str, Tree]:
    """Every design by name, from a config's section `theory`; contexts once without and once with shared features."""
    wanted, rungs = settings["contexts"], settings["ladder"]
    rates_P = np.linspace(*wanted["rates"], wanted["number"])
    even_P = np.full(len(rates_P), 1 / len(rates_P))
    falling_P = rungs["easiest"] * rungs["ratio"] ** np.arange(rungs["number"])
    return {
        "one_decision": one_decision(**settings["one_decision"]),
        "contexts": contexts(rates_P, even_P),
        "shared_contexts": contexts(rates_P, even_P, random_features(len(rates_P), wanted["features"], seed)),
        "plan": plan(**settings["plan"]),
        "ladder": ladder(falling_P, rungs["overlap"]),
    }
