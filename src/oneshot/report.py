"""Results to tidy frames: what the figures draw, what the tables say, what the paper quotes.

Reads CSV only; nothing here loads a model.
"""

import re

import numpy as np
import pandas as pd

from oneshot.costs import COSTS, RUN, grpo_cost, one_shot_cost
from oneshot.statistics import bootstrap_interval, fieller_interval, t_interval
from oneshot.tables import gather, search_quantity

KINDS = {"sampled": "accuracy", "greedy": "greedy_accuracy"}
SMALLEST_GAIN = 0.05
"""'Gain recovered' is a ratio of gains: given only if GRPO's gain is above this with 95 % confidence."""
FEWEST_POLICIES = 3
"""With fewer, an interval over policies says little."""

SEARCH_UNITS = {
    "multiple_star": "alpha_base",
    "half_cosine": "cosine",
    "gradient_norm": "1",
    "sampler_gap_max_nats": "nats",
    "sampler_gap_mean_nats": "nats",
    "variance_reduction": "share",
    "batch_rollouts": "rollouts",
    "search_rollouts": "rollouts",
}
RATES = {
    "sampling_rollouts_per_second": ("sample", "rollouts", "seconds"),
    "sampling_tokens_per_second": ("sample", "tokens", "seconds"),
    "gradient_tokens_per_second": ("gradient", "tokens", "seconds"),
    "gradient_share_of_sgemm_peak": ("gradient", "gflops", "sgemm_gflops"),
}
"""Quantity -> (stage, numerator, denominator): rates read off the timing tables."""


def over_policies(frame: pd.DataFrame, by: list[str], value: str) -> pd.DataFrame:
    """Mean of `value` with its t interval over policies (runs of one are averaged first): by, value, low, high."""
    per_policy = frame.groupby([*by, "policy"], sort=False, dropna=False)[value].mean().reset_index()
    rows = []
    for key, group in per_policy.groupby(by, sort=False, dropna=False):
        mean, low, high = t_interval(group[value].to_numpy())
        rows.append(
            {**dict(zip(by, key, strict=True)), "value": mean, "low": low, "high": high, "policies": len(group)}
        )
    return pd.DataFrame(rows)


def central(tables: dict[str, list[str]]) -> pd.DataFrame:
    """Test accuracy of every arm and what it had spent: one row a run, arm, point and kind of decoding.

    Columns policy, run, arm, step, rollouts, tokens, flops, seconds, kind, accuracy.
    """
    tests = gather(tables["test"], ["arm", *KINDS.values()])
    base = tests[tests.arm == "base"].assign(step=0, **dict.fromkeys(COSTS, 0))
    one_shot = tests[tests.arm == "one_shot"].assign(step=1).merge(one_shot_cost(tables), on=RUN)
    path = gather(tables["grpo/path"], ["step", "split", *KINDS.values()]).drop(columns="rollouts")
    path = path[(path.split == "test") & (path.step > 0)].assign(arm="grpo")
    points = pd.concat([base, one_shot, path.merge(grpo_cost(tables), on=[*RUN, "step"])])
    identity = points[[*RUN, "arm", "step", *COSTS]]
    kinds = [identity.assign(kind=kind, accuracy=points[column]) for kind, column in KINDS.items()]
    return pd.concat(kinds, ignore_index=True)


def landscape(tables: dict[str, list[str]]) -> pd.DataFrame:
    """The step sizes tried, on validation problems, one row a run and multiple of α_base."""
    return gather(tables["landscape"], ["multiple", "accuracy", "greedy_accuracy", "entropy_nats", "kl_nats"])


def entropy(tables: dict[str, list[str]]) -> pd.DataFrame:
    """Validation accuracy and entropy along α and along GRPO: columns arm and position (multiple or step)."""
    kept = ["policy", "run", "arm", "position", "accuracy", "greedy_accuracy", "entropy_nats", "kl_nats", "collapsed"]
    along_alpha = landscape(tables).rename(columns={"multiple": "position"}).assign(arm="one_shot")
    path = gather(tables["grpo/path"], ["step", "split", "accuracy", "entropy_nats", "collapsed"])
    along_steps = path[path.split == "validation"].rename(columns={"step": "position"}).assign(arm="grpo")
    return pd.concat([along_alpha, along_steps])[kept].reset_index(drop=True)


