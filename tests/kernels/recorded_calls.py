"""A recorder that behaves on a CPU as CUDA graphs do, for tests of what is recorded and replayed."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from ea_kernels.runtime.graphs import Recording


class _Tape(TorchDispatchMode):
    """Notes every op that is computed. What Python decides is not on it, as in a graph."""

    def __init__(self):
        super().__init__()
        self.ops = []

    def __torch_dispatch__(self, op, types, args=(), kwargs=None):
        if op is torch.ops.aten._local_scalar_dense.default:
            raise RuntimeError("operation not permitted when stream is capturing\nmore about it")
        kwargs = kwargs or {}
        out = op(*args, **kwargs)
        self.ops.append((op, args, kwargs, out))
        return out


class TapeRecorder:
    """Replays the ops of a call with the tensors that they had: weights and inputs by their place."""

    def __init__(self):
        self.beside = []
        self.replays = 0

    def obstacle(self, device):
        return None if device.type == "cpu" else f"only a CPU, got {device.type!r}"

    def __call__(self, run, device, beside):
        assert not torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()
        self.beside.append(beside)
        run()
        with _Tape() as tape:
            output = run()
        is_tensor = isinstance(output, torch.Tensor)
        result = torch.full_like(output, float("nan")) if is_tensor else output  # nothing is computed yet

        def replay():
            self.replays += 1
            result.copy_(_computed(tape.ops)[id(output)])

        return Recording(replay, result, object())


def _computed(ops):
    """What ops give now, by the tensors that they gave when they were noted."""
    now = {}
    for op, args, kwargs, before in ops:
        given = tree_map_only(torch.Tensor, lambda tensor: now.get(id(tensor), tensor), (args, kwargs))
        pair = (before, op(*given[0], **given[1]))
        olds, news = ([one] if isinstance(one, torch.Tensor) else list(one or ()) for one in pair)
        now.update({id(old): new for old, new in zip(olds, news, strict=True)})
    return now
