"""What each arm spent: rollouts, generated tokens, FLOPs and seconds on one core, from the tables of its runs.

FLOPs are 2 a parameter and token for every rollout drawn and 6 more for every rollout of a training batch, prompt
tokens included, attention products left out, zero-advantage groups not discounted. Seconds are those of the
notebooks' timing tables: drawing and differentiating, and for the line search its measurements of entropy, KL and
greedy accuracy too.
"""

import pandas as pd

from oneshot.tables import gather, search_quantity

RUN = ["policy", "run"]
COSTS = ["rollouts", "tokens", "flops", "seconds"]


def one_shot_cost(tables: dict[str, list[str]]) -> pd.DataFrame:
    """One row a run: the batch, its gradient and the whole line search."""
    batch, search = search_quantity(tables, "batch_rollouts"), search_quantity(tables, "search_rollouts")
    prompts, parameters = search_quantity(tables, "prompt_tokens_per_rollout"), search_quantity(tables, "parameters")
    batch_tokens = batch * search_quantity(tables, "batch_tokens_per_rollout")
    per_evaluation = gather(tables["landscape"], ["tokens_per_rollout"]).groupby(RUN).tokens_per_rollout.mean()
    search_tokens = search * per_evaluation
    flops = parameters * (8 * (batch * prompts + batch_tokens) + 2 * (search * prompts + search_tokens))
    stages = ("timings/sample", "timings/gradient", "timings/line_search")
    seconds = pd.concat([gather(tables[stage], ["seconds"]) for stage in stages]).groupby(RUN).seconds.sum()
    columns = {"rollouts": batch + search, "tokens": batch_tokens + search_tokens, "flops": flops, "seconds": seconds}
    return pd.DataFrame(columns).reset_index()


def grpo_cost(tables: dict[str, list[str]]) -> pd.DataFrame:
    """One row a run and step: everything up to and with that step."""
    steps = gather(tables["grpo/steps"], ["step", "rollouts", "tokens_per_rollout"])
    steps = steps.merge(gather(tables["timings/grpo"], ["step", "seconds"]), on=[*RUN, "step"])
    drawn = steps.groupby(RUN).rollouts.diff().fillna(steps.rollouts)
    tokens = drawn * steps.tokens_per_rollout
    index = pd.MultiIndex.from_frame(steps[RUN])
    prompts = search_quantity(tables, "prompt_tokens_per_rollout").reindex(index).to_numpy()
    parameters = search_quantity(tables, "parameters").reindex(index).to_numpy()
    spent = steps.assign(tokens=tokens, flops=8 * parameters * (drawn * prompts + tokens))
    spent[["tokens", "flops", "seconds"]] = spent.groupby(RUN)[["tokens", "flops", "seconds"]].cumsum()
    return spent[[*RUN, "step", *COSTS]]
