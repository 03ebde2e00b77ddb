"""What each process of an `oneshot.steps.sharded.Team` runs: its shard of the model, and the optimiser for that.

    torchrun --nproc-per-node W -m oneshot.steps.sharded_worker FOLDER

Rank 0 listens on a socket in the folder, passes each request on to the others and answers it. FSDP2 gathers a layer's
weights where they are needed, in the policy's own precision, and spreads their gradients again, in FP32; masters,
gradients and moments exist in shards alone. Gloo moves tensors in main memory, NCCL those on GPUs.
"""

import json
import sys
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection, Listener
from pathlib import Path

import pandas as pd
import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch.distributed.tensor import distribute_tensor

from oneshot.files import read_json
from oneshot.gradients.block_sums import save_gradient
from oneshot.gradients.chunks import CHUNK_TOKENS
from oneshot.gradients.distributed import TokenLogprobs, backward_share, processes, sharded_gradient
from oneshot.gradients.one_pass import Blocks
from oneshot.policies.models import load_policy
from oneshot.steps.master_weights import OPTIMIZERS, falling
from oneshot.steps.sharded import GRADIENT, POLICY, ROLLOUTS, SETTINGS, SOCKET, TEAMS, WEIGHTS


class Shard:
    """This process's part of the model and of the optimiser; every method is called in all processes at once."""

    def __init__(self, folder: Path, device: torch.device):
        self.folder = folder
        self.policy = load_policy(folder / POLICY, device)
        self.dtype = self.policy.model.dtype
        self.policy.model.float()
        self.logprobs = TokenLogprobs(self.policy, compute=self.dtype)
        if settings := read_json(folder / SETTINGS):
            make = OPTIMIZERS[settings["optimizer"]]
            self.optimizer = make(self.policy.model.parameters(), settings["learning_rate"])
            self.schedule = falling(self.optimizer, settings["falls_over"])

    def gradient(self, blocks: dict, **options: float) -> dict:
        rollouts = pd.read_parquet(self.folder / ROLLOUTS)
        how = {**options, "blocks": Blocks(**blocks), "logprobs": self.logprobs}
        if gradient := sharded_gradient(self.policy, rollouts, **how):
            save_gradient(gradient, self.folder / GRADIENT, {"fingerprint": TEAMS})
        return {}

    def climb(self, temperature: float, largest_gap: float) -> dict:
        rollouts = pd.read_parquet(self.folder / ROLLOUTS)
        rollouts["weight"] = -rollouts.weight / len(rollouts)  # optimisers descend
        gap = backward_share(self.policy, rollouts, temperature, CHUNK_TOKENS, self.logprobs)
        told = {"gap": gap.tolist(), "moved": False}
        if name := self._not_finite():
            told["not_finite"] = name
        elif gap[0] <= largest_gap:
            self.optimizer.step()
            self.schedule.step()
            self._write(self.dtype)
            told["moved"] = True
        self.optimizer.zero_grad()
        return told

    def copy(self) -> dict:
        self._write(torch.float32)
        return {}

    @torch.no_grad()
    def put(self) -> dict:
        values = load_file(self.folder / WEIGHTS)
        for name, weight in self.policy.model.named_parameters():
            whole = values[name].to(weight.device)
            weight.copy_(distribute_tensor(whole, weight.device_mesh, weight.placements))
        self._write(self.dtype)
        return {}

    def _not_finite(self) -> str:
        """The name of a parameter whose gradient is not finite in some process; empty if there is none."""
        for name, weight in self.policy.model.named_parameters():
            bad = torch.tensor(float(not weight.grad.to_local().isfinite().all()), device=weight.device)
            dist.all_reduce(bad)
            if bad:
                return name
        return ""

    def _write(self, dtype: torch.dtype) -> None:
        whole = {}
        for name, weight in self.policy.model.named_parameters():
            gathered = weight.detach().full_tensor()
            if not dist.get_rank():
                whole[name] = gathered.to("cpu", dtype)
        if whole:
            save_file(whole, self.folder / WEIGHTS)
        dist.barrier()


def serve(folder: Path, device: torch.device) -> None:
    """Do what is asked until nothing more is."""
    shard = Shard(folder, device)
    line = None if dist.get_rank() else Listener(str(folder / SOCKET)).accept()
    while request := _passed_on(line):
        answer = getattr(shard, request.pop("do"))(**request)
        if line:
            line.send_bytes(json.dumps(answer).encode())


def _passed_on(line: Connection | None) -> dict | None:
    """The next request, in all processes; None at the end, or if whoever asks has gone."""
    held: list = [None]
    if line:
        with suppress(EOFError):
            held[0] = json.loads(line.recv_bytes())
    dist.broadcast_object_list(held)
    return held[0]


if __name__ == "__main__":
    processes(partial(serve, Path(sys.argv[1])))
