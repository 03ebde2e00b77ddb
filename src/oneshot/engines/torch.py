"""The engine in PyTorch: continuous batching over a static key-value cache, for Llama-like models of `transformers`.

Rollouts of one prompt that have drawn the same tokens so far share a slot, which decodes once for all of them. When
they draw different tokens they split: each different token gets a slot with a copy of the keys and values so far. Each
rollout has its own noise, so sharing and batching do not change it. A slot without rollouts is reused. A prefix that
prompts share (worked examples, a system message) is computed once per call and kept once, for all slots. The weights
are read from the `transformers` model at every call, so a policy that was moved in place is sampled with its new ones.

Logits, caches and draws are on the policy's device. The books (which rollout is in which slot, and how long it is) are
on the CPU: a step sends a few indices to the device and gets one token per rollout back.

Shapes: P prompts, G rollouts each, R rollouts, F of them in flight, S slots, N different tokens drawn in a step
(by slot), L positions, V vocabulary.
"""

from collections import defaultdict

import torch
import torch.nn.functional as F
from torch import Tensor

from oneshot.engines.decoder import SUPPORTED, Decoder, Prefix
from oneshot.engines.noise import gumbel
from oneshot.engines.protocol import Generation, check_prompts
from oneshot.policies.models import Policy
from oneshot.prefixes import shared_prefixes

REFILL_BELOW = 7 / 8
"""Largest share of the possible rollouts in flight at which more are admitted: each admission costs a prefill."""
PACK_BELOW = 3 / 4
"""Largest share of busy slots at which they are compacted: a move copies a slot, an idle slot costs a row of work."""
DRAWN_AT_ONCE = {"cpu": 2**17, "cuda": 2**26}
"""Logits that are turned into tokens at one time: with their noise they fit a core's cache, or a GPU's memory."""

FIRST_SLOTS = 256
"""Slots that a GPU's caches begin with. They are doubled when needed: rollouts share slots, so few may ever be used."""


class TorchEngine:
    """Samples from `policy`, at most `num_slots` rollouts at once, on `device` (None: its own); `products` as in it."""

    def __init__(self, policy: Policy, num_slots: int = 1024, device: str | None = None, products: str = "float32"):
        if policy.model.config.model_type not in SUPPORTED:
            raise ValueError(f"the torch engine decodes {', '.join(SUPPORTED)}, not '{policy.model.config.model_type}'")
        self.policy, self.num_slots = policy, num_slots
        self.precision = None if products == "float32" else getattr(torch, products)
        if device:
            policy.model.to(device)

    @torch.inference_mode()
    def generate(
        self, prompts, keys_PG, *, temperature, max_new_tokens, also_greedy=False, on_finished=lambda count: None
    ) -> Generation:
        check_prompts(prompts, max_new_tokens, self.policy.model.config.max_position_embeddings)
        greedy_PG = torch.full(keys_PG.shape, not temperature)
        if also_greedy:
            keys_PG, greedy_PG = F.pad(keys_PG, (0, 1)), F.pad(greedy_PG, (0, 1), value=True)
        decoding = _Decoding(self, prompts, keys_PG, greedy_PG, temperature, max_new_tokens)
        while decoding.advance():
            on_finished(decoding.take_finished())
        on_finished(decoding.take_finished())
        return decoding.generation()

    def decoder(self) -> Decoder:
        """The forward pass, of the policy's weights as they are."""
        return Decoder(self.policy.model, self.precision)


