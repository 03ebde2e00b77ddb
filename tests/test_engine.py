"""The torch engine against `transformers`, and rollouts against the batch they are drawn in."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from architectures import ARCHITECTURES, tiny_model
from scipy import stats
from small_policy import logprob_by_hand

from oneshot import prefixes
from oneshot.engines import get_engine
from oneshot.engines import torch as torch_engine
from oneshot.engines.decoder import Decoder
from oneshot.engines.noise import gumbel, rollout_key
from oneshot.engines.torch import TorchEngine, _log_softmax_and_entropy
from oneshot.policies.models import Policy, build_tokenizer
from oneshot.prefixes import shared_prefixes

PROMPTS = ["1+2=", "47+8-5+9=", "sort:dacb=", "9="]


def keys(num_prompts, group_size, run="run"):
    return torch.tensor([[rollout_key(run, "test", 0, p, s) for s in range(group_size)] for p in range(num_prompts)])


def generate(policy, num_slots=64, group_size=5, temperature=0.8, prompts=PROMPTS):
    engine = TorchEngine(policy, num_slots)
    tokens = [policy.encode(prompt) for prompt in prompts]
    return engine.generate(tokens, keys(len(prompts), group_size), temperature=temperature, max_new_tokens=7)


YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16, "rope_theta": 1e4}
OPTIONS = {"olmo3": {"sliding_window": 4, "rope_parameters": {"full_attention": YARN}}}


def build(architecture):
    tokenizer = build_tokenizer((), 99)
    options = {"vocab_size": len(tokenizer), "num_hidden_layers": 4, **OPTIONS.get(architecture, {})}
    model = tiny_model(architecture, tie_word_embeddings=architecture == "qwen2", **options)
    for index, parameter in enumerate(model.parameters()):
        torch.nn.init.normal_(parameter, std=0.3, generator=torch.Generator().manual_seed(index))
    return Policy(model, tokenizer)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("beginning", ["", "47+8-5=50;1+2=;3", "47+8-5=50;1+2=;3;sort:dacb="])
def test_logprobs_are_those_of_transformers(architecture, beginning):
    """Qwen3 with head norms, Llama untied with grouped queries, Qwen2 with biases, OLMo3 with norms after attention and
    MLP, with windows of four tokens and with YaRN: all against the plain model."""
    policy = build(architecture)
    prompts = [beginning + prompt for prompt in PROMPTS]
    generation = generate(policy, prompts=prompts)
    for row, length in enumerate(generation.lengths_R.tolist()):
        tokens = generation.tokens_RT[row, :length].tolist()
        expected = logprob_by_hand(policy, policy.encode(prompts[row // 5]), tokens, 0.8)
        assert torch.allclose(generation.logprobs_RT[row, :length], expected, atol=2e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("beginning", ["", "47+8-5=50;1+2=;3"])
@pytest.mark.parametrize("what", ["weights", "products"])
def test_in_bfloat16_logprobs_are_those_of_transformers_to_its_precision(architecture, beginning, what):
    """As near to FP32's, from the same weights, as the plain model in BF16 is: within twice its largest deviation."""
    policy = replace(build(architecture), products="bfloat16")
    if what == "weights":
        policy.model.bfloat16()
    engine = get_engine("torch", policy, products="float32" if what == "weights" else "bfloat16", processes=1)
    prompts = [policy.encode(beginning + prompt) for prompt in PROMPTS]
    generation = engine.generate(prompts, keys(len(prompts), 5), temperature=0.8, max_new_tokens=7)
    rows = [
        (row, generation.tokens_RT[row, :length].tolist()) for row, length in enumerate(generation.lengths_R.tolist())
    ]

    def by_hand():
        return torch.cat([logprob_by_hand(policy, prompts[row // 5], tokens, 0.8) for row, tokens in rows]).float()

    with policy.rounded():
        rounded = by_hand()
    policy.model.float()
    exact = by_hand()
    ours = torch.cat([generation.logprobs_RT[row, : len(tokens)] for row, tokens in rows])
    assert 0 < (ours - exact).abs().max() < 2 * (rounded - exact).abs().max()


def test_entropy_is_that_of_the_sampling_distribution(policy):
    generation = generate(policy)
    tokens = generation.tokens_RT[0, : generation.lengths_R[0]].tolist()
    prefixes = [policy.encode(PROMPTS[0]) + tokens[:position] for position in range(len(tokens))]
    with torch.no_grad():
        entropies = [
            torch.distributions.Categorical(logits=policy.model(torch.tensor([p])).logits[0, -1] / 0.8).entropy()
            for p in prefixes
        ]
    assert generation.entropy_R[0].item() == pytest.approx(torch.stack(entropies).mean().item(), abs=1e-5)


def test_log_probs_of_a_large_vocabulary_are_exact_to_rounding():
    """Against FP64, where `log_softmax` is off by 1e-5."""
    logits_SV = 4 * torch.randn(8, 50_000, generator=torch.Generator().manual_seed(0))
    logprobs_SV, entropy_S = _log_softmax_and_entropy(logits_SV)
    exact = torch.distributions.Categorical(logits=logits_SV.double())
    assert (logprobs_SV - exact.logits).abs().max() < 5e-6
    assert (entropy_S - exact.entropy()).abs().max() < 5e-6


def test_greedy_is_transformers_greedy(policy):
    generation = generate(policy, group_size=1, temperature=0.0)
    for row, prompt in enumerate(PROMPTS):
        ids = torch.tensor([policy.encode(prompt)])
        expected = policy.model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=7)
        length = generation.lengths_R[row]
        assert generation.tokens_RT[row, :length].tolist() == expected[0, ids.shape[1] :].tolist()


@pytest.mark.parametrize("num_slots", [1, 3, 7, 20])
def test_a_rollout_does_not_depend_on_its_batch(policy, num_slots):
    reference, other = generate(policy), generate(policy, num_slots)
    assert torch.equal(reference.tokens_RT, other.tokens_RT)
    assert torch.allclose(reference.logprobs_RT, other.logprobs_RT, atol=1e-5)


def test_a_rollout_does_not_depend_on_its_neighbours(policy):
    alone = TorchEngine(policy).generate(
        [policy.encode(PROMPTS[2])], keys(4, 5)[2:3], temperature=0.8, max_new_tokens=7
    )
    together = generate(policy)
    width = alone.tokens_RT.shape[1]
    assert torch.equal(alone.tokens_RT, together.tokens_RT[10:15, :width])


def test_rollouts_that_go_together_are_those_they_would_be_alone(policy):
    """Forty samples of a prompt share slots and split one by one; drawn alone, none shares."""
    ids = policy.encode(PROMPTS[1])
    all_keys = keys(1, 40)
    options = {"temperature": 0.5, "max_new_tokens": 7}
    together = TorchEngine(policy, 64).generate([ids], all_keys, **options)
    assert len({tuple(row) for row in together.tokens_RT.tolist()}) > 10
    assert len({tuple(row[:2]) for row in together.tokens_RT.tolist()}) < 40
    for sample in range(40):
        alone = TorchEngine(policy, 1).generate([ids], all_keys[:, sample : sample + 1], **options)
        length = int(alone.lengths_R)
        assert length == together.lengths_R[sample]
        assert torch.equal(alone.tokens_RT[0, :length], together.tokens_RT[sample, :length])
        assert torch.allclose(alone.logprobs_RT[0, :length], together.logprobs_RT[sample, :length], atol=1e-5)
        assert torch.allclose(alone.entropy_R[0], together.entropy_R[sample], atol=1e-5)


@pytest.mark.parametrize("num_slots", [2, 64])
@pytest.mark.parametrize("temperature", [0.8, 0.0])
def test_greedy_completions_come_last_and_change_no_other(policy, num_slots, temperature):
    sampled, greedy = generate(policy, temperature=temperature), generate(policy, group_size=1, temperature=0.0)
    tokens = [policy.encode(prompt) for prompt in PROMPTS]
    both = TorchEngine(policy, num_slots).generate(
        tokens, keys(len(tokens), 5), temperature=temperature, max_new_tokens=7, also_greedy=True
    )
    for field in ("tokens_RT", "lengths_R", "ended_R"):
        groups = getattr(both, field).unflatten(0, (len(tokens), 6))
        assert torch.equal(groups[:, :5].flatten(0, 1), getattr(sampled, field))
        assert torch.equal(groups[:, 5], getattr(greedy, field))


def test_equal_rollouts_are_decoded_once(policy, monkeypatch):
    decoded = []
    step = Decoder.step
    monkeypatch.setattr(
        Decoder, "step", lambda self, tokens, *rest: decoded.append(len(tokens)) or step(self, tokens, *rest)
    )
    generate(policy, group_size=1, temperature=0.0)
    once = list(decoded)
    decoded.clear()
    generate(policy, group_size=6, temperature=0.0)
    assert decoded == once


@pytest.mark.parametrize("num_slots", [2, 64])
def test_shared_beginnings_change_nothing(policy, num_slots, monkeypatch):
    """The worked examples of two tasks in one batch, and a prompt without: each fed once, with the same rollouts."""
    sums, sorts = "1+2=;3\n4+3=;7\n", "sort:ba=;ab\nsort:dc=;cd\n"
    prompts = [sums + "5+5=", sorts + "sort:ca=", sums + "47+8-5=", "9=", sums + "5+6=", sorts + "sort:dacb="]
    together = generate(policy, num_slots, prompts=prompts)
    monkeypatch.setattr(prefixes, "WORTH_SHARING", 1000)
    alone = generate(policy, num_slots, prompts=prompts)
    assert torch.equal(together.tokens_RT, alone.tokens_RT)
    assert torch.allclose(together.logprobs_RT, alone.logprobs_RT, atol=1e-5)


def test_what_is_shared_leaves_every_prompt_a_token():
    shared = list(range(20))
    prompts = [[*shared, 1, 2], [*shared, 1], [*shared, 1, 3], [7], [*range(5), *range(50, 70)]]
    assert shared_prefixes(prompts) == [tuple(shared)] * 3 + [()] * 2
    assert shared_prefixes([shared, shared]) == [tuple(shared[:-1])] * 2


def test_tokens_are_drawn_alike_however_many_at_once(policy, monkeypatch):
    reference = generate(policy)
    monkeypatch.setitem(torch_engine.DRAWN_AT_ONCE, "cpu", 1)
    assert torch.equal(reference.tokens_RT, generate(policy).tokens_RT)


def test_samples_follow_the_policy(policy):
    """First tokens of 20,000 rollouts of one prompt against the model's own odds (chi-squared)."""
    ids = policy.encode(PROMPTS[0])
    generation = TorchEngine(policy, 4096).generate([ids], keys(1, 20_000), temperature=0.8, max_new_tokens=1)
    with torch.no_grad():
        odds = (policy.model(torch.tensor([ids])).logits[0, -1] / 0.8).softmax(0).double().numpy()
    counts = np.bincount(generation.tokens_RT[:, 0], minlength=len(odds))
    common = odds * 20_000 >= 5
    observed, expected = counts[common], odds[common] * 20_000
    rest = [[20_000 - observed.sum()], [20_000 - expected.sum()]]
    observed, expected = np.append(observed, rest[0]), np.append(expected, rest[1])
    assert stats.chisquare(observed, expected).pvalue > 1e-3


def test_keys_tell_everything_apart():
    reference = ("run", "train", 0, 7, 0)
    changed = [
        ("run2", "train", 0, 7, 0),
        ("run", "test", 0, 7, 0),
        ("run", "train", 1, 7, 0),
        ("run", "train", 0, 7, 1),
    ]
    assert len({rollout_key(*key) for key in [reference, *changed]}) == 5


def test_gumbel_noise_is_gumbel_and_independent():
    noise = gumbel(torch.arange(500), torch.zeros(500, dtype=torch.int64), 40)
    assert stats.kstest(noise.flatten().numpy(), "gumbel_r").pvalue > 1e-3
    correlations = np.corrcoef(noise.numpy())[np.triu_indices(500, 1)]
    assert abs(correlations.mean()) < 1e-3
    later = gumbel(torch.arange(500), torch.ones(500, dtype=torch.int64), 40)
    assert abs(np.corrcoef(noise.flatten(), later.flatten())[0, 1]) < 0.03


def test_a_prompt_that_does_not_fit_is_refused(policy):
    with pytest.raises(ValueError, match="prompt 1 has 125 tokens: expected 1 to 121"):
        generate(policy, prompts=["1=", "=" * 125])
    with pytest.raises(ValueError, match="prompt 0 has 0 tokens"):
        generate(policy, prompts=[""])


def test_an_unknown_architecture_is_refused(policy):
    policy.model.config.model_type = "mamba"
    with pytest.raises(ValueError, match="not 'mamba'"):
        TorchEngine(policy)
