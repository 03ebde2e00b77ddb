"""Diagnostics: why a step goes as far as it goes. Each module answers one question of notebooks 04, 06 and 08.

forced       what a policy makes of given rollouts: the log-prob of each of their tokens
angles       does a direction point along a path? Cosines beside chance, and without noise
linearity    is a path straight? R² against time beside that of a random walk
turning      why does a path turn? The gradient where it has come to, taken in four ways
curvature    where does the line overshoot? What the first gradient predicts, and ways of answering
consistency  is one batch large enough? How its subsets agree, and its clusters
neighbours   how many policies near θ0 are experts? Moves in random directions, scored by task (experts)
overfit      how can a batch fail its step? Groups that say nothing, and problems learnt by heart
signs        do right and wrong answers pull apart? The gradient as the sum of both
"""
