"""Data to time on, and contestants that take turns."""

import time

import numpy as np

# Rows, features, labels, and labels a row, of random data of a real set's size.
SIZES = {
    "yeast": (2417, 103, 14, 4.2),
    "delicious": (2560, 500, 983, 19.0),  # of its 16,105 rows, for a step takes longer
    "bibtex": (7395, 1836, 159, 2.4),
}

# What the trainings have in common that are timed by the pass.
ONE_PASS = {
    "n_members": 1,
    "early_stopping": False,
    "min_steps_per_epoch": 1,
    "random_state": 0,
}


def random_data(n_rows, n_features, n_labels, n_positive=4.0, seed=0):
    """Features that are noise, float32, and labels that some of them tell of."""
    rng = np.random.RandomState(seed)
    X = rng.standard_normal((n_rows, n_features)).astype(np.float32)
    often = min(0.9, n_positive / n_labels)
    columns = rng.randint(n_features, size=n_labels)
    Y = X[:, columns] > np.quantile(X[:, 0], 1 - often)
    return X, Y.astype(np.uint8)


def in_turns(contestants, number, n_turns=1):
    """The seconds that each function takes, by name, an array of a number each turn.

    The first is another each round and turn. Each is called once before, for what is
    slow at the first call only.
    """
    names = list(contestants)
    seconds = {name: [] for name in names}
    for function in contestants.values():
        function()
    for turn in range(n_turns):
        for name in np.roll(names, number + turn).tolist():
            start = time.perf_counter()
            found = contestants[name]()
            # What takes its own time leaves out what is not to be compared.
            passed = time.perf_counter() - start
            seconds[name].append(passed if found is None else found)
    return {name: np.array(of) for name, of in seconds.items()}


def medians(seconds, scale=1.0):
    """The median of the turns, by name."""
    return {name: scale * float(np.median(of)) for name, of in seconds.items()}
