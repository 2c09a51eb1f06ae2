"""What all tests share."""

import os

import matplotlib
import pytest
import torch

from skcgmvae.datasets import load_npz

matplotlib.use("Agg")
# The tests' networks are too small for a second thread to help, and two that wait for
# each other on a busy machine take many times as long.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def real_data():
    """``real_data(name)`` gives (X, Y) of a data set in the folder SKCGMVAE_DATA."""

    def load(name):
        if not os.environ.get("SKCGMVAE_DATA"):
            pytest.skip(
                f"needs the data set {name!r}: set SKCGMVAE_DATA to the folder of "
                f"{name}.npz"
            )
        return load_npz(name, return_X_y=True)

    return load


@pytest.fixture
def same_fall(monkeypatch):
    """However long trainings are to be, their penalties fall as quickly.

    Else, for all their epochs, a short one and a longer one would not begin alike.
    """
    monkeypatch.setattr("skcgmvae._callbacks.PENALTY_STEPS", 4)


@pytest.fixture(autouse=True)
def close_figures():
    yield
    import matplotlib.pyplot as plt

    plt.close("all")