def central_table(frame: pd.DataFrame, grpo_steps: int) -> pd.DataFrame:
    """T1, from the frame of `central`: arms by row; accuracy and gain over the base with intervals over policies.

    GRPO appears at its nominal number of steps and at the one-shot arm's run cost (its last step).
    """
    last = frame[frame.arm == "grpo"].step.max()
    arms = {"base": ("base", 0), "one-shot": ("one_shot", 1), f"GRPO, {grpo_steps:,} steps": ("grpo", grpo_steps)}
    if last != grpo_steps:
        arms[f"GRPO, {last:,} steps (matched cost)"] = ("grpo", last)
    rows = []
    for label, (arm, step) in arms.items():
        for kind in KINDS:
            chosen = frame[(frame.arm == arm) & (frame.step == step) & (frame.kind == kind)]
            base = frame[(frame.arm == "base") & (frame.kind == kind)]
            accuracy, gain = _per_policy(chosen), _per_policy(chosen) - _per_policy(base)
            rows.append(
                {
                    "arm": label,
                    "kind": kind,
                    **dict(zip(("accuracy", "low", "high"), t_interval(accuracy), strict=True)),
                    **dict(zip(("gain", "gain_low", "gain_high"), t_interval(gain), strict=True)),
                    **chosen[COSTS].mean(),
                    "sequential_steps": step,
                    "policies": len(accuracy),
                }
            )
    return pd.DataFrame(rows)


def comparison(frame: pd.DataFrame, step: int) -> pd.DataFrame:
    """The claim in two lines a decoding: one-shot minus GRPO at `step`, paired by policy, and gain recovered.

    Gain recovered is left out where the lower bound of GRPO's gain does not exceed SMALLEST_GAIN.
    """
    rows = []
    for kind in KINDS:
        of_kind = frame[frame.kind == kind]
        one_shot, base = _per_policy(of_kind[of_kind.arm == "one_shot"]), _per_policy(of_kind[of_kind.arm == "base"])
        grpo = _per_policy(of_kind[(of_kind.arm == "grpo") & (of_kind.step == step)])
        suffix = f"grpo_{step}_steps_{kind}"
        rows.append((f"one_shot_minus_{suffix}", *t_interval(one_shot - grpo), "accuracy"))
        if t_interval(grpo - base)[1] > SMALLEST_GAIN:
            rows.append((f"gain_recovered_of_{suffix}", *fieller_interval(one_shot - base, grpo - base), "ratio"))
    return pd.DataFrame(rows, columns=["quantity", "value", "low", "high", "unit"])


