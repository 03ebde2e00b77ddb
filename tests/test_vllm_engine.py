"""The vLLM engine against the CPU engine and the trainer: same greedy tokens, same log-probs, moved and put back.

Runs where vLLM is installed; with ONESHOT_REQUIRE_VLLM=1 its absence is a failure, not a reason to skip.
"""

import importlib.util
import os

import numpy as np
import pytest
import torch
from conftest import random_direction
from transformers import Qwen3Config, Qwen3ForCausalLM

from oneshot.engines import EngineUnavailable
from oneshot.engines.torch import TorchEngine
from oneshot.engines.vllm import VllmEngine, import_vllm
from oneshot.gradient import accumulate_gradient
from oneshot.line_search import moved
from oneshot.models import Policy, build_tokenizer, fingerprint
from oneshot.sampling import draw_rollouts
from oneshot.tasks import draw_problems, get_task

INSTALLED = importlib.util.find_spec("vllm") is not None
if os.environ.get("ONESHOT_REQUIRE_VLLM") == "1" and not INSTALLED:
    raise ImportError("ONESHOT_REQUIRE_VLLM is set and vLLM is not installed")
needs_vllm = pytest.mark.skipif(not INSTALLED, reason="vLLM is not installed here: scripts/install_vllm_cpu.sh")
pytestmark = pytest.mark.vllm
LENGTH = 12


def build(tied):
    """Qwen3 in miniature, two queries a key-value head, with a tied or a separate output head."""
    tokenizer = build_tokenizer((), 99)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        intermediate_size=128,
        max_position_embeddings=64,
        tie_word_embeddings=tied,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=None,
        initializer_range=0.1,
    )
    torch.manual_seed(0)
    return Policy(Qwen3ForCausalLM(config).eval(), tokenizer)


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def pair(request):
    policy = build(request.param)
    with VllmEngine(policy, context=48, num_slots=16) as engine:
        yield policy, engine


@pytest.fixture
def prompts():
    return [[5, 6, 7, 8, 9], [40, 41, 42], list(range(60, 94))]


def keys(num_prompts, group_size=4, first=0):
    return torch.arange(first, first + num_prompts * group_size).view(num_prompts, group_size) * 10**15 + 17


def draw(engine, prompts, keys_PG, temperature=1.0):
    return engine.generate(prompts, keys_PG, temperature=temperature, max_new_tokens=LENGTH)


def assert_same(one, other):
    assert torch.equal(one.tokens_RT, other.tokens_RT)
    assert torch.equal(one.logprobs_RT, other.logprobs_RT)


def assert_same_greedy(policy, engine, prompts):
    """Token by token the CPU engine's, and log-probs to 1e-4 nats."""
    found, expected = (draw(each, prompts, keys(3, 1), 0.0) for each in (engine, TorchEngine(policy)))
    assert torch.equal(found.tokens_RT, expected.tokens_RT)
    assert torch.equal(found.ended_R, expected.ended_R)
    assert (found.logprobs_RT - expected.logprobs_RT).abs().max() < 1e-4


@needs_vllm
def test_greedy_tokens_are_those_of_the_cpu_engine(pair, prompts):
    assert_same_greedy(*pair, prompts)


@needs_vllm
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_log_probs_are_the_trainers(pair, temperature):
    policy, engine = pair
    problems = draw_problems(get_task("arithmetic"), (0, 60), 4, seed=0)
    rollouts = draw_rollouts(
        engine, policy, problems, run="v", purpose="v", group_size=4, temperature=temperature, max_new_tokens=LENGTH
    )
    gradient = accumulate_gradient(policy, rollouts, np.ones(16, dtype=np.float32), temperature=temperature)
    assert gradient.sampler_gap.max() < 1e-4
    other = accumulate_gradient(policy, rollouts, np.ones(16, dtype=np.float32), temperature=temperature * 1.2)
    assert other.sampler_gap.max() > 1e-2


@needs_vllm
def test_a_rollout_depends_on_its_key_alone(pair, prompts):
    _, engine = pair
    together = draw(engine, prompts, keys(3))
    assert_same(together, draw(engine, prompts, keys(3)))
    alone = draw(engine, prompts[1:2], keys(3)[1:2])
    width = alone.tokens_RT.shape[1]
    assert torch.equal(together.tokens_RT[4:8, :width], alone.tokens_RT)
    backwards = draw(engine, prompts[::-1], keys(3).flip(0))
    assert torch.equal(backwards.lengths_R.view(3, 4).flip(0).flatten(), together.lengths_R)
    assert torch.equal(backwards.entropy_R.view(3, 4).flip(0).flatten(), together.entropy_R)
    assert len({tuple(row) for row in together.tokens_RT[:4].tolist()}) == 4
    assert not torch.equal(draw(engine, prompts, keys(3, first=100)).tokens_RT, together.tokens_RT)


@needs_vllm
@pytest.mark.parametrize("step", [-1.0, 0.5, 1.0])
def test_moved_and_put_back(pair, prompts, step):
    """θ0 + α·d is sampled as such, prompts already cached included; θ0 comes back bit for bit."""
    policy, engine = pair
    before, base = fingerprint(policy.model), draw(engine, prompts, keys(3))
    direction = {name: 0.05 * values for name, values in random_direction(policy).items()}
    with moved(policy.model, direction, step):
        assert_same_greedy(policy, engine, prompts)
        assert not torch.equal(draw(engine, prompts, keys(3)).logprobs_RT, base.logprobs_RT)
    assert fingerprint(policy.model) == before
    assert_same(draw(engine, prompts, keys(3)), base)


@needs_vllm
def test_what_is_cut_off_has_not_ended(pair, prompts):
    policy, engine = pair
    drawn = draw(engine, prompts, keys(3, 16))
    last_R = drawn.tokens_RT.gather(1, drawn.lengths_R[:, None] - 1).flatten()
    assert torch.equal(drawn.ended_R, last_R == policy.end_id)
    assert (drawn.lengths_R[~drawn.ended_R] == LENGTH).all()
    assert (~drawn.ended_R).any()


@needs_vllm
def test_entropy_is_the_mean_surprise(pair, prompts):
    """An estimate without bias: over many rollouts, the mean entropy that the CPU engine computes exactly."""
    policy, engine = pair
    found, exact = (draw(each, prompts, keys(3, 200)).entropy_R.mean() for each in (engine, TorchEngine(policy)))
    assert found.item() == pytest.approx(exact.item(), rel=0.05)


@needs_vllm
def test_a_prompt_too_long_is_refused_and_the_engine_lives_on(pair, prompts):
    _, engine = pair
    with pytest.raises(ValueError, match="prompt 1 has 37 tokens: expected 1 to 36"):
        draw(engine, [prompts[0], list(range(37))], keys(2))
    assert len(draw(engine, prompts, keys(3)).lengths_R) == 12


@needs_vllm
def test_the_callers_random_numbers_are_left_alone(pair, prompts):
    _, engine = pair
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    draw(engine, prompts, keys(3))
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.skipif(INSTALLED, reason="vLLM is installed here")
def test_without_vllm_the_way_to_get_it_is_named(policy):
    with pytest.raises(EngineUnavailable, match=r"engine vllm is not installed .*scripts/install_vllm_cpu\.sh"):
        import_vllm()
