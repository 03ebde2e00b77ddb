"""Tables of made-up arms whose summary is known: GRPO gains 0.3, one-shot 0.2, on three policies."""

import numpy as np
import pandas as pd
import pytest

from oneshot.arms import COSTS, IDENTITY, ArmTables
from oneshot.figures.spending import spent
from oneshot.figures.tables import Tables
from oneshot.files import write_csv

BASE, ONE_SHOT, GRPO = [0.3, 0.32, 0.28], [0.5, 0.56, 0.47], [0.6, 0.65, 0.58]
"""Test accuracy of three policies: base, one-shot, GRPO after step 20. Greedy is 0.1 higher everywhere."""
EXPECTED = [
    {"arm": "one_shot", "low": 0.8, "high": 1.0, "because": "It is nearly as good."},
    {"arm": "grpo", "low": 1.0, "high": 1.0, "because": "The measure."},
]
SPENT = {name: 0 for name in COSTS}


def identity(policy, arm, model="main"):
    return dict(zip(IDENTITY, ("made_up", model, "sums", policy, 0, arm), strict=True))


def point(number, split, accuracy, chosen=False, **spent):
    measured = {
        "asked": "all",
        "accuracy": accuracy,
        "greedy_accuracy": accuracy + 0.1,
        "entropy_nats": 1 - accuracy,
        "kl_nats": accuracy,
        "kl_nats_per_token": accuracy / 10,
        "retention_accuracy": 1.3 - accuracy if split == "test" else np.nan,
    }
    return {"point": number, "split": split, "chosen": chosen, **measured, **SPENT, **spent}


def by_problem(number, accuracy, seed):
    """100 problems × 2 samples, in another order in each arm; each problem all right or all wrong."""
    order = np.random.default_rng(seed).permutation(100)
    right = (order < 100 * accuracy).astype(int)
    columns = {"point": number, "problem_id": order, "asked": "sums", "correct": 2 * right, "samples": 2}
    return pd.DataFrame({**columns, "greedy_correct": 1})


def one_shot(index):
    tables = ArmTables()
    tables.points = [point(0, "test", BASE[index])]
    for multiple in (0, 0.5, 1, 2, 5):
        tables.points.append(point(multiple, "validation", 0.4 - (multiple - 2) ** 2 / 90, rollouts=900))
        tables.steps.append({"point": multiple, "predicted_kl_nats": 0.2 * multiple**2, "collapsed": False})
    best = {"rollouts": 1000, "gradient_steps": 1, "search_rounds": 5, "flops": 1e9, "sampling_phases": 1}
    tables.points.append(point(2, "test", ONE_SHOT[index], chosen=True, **best))
    tables.by_problem = [by_problem(0, BASE[index], 0), by_problem(2, ONE_SHOT[index], 0)]
    tables.timings = [
        {"point": 0, "chosen": False, "seconds": 0.0},
        {"point": 2, "chosen": True, "seconds": 12.0},
    ]
    tables.quantity("noise_scale", 8.0 + index, "rollouts")
    for k in (1, 2, 4):
        tables.quantity(f"pass_at_{k}", ONE_SHOT[index] + 0.05 * k, "accuracy")
        tables.quantity(f"majority_at_{k}", ONE_SHOT[index], "accuracy")
    return tables


def grpo(index):
    tables = ArmTables()
    for step in (0, 1, 10, 20):
        accuracy = BASE[index] + (GRPO[index] - BASE[index]) * step / 20
        for split in ("validation", "test"):
            spent = {"rollouts": 50 * step, "gradient_steps": step, "sampling_phases": step, "flops": 1e7 * step}
            tables.points.append(point(step, split, accuracy, chosen=step >= 10, **spent))
        tables.timings.append({"point": step, "chosen": step >= 10, "seconds": 2.0 * step})
        tables.steps.append({"point": step, "accuracy": accuracy})
    tables.by_problem = [by_problem(0, BASE[index], 1), by_problem(20, GRPO[index], 1)]
    tables.quantity("parameters", 10, "parameters")
    return tables


