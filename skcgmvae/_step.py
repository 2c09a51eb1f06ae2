"""The losses of a training step, as they come or as one compiled graph.

torch.compile joins what a step does between its products into few kernels, and on CUDA
records them as a graph that is launched at once. Both ask for batches of one shape, of
which nothing depends on what is in them.
"""

import functools
from contextlib import contextmanager

import scipy.sparse as sp
import torch
from torch.nn import functional as F

from skcgmvae._devices import products_in

# Another shape, or a head that is no longer trained, is another graph. There is no
# going back to uncompiled steps, as torch would by itself after eight.
MOST_GRAPHS = 256


def step_losses(module, criterion, precision, x, y, weight=None):
    """The loss of a batch, the names and the means of its terms, and the logits.

    Only the loss has a gradient. The logits are (*members, B, K, L).
    """
    # The criterion stays outside: densities whose squares are expanded lose too many
    # digits in bfloat16.
    with products_in(precision, y.device):
        output = module.training_output(x, y)
    terms = criterion(output, y)
    if weight is not None:
        terms = {name: weight * term for name, term in terms.items()}
    with torch.no_grad():
        means = torch.stack(list(terms.values())).flatten(1).mean(dim=1)
        heads = output.heads
    return terms["loss"].mean(), list(terms), means, heads


class CompiledLosses:
    """:func:`step_losses` of one training, compiled.

    The last batches of an epoch are a row smaller than the first. They are filled up
    with their first row, at weight 0.
    """

    def __init__(self):
        self.n_rows = 0  # of the first batch, which is the largest

    def __call__(self, module, criterion, precision, x, y, weight):
        n_rows = y.shape[-2]
        self.n_rows = max(self.n_rows, n_rows)
        missing = self.n_rows - n_rows
        weight = y.new_ones(y.shape[:-1]) if weight is None else weight
        if missing:
            x, y = (torch.cat([p, p[..., :missing, :]], dim=-2) for p in (x, y))
            # A mean over more rows, of which these have no part.
            weight = F.pad(weight * (self.n_rows / n_rows), (0, missing))
        if y.is_cuda:
            torch.compiler.cudagraph_mark_step_begin()
        loss, terms, means, heads = compiled(y.device.type)(
            module, criterion, precision, x, y, weight
        )
        # A CUDA graph writes its next results to where these are.
        heads = heads[..., :n_rows, :, :].clone()
        return loss.clone(), terms, means.clone(), heads


@functools.cache
def compiled(device_type):
    """:func:`step_losses` as one graph, which all trainings of a process share."""
    options = {"fallback_random": True}  # the random numbers of uncompiled steps
    if device_type == "cuda":
        options["triton.cudagraphs"] = True  # what mode="reduce-overhead" is
    return torch.compile(
        step_losses,
        fullgraph=True,
        dynamic=False,  # or results would depend on what had been compiled before
        options=options,
        recompile_limit=MOST_GRAPHS,
    )


def check_compilable(X, max_labels_per_step):
    """Refuse what has batches of many shapes."""
    if sp.issparse(X):
        raise ValueError(
            "compile=True needs a dense X: each batch of a sparse one stores another "
            "number of values. Pass X.toarray(), or set compile=False."
        )
    if max_labels_per_step is not None:
        raise ValueError(
            "compile=True looks at all labels in each step, and "
            f"max_labels_per_step={max_labels_per_step} at some. Set "
            "max_labels_per_step=None or compile=False."
        )


@contextmanager
def explain_compiler():
    """Say of the compiler's errors where they come from and what to do."""
    try:
        yield
    except Exception as error:
        modules = {cls.__module__ for cls in type(error).__mro__}
        says_so = "torch.compile is not supported" in str(error)
        if not says_so and not any(
            module.startswith(("torch._dynamo", "torch._inductor"))
            for module in modules
        ):
            raise
        reason = str(error.__cause__ or error).partition("\n\n")[0]
        raise RuntimeError(
            "compile=True, but torch.compile failed. It needs a C++ compiler (g++ or "
            "clang, on Windows cl) for a CPU, and Triton for CUDA; without, set "
            f"compile=False. ({type(error).__name__}: {' '.join(reason.split())})"
        ) from error
