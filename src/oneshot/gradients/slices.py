"""Slices: sequences of similar length in a packed row, padded for attention."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Slice:
    """Sequences of similar length in a packed row, padded on the right for attention. M: the prefix, then L."""

    valid_RL: Tensor
    """True for tokens, false for padding."""
    above: int | None
    """Index of the slice that holds the prefixes of its rows. None: they have no prefix."""
    owners_R: Tensor | None
    """For each row, the row of that slice that is its prefix."""
    mask_R1LM: Tensor | None
    """Attention mask: all non-padding tokens of the prefix, and the row's own tokens causally. None: no prefix."""
    positions_RM: Tensor
    """Position in its own sequence of each token that a row may attend to; the last L are the row's own."""
    longest: int
    """Tokens of the longest row, including its prefix."""

    def mask(self, window: int | None) -> Tensor | None:
        """Attention mask [R, 1, L, M] of a layer with a window of that many positions (None: all). None: causal."""
        if not window or self.longest <= window:
            return self.mask_R1LM
        length = self.valid_RL.shape[1]
        causal = _causal(length).to(self.valid_RL.device)
        near_RLM = self.positions_RM[:, -length:, None] - self.positions_RM[:, None] < window
        return near_RLM[:, None] & (causal if self.mask_R1LM is None else self.mask_R1LM)

    def to(self, device: torch.device) -> "Slice":
        return Slice(*(value.to(device) if isinstance(value, Tensor) else value for value in vars(self).values()))


class Slices:
    """Builds the slices of a layout."""

    def __init__(self, positions_T: np.ndarray):
        self.positions_T = positions_T
        self.parts: list[Slice] = []
        self.gathered: list[np.ndarray] = []
        self.seen: list[Tensor] = []
        """For each slice [R, M]: which of the places that its rows may attend to hold tokens, not padding."""

    def add(self, paths: list[np.ndarray], above: int | None = None, owners: np.ndarray | None = None) -> int:
        """Add a slice and return its index.

        `paths`: places of each row's tokens in the packed row. `above`, `owners`: the slice and rows of the prefixes.
        """
        lengths = np.array([len(path) for path in paths])
        steps = np.arange(lengths.max())
        padded = np.stack(
            [np.pad(path, (0, len(steps) - len(path)), mode="edge" if len(path) else "constant") for path in paths]
        )
        seen_RM = valid_RL = torch.from_numpy(steps < lengths[:, None])
        positions_RM = as_tensor(self.positions_T[padded])
        mask_R1LM = None
        if above is not None:
            before_RM = self.seen[above][owners]
            mask_R1LM = _mask(before_RM, len(steps))
            seen_RM = torch.cat([before_RM, valid_RL], dim=1)
            positions_RM = torch.cat([self.parts[above].positions_RM[owners], positions_RM], dim=1)
        self.parts.append(
            Slice(
                valid_RL=valid_RL,
                above=above,
                owners_R=None if owners is None else as_tensor(owners),
                mask_R1LM=mask_R1LM,
                positions_RM=positions_RM,
                longest=1 + int((positions_RM * seen_RM).max()),
            )
        )
        self.gathered.append(padded.flatten())
        self.seen.append(seen_RM)
        return len(self.parts) - 1

    def kept(self) -> Tensor:
        """Index of one copy of each packed token among the slices."""
        tokens = np.flatnonzero(torch.cat([part.valid_RL.flatten() for part in self.parts]))
        return as_tensor(tokens[np.unique(np.concatenate(self.gathered)[tokens], return_index=True)[1]])


def _mask(before_RM: Tensor, length: int) -> Tensor:
    """[R, 1, L, M], or [1, 1, L, M] if no prefix has padding."""
    if before_RM.all():
        before_RM = before_RM[:1]
    causal = _causal(length).expand(len(before_RM), -1, -1)
    return torch.cat([before_RM[:, None].expand(-1, length, -1), causal], dim=2)[:, None]


def _causal(length: int) -> Tensor:
    """[L, L]: the causal mask."""
    return torch.ones(length, length, dtype=torch.bool).tril()


def as_tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.int64))
