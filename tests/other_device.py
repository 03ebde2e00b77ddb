"""A second device, written in Python, and the trainer on it. Run by test_gpus.py in a process of its own.

PyTorch lets a backend be written in Python. This one keeps every tensor's values in a CPU tensor and does what the CPU
does, but refuses, as a GPU would, any operation on tensors of both. Code that passes moves its tensors correctly and
gives the CPU's results; whether a GPU's kernels agree with a CPU's is not tested. A backend cannot be unregistered.
"""

from functools import partial

import pytest
import torch
from small_policy import differentiate, lab_of, random_direction
from torch.optim import AdamW
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

from oneshot.gradients.weights import weigh
from oneshot.measures.evaluate import sequence_kl
from oneshot.policies.models import fingerprint, load_policy, save_policy
from oneshot.steps.fisher import fisher_diagonal
from oneshot.steps.line_search import effective_move, moved
from oneshot.steps.master_weights import MasterWeights

NAME = "other"
COPIES = {"aten::_to_copy", "aten::copy_", "aten::_copy_from"}
KEPT_SHAPE = {"aten::view": torch.Tensor.reshape, "aten::_unsafe_view": torch.Tensor.reshape}
"""The stand-in says that it is contiguous, whatever the strides of its values."""
values_of: dict[int, torch.Tensor] = {}
"""By storage: autograd hands out new tensors on an old storage."""


class OtherTensor(torch.Tensor):
    @staticmethod
    def __new__(cls, values):
        stand_in = torch._C._acc.create_empty_tensor(values.shape, values.dtype)
        stand_in.__class__ = cls
        values_of[stand_in.untyped_storage()._cdata] = values
        return stand_in


def is_ours(value):
    return isinstance(value, torch.Tensor) and value.device.type == NAME


def on_cpu(value):
    if isinstance(value, torch.device):
        return torch.device("cpu")
    return values_of[value.untyped_storage()._cdata] if is_ours(value) else value


def run(name, operation, *args, **options):
    """Run an operation on the values of its tensors; its results are on the device of its arguments."""
    tensors = [value for value in tree_leaves((args, options)) if isinstance(value, torch.Tensor)]
    ours = {id(on_cpu(tensor)): tensor for tensor in tensors if is_ours(tensor)}
    if ours and name not in COPIES and any(tensor.dim() and not is_ours(tensor) for tensor in tensors):
        raise RuntimeError(f"{name}: tensors of two devices")
    out = operation(*tree_map(on_cpu, args), **tree_map(on_cpu, options))
    if options.get("device") == torch.device("cpu"):
        return out

    def on_device(value):
        if not isinstance(value, torch.Tensor) or is_ours(value):
            return value
        return ours[id(value)] if id(value) in ours else OtherTensor(value)

    return tree_map(on_device, out)


def register():
    _setup_privateuseone_for_python_backend(NAME)
    library = torch.library.Library("aten", "IMPL")
    for full in torch._C._dispatch_get_all_op_names():
        namespace, _, signature = full.partition("::")
        name, _, overload = signature.partition(".")
        taken = ("CompositeImplicitAutograd", "PrivateUse1")
        if namespace != "aten" or any(torch._C._dispatch_has_kernel_for_dispatch_key(full, key) for key in taken):
            continue
        packet = getattr(torch.ops.aten, name, None)
        if operation := getattr(packet, overload or "default", None):
            name = f"aten::{name}"
            library.impl(signature, partial(run, name, KEPT_SHAPE.get(name, operation)), "PrivateUse1")
    return library


LIBRARY = register()


@pytest.fixture
def other(policy, tmp_path):
    """The same policy on the other device."""
    save_policy(policy, tmp_path, {})
    moved_over = load_policy(tmp_path, NAME)
    moved_over.model.tie_weights()  # a device written in Python unties tied weights; others do not
    return moved_over


def same(one, two):
    assert one.keys() == two.keys()
    return all(torch.allclose(one[name], two[name].cpu(), atol=1e-6) for name in one)


def weights_of(policy):
    return {name: weight.detach().to("cpu", copy=True) for name, weight in policy.model.named_parameters()}


def test_devices_do_not_mix():
    ours = torch.ones(2).to(NAME)
    assert (ours + ours).device.type == NAME
    with pytest.raises(RuntimeError, match="add: tensors of two devices"):
        ours + torch.ones(2)


def test_the_pass(policy, other, rollouts, weights):
    assert other.model.device.type == NAME
    expected, found = (
        differentiate(each, rollouts, weights, temperature=0.9, num_blocks=3) for each in (policy, other)
    )
    assert same(expected.mean(), found.mean())
    assert found.sampler_gap.max() < 1e-4
    assert same(*(fisher_diagonal(each, rollouts[:3], 0.9) for each in (policy, other)))


def test_a_move_and_its_divergence(policy, other, rollouts, tmp_path):
    direction, before = random_direction(policy), fingerprint(policy.model)
    assert effective_move(other.model, direction, 0.1) == effective_move(policy.model, direction, 0.1)
    reached, kl_nats = [], []
    for one in (policy, other):
        base = load_policy(tmp_path, one.model.device)
        with moved(one.model, direction, 0.1), torch.no_grad():
            reached.append(weights_of(one))
            kl_nats.append(sequence_kl.__wrapped__(one, base, rollouts, 0.9))  # Python has no inference mode
        assert fingerprint(one.model) == before
    assert same(*reached)
    assert torch.allclose(*kl_nats)
    assert kl_nats[0].min() > 0


def test_a_step(policy, other, rollouts):
    # At the usual ε, Adam makes a step of the rounding where a gradient is next to nothing.
    for each in (policy, other):
        masters = MasterWeights(each.model, partial(AdamW, lr=1e-2, eps=1e-2, weight_decay=0.0))
        assert max(lab_of(each).climb(masters, weigh(rollouts))) < 1e-4
    assert same(weights_of(policy), weights_of(other))
