"""Ctrl-C: what was learnt is kept, wherever it comes."""

import os
import subprocess
import sys

import numpy as np
import pytest
from common import small, toy
from sklearn.exceptions import ConvergenceWarning
from skorch.callbacks import Callback

X, Y = toy()


class Interrupt(Callback):
    """Comes at an event of an epoch, as Ctrl-C would."""

    def __init__(self, event, epoch):
        self.event, self.epoch = event, epoch

    def _raise(self, event, net):
        if event == self.event and len(net.history) == self.epoch:
            raise KeyboardInterrupt

    def on_epoch_begin(self, net, **kwargs):
        self._raise("epoch begins", net)

    def on_batch_end(self, net, training, **kwargs):
        self._raise("step" if training else "validation", net)


# At an event of an epoch; how many are over by then.
WHEN = [
    ("epoch begins", 3, 2),
    ("step", 3, 2),
    ("validation", 3, 2),
    ("step", 1, 0),
]


@pytest.mark.parametrize(("event", "epoch", "n_whole"), WHEN)
def test_the_best_so_far_is_kept(same_fall, event, epoch, n_whole):
    expected = small(max_iter=max(1, n_whole)).fit(X, Y)
    with pytest.warns(ConvergenceWarning, match=r"interrupted in epoch .*weights so"):
        clf = small(max_iter=9, callbacks=[Interrupt(event, epoch)]).fit(X, Y)
    assert len(clf.history_) >= n_whole
    if n_whole:
        np.testing.assert_array_equal(clf.predict_proba(X), expected.predict_proba(X))
        assert clf.best_epoch_ == expected.best_epoch_
    else:  # there is no best yet
        probabilities = clf.predict_proba(X)
        assert ((probabilities > 0) & (probabilities < 1)).all()
    # It can be gone on with.
    clf.set_params(callbacks=None).partial_fit(X, Y)
    assert np.isfinite(clf.predict_proba(X)).all()


def test_half_a_step_is_forgotten():
    """In its first step the optimiser makes its averages one by one."""

    class HalfAStep(Callback):
        def on_batch_end(self, net, **kwargs):
            average = next(iter(net.optimizer_.state.values()))
            del average["exp_avg"]
            raise KeyboardInterrupt

    with pytest.warns(ConvergenceWarning, match="interrupted in epoch 1"):
        clf = small(callbacks=[HalfAStep()]).fit(X, Y)
    clf.net_.callbacks_ = [(n, c) for n, c in clf.net_.callbacks_ if n != "HalfAStep"]
    assert np.isfinite(clf.partial_fit(X, Y).predict_proba(X)).all()


@pytest.mark.parametrize("event", ["epoch begins", "step"])
def test_interrupted_partial_fit(event):
    clf = small(callbacks=[Interrupt(event, 2)])
    with pytest.warns(ConvergenceWarning, match="interrupted"):
        for _ in range(3):
            clf.partial_fit(X, Y)
    assert np.isfinite(clf.predict_proba(X)).all()


# In a process of its own: whoever watches the tests may hold a lock at such a moment.
AT_ANY_MOMENT = """
import signal, sys, warnings
import numpy as np
from common import small, toy
from sklearn.exceptions import ConvergenceWarning

def interrupt(*_):
    raise KeyboardInterrupt

X, Y = toy()
warnings.simplefilter("ignore", ConvergenceWarning)
signal.signal(signal.SIGALRM, interrupt)
small(max_iter=1).fit(X, Y)  # torch imports parts of itself when they are wanted
kept = 0
for moment in np.geomspace(0.002, 0.2, 40):
    clf = small(max_iter=1000, n_members=2, early_stopping=sys.argv[1] == "True")
    clf.set_params(n_iter_no_change=1000)
    signal.setitimer(signal.ITIMER_REAL, moment)
    try:
        clf.fit(X, Y)
    except KeyboardInterrupt:
        continue
    probabilities = clf.predict_proba(X)
    assert ((probabilities > 0) & (probabilities < 1)).all()
    assert clf.partial_fit(X, Y).predict(X).shape == Y.shape
    kept += 1
print(kept)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no interval timers")
@pytest.mark.parametrize("early_stopping", [True, False])
def test_signals_at_any_moment(early_stopping):
    """Either there was nothing to keep yet, or there is a model that can go on."""
    done = subprocess.run(
        [sys.executable, "-c", AT_ANY_MOMENT, str(early_stopping)],
        env=os.environ
        | {
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), *sys.path]),
        },
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 10
