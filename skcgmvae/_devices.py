"""Where a network is trained, and how precisely it is computed with there."""

from contextlib import contextmanager, nullcontext, suppress

import torch


def resolve_device(device):
    """The torch device meant by ``device``: ``"auto"``, a name or a torch.device."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f"device={device!r} is no device that torch knows; use 'auto', 'cpu', "
            "'cuda' or 'cuda:0'."
        ) from error
    if resolved.type == "cpu":
        return resolved
    try:
        # In float64 probabilities are averaged.
        torch.empty(1, dtype=torch.float64, device=resolved).item()
    except Exception as error:
        raise ValueError(
            f"device={device!r} was asked for, but torch {torch.__version__} cannot "
            f"use it here ({str(error).splitlines()[0]}). Use device='auto' or 'cpu'."
        ) from error
    return resolved


def check_precision(precision, device):
    """Refuse a precision that the device does not compute in."""
    if precision == "float32":
        return
    can = device.type != "cuda" or torch.cuda.is_bf16_supported(
        including_emulation=False
    )
    try:
        with products_in(precision, device):
            one = torch.ones(1, 1, device=device)
            can = can and (one @ one).dtype == torch.bfloat16
    except (RuntimeError, AssertionError):
        can = False
    if not can:
        raise ValueError(
            f"precision={precision!r} was asked for, but device={str(device)!r} cannot "
            "compute in it. Use precision='float32'."
        )


def products_in(precision, device):
    """A context in which float32 factors meet in this precision."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(torch.device(device).type, torch.bfloat16)


@contextmanager
def subnormals_as_zero():
    """Let this thread of the CPU take numbers below 1e-38 for 0 meanwhile.

    The optimiser's average of a gradient that is 0 (of a unit that no longer fires, of
    a feature that is rare) shrinks until it is such a number, with which a processor
    computes many times as slowly. What it adds to a weight is lost in rounding.
    """
    before = bool(torch.tensor(1e-40) * 1 == 0)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def reuse_freed_memory():
    """Let the C library give out again what has been freed, and not the system.

    glibc returns to the system what a step of training has freed, and is lent it again,
    some hundred pages one by one, in the next. What it keeps is twice the size of the
    largest block that was ever freed, of those up to 32 MiB (mallopt(3),
    M_MMAP_THRESHOLD): so here one of nearly that is.
    """
    with suppress(RuntimeError):  # of a process with less memory than that
        torch.empty(2**25 - 2**16, dtype=torch.uint8)
