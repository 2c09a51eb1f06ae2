"""torch's random generators, which belong to the process, lent to one fit at a time."""

import threading
from contextlib import contextmanager

import torch

from skcgmvae._forks import after_fork

# Fits in several threads take turns, or none of them would repeat.
_GENERATORS = threading.RLock()


@after_fork
def _take_no_turns_with_the_parent():
    """Forget a fit in another thread of the parent: here it will never end."""
    global _GENERATORS
    _GENERATORS = threading.RLock()


@contextmanager
def seeded(seed, device):
    """Let a seed rule the generators meanwhile, and leave them as they were.

    Parameters
    ----------
    seed : int
    device : torch.device
        Beside the CPU's generator, that of this device.
    """
    devices = [device] if device.type == "cuda" else []
    with _GENERATORS, torch.random.fork_rng(devices=devices):
        torch.default_generator.manual_seed(seed)
        for cuda in devices:
            with torch.cuda.device(cuda):
                torch.cuda.manual_seed(seed)
        yield


def generator_states(device):
    """The states of the generators, as tensors by name."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def set_generator_states(states, device):
    """Go on from states that :func:`generator_states` gave on such a device."""
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"], device)
