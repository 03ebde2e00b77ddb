"""What each way of using rollouts must come to, on four designs small enough to be solved exactly. Numpy and scipy.

    trees          a softmax policy on a decision tree: accuracy, gradient, KL, D₂, all by enumeration
    designs        one decision, many contexts, a plan whose worth depends on what follows, a ladder of rungs
    batches        a batch of any size, boiled down to one weight for each answer; its noise scale
    arms           one step, one batch reused, k phases, many small steps
    closed_forms   what a pencil says, to hold the computation against
    table          every arm on every design: the predictions that notebook 00_theory writes
    tilt           the most accurate policy at any KL to a real base, from its pass rates

Start with trees.py: all the rest is its sum with other weights.
"""
