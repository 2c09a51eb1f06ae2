"""Errors that say which argument they are about."""

import re
from contextlib import contextmanager
from numbers import Integral


@contextmanager
def naming(argument):
    """Let errors raised inside begin with the name of an argument, if they lack it."""
    try:
        yield
    except (TypeError, ValueError) as error:
        if re.search(rf"\b{argument}\b", str(error)):
            raise
        kind = ValueError if isinstance(error, ValueError) else TypeError
        raise kind(f"{argument}: {error}") from error


def check_layer_sizes(name, sizes):
    """Refuse widths of layers that are none."""
    whole = all(isinstance(size, Integral) and size > 0 for size in sizes)
    if not (len(sizes) and whole):
        raise ValueError(
            f"{name} must list the widths of at least one layer, positive integers; "
            f"got {sizes!r}."
        )
