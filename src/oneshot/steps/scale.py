"""The table `scale`: what is known about a direction before anything is drawn along it."""

import numpy as np
import pandas as pd

from oneshot.gradients.block_sums import Gradient
from oneshot.vectors import cosine, norm


def half_cosine(gradient: Gradient) -> float:
    """How far the even blocks and the odd ones point the same way."""
    return cosine(gradient.mean(gradient.block_ids[::2]), gradient.mean(gradient.block_ids[1::2]))


def scale_table(gradient: Gradient, alpha_base: float, curvature: float, probe_flops: float) -> pd.DataFrame:
    """quantity, value, unit: the step's scale and what the probe cost, and the gradient's size, noise and gap.

    A quantity that is not finite is left out: a small batch has no noise scale, or no interval for it.
    """
    g, gap, noise = gradient.mean(), gradient.sampler_gap, gradient.noise_scale()
    found = [
        ("alpha_base", alpha_base, "1"),
        ("curvature", curvature, "nats"),
        ("gradient_norm", norm(g), "1"),
        ("half_cosine", half_cosine(gradient), "cosine"),
        *zip(("noise_scale", "noise_scale_low", "noise_scale_high"), noise, ["rollouts"] * 3, strict=True),
        ("probe_flops", probe_flops, "FLOPs"),
        ("sampler_gap_max", gap[:, 0].max().item(), "nats"),
        ("sampler_gap_mean", gap[:, 1].mean().item(), "nats"),
        ("parameters", sum(values.numel() for values in g.values()), "parameters"),
    ]
    table = pd.DataFrame(found, columns=["quantity", "value", "unit"])
    return table[np.isfinite(table.value)]
