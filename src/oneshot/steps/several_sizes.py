r"""One gradient, several step sizes:  d = Σ_c a_c g_c  over its parts g_c (`oneshot.gradients.clusters`).

    a = (Q + μ diag Q)⁻¹ b,   Q_cc' = g_cᵀ F g_c',   b_c = g_cᵀ g

is the natural gradient within the span of the parts: for a given (quadratic) KL it rises fastest. b is measured across
halves of the batch, a part's even blocks against the whole's odd ones and the reverse, so noise that a part shares with
itself is no slope. Q comes from curvatures, which are KLs: g_c and g_c' are scaled to curvature 1 each, and the sum of
the two then has the curvature 2 + 2 Q_cc'.
"""

from collections.abc import Callable
from itertools import combinations

import numpy as np

from oneshot.gradients.clusters import Part
from oneshot.vectors import Vector, inner

DAMPING = 0.1
"""μ."""


def combine(parts: dict[str, Part], curvature: Callable[[Vector], float]) -> tuple[Vector, dict[str, float]]:
    """(d, the step size of each part relative to their mean). `curvature(v)` is vᵀFv.

    A part without any effect is left out. With one part, d is along it.
    """
    found = {name: (part.mean, curvature(part.mean)) for name, part in parts.items()}
    names = [name for name, (_, curved) in found.items() if curved]
    scales = np.array([found[name][1] ** -0.5 for name in names])
    units = [_add([(found[name][0], scale)]) for name, scale in zip(names, scales, strict=True)]
    products = np.eye(len(names))
    for one, other in combinations(range(len(names)), 2):
        both = curvature(_add([(units[one], 1.0), (units[other], 1.0)]))
        products[one, other] = products[other, one] = (both - 2) / 2
    slopes = scales * [_slope(parts[name], parts) for name in names]
    sizes = np.linalg.solve(products + DAMPING * np.eye(len(names)), slopes)
    taken = dict(zip(names, sizes * scales / np.abs(sizes * scales).mean(), strict=True))
    return _add(list(zip(units, sizes, strict=True))), taken


def _slope(part: Part, parts: dict[str, Part]) -> float:
    """gᵀg_c, each from the other half of the batch."""
    return sum(inner(part.even, other.odd) + inner(part.odd, other.even) for other in parts.values()) / 2


def _add(terms: list[tuple[Vector, float]]) -> Vector:
    return {name: sum(factor * vector[name] for vector, factor in terms) for name in terms[0][0]}
