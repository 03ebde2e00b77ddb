"""The torch engine's forward pass, one token per row against a static cache, for Llama-like models of `transformers`.

Covers Qwen3, Qwen2, Llama and OLMo3: RMSNorm before or after a block's two parts, rotary positions, grouped-query
attention, full or within a sliding window, gated feed-forward. Fused weights are copies, so a decoder must be rebuilt
after the model's weights change.

Shapes, some of them other than in the rest of the package: B rows, S slots, P prompts, L positions, M positions seen,
C positions of a shared prefix, H key-value heads, Q queries per key-value head, N heads of one kind, K head size,
E hidden, V vocabulary.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import Module
from transformers import PreTrainedModel

from oneshot.engines.attention import Prefix, mask, mix, score, seen

SUPPORTED = ("qwen3", "qwen2", "llama", "olmo3")


@dataclass(frozen=True)
class _Layer:
    """One transformer block's weights. Queries, keys and values are fused, and so are gate and up. No norm: None."""

    norm_before_attention: Tensor | None
    qkv: Tensor
    qkv_bias: Tensor | None
    norm_q: Tensor | None
    """Over each head, or over all heads at once; its length says which."""
    norm_k: Tensor | None
    out: Tensor
    norm_after_attention: Tensor | None
    norm_before_mlp: Tensor | None
    gate_up: Tensor
    down: Tensor
    norm_after_mlp: Tensor | None
    window: int | None
    """How many positions a token sees, including its own. None: all."""
    kind: str | None
    """Which of the model's rotary embeddings the layer uses, if there are several."""