def write_all(folder, policies=(1, 2, 3)):
    """The files of made-up arms and what goes with them: a list of paths."""
    paths = []
    for index, policy in enumerate(policies):
        run = folder / f"policy{policy}"
        for arm, make in (("one_shot", one_shot), ("grpo", grpo)):
            out = {
                table: run / arm / f"{table}.csv"
                for table in ("points", "by_problem", "steps", "quantities", "timings")
            }
            make(index).write(identity(policy, arm), out)
            paths.extend(out.values())
        setting = {"experiment": "made_up", "model": "main", "task": "sums", "policy": policy}
        slope = {**setting, "run": 0, "predicted": 0.1, "measured": 0.11, "low": 0.08, "high": 0.15}
        of_base = {"sampled": BASE[index], "best_low_temperature": 0.3}
        bands = [
            {"quantity": name, "value": value, "lowest": 0.2, "highest": 0.6, "parameters": 10}
            for name, value in of_base.items()
        ]
        tried = {"arm": "grpo", "setting": "learning_rate", "value": 1e-3, "accuracy": 0.5, "greedy_accuracy": 0.6}
        tuning = {**setting, **tried, "rollouts": 100, "chosen": True, "frozen": 1e-3}
        often = [
            {"quantity": f"{kind}_at_{k}", "value": BASE[index]} for kind in ("pass", "majority") for k in (1, 2, 4)
        ]
        rows = {
            "slope": [slope],
            "acceptance": [{**setting, **one} for one in bands],
            "tuning": [tuning],
        }
        rows |= {"tries": [{**setting, "run": 0, "arm": "base", **one} for one in often]}
        rows |= {"turning": list(turns(setting)), "extrapolation": list(beyond(setting))}
        rows |= {"curvature": list(line(setting)), "ways": list(ways(setting))}
        rows |= {"neighbours": list(around(setting)), "overfit": list(by_heart(setting))}
        rows |= {"tried": list(often_tried(setting)), "informative": list(groups(setting))}
        rows |= {"cosines": list(angles(setting)), "linearity": list(straightness(setting))}
        rows |= {
            "consistency": list(agreement(setting)),
            "clusters": list(pairs(setting)),
            "signs": list(sides(setting)),
        }
        for name, of_policy in rows.items():
            write_csv(pd.DataFrame(of_policy), run / f"{name}.csv")
            paths.append(run / f"{name}.csv")
    whole = {"experiment": "made_up", "model": "main", "task": "sums"}
    of_all = {"theory": list(theory()), "expectations": [{**whole, **expected} for expected in EXPECTED]}
    of_all["frontier"] = spent(Tables([path for path in paths if path.stem in ("points", "timings")]))
    for name, rows in of_all.items():
        write_csv(pd.DataFrame(rows), folder / f"{name}.csv")
        paths.append(folder / f"{name}.csv")
    return paths


def angles(setting):
    """GRPO turns from the gradient by 0.1 each step; a random direction has nothing to do with it."""
    for kind in ("all", "attention", "function"):
        for step in (1, 2, 3):
            head = {**setting, "run": 0, "arm": "grpo", "step": step, "kind": kind, "chance": 0.01}
            known = {"path_reliability": 0.5, "direction_reliability": 0.9}
            yield {**head, "direction": "one_shot", "cosine": 1 - step / 10, **known, "corrected": 1 - step / 20}
            yield {**head, "direction": "one_shot_random", "cosine": 0.001, **known, "corrected": np.nan}


def by_heart(setting):
    """A step from 20 rollouts gains 0.4 on its own problems and nothing on others, one from 400 as much on both."""
    for size, elsewhere in ((20, 0.0), (400, 0.4)):
        for multiple in (0, 1, 2):
            head = {**setting, "run": 0, "rollouts": size, "multiple": multiple}
            yield {**head, "where": "batch", "gain": 0.4 * multiple / 2}
            yield {**head, "where": "others", "gain": elsewhere * multiple / 2}


def often_tried(setting):
    """The first half of the problems is never solved, the rest in half of the tries."""
    for problem in range(100):
        yield {**setting, "run": 0, "problem_id": problem, "correct": 0 if problem < 50 else 256, "samples": 512}


def groups(setting):
    """Half of the groups are all wrong; ranking finds something in a tenth of these."""
    for name, found in (("binary", 0), ("partial", 40), ("ranked", 50)):
        head = {**setting, "run": 0, "rewards": name}
        yield {**head, "groups": "all groups", "of": 1000, "informative": 450 + found}
        yield {**head, "groups": "all wrong", "of": 500, "informative": found}


