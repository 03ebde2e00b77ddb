"""The CPU engine: continuous batching over a static key-value cache, for Llama-like models of `transformers`.

A fixed number of slots decode together, one token a step. What prompts have in common at their beginning (worked
examples, a system message) is fed once a call, the rest of each prompt once, and its keys and values are copied into
the slots of its group; a slot whose completion has ended is given to the next rollout; when none is left, the remaining
rows are packed together. The weights are read from the `transformers` model at every call, so a policy moved in place
is sampled as it is.

Covers Qwen3, Qwen2 and Llama: RMSNorm, rotary positions, grouped-query attention, gated feed-forward.

Shapes: S slots, L positions, H key-value heads, Q queries per key-value head, K head size, E hidden, V vocabulary.
"""

from collections import defaultdict
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel

from oneshot.engines import Generation
from oneshot.engines.noise import gumbel
from oneshot.models import Policy
from oneshot.prefixes import shared_prefixes

SUPPORTED = ("qwen3", "qwen2", "llama")
REFILL_BELOW = 7 / 8
"""Share of busy slots at which free ones are refilled: each refill costs a prefill, each idle slot a row of work."""
PACK_BELOW = 3 / 4
"""Share of busy slots, with nothing left to refill, at which the busy ones are packed together."""
DRAWN_AT_ONCE = 2**17
"""Logits that are turned into tokens at one time: with their noise, as many as a core's cache holds."""


class TorchEngine:
    """Samples from `policy` with at most `num_slots` rollouts in flight."""

    def __init__(self, policy: Policy, num_slots: int = 512):
        if policy.model.config.model_type not in SUPPORTED:
            raise ValueError(f"the torch engine decodes {', '.join(SUPPORTED)}, not '{policy.model.config.model_type}'")
        self.policy, self.num_slots = policy, num_slots

    @torch.inference_mode()
    def generate(self, prompts, keys_PG, *, temperature, max_new_tokens, on_finished=lambda count: None) -> Generation:
        check_prompts(prompts, max_new_tokens, self.policy.model.config.max_position_embeddings)
        decoding = _Decoding(self.policy, prompts, keys_PG, temperature, max_new_tokens, self.num_slots)
        while decoding.advance():
            on_finished(decoding.take_finished())
        on_finished(decoding.take_finished())
        return decoding.generation()


def check_prompts(prompts: list[list[int]], max_new_tokens: int, context: int) -> None:
    """Every prompt must be non-empty and leave room for the completion."""
    for index, prompt in enumerate(prompts):
        if not 0 < len(prompt) <= context - max_new_tokens:
            raise ValueError(
                f"prompt {index} has {len(prompt)} tokens: expected 1 to {context - max_new_tokens}"
                f" (a context of {context} less max_new_tokens {max_new_tokens})"
            )