class Decoder:
    """The forward pass for one token per row against a cache.

    Caches are a flat list: keys and values of layer 0, of layer 1, … Each is [S, H, K, L]: with positions last, the
    products of one query with all keys are a third faster on a CPU.
    """

    def __init__(self, model: PreTrainedModel, products: torch.dtype | None = None):
        """`products`: precision of the products inside the blocks and of the caches; None: that of the weights."""
        config, body = model.config, model.model
        self.num_heads = config.num_key_value_heads
        self.queries_per_head = config.num_attention_heads // config.num_key_value_heads
        self.head_size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self.epsilon = config.rms_norm_eps
        self.embedding, self.head, self.norm = body.embed_tokens.weight, model.lm_head.weight, body.norm.weight
        self.rotary = body.rotary_emb
        self.precision = products or self.embedding.dtype
        self.layers = [_fuse(layer, self.precision) for layer in body.layers]

    def empty_caches(self, num_slots: int, length: int) -> list[Tensor]:
        shape = (num_slots, self.num_heads, self.head_size, length)
        return [_zeros(shape, self.layers[0].qkv) for _ in range(2 * len(self.layers))]

    def prefill(self, prompts: list[list[int]], prefix: list[Tensor] | None = None) -> list[Tensor]:
        """Keys and values [P, H, L, K] of these prompts, layer by layer; garbage beyond the length of each prompt.

        `prefix`: keys and values [1, H, L, K] of a prefix that all prompts share; the result's L then counts both.
        """
        longest, before = max(1, *map(len, prompts)), prefix[0].shape[2] if prefix else 0
        device = self.embedding.device
        tokens_PL = torch.tensor([prompt + [0] * (longest - len(prompt)) for prompt in prompts], device=device)
        positions_PL = (before + torch.arange(longest, device=device)).expand(len(prompts), longest)
        seen_LM = self._by_window(lambda window: seen(positions_PL[0], before + longest, window))
        keys_values = []

        def attend(layer, query_PHQLK, key_PHLK, value_PHLK):
            if prefix:
                key_PHLK, value_PHLK = (
                    torch.cat((shared.expand(len(prompts), -1, -1, -1), own), dim=2)
                    for shared, own in zip(prefix[2 * layer : 2 * layer + 2], (key_PHLK, value_PHLK), strict=True)
                )
            keys_values.extend((key_PHLK, value_PHLK))
            key, value = key_PHLK[:, :, None], value_PHLK[:, :, None]
            return F.scaled_dot_product_attention(query_PHQLK, key, value, attn_mask=seen_LM[self.layers[layer].window])

        self._body(tokens_PL, positions_PL, attend)
        return keys_values

    def step(
        self, tokens_S: Tensor, positions_S: Tensor, caches: list[Tensor], prefixes: Sequence[Prefix] = ()
    ) -> Tensor:
        """Logits [S, V] after one more token per row, whose keys and values are written to `caches` at its position.

        The positions of a slot that continues a prefix are counted from the prefix's end. Tokens and positions may be
        on the CPU whatever the device of the weights.
        """
        device, length = self.embedding.device, int(positions_S.max()) + 1
        tokens_S, positions_S = tokens_S.to(device), positions_S.to(device)
        rows_S, absolute_S = torch.arange(len(tokens_S), device=device), positions_S.clone()
        for prefix in prefixes:
            absolute_S[prefix.slots] += prefix.length
        mask_SM = self._by_window(lambda window: mask(positions_S, length, window))
        mask_SC = [
            self._by_window(lambda window, of=prefix: mask(absolute_S[of.slots], of.length, window))
            for prefix in prefixes
        ]

        def attend(layer, query_SHQLK, key_SHLK, value_SHLK):
            keys, values = caches[2 * layer], caches[2 * layer + 1]
            keys[rows_S, :, :, positions_S] = key_SHLK[:, :, 0]
            values[rows_S, :, :, positions_S] = value_SHLK[:, :, 0]
            query_SHQK = query_SHQLK[:, :, :, 0] * self.head_size**-0.5
            window = self.layers[layer].window
            scores_SHQM = query_SHQK @ keys[..., :length] + mask_SM[window]
            shared = [
                (prefix.slots, *score(query_SHQK[prefix.slots], prefix.keys_values[2 * layer :], hidden[window]))
                for prefix, hidden in zip(prefixes, mask_SC, strict=True)
            ]
            return mix(scores_SHQM, values[..., :length], shared)[:, :, :, None]

        return self._logits(self._body(tokens_S[:, None], absolute_S[:, None], attend)[:, 0])

    def _body(self, tokens_BL: Tensor, positions_BL: Tensor, attend) -> Tensor:
        hidden_BLE = self.embedding[tokens_BL]
        rotations = {
            kind: self._rotation(kind, hidden_BLE, positions_BL) for kind in {layer.kind for layer in self.layers}
        }
        for index, layer in enumerate(self.layers):
            query, key, value = self._project(layer, hidden_BLE, *rotations[layer.kind])
            mixed_BLE = attend(index, query, key, value).flatten(1, 2).transpose(1, 2).flatten(2) @ layer.out
            hidden_BLE = hidden_BLE + self._normed(mixed_BLE.to(hidden_BLE.dtype), layer.norm_after_attention)
            inner_BLE = self._normed(hidden_BLE, layer.norm_before_mlp).to(self.precision)
            gate, up = (inner_BLE @ layer.gate_up).chunk(2, dim=-1)
            outer_BLE = ((F.silu(gate) * up) @ layer.down).to(hidden_BLE.dtype)
            hidden_BLE = hidden_BLE + self._normed(outer_BLE, layer.norm_after_mlp)
        return hidden_BLE

    def _rotation(self, kind: str | None, hidden_BLE: Tensor, positions_BL: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and signed sines [B, L, 1, K] of that kind of layer at these positions."""
        options = {"layer_type": kind} if kind else {}
        cos, sin = (part[:, :, None] for part in self.rotary(hidden_BLE, positions_BL, **options))
        return cos, torch.cat((-sin[..., : self.head_size // 2], sin[..., self.head_size // 2 :]), dim=-1)

    def _project(self, layer: _Layer, hidden_BLE: Tensor, cos: Tensor, signed_sin: Tensor):
        """Queries [B, H, Q, L, K], keys and values [B, H, L, K], rotated to their positions."""
        fused = self._normed(hidden_BLE, layer.norm_before_attention).to(self.precision) @ layer.qkv
        if layer.qkv_bias is not None:
            fused = fused + layer.qkv_bias
        num_queries = self.num_heads * self.queries_per_head
        query, key, value = fused.unflatten(-1, (-1, self.head_size)).split(
            (num_queries, self.num_heads, self.num_heads), dim=2
        )
        query, key = (
            _rotate(self._normed_heads(heads_BLNK, weight), cos, signed_sin)
            for heads_BLNK, weight in ((query, layer.norm_q), (key, layer.norm_k))
        )
        query, key, value = (heads_BLNK.transpose(1, 2) for heads_BLNK in (query, key, value))
        return query.unflatten(1, (self.num_heads, self.queries_per_head)), key, value

    def _normed_heads(self, heads_BLNK: Tensor, weight: Tensor | None) -> Tensor:
        """Normalise in runs of the weight's length: each head, or all heads at once."""
        if weight is None:
            return heads_BLNK
        return self._normed(heads_BLNK.flatten(2).unflatten(2, (-1, len(weight))), weight).view_as(heads_BLNK)

    def _normed(self, x: Tensor, weight: Tensor | None) -> Tensor:
        return x if weight is None else F.rms_norm(x, weight.shape, weight, self.epsilon)

    def _by_window(self, mask: Callable[[int | None], Tensor]) -> dict[int | None, Tensor]:
        """One mask for each window size among the layers."""
        return {window: mask(window) for window in {layer.window for layer in self.layers}}

    def _logits(self, hidden_BE: Tensor) -> Tensor:
        return self._normed(hidden_BE, self.norm) @ self.head.T


def _zeros(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Zeros of the type and on the device of `like`.

    On a CPU they take no memory until they are written: rollouts share slots, so many slots may never be used.
    """
    if like.device.type != "cpu":
        return like.new_zeros(shape)
    size = math.prod(shape) * like.dtype.itemsize
    return torch.from_numpy(np.zeros(size, dtype=np.uint8)).view(like.dtype).view(shape)


def _rotate(x: Tensor, cos: Tensor, signed_sin: Tensor) -> Tensor:
    """Rotary embedding; the first half of `signed_sin` carries the minus sign of the rotation. OLMo3's are FP32."""
    return (x * cos + x.roll(x.shape[-1] // 2, dims=-1) * signed_sin).to(x.dtype)


def _fuse(layer: Module, precision: torch.dtype) -> _Layer:
    """The weights of products, and what is added to or multiplied with their results, in `precision`."""
    attention, mlp = layer.self_attn, layer.mlp
    projections = (attention.q_proj, attention.k_proj, attention.v_proj)
    biases = [projection.bias for projection in projections]
    norms_after = hasattr(layer, "post_feedforward_layernorm")  # OLMo3; else post_attention_layernorm precedes the MLP
    return _Layer(
        norm_before_attention=_weight(layer, "input_layernorm"),
        qkv=torch.cat([projection.weight.to(precision) for projection in projections]).T,
        qkv_bias=None if biases[0] is None else torch.cat(biases).to(precision),
        norm_q=_weight(attention, "q_norm", precision),
        norm_k=_weight(attention, "k_norm", precision),
        out=attention.o_proj.weight.to(precision).T,
        norm_after_attention=_weight(layer, "post_attention_layernorm") if norms_after else None,
        norm_before_mlp=None if norms_after else _weight(layer, "post_attention_layernorm"),
        gate_up=torch.cat((mlp.gate_proj.weight.to(precision), mlp.up_proj.weight.to(precision))).T,
        down=mlp.down_proj.weight.to(precision).T,
        norm_after_mlp=_weight(layer, "post_feedforward_layernorm"),
        window=getattr(attention, "sliding_window", None),
        kind=getattr(attention, "attention_type", None),
    )


def _weight(parent: Module, name: str, precision: torch.dtype | None = None) -> Tensor | None:
    """The weight of the norm of that name; None if there is none."""
    return getattr(parent, name).weight.to(precision) if hasattr(parent, name) else None
