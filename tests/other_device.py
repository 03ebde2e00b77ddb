"""A second device, written in Python, and device_checks.py on it. Run by test_gpus.py in a process of its own.

PyTorch lets a backend be written in Python. This one keeps every tensor's values in a CPU tensor and does what the CPU
does, but refuses, as a GPU would, any operation on tensors of both. Code that passes moves its tensors correctly and
gives the CPU's results; whether a GPU's kernels agree with a CPU's is not tested. A backend cannot be unregistered.
"""

from functools import partial

import pytest
import torch
from device_checks import *  # noqa: F403
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

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
def device():
    return NAME


def test_devices_do_not_mix():
    ours = torch.ones(2).to(NAME)
    assert (ours + ours).device.type == NAME
    with pytest.raises(RuntimeError, match="add: tensors of two devices"):
        ours + torch.ones(2)