class _Decoding:
    """One call of `generate`: the queue of rollouts, the slots, and what has been drawn so far."""

    def __init__(self, policy, prompts, keys_PG, temperature, max_new_tokens, num_slots):
        num_prompts, self.group_size = keys_PG.shape
        num_rows = num_prompts * self.group_size
        self.decoder = _Decoder(policy.model)
        self.prompts, self.keys_R, self.end_id = prompts, keys_PG.flatten(), policy.end_id
        self.prefix_P = shared_prefixes(prompts)
        self.prefilled: dict[tuple[int, ...], list[Tensor]] = {}
        self.temperature, self.max_new_tokens = temperature, max_new_tokens
        self.tokens_RT = torch.zeros(num_rows, max_new_tokens, dtype=torch.int64)
        self.logprobs_RT = torch.zeros(num_rows, max_new_tokens)
        self.entropy_R = torch.zeros(num_rows)
        self.lengths_R = torch.zeros(num_rows, dtype=torch.int64)
        self.ended_R = torch.zeros(num_rows, dtype=torch.bool)
        num_slots = min(num_slots, num_rows)
        self.caches = self.decoder.empty_caches(num_slots, max(map(len, prompts)) + max_new_tokens)
        self.rows_S = torch.full((num_slots,), -1)
        self.positions_S = torch.zeros(num_slots, dtype=torch.int64)
        self.last_S = torch.zeros(num_slots, dtype=torch.int64)
        self.next_row, self.num_rows, self.num_finished = 0, num_rows, 0

    def advance(self) -> bool:
        """Draw one more token for every slot, after refilling or packing them; false once nothing is left to draw."""
        num_slots, num_busy = len(self.rows_S), int((self.rows_S >= 0).sum())
        if self.next_row < self.num_rows:
            if num_busy <= REFILL_BELOW * num_slots:
                self._admit(num_slots - num_busy)
        elif not num_busy:
            return False
        elif num_busy <= PACK_BELOW * num_slots:
            self._pack()
        self._step()
        return True

    def take_finished(self) -> int:
        """How many rollouts have ended since the last call."""
        finished, self.num_finished = self.num_finished, 0
        return finished

    def generation(self) -> Generation:
        longest = int(self.lengths_R.max())
        return Generation(
            self.tokens_RT[:, :longest],
            self.logprobs_RT[:, :longest],
            self.entropy_R / self.lengths_R,
            self.lengths_R,
            self.ended_R,
        )

    def _admit(self, num_free: int) -> None:
        """Give free slots to the next rows: prefill their prompts, copy the cache, draw their first tokens."""
        rows = torch.arange(self.next_row, min(self.next_row + num_free, self.num_rows))
        slots = torch.nonzero(self.rows_S < 0).flatten()[: len(rows)]
        self.next_row += len(rows)
        prompt_of_row = rows // self.group_size
        by_prefix = defaultdict(list)
        for prompt in prompt_of_row.unique().tolist():
            by_prefix[self.prefix_P[prompt]].append(prompt)
        logits_of_prompt = {}
        for prefix, prompts in by_prefix.items():
            logits_PV, keys_values = self._prefill(prefix, prompts)
            logits_of_prompt |= dict(zip(prompts, logits_PV, strict=True))
            theirs, source = torch.nonzero(prompt_of_row[:, None] == torch.tensor(prompts), as_tuple=True)
            for cache, prefilled in zip(self.caches, keys_values, strict=True):
                cache[slots[theirs], :, :, : prefilled.shape[2]] = prefilled[source].transpose(2, 3)
        self.rows_S[slots] = rows
        self.positions_S[slots] = torch.tensor([len(self.prompts[prompt]) for prompt in prompt_of_row])
        self._draw(slots, torch.stack([logits_of_prompt[prompt] for prompt in prompt_of_row.tolist()]))

    def _prefill(self, prefix: tuple[int, ...], prompts: list[int]) -> tuple[Tensor, list[Tensor]]:
        """Logits after these prompts, which share `prefix`, and their keys and values."""
        if prefix and prefix not in self.prefilled:
            self.prefilled[prefix] = self.decoder.prefill([list(prefix)])[1]
        return self.decoder.prefill(
            [self.prompts[prompt][len(prefix) :] for prompt in prompts], self.prefilled.get(prefix)
        )

    def _pack(self) -> None:
        """Nothing is left to admit: keep the busy slots only."""
        busy = torch.nonzero(self.rows_S >= 0).flatten()
        self.caches = [cache[busy] for cache in self.caches]
        self.rows_S, self.positions_S, self.last_S = self.rows_S[busy], self.positions_S[busy], self.last_S[busy]

    def _step(self) -> None:
        """One decoding step of every slot (idle ones compute along: cheaper than repacking)."""
        logits_SV = self.decoder.step(self.last_S, self.positions_S, self.caches)
        self.positions_S += 1
        busy = torch.nonzero(self.rows_S >= 0).flatten()
        self.positions_S[self.rows_S < 0] = 0
        self._draw(busy, logits_SV[busy])

    def _draw(self, slots: Tensor, logits_BV: Tensor) -> None:
        """Draw one token for each of these slots and free those that end."""
        rows = self.rows_S[slots]
        counts_B = self.lengths_R[rows]
        at_once = max(1, DRAWN_AT_ONCE // logits_BV.shape[1])
        parts = zip(logits_BV.split(at_once), rows.split(at_once), counts_B.split(at_once), strict=True)
        drawn = [self._choose(logits, self.keys_R[row], count) for logits, row, count in parts]
        tokens_B, logprobs_B, entropy_B = map(torch.cat, zip(*drawn, strict=True))
        self.tokens_RT[rows, counts_B] = tokens_B
        self.logprobs_RT[rows, counts_B] = logprobs_B
        self.entropy_R[rows] += entropy_B
        self.lengths_R[rows] += 1
        self.last_S[slots] = tokens_B
        ended_B = tokens_B == self.end_id
        self.ended_R[rows] = ended_B
        finished_B = ended_B | (counts_B + 1 == self.max_new_tokens)
        self.rows_S[slots[finished_B]] = -1
        self.num_finished += int(finished_B.sum())

    def _choose(self, logits_BV: Tensor, keys_B: Tensor, counts_B: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens drawn from these logits, their log-probs, and the entropy of what they were drawn from."""
        logprobs_BV = torch.log_softmax(logits_BV.float() / (self.temperature or 1.0), dim=-1)
        scores_BV = logprobs_BV
        if self.temperature:
            scores_BV = logprobs_BV + gumbel(keys_B, counts_B, logits_BV.shape[1])
        tokens_B = scores_BV.argmax(dim=-1)
        logprobs_B = logprobs_BV.gather(1, tokens_B[:, None]).flatten()
        return tokens_B, logprobs_B, -(logprobs_BV.exp() * logprobs_BV).sum(dim=-1)


@dataclass(frozen=True)
class _Layer:
    """One transformer block's weights, queries, keys and values fused, gate and up fused."""

    norm_in: Tensor
    qkv: Tensor
    qkv_bias: Tensor | None
    norm_q: Tensor | None
    norm_k: Tensor | None
    out: Tensor
    norm_mid: Tensor
    gate_up: Tensor
    down: Tensor


class _Decoder:
    """The forward pass, written for one token a row against a cache. Caches: keys, values of layer 0, of layer 1, …

    Caches are [S, H, K, L]: with positions last, one query's products with all keys are a third faster on a CPU.
    """

    def __init__(self, model: PreTrainedModel):
        config, body = model.config, model.model
        self.num_heads = config.num_key_value_heads
        self.queries_per_head = config.num_attention_heads // config.num_key_value_heads
        self.head_size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self.epsilon = config.rms_norm_eps
        self.embedding, self.head, self.norm = body.embed_tokens.weight, model.lm_head.weight, body.norm.weight
        self.rotary = body.rotary_emb
        self.layers = [_fuse(layer) for layer in body.layers]

    def empty_caches(self, num_slots: int, length: int) -> list[Tensor]:
        shape = (num_slots, self.num_heads, self.head_size, length)
        return [self.embedding.new_zeros(shape) for _ in range(2 * len(self.layers))]

    def prefill(self, prompts: list[list[int]], prefix: list[Tensor] | None = None) -> tuple[Tensor, list[Tensor]]:
        """Logits after each prompt [P, V] and its keys and values [P, H, L, K] (garbage beyond its length).

        `prefix`: the keys and values [1, H, L, K] of what stands before all of them; L then counts both.
        """
        lengths_P = torch.tensor([len(prompt) for prompt in prompts])
        longest, before = int(lengths_P.max()), prefix[0].shape[2] if prefix else 0
        tokens_PL = torch.tensor([prompt + [0] * (longest - len(prompt)) for prompt in prompts])
        positions_PL = (before + torch.arange(longest)).expand(len(prompts), longest)
        seen_LL = torch.ones(longest, before + longest, dtype=torch.bool).tril(before)
        keys_values = []

        def attend(layer, query_PHQLK, key_PHLK, value_PHLK):
            if prefix:
                key_PHLK, value_PHLK = (
                    torch.cat((shared.expand(len(prompts), -1, -1, -1), own), dim=2)
                    for shared, own in zip(prefix[2 * layer : 2 * layer + 2], (key_PHLK, value_PHLK), strict=True)
                )
            keys_values.extend((key_PHLK, value_PHLK))
            key, value = key_PHLK[:, :, None], value_PHLK[:, :, None]
            return F.scaled_dot_product_attention(query_PHQLK, key, value, attn_mask=seen_LL)

        hidden_PLE = self._body(tokens_PL, positions_PL, attend)
        return self._logits(hidden_PLE[torch.arange(len(prompts)), lengths_P - 1]), keys_values

    def step(self, tokens_S: Tensor, positions_S: Tensor, caches: list[Tensor]) -> Tensor:
        """Logits [S, V] after one more token a row, whose keys and values are written at its position."""
        length = int(positions_S.max()) + 1
        rows_S = torch.arange(len(tokens_S))
        mask_SL = torch.where(torch.arange(length) <= positions_S[:, None], 0.0, -torch.inf)

        def attend(layer, query_SHQLK, key_SHLK, value_SHLK):
            keys, values = caches[2 * layer], caches[2 * layer + 1]
            keys[rows_S, :, :, positions_S] = key_SHLK[:, :, 0]
            values[rows_S, :, :, positions_S] = value_SHLK[:, :, 0]
            query_SHQK = query_SHQLK[:, :, :, 0] * self.head_size**-0.5
            scores_SHQL = query_SHQK @ keys[..., :length] + mask_SL[:, None, None]
            out_SHKQ = values[..., :length] @ scores_SHQL.softmax(dim=-1).transpose(2, 3)
            return out_SHKQ.transpose(2, 3)[:, :, :, None]

        return self._logits(self._body(tokens_S[:, None], positions_S[:, None], attend)[:, 0])

    def _body(self, tokens_BL: Tensor, positions_BL: Tensor, attend) -> Tensor:
        hidden_BLE = self.embedding[tokens_BL]
        cos, sin = (part[:, None] for part in self.rotary(hidden_BLE, positions_BL))
        sin = torch.cat((-sin[..., : self.head_size // 2], sin[..., self.head_size // 2 :]), dim=-1)
        for index, layer in enumerate(self.layers):
            query, key, value = self._project(layer, hidden_BLE, cos, sin)
            mixed = attend(index, query, key, value).flatten(1, 2).transpose(1, 2).flatten(2)
            hidden_BLE = hidden_BLE + mixed @ layer.out
            gate, up = (self._normed(hidden_BLE, layer.norm_mid) @ layer.gate_up).chunk(2, dim=-1)
            hidden_BLE = hidden_BLE + (F.silu(gate) * up) @ layer.down
        return hidden_BLE

    def _project(self, layer: _Layer, hidden_BLE: Tensor, cos: Tensor, sin: Tensor):
        """Queries [B, H, Q, L, K], keys and values [B, H, L, K], rotated to their positions."""
        fused = self._normed(hidden_BLE, layer.norm_in) @ layer.qkv
        if layer.qkv_bias is not None:
            fused = fused + layer.qkv_bias
        fused = fused.unflatten(-1, (-1, self.head_size)).transpose(1, 2)
        num_queries = self.num_heads * self.queries_per_head
        query, key, value = fused.split((num_queries, self.num_heads, self.num_heads), dim=1)
        if layer.norm_q is not None:
            query, key = self._normed(query, layer.norm_q), self._normed(key, layer.norm_k)
        query, key = _rotate(query, cos, sin), _rotate(key, cos, sin)
        return query.unflatten(1, (self.num_heads, self.queries_per_head)), key, value

    def _normed(self, x: Tensor, weight: Tensor) -> Tensor:
        return F.rms_norm(x, weight.shape, weight, self.epsilon)

    def _logits(self, hidden_BE: Tensor) -> Tensor:
        return self._normed(hidden_BE, self.norm) @ self.head.T


def _rotate(x: Tensor, cos: Tensor, signed_sin: Tensor) -> Tensor:
    """Rotary embedding; the first half of `signed_sin` carries the minus sign of the rotation."""
    return x * cos + x.roll(x.shape[-1] // 2, dims=-1) * signed_sin


def _fuse(layer) -> _Layer:
    attention, mlp = layer.self_attn, layer.mlp
    projections = (attention.q_proj, attention.k_proj, attention.v_proj)
    biases = [projection.bias for projection in projections]
    norms = [getattr(attention, name, None) for name in ("q_norm", "k_norm")]
    return _Layer(
        norm_in=layer.input_layernorm.weight,
        qkv=torch.cat([projection.weight for projection in projections]).T,
        qkv_bias=None if biases[0] is None else torch.cat(biases),
        norm_q=norms[0] and norms[0].weight,
        norm_k=norms[1] and norms[1].weight,
        out=attention.o_proj.weight.T,
        norm_mid=layer.post_attention_layernorm.weight,
        gate_up=torch.cat((mlp.gate_proj.weight, mlp.up_proj.weight)).T,
        down=mlp.down_proj.weight.T,
    )
