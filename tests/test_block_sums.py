"""The result of a pass: moments and noise against known ones, sketches against what they estimate."""

import numpy as np
import pytest
import torch
from small_policy import differentiate

from oneshot.files import BadFile
from oneshot.gradients.block_sums import Gradient, load_gradient, save_gradient
from oneshot.gradients.sketch import sketch
from oneshot.statistics import jackknife_interval, t_interval
from oneshot.vectors import cosine, inner, norm

SIZE = 20
"""Rollouts per block of the made-up gradients."""


def made_up(signal_D, deviation_D, num_blocks, seed=0):
    """Blocks whose rollouts are independent normal vectors around a known mean."""
    noise_KD = torch.randn(num_blocks, len(signal_D), generator=torch.Generator().manual_seed(seed))
    sums_KD = SIZE * signal_D + SIZE**0.5 * deviation_D * noise_KD
    blocks = list(range(num_blocks))
    return Gradient(blocks, {"w": sums_KD}, SIZE, torch.zeros(num_blocks, 2), [f"{block}" for block in blocks])


def test_second_moments_and_noise_scale_of_a_known_distribution():
    signal, deviation = torch.tensor([0.5, 0.0, 2.0]), torch.tensor([1.0, 2.0, 3.0])
    gradient = made_up(signal, deviation, num_blocks=4_000)
    for batch in (None, 5, 400):
        expected = signal**2 + deviation**2 / (batch or SIZE)
        assert torch.allclose(gradient.second_moment(batch)["w"], expected, rtol=0.1, atol=2e-2)
    true = (deviation**2).sum().item() / (signal**2).sum().item()
    value, low, high = gradient.noise_scale()
    assert value == pytest.approx(true, rel=0.1)
    assert low < true < high


def test_the_noise_scale_without_a_block_is_that_of_the_others():
    """The jackknife's values in closed form against leaving the blocks out one by one."""
    gradient = made_up(torch.tensor([0.5, 0.2]), torch.tensor([1.0, 2.0]), num_blocks=6)
    rest = [[other for other in range(6) if other != block] for block in range(6)]
    parts = [
        Gradient(rows, {"w": gradient.sums["w"][rows]}, SIZE, torch.zeros(5, 2), [""] * 5).noise_scale()[0]
        for rows in rest
    ]
    assert gradient.noise_scale() == pytest.approx(jackknife_interval(gradient.noise_scale()[0], np.array(parts)))


def test_the_jackknife_of_a_mean_is_its_t_interval():
    values = np.array([3.0, 4.0, 8.0, 9.0])
    parts = (values.sum() - values) / 3
    assert jackknife_interval(values.mean(), parts) == pytest.approx(t_interval(values))


def test_the_noise_scale_interval_covers():
    """Of 200 batches of 20 blocks, about 95 % have the truth in their interval."""
    signal, deviation = torch.tensor([0.5, 0.5, 1.0]), torch.tensor([1.0, 2.0, 3.0])
    true = (deviation**2).sum().item() / (signal**2).sum().item()
    intervals = [made_up(signal, deviation, num_blocks=20, seed=seed).noise_scale()[1:] for seed in range(200)]
    assert 0.85 < np.mean([low < true < high for low, high in intervals]) < 0.995


def test_moments_of_blocks_by_hand():
    sums = {"w": torch.tensor([[20.0, 40.0], [60.0, -40.0]])}
    gradient = Gradient([0, 1], sums, SIZE, torch.zeros(2, 2), ["a", "b"])
    assert gradient.second_moment()["w"].tolist() == [5.0, 4.0]
    assert gradient.inner_products().tolist() == [[5.0, -1.0], [-1.0, 13.0]]
    assert gradient.subset_cosine([0], [1]) == pytest.approx(-1 / 65**0.5)


def test_no_signal_has_no_noise_scale():
    sums = {"w": torch.tensor([[1.0], [-1.0]])}
    assert Gradient([0, 1], sums, 1, torch.zeros(2, 2), ["a", "b"]).noise_scale()[0] == float("inf")


def test_one_block_has_no_variance():
    with pytest.raises(ValueError, match="no variance"):
        Gradient([0], {"w": torch.ones(1, 2)}, 1, torch.zeros(1, 2), ["a"]).second_moment()


