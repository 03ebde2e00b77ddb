"""Optimisers on FP32 copies of the weights.

A small step is lost in the rounding of a BF16 weight: at a learning rate of 1e-6, a weight of 0.01 never moves.
So the optimiser works on FP32 copies, kept on the host with its moments; the model's weights are rounded from them
after every step. Weights that are FP32 already are their own masters.
"""

from collections.abc import Callable, Iterable

import torch
from torch.nn import Module, Parameter
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from oneshot.vectors import Vector


def adamw(weights: Iterable[Parameter], learning_rate: float) -> Optimizer:
    """AdamW without decay. Fused: on a CPU a step takes about a fifth of the time."""
    return AdamW(weights, lr=learning_rate, weight_decay=0.0, fused=True)


def sgd(weights: Iterable[Parameter], learning_rate: float) -> Optimizer:
    """Plain gradient steps, without momentum or decay."""
    return SGD(weights, lr=learning_rate)


def zeros_for(model: Module) -> Vector:
    """Zeros to add gradients to: FP32, each where the master of its weight is."""
    return {
        name: torch.zeros(weight.shape, device=weight.device if weight.dtype == torch.float32 else "cpu")
        for name, weight in model.named_parameters()
    }


OPTIMIZERS = {"adamw": adamw, "sgd": sgd}


def falling(optimizer: Optimizer, over: int | None) -> LambdaLR:
    """A schedule whose rate falls to 0, linearly, within `over` steps; None: it stays."""
    return LambdaLR(optimizer, lambda taken: 1 - taken / over if over else 1.0)


class MasterWeights:
    """The master weights of `model`, the optimiser that `make` builds for them, and the copy back to the model.

    With `falls_over` the learning rate falls to 0, linearly, within so many steps.
    """

    def __init__(self, model: Module, make: Callable[[Iterable[Parameter]], Optimizer], falls_over: int | None = None):
        self.weights = dict(model.named_parameters())
        self.masters = {
            name: weight if weight.dtype == torch.float32 else Parameter(weight.detach().to("cpu", torch.float32))
            for name, weight in self.weights.items()
        }
        self.optimizer = make(self.masters.values())
        self.schedule = falling(self.optimizer, falls_over)

    def copy(self) -> Vector:
        """Where the masters are."""
        return {name: master.detach().clone() for name, master in self.masters.items()}

    def state(self) -> Vector:
        """All that the next step depends on: masters, the optimiser's moments, and how many steps were taken."""
        found = {f"master/{name}": master.detach() for name, master in self.masters.items()}
        for name, moments in zip(self.masters, self.optimizer.state_dict()["state"].values(), strict=False):
            found |= {f"{moment}/{name}": torch.as_tensor(value) for moment, value in moments.items()}
        return found | {"taken": torch.tensor(self.schedule.last_epoch)}

    def resume(self, state: Vector) -> None:
        """Go on from the `state` of masters like these, of the same optimiser: the next step is theirs, bit for bit."""
        places = {name: place for place, name in enumerate(self.masters)}
        moments: dict[int, Vector] = {}
        for key, value in state.items():
            moment, _, name = key.partition("/")
            if moment not in ("master", "taken"):
                moments.setdefault(places[name], {})[moment] = value
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": moments})
        taken = self.schedule.last_epoch = int(state["taken"])
        for group, rate, share in zip(
            self.optimizer.param_groups, self.schedule.base_lrs, self.schedule.lr_lambdas, strict=True
        ):
            group["lr"] = rate * share(taken)
        self.put({name: state[f"master/{name}"] for name in self.masters})

    @torch.no_grad()
    def put(self, values: Vector) -> None:
        """Put masters and weights there; the optimiser's moments stay as they are."""
        for name, master in self.masters.items():
            master.copy_(values[name])
        self._round()

    @torch.no_grad()
    def descend(self, gradient: Vector) -> None:
        """Take one optimiser step for this gradient of a loss."""
        for name, master in self.masters.items():
            master.grad = gradient[name]
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad()
        self._round()

    def _round(self) -> None:
        for name, weight in self.weights.items():
            if weight is not self.masters[name]:
                weight.copy_(self.masters[name])
