"""The forward pass of the CPU engine, one token a row against a static cache, for Llama-like models of `transformers`.

Covers Qwen3, Qwen2 and Llama: RMSNorm, rotary positions, grouped-query attention, gated feed-forward. Reads the weights
of the model as they are when built.

Shapes: S slots, P prompts, L positions, H key-value heads, Q queries per key-value head, K head size, E hidden,
V vocabulary.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel

SUPPORTED = ("qwen3", "qwen2", "llama")


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


class Decoder:
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
        return [_zeros(shape, self.embedding.dtype) for _ in range(2 * len(self.layers))]

    def prefill(self, prompts: list[list[int]], prefix: list[Tensor] | None = None) -> list[Tensor]:
        """Keys and values [P, H, L, K] of these prompts, layer by layer; garbage beyond the length of each.

        `prefix`: the keys and values [1, H, L, K] of what stands before all of them; L then counts both.
        """
        longest, before = max(1, *map(len, prompts)), prefix[0].shape[2] if prefix else 0
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

        self._body(tokens_PL, positions_PL, attend)
        return keys_values

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


def _zeros(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Zeros that take no memory before they are written to: more rollouts may be in flight than ever need a slot."""
    return torch.from_numpy(np.zeros(math.prod(shape) * dtype.itemsize, dtype=np.uint8)).view(dtype).view(shape)


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