def as_markdown(table: pd.DataFrame) -> str:
    """T1 as a Markdown table, percent with intervals."""

    def percent(value: float, low: float, high: float) -> str:
        return f"{100 * value:.1f}" + (f" [{100 * low:.1f}, {100 * high:.1f}]" if low == low else "")

    lines = [
        "| arm | decoding | accuracy, % | gain, points | steps | rollouts | tokens | FLOPs | seconds, one core |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in table.itertuples():
        accuracy = percent(row.accuracy, row.low, row.high)
        gain = "" if row.arm == "base" else percent(row.gain, row.gain_low, row.gain_high)
        spent = f"{row.rollouts:,.0f} | {row.tokens:,.0f} | {row.flops:.1e} | {row.seconds:,.0f}"
        lines.append(f"| {row.arm} | {row.kind} | {accuracy} | {gain} | {row.sequential_steps:,} | {spent} |")
    return "\n".join(lines) + "\n"


def landscape_extras(tables: dict[str, list[str]]) -> dict[str, pd.DataFrame]:
    """What the landscape figure shows beside the landscape: α* measured on test, and the slopes at zero."""
    tests = gather(tables["test"], ["arm", "accuracy", "greedy_accuracy"])
    chosen = search_quantity(tables, "multiple_star").rename("multiple_star")
    stars = tests[tests.arm == "one_shot"].set_index(["policy", "run"]).join(chosen).reset_index()
    return {"stars": stars, "slopes": gather(tables["slope"], ["predicted", "measured", "low", "high"])}


def summarise(
    central_frame: pd.DataFrame, table: pd.DataFrame, base: pd.DataFrame, tables: dict[str, list[str]], grpo_steps: int
) -> pd.DataFrame:
    """The headline quantities, tidy: quantity, value, low, high, unit, seeds."""
    rows = []
    for row in table.itertuples():
        arm = re.sub(r"[^a-z0-9]+", "_", row.arm.lower()).strip("_")
        rows.append((f"{arm}_{row.kind}", row.accuracy, row.low, row.high, "accuracy"))
        if row.arm != "base":
            rows.append((f"{arm}_{row.kind}_gain", row.gain, row.gain_low, row.gain_high, "accuracy"))
    for step in sorted({grpo_steps, central_frame[central_frame.arm == "grpo"].step.max()}):
        rows.extend(comparison(central_frame, step).itertuples(index=False))
    if central_frame.policy.nunique() < FEWEST_POLICIES:
        rows.extend(within_policies(tables, grpo_steps).itertuples(index=False))
    for arm, kept in retention(tables, grpo_steps).items():
        rows.append((f"{arm}_retention", *np.clip(t_interval(kept), 0, 1), "accuracy"))
    for quantity, group in base[base.parameters == base.parameters.mode()[0]].groupby("quantity", sort=False):
        rows.append((f"base_policy_{quantity}", *t_interval(group.value), "accuracy"))
    for quantity, unit in SEARCH_UNITS.items():
        rows.append((quantity, *t_interval(search_quantity(tables, quantity).groupby("policy").mean()), unit))
    for quantity, (stage, numerator, denominator) in RATES.items():
        timing = gather(tables[f"timings/{stage}"], ["seconds"])
        rate = (timing[numerator] / timing[denominator]).groupby(timing.policy).mean()
        rows.append((quantity, *t_interval(rate), f"{numerator} / {denominator}"))
    frame = pd.DataFrame(rows, columns=["quantity", "value", "low", "high", "unit"])
    policies = sorted(central_frame.policy.unique())
    return frame.assign(seeds=" ".join(map(str, policies)))


def within_policies(tables: dict[str, list[str]], grpo_steps: int) -> pd.DataFrame:
    """Paired differences of every policy by itself, with bootstrap intervals over its test problems, runs averaged.

    For an experiment with fewer than FEWEST_POLICIES policies: its intervals say how far the figures hold for other
    problems, not for other policies. Columns quantity, value, low, high, unit.
    """
    columns = ["problem_id", "correct", "samples", "greedy_correct"]
    tests = gather(tables["test_by_problem"], ["arm", *columns])
    path = gather(tables["grpo/test_by_problem"], ["step", *columns])
    arms = {arm: tests[tests.arm == arm] for arm in ("base", "one_shot")}
    arms |= {f"grpo_{step}_steps": path[path.step == step] for step in sorted({grpo_steps, path.step.max()})}
    pairs = [(arm, "base") for arm in arms if arm != "base"] + [("one_shot", arm) for arm in arms if "grpo" in arm]
    rows = []
    for kind in KINDS:
        rates = {arm: _by_problem(frame, kind) for arm, frame in arms.items()}
        for one, other in pairs:
            for policy, differences in (rates[one] - rates[other]).groupby("policy"):
                quantity = f"{one}_minus_{other}_{kind}_policy_{policy}"
                rows.append((quantity, *bootstrap_interval(differences.to_numpy()), "accuracy"))
    return pd.DataFrame(rows, columns=["quantity", "value", "low", "high", "unit"])


def _by_problem(frame: pd.DataFrame, kind: str) -> pd.Series:
    """Share of right answers, by policy and problem."""
    right = frame.correct / frame.samples if kind == "sampled" else frame.greedy_correct
    return right.groupby([frame.policy, frame.problem_id]).mean()


def retention(tables: dict[str, list[str]], grpo_steps: int) -> dict[str, pd.Series]:
    """Accuracy on the task nobody was trained on, per policy: base, one-shot, GRPO at its nominal and last step."""
    tests = gather(tables["test"], ["arm", "retention_accuracy"])
    path = gather(tables["grpo/path"], ["step", "split", "retention_accuracy"])
    path = path[path.split == "test"]
    kept = {arm: tests[tests.arm == arm] for arm in ("base", "one_shot")}
    kept |= {f"grpo_{step}_steps": path[path.step == step] for step in sorted({grpo_steps, path.step.max()})}
    return {arm: frame.groupby("policy").retention_accuracy.mean() for arm, frame in kept.items()}


def _per_policy(frame: pd.DataFrame) -> pd.Series:
    return frame.groupby("policy").accuracy.mean()
