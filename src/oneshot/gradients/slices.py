"""Slices: sequences of similar length in a packed row, padded for attention."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Slice:
    """Sequences of similar length in a packed row, padded on the right for attention. M: what stands before, then L."""

    valid_RL: Tensor
    """Tokens; the others are padding."""
    above: int | None
    """The slice that its rows continue, by its place in the layout. None: they continue no other."""
    owners_R: Tensor | None
    """The row of that slice which each row continues."""
    mask_R1LM: Tensor | None
    """Who may be seen: the real tokens of what stands before, oneself causally. None: oneself only."""
    positions_RM: Tensor
    """Where in its own sequence each token stands that its rows may see; the last L are the rows' own."""
    longest: int
    """Tokens of the longest row, what it continues included."""

    def mask(self, window: int | None) -> Tensor | None:
        """Who may be seen [R, 1, L, M] by a layer whose tokens see `window` positions, themselves among them."""
        if not window or self.longest <= window:
            return self.mask_R1LM
        length = self.valid_RL.shape[1]
        causal = _causal(length).to(self.valid_RL.device)
        near_RLM = self.positions_RM[:, -length:, None] - self.positions_RM[:, None] < window
        return near_RLM[:, None] & (causal if self.mask_R1LM is None else self.mask_R1LM)

    def to(self, device: torch.device) -> "Slice":
        return Slice(*(value.to(device) if isinstance(value, Tensor) else value for value in vars(self).values()))


class Slices:
    """The slices of a layout, one after the other."""

    def __init__(self, positions_T: np.ndarray):
        self.positions_T = positions_T
        self.parts: list[Slice] = []
        self.gathered: list[np.ndarray] = []
        self.seen: list[Tensor] = []
        """Slice by slice, which places that its rows may see hold tokens, not padding [R, M]."""

    def add(self, paths: list[np.ndarray], above: int | None = None, owners: np.ndarray | None = None) -> int:
        """A slice of sequences, by where their tokens stand, that continue those rows of an earlier one; its place."""
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
        """For each packed token one of the slices' tokens that stands there."""
        tokens = np.flatnonzero(torch.cat([part.valid_RL.flatten() for part in self.parts]))
        return as_tensor(tokens[np.unique(np.concatenate(self.gathered)[tokens], return_index=True)[1]])


def _mask(before_RM: Tensor, length: int) -> Tensor:
    """[R, 1, L, before + L], or one row for all if all of what stands before is tokens."""
    if before_RM.all():
        before_RM = before_RM[:1]
    causal = _causal(length).expand(len(before_RM), -1, -1)
    return torch.cat([before_RM[:, None].expand(-1, length, -1), causal], dim=2)[:, None]


def _causal(length: int) -> Tensor:
    """[L, L]: oneself and those before."""
    return torch.ones(length, length, dtype=torch.bool).tril()


def as_tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.int64))
