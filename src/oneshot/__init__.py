"""One-Shot RLVR: one policy-gradient step on a massive rollout batch, scaled by a line search.

The map, in the order of the claim. A package imports only from its own line and those above it; the one exception is
the stamp of `workflow.provenance`, which `gradients.distributed` writes.

    files  vectors  statistics  prefixes      checked files; vectors in weight space; intervals; shared prompt prefixes
    sandbox  verifiers  tasks                 where programs run; what is rewarded; problems and their splits
    policies  engines                         models and their prompts; what draws tokens
    rollouts  sampling                        the table of rollouts; drawing and scoring them
    gradients                                 the one pass over them, objectives as weights, blocks that add up
    steps                                     directions from g, moves that are undone bit for bit, the line search
    arms  measures                            the format of every method's results; evaluation, costs, acceptance
    diagnostics                               why a step goes as far as it goes: angles, straightness
    baselines                                 other methods, one file each
    theory                                    four designs solved exactly, every arm on each; the exact tilt
    figures                                   one file per figure or table; each reads tables only
    workflow                                  what Snakemake and papermill need: the plan, digests, config checks

The alphabet of shapes. A tensor's name ends in its axes. A letter means the same everywhere but in `engines.decoder`:

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
