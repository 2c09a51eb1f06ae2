"""Out of memory: an error that says what to lower, and memory that is free again."""

import functools
import gc

import torch
from sklearn.utils.validation import _num_samples

# What torch's errors say where memory is short; only CUDA's have a class of their own.
SIGNS = (
    "out of memory",
    "not enough memory",
    "DefaultCPUAllocator",
    "Storage size calculation overflowed",
    "bad_alloc",
    "ALLOC_FAILED",
)


class ExplainedMemoryError(MemoryError):
    """A MemoryError that says what to do about it."""


def explain_out_of_memory(advice):
    """Decorate a method: where memory is short, raise a MemoryError with advice.

    Parameters
    ----------
    advice : callable
        Takes the arguments of the method, returns the sentence to begin with.
    """

    def decorate(method):
        @functools.wraps(method)
        def explained(*args, **kwargs):
            try:
                return method(*args, **kwargs)
            except (MemoryError, RuntimeError) as error:
                if not _is_out_of_memory(error):
                    raise
                _free_what_it_holds(error)
                if isinstance(error, ExplainedMemoryError):
                    raise
                reason = str(error).strip().partition("\n")[0]
                raise ExplainedMemoryError(
                    f"{advice(*args, **kwargs)} ({type(error).__name__}: {reason})"
                ) from error

        return explained

    return decorate


def _is_out_of_memory(error):
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return any(sign in str(error) for sign in SIGNS)


def _free_what_it_holds(error):
    """Let go of the tensors that an error's frames hold, and of what CUDA has cached.

    Frames that are cleared still hold their functions, and closures the network: so the
    tracebacks go as a whole.
    """
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def in_training(estimator, *args, **kwargs):
    """What to lower where a network does not fit, what costs least first."""
    parameters = estimator.get_params(deep=False)
    widths = "_layer_sizes", "_dim", "d_model", "max_labels_per_step"
    sizes = [name for name in parameters if name.endswith(widths)]
    first, *others = (
        f"{name} (it is {parameters[name]})"
        for name in ("batch_size", "n_members", *sizes)
        if name in parameters
    )
    return (
        f"Out of memory in training with device={str(estimator.device)!r}. Lower "
        f"{first}, then {', '.join(others)}."
    )


def in_predicting(estimator, X, *args):
    """What to do where rows to predict do not fit."""
    return (
        f"Out of memory in predicting {_num_samples(X)} rows with "
        f"device={str(estimator.device)!r}. Pass fewer rows at a time."
    )


def in_placing(rows, array):
    """What to do where a whole array does not fit onto a device."""
    advice = ["pass fewer rows or a sparse X"]
    if rows.device.type != "cpu":
        advice.insert(0, "use device='cpu'")
    advice = ", or ".join(advice)
    return (
        f"Out of memory: an array of shape {tuple(array.shape)} does not fit onto "
        f"device={str(rows.device)!r}. {advice[0].upper()}{advice[1:]}."
    )
