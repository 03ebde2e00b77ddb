r"""Gradients and optimiser steps of a model that is sharded over several processes, by FSDP2.

Weights in FP32, their gradients and Adam's moments take 16 bytes a parameter. They are left to a team of processes,
each with its part on its GPU, or in main memory without GPUs; `oneshot.steps.sharded_worker` is what they run. The
policy here, which the engine samples from, only gets the weights that come out, moved in place.

    this process                              the team, ranks 0 to W-1
    weighted rollouts, in a file    ──────►   each its share of the groups: forward, backward, sum over ranks
    policy.model ← weights          ◄──────   one optimiser step on the shards; rank 0 writes the weights
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from multiprocessing.connection import Client, Connection
from pathlib import Path

import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from oneshot.files import write_json
from oneshot.gradients.agreement import NotFinite
from oneshot.gradients.block_sums import Gradient, load_shard
from oneshot.gradients.one_pass import Blocks, accumulate_gradient
from oneshot.policies.models import Policy, save_policy
from oneshot.vectors import Vector

ROLLOUTS, WEIGHTS, GRADIENT = "rollouts.parquet", "weights.safetensors", "gradient.safetensors"
POLICY, SETTINGS, SOCKET = "policy", "settings.json", "socket"
IN_MEMORY = Path("/dev/shm")
"""Files that live for a step; where there is no such folder, on disk."""
LEARNT_FROM = ["problem_id", "sample_id", "prompt_tokens", "tokens", "logprobs", "weight"]
TEAMS = "of a team"
"""The fingerprint in files that never leave it."""
PATIENCE_S = 0.5
"""After so long without an answer: are they still there?"""


class Team:
    """Processes that share a copy of the policy's model, as many as the policy says."""

    def __init__(self, policy: Policy, **optimizer: str | float | None):
        """`optimizer`: its name, its learning_rate, and the steps within which that `falls_over` to 0; or none."""
        self.scratch = tempfile.TemporaryDirectory(dir=IN_MEMORY if IN_MEMORY.is_dir() else None)
        self.folder = Path(self.scratch.name)
        save_policy(policy, self.folder / POLICY, {})
        write_json(optimizer, self.folder / SETTINGS)
        command = [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            f"--nproc-per-node={policy.processes}",
        ]
        command += ["-m", "oneshot.steps.sharded_worker", str(self.folder)]
        self.said = (self.folder / "said").open("w+")
        self.processes = subprocess.Popen(command, stdout=self.said, stderr=self.said)
        self.line = self._connect()

    def __enter__(self) -> "Team":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def give(self, rollouts: pd.DataFrame) -> None:
        """What the next request is about: whole groups, with a column `weight`."""
        rollouts[LEARNT_FROM].to_parquet(self.folder / ROLLOUTS)

    def ask(self, request: str, **values: object) -> dict:
        """The answer to a request. Raises RuntimeError, with their last line, if the processes have ended."""
        try:
            self.line.send_bytes(json.dumps({"do": request, **values}).encode())
            while not self.line.poll(PATIENCE_S):
                self._check_alive()
            return json.loads(self.line.recv_bytes())
        except (EOFError, OSError):
            self.processes.wait()
            self._check_alive()
            raise

    def close(self) -> None:
        """End the processes. Without it they end with this one."""
        if self.processes.poll() is None:
            self.line.send_bytes(b"null")
            self.processes.wait()
        self.line.close()
        self.said.close()
        self.scratch.cleanup()

    def _connect(self) -> Connection:
        while True:
            try:
                return Client(str(self.folder / SOCKET))
            except (FileNotFoundError, ConnectionRefusedError):
                self._check_alive()
                time.sleep(0.05)

    def _check_alive(self) -> None:
        if self.processes.poll() is not None:
            self.said.seek(0)
            last = (self.said.read().strip().splitlines() or ["nothing was said"])[-1]
            raise RuntimeError(f"the processes that share the model have ended ({self.processes.returncode}): {last}")


class ShardedWeights:
    """`MasterWeights` whose masters and optimiser are spread over a team."""

    def __init__(self, policy: Policy, team: Team):
        self.model, self.team = policy.model, team

    def climb(self, rollouts: pd.DataFrame, temperature: float, largest_gap: float) -> Tensor:
        """One step up the mean weighted gradient of the rollouts; the policy follows.

        Returns (largest, mean) |Δ log-prob| of a token between sampler and trainer, nats. If the largest is above
        `largest_gap`, or a gradient is not finite (NotFinite), no step is taken.
        """
        self.team.give(rollouts)
        told = self.team.ask("climb", temperature=temperature, largest_gap=largest_gap)
        if "not_finite" in told:
            raise NotFinite(f"the gradient of '{told['not_finite']}' is not finite: lower the arm's learning_rate")
        if told["moved"]:
            self._follow()
        return torch.tensor(told["gap"])

    def copy(self) -> Vector:
        """Where the masters are."""
        self.team.ask("copy")
        return load_file(self.team.folder / WEIGHTS)

    def put(self, values: Vector) -> None:
        """Put masters and weights there; the optimiser's moments stay as they are."""
        save_file(values, self.team.folder / WEIGHTS)
        self.team.ask("put")
        self._follow()

    @torch.no_grad()
    def _follow(self) -> None:
        arrived = load_file(self.team.folder / WEIGHTS)
        for name, weight in self.model.named_parameters():
            weight.copy_(arrived[name])


def shared_gradient(
    policy: Policy, rollouts: pd.DataFrame, *, blocks: Blocks, progress: Callable = iter, **options: float
) -> Gradient:
    """`accumulate_gradient` by as many processes as the policy says; by several, equal to rounding.

    `options`: its `temperature` and `sketch_size`.
    """
    if policy.processes == 1:
        return accumulate_gradient(policy, rollouts, blocks=blocks, progress=progress, **options)
    with Team(policy) as team:
        team.give(rollouts)
        team.ask("gradient", blocks=asdict(blocks), **options)
        return load_shard(team.folder / GRADIENT, TEAMS)