def test_sketches_keep_inner_products():
    generator = torch.Generator().manual_seed(0)
    one = {"a": torch.randn(300, 40, generator=generator), "b": torch.randn(5000, generator=generator)}
    other = {name: values + torch.randn(values.shape, generator=generator) for name, values in one.items()}
    size = 4096
    expected, allowed = inner(one, other), 5 * (inner(one, one) * inner(other, other)) ** 0.5 * (2 / size) ** 0.5
    assert abs(torch.dot(sketch(one, size), sketch(other, size)).item() - expected) < allowed < expected / 4


def test_sketches_are_unbiased_and_as_exact_as_they_say():
    """Over many seeds: the mean is the inner product, the deviation at most √(2/M) of the norms."""
    one = {"w": torch.linspace(-1, 2, 50)}
    size = 32
    estimates = np.array([sketch(one, size, seed).square().sum().item() for seed in range(3000)])
    expected = inner(one, one)
    assert estimates.mean() == pytest.approx(expected, abs=4 * estimates.std() / 3000**0.5)
    assert estimates.std() < expected * (2 / size) ** 0.5


def test_a_sketched_gradient_is_the_whole_one_without_its_blocks(policy, rollouts, weights, tmp_path):
    options = {"temperature": 0.9, "num_blocks": 4}
    whole = differentiate(policy, rollouts, weights, **options)
    sketched = differentiate(policy, rollouts, weights, sketch_size=8192, **options)
    save_gradient(sketched, tmp_path / "g.safetensors", {"fingerprint": "p"})
    loaded = load_gradient([tmp_path / "g.safetensors"], "p")
    assert cosine(loaded.mean(), whole.mean()) == pytest.approx(1)
    for name, values in whole.second_moment().items():
        assert torch.allclose(loaded.second_moment()[name], values, rtol=1e-4, atol=1e-12)
    exact = whole.inner_products()
    lengths = exact.diagonal().sqrt()
    assert ((loaded.inner_products() - exact) / lengths.outer(lengths)).abs().max() < 5 * (2 / 8192) ** 0.5
    assert loaded.subset_cosine([0, 2], [1, 3]) == pytest.approx(whole.subset_cosine([0, 2], [1, 3]), abs=0.1)
    for half in ([0, 2], [1, 3]):
        assert cosine(loaded.mean(half), whole.mean(half)) == pytest.approx(1)
        assert norm(loaded.mean(half)) == pytest.approx(norm(whole.mean(half)))
    for subset in ([0], [0, 1], [1, 2, 3]):
        with pytest.raises(ValueError, match="not kept"):
            loaded.mean(subset)


def test_subset_cosine_is_that_of_the_means(policy, rollouts, weights):
    gradient = differentiate(policy, rollouts, weights, temperature=0.9, num_blocks=4)
    expected = cosine(gradient.mean([0, 2]), gradient.mean([1, 3]))
    assert gradient.subset_cosine([0, 2], [1, 3]) == pytest.approx(expected, rel=1e-5)


def test_sketched_shards_add_up(policy, rollouts, weights, tmp_path):
    whole = differentiate(policy, rollouts, weights, temperature=0.9, num_blocks=4, sketch_size=64)
    paths = [tmp_path / f"{shard}.safetensors" for shard in range(2)]
    for shard, path in enumerate(paths):
        rows = slice(24 * shard, 24 * shard + 24)
        options = {"num_blocks": 2, "first_block": 2 * shard, "sketch_size": 64}
        part = differentiate(policy, rollouts[rows], weights[rows], temperature=0.9, **options)
        save_gradient(part, path, {"fingerprint": "p"})
    loaded = load_gradient(paths, "p")
    assert torch.equal(loaded.sketches, whole.sketches)
    assert cosine(loaded.mean(), whole.mean()) == pytest.approx(1)
    save_gradient(whole, paths[1], {"fingerprint": "p"})
    other = differentiate(policy, rollouts[:24], weights[:24], temperature=0.9, num_blocks=2, sketch_size=32)
    save_gradient(other, paths[0], {"fingerprint": "p"})
    with pytest.raises(BadFile, match="holds the same rollouts"):
        load_gradient(paths, "p")