class _Decoding:
    """One call of `generate`: the queue of rollouts, those in flight and their slots, what has been drawn so far."""

    def __init__(self, engine: TorchEngine, prompts, keys_PG, greedy_PG, temperature, max_new_tokens):
        num_prompts, self.group_size = keys_PG.shape
        self.num_rows = num_prompts * self.group_size
        self.decoder, self.device = engine.decoder(), engine.policy.model.device
        self.prompts, self.end_id = prompts, engine.policy.end_id
        self.keys_R, self.greedy_R = keys_PG.flatten().to(self.device), greedy_PG.flatten()
        # On a GPU every operation is a launch: a shared prefix takes a dozen more in every layer, and saves little.
        self.prefix_P = [()] * num_prompts if self.device.type == "cuda" else shared_prefixes(prompts)
        self.prefilled: dict[tuple[int, ...], list[Tensor]] = {}
        self.temperature, self.max_new_tokens = temperature, max_new_tokens
        self.tokens_RT = torch.zeros(self.num_rows, max_new_tokens, dtype=torch.int64)
        self.logprobs_RT = torch.zeros(self.num_rows, max_new_tokens, device=self.device)
        self.entropy_R = torch.zeros(self.num_rows, device=self.device)
        self.lengths_R = torch.zeros(self.num_rows, dtype=torch.int64)
        self.ended_R = torch.zeros(self.num_rows, dtype=torch.bool)
        self.next_row = self.num_finished = 0
        self.num_slots = min(engine.num_slots, self.num_rows)
        longest = max(len(prompt) - len(prefix) for prompt, prefix in zip(prompts, self.prefix_P, strict=True))
        # On a CPU memory is taken when it is written, so that all slots may be there at once.
        slots = self.num_slots if self.device.type == "cpu" else FIRST_SLOTS
        self.caches = self.decoder.empty_caches(slots, longest + max_new_tokens)
        self.last_S = torch.zeros(self.num_slots, dtype=torch.int64)
        """Each slot's newest token, which has not been fed yet, and its position, counted from the shared prefix."""
        self.positions_S = torch.zeros(self.num_slots, dtype=torch.int64)
        self.prefix_S = torch.full((self.num_slots,), -1)
        """The shared prefix that each slot continues, by its place in `prefilled`; -1: none."""
        self.rows_F = torch.zeros(0, dtype=torch.int64)
        """The rollouts in flight, and the slot each of them is in."""
        self.slots_F = torch.zeros(0, dtype=torch.int64)

    def advance(self) -> bool:
        """Admit new rollouts, then draw one token for each rollout in flight. False once none is left."""
        if self.next_row < self.num_rows and len(self.rows_F) <= REFILL_BELOW * self.num_slots:
            self._admit(self.num_slots - len(self.rows_F))
        if not len(self.rows_F):
            return False
        self._close_gaps()
        used = slice(int(self.slots_F.max()) + 1)
        caches = [cache[used] for cache in self.caches]
        logits_SV = self.decoder.step(self.last_S[used], self.positions_S[used], caches, self._prefixes(used))
        self.positions_S[used] += 1
        self._part(self._draw(logits_SV))
        return True

    def take_finished(self) -> int:
        """The number of rollouts that have ended since the last call."""
        finished, self.num_finished = self.num_finished, 0
        return finished

    def generation(self) -> Generation:
        longest = int(self.lengths_R.max())
        return Generation(
            self.tokens_RT[:, :longest],
            self.logprobs_RT[:, :longest].cpu(),
            self.entropy_R.cpu() / self.lengths_R,
            self.lengths_R,
            self.ended_R,
        )

    def _admit(self, count: int) -> None:
        """Start the next `count` rollouts: feed each of their prompts, except its last token, into a slot."""
        rows = torch.arange(self.next_row, min(self.next_row + count, self.num_rows))
        self.next_row += len(rows)
        prompts, prompt_of_row = (rows // self.group_size).unique(return_inverse=True)
        slots = self._free_slots(len(prompts))
        by_prefix = defaultdict(list)
        for place, prompt in enumerate(prompts.tolist()):
            by_prefix[self.prefix_P[prompt]].append(place)
        for prefix, places in by_prefix.items():
            fed = [self.prompts[prompt][len(prefix) : -1] for prompt in prompts[places].tolist()]
            if prefix and prefix not in self.prefilled:
                self.prefilled[prefix] = self.decoder.prefill([list(prefix)])
            slots_P = slots[places].to(self.device)
            for cache, filled in zip(self.caches, self.decoder.prefill(fed, self.prefilled.get(prefix)), strict=True):
                own = filled[:, :, len(prefix) :].transpose(2, 3)
                cache[slots_P, :, :, : own.shape[3]] = own
            self.positions_S[slots[places]] = torch.tensor(list(map(len, fed)))
            self.prefix_S[slots[places]] = list(self.prefilled).index(prefix) if prefix else -1
        self.last_S[slots] = torch.tensor([self.prompts[prompt][-1] for prompt in prompts])
        self.rows_F = torch.cat((self.rows_F, rows))
        self.slots_F = torch.cat((self.slots_F, slots[prompt_of_row]))

    def _prefixes(self, used: slice) -> list[Prefix]:
        """The shared prefixes, with the used slots that continue them."""
        slots = [(self.prefix_S[used] == place).nonzero().flatten() for place in range(len(self.prefilled))]
        pairs = zip(slots, self.prefilled.values(), strict=True)
        return [Prefix(slots.to(self.device), keys_values) for slots, keys_values in pairs if len(slots)]

    def _draw(self, logits_SV: Tensor) -> Tensor:
        """Draw and record one token for each rollout in flight [F], from the logits of its slot."""
        logprobs_SV, entropy_S = _log_softmax_and_entropy(logits_SV.float() / (self.temperature or 1.0))
        on_device = (self.rows_F, self.slots_F, self.lengths_R[self.rows_F])
        rows_F, slots_F, counts_F = (values.to(self.device) for values in on_device)
        greedy_F, tokens_F = self.greedy_R[self.rows_F], torch.empty_like(rows_F)
        if greedy_F.any():
            chosen = greedy_F.nonzero().flatten().to(self.device)
            tokens_F[chosen] = logprobs_SV.argmax(dim=-1)[slots_F[chosen]]
        at_once = max(1, DRAWN_AT_ONCE["cuda" if self.device.type == "cuda" else "cpu"] // logits_SV.shape[1])
        for chosen in (~greedy_F).nonzero().flatten().to(self.device).split(at_once):
            noise = gumbel(self.keys_R[rows_F[chosen]], counts_F[chosen], logits_SV.shape[1])
            tokens_F[chosen] = (logprobs_SV[slots_F[chosen]] + noise).argmax(dim=-1)
        self.logprobs_RT[rows_F, counts_F] = logprobs_SV[slots_F, tokens_F]
        self.entropy_R[rows_F] += entropy_S[slots_F]
        tokens_F = tokens_F.cpu()
        self.tokens_RT[self.rows_F, self.lengths_R[self.rows_F]] = tokens_F
        self.lengths_R[self.rows_F] += 1
        return tokens_F

    def _part(self, tokens_F: Tensor) -> None:
        """Retire the rollouts that these tokens end; split a slot whose other rollouts drew different tokens."""
        self.ended_R[self.rows_F] = tokens_F == self.end_id
        on_F = (tokens_F != self.end_id) & (self.lengths_R[self.rows_F] < self.max_new_tokens)
        self.num_finished += int((~on_F).sum())
        self.rows_F, self.slots_F, tokens_F = self.rows_F[on_F], self.slots_F[on_F], tokens_F[on_F]
        base = 1 + int(tokens_F.max()) if len(tokens_F) else 1
        pairs_N, pair_of_F = (self.slots_F * base + tokens_F).unique(return_inverse=True)
        slots_N = pairs_N // base
        moves_N = slots_N == torch.cat((slots_N.new_tensor([-1]), slots_N[:-1]))  # a slot's first pair stays in it
        self.positions_S[self._idle()] = 0
        self._copy(slots_N[moves_N], copies := self._free_slots(int(moves_N.sum())))
        slots_N[moves_N] = copies
        self.last_S[slots_N] = pairs_N % base
        self.slots_F = slots_N[pair_of_F]

    def _close_gaps(self) -> None:
        """If too many of the slots in use are idle, move the last busy slots into the first idle ones."""
        busy = self.slots_F.unique()
        if len(busy) > PACK_BELOW * (int(busy[-1]) + 1):
            return
        last = busy[busy >= len(busy)]
        moved = torch.arange(self.num_slots)
        moved[last] = self._free_slots(len(last))
        self._copy(last, moved[last])
        self.last_S[moved[last]] = self.last_S[last]
        self.slots_F = moved[self.slots_F]
        self.positions_S[last] = 0

    def _copy(self, slots: Tensor, others: Tensor) -> None:
        """Copy keys, values, position and prefix of `slots` into `others`."""
        if len(slots):
            self.positions_S[others] = self.positions_S[slots]
            self.prefix_S[others] = self.prefix_S[slots]
            length = int(self.positions_S[slots].max())
            slots, others = slots.to(self.device), others.to(self.device)
            for cache in self.caches:
                cache[others, :, :, :length] = cache[slots, :, :, :length]

    def _idle(self) -> Tensor:
        """[S]: which slots hold no rollout."""
        idle_S = torch.ones(self.num_slots, dtype=torch.bool)
        idle_S[self.slots_F] = False
        return idle_S

    def _free_slots(self, count: int) -> Tensor:
        """The first `count` idle slots. There are always enough, because every busy slot has a rollout in flight."""
        slots = self._idle().nonzero().flatten()[:count]
        if len(slots) and slots[-1] >= len(self.caches[0]):
            self._enlarge(int(slots[-1]) + 1)
        return slots

    def _enlarge(self, needed: int) -> None:
        """Give the caches at least so many slots, one cache after the other."""
        more = max(needed, 2 * len(self.caches[0])) - len(self.caches[0])
        for place, cache in enumerate(self.caches):
            self.caches[place] = torch.cat((cache, cache.new_zeros(more, *cache.shape[1:])))


def _log_softmax_and_entropy(logits_SV: Tensor) -> tuple[Tensor, Tensor]:
    """log π [S, V] and the entropy of π [S], nats.

    Written out because `torch.log_softmax` is off by about 1e-5 nats in FP32 on a large vocabulary; `sum` only rounds.
    """
    below_top_SV = logits_SV - logits_SV.amax(dim=-1, keepdim=True)
    odds_SV = below_top_SV.exp()
    total_S1 = odds_SV.sum(dim=-1, keepdim=True)
    mean_S1 = (odds_SV * below_top_SV).sum(dim=-1, keepdim=True) / total_S1
    log_total_S1 = total_S1.log()
    return below_top_SV - log_total_S1, (log_total_S1 - mean_S1)[:, 0]
