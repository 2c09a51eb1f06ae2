"""Errors that say which argument they are about."""

import re
from contextlib import contextmanager


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