def around(setting):
    """Of four neighbours one is 5 points better at sums, where the tasks rank them in opposite order."""
    for sigma in (0.001, 0.01):
        for neighbour, gain in enumerate((0.0, -0.2, -0.1, 0.0, 0.05)):
            head = {**setting, "sigma": sigma, "neighbour": neighbour}
            yield {**head, "asked": "sums", "trained": True, "accuracy": 0.3 + gain}
            yield {**head, "asked": "sorting", "trained": False, "accuracy": 0.9 - gain}


def line(setting):
    for multiple, found in ((0, 0.3), (1, 0.5), (2, 0.4)):
        predicted = {"first_order": 0.3 + 0.2 * multiple, "second_order": 0.3 + 0.2 * multiple - 0.05 * multiple**2}
        yield {**setting, "run": 0, "multiple": multiple, "asked": "all", "accuracy": found, **predicted}


def ways(setting):
    """The careful way spreads and stays as reliable as it was; at 2 the guess is too rare to be judged."""
    for multiple, share in ((0, 0.2), (1, 0.5), (2, 0.99)):
        for way, taken, right in (("careful", share, 0.9), ("guess", 1 - share, 0.1)):
            row = {"multiple": multiple, "asked": "sums", "way": way, "share": taken, "accuracy": right}
            yield {**setting, "run": 0, **row}


def turns(setting):
    """The re-weighted gradient stays near the fresh one, and both leave the first."""
    pairs = (("first", "re-weighted", 0.5), ("first", "fresh", 0.4), ("re-weighted", "fresh", 0.9))
    for step in (10, 20):
        for one, other, found in pairs:
            head = {**setting, "run": 0, "arm": "grpo", "step": step, "one": one, "other": other}
            yield {**head, "cosine": found / 2, "one_reliability": 1.0, "other_reliability": 0.25}


def beyond(setting):
    for step in (10, 20):
        for factor, found in ((0.5, 0.4), (1.0, 0.6), (2.0, 0.2)):
            reached = {"accuracy": found, "greedy_accuracy": found, "kl_nats": factor}
            yield {**setting, "run": 0, "arm": "grpo", "step": step, "factor": factor, **reached}


def agreement(setting):
    for rollouts in (10, 100, 1000):
        predicted = {"expected": 1 / (1 + 10 / rollouts), "expected_from_few": 1 / (1 + 12 / rollouts)}
        yield {
            **setting,
            "run": 0,
            "rollouts": rollouts,
            "cosine": 1 / (1 + 11 / rollouts),
            "spread": 0.01,
            **predicted,
        }


def pairs(setting):
    for one, other, value in (("easy", "easy", 1.0), ("hard", "hard", 1.0), ("easy", "hard", -0.5)):
        yield {**setting, "run": 0, "by": "task", "one": one, "other": other, "corrected": value}


def sides(setting):
    measured = {"right_norm": 1.0, "wrong_norm": 0.5, "right_halves": 0.9, "wrong_halves": 0.6}
    for version, value in (("raw", -0.99), ("advantage", 0.98)):
        for kind in ("all", "attention"):
            yield {**setting, "version": version, "kind": kind, "cosine": value, "chance": 0.01, **measured}


def straightness(setting):
    for space, found in (("weights", 0.6), ("log-probs", 0.8)):
        walk = {"walk_r_squared": 0.44, "walk_share_high": 0.26, "points": 14}
        yield {**setting, "run": 0, "arm": "grpo", "space": space, "r_squared": found, "share_high": 0.5, **walk}


def theory():
    """Predictions for two designs and the arms that have a name of their own, or none."""
    for design, base in (("plan", 0.3), ("a_ladder", 0.1)):
        for gained, arm in enumerate(("base", "one_shot", "one_batch", "grpo")):
            reached = base + 0.2 * gained
            spread = {"accuracy": reached, "low": reached - 0.05, "high": reached + 0.05}
            limit = {"accuracy_endless": reached + 0.02, "gain_recovered": gained, "gain_recovered_endless": gained}
            depth = {"sampling_phases": gained, "gradient_steps": gained}
            yield {"experiment": "made_up", "model": "exact", "task": design, "arm": arm, **spread, **limit, **depth}


@pytest.fixture
def paths(tmp_path):
    return write_all(tmp_path)


@pytest.fixture
def tables(paths):
    return Tables(paths)
