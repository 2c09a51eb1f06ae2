"""What a process forked off from one that has trained puts right.

A fork copies one thread of the parent and the locks of all. What waits for the other
threads waits for ever.
"""

import os
import sys

import torch


def after_fork(function):
    """Decorate what is to be called first in each process that is forked off."""
    if hasattr(os, "register_at_fork"):  # Windows does not fork
        os.register_at_fork(after_in_child=function)
    return function


@after_fork
def use_one_thread():
    """Keep torch from sharing its work with OpenMP's threads, which are not there.

    Once the parent has had such threads, GNU's OpenMP takes them to be there still.
    """
    torch.set_num_threads(1)


@after_fork
def compile_in_this_thread():
    """Keep torch's compiler from waiting for its threads, which are not there."""
    config = sys.modules.get("torch._inductor.config")
    if config is not None:
        config.compile_threads = 1
