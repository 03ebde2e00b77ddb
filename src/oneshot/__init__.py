"""One-Shot RLVR: one policy-gradient step on a massive rollout batch, scaled by a line search.

Modules, in the order in which the notebooks meet them: `tasks`, `pretrain`, `models` (a base policy),
`engines`, `sampling`, `rollouts`, `verifiers` (step 1 and 2), `objectives`, `gradient` (step 3),
`directions`, `line_search`, `evaluate` (step 4), `baselines`, `statistics`, `plots`, `report`.
"""
