"""The checks of device_checks.py on this host's GPU, and the pass over NCCL. Without a GPU they are skipped."""

import pytest
import torch
from device_checks import *  # noqa: F403
from small_policy import differentiate
from test_distributed import relative_error, torchrun, written  # noqa: F401

from oneshot.gradients.block_sums import load_gradient
from oneshot.policies.models import fingerprint

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="this host has no GPU")


@pytest.fixture
def device():
    return "cuda"


@pytest.mark.parametrize("sharding", [[], ["--sharded"]])
def test_the_pass_over_nccl(policy, rollouts, weights, written, sharding):  # noqa: F811
    code, errors = torchrun(written, "--blocks", 3, *sharding, processes=torch.cuda.device_count())
    assert not code, errors
    expected = differentiate(policy, rollouts, weights, temperature=0.9, num_blocks=3).mean()
    found = load_gradient([written / "gradient.safetensors"], fingerprint(policy.model)).mean()
    assert relative_error(found, expected) < 1e-5
