"""One-Shot RLVR: one policy-gradient step on a massive rollout batch, scaled by a line search.

The map, in the order of the claim; a package imports from those above it, never from those below:

    files  vectors  statistics  prefixes      files that are checked; vectors in weight space; intervals
    sandbox  verifiers  tasks                 where programs run; who is paid; problems and their splits
    policies  engines                         models and how they are asked; what draws tokens
    rollouts  sampling                        the table of rollouts; drawing and scoring them
    gradients                                 the one pass over them, objectives as weights, blocks that add up
    steps                                     directions from g, moves that are undone bit for bit, the line search
    arms  measures                            the format of every method's results; evaluation, costs, acceptance
    baselines                                 other methods, one file each
    theory                                    four designs solved exactly, every arm on each: predictions
    figures                                   one file a figure or table, from tables alone
    workflow                                  what Snakemake and papermill need: the plan, digests, config checks

The alphabet of shapes. A tensor's name ends in its axes; a letter means the same everywhere:

    A  tokens of all attention slices, padding included      L  positions of one sequence
    B  rollouts of one chunk                                 M  positions seen by attention; entries of a sketch
    C  completion tokens, rollout by rollout                 N  pairs of slot and token drawn in a step
    D  head size; parameters of a flat vector                P  prompts, problems or groups
    E  hidden size                                           Q  different completion tokens
    F  rollouts in flight                                    R  rollouts, rows of a table
    G  rollouts per group                                    S  slots of the engine
    H  heads                                                 T  tokens of a packed row or a completion
    I  decisions of a tree                                   V  vocabulary
    K  blocks of a gradient                                  X  nodes of a quadrature
    O  options of all decisions                              Y  answers of all prompts
"""
