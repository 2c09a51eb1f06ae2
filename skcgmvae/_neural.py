"""What every neural multi-label estimator of this package shares.

The way of the data: ``X, Y`` are validated and encoded here, once; scaled once, by
what the training rows say; sliced into batches (:mod:`skcgmvae._batches`) and
trained on (:mod:`skcgmvae._training`). The way back is in
:mod:`skcgmvae._predicting`.
"""

import inspect
import os
import warnings
from numbers import Integral, Real

import numpy as np
import torch
from scipy.sparse import issparse
from sklearn.base import _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import _safe_indexing, check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_sample_weight
from skorch.helper import predefined_split

from skcgmvae._batches import Rows, Streamed, is_memory_mapped
from skcgmvae._callbacks import (
    CallbackSupportMixin,
    EpochLines,
    KeepBest,
    ProgressBar,
    ScikitLearnCallbacks,
    with_callbacks,
)
from skcgmvae._checkpoint import KeepTraining, training_file
from skcgmvae._devices import check_precision, resolve_device
from skcgmvae._errors import check_layer_sizes, naming
from skcgmvae._holding_out import hold_out, rows_of_each
from skcgmvae._labels import label_log_odds
from skcgmvae._memory import explain_out_of_memory, in_training
from skcgmvae._multilabel import check_threshold
from skcgmvae._persistence import SavedModels
from skcgmvae._predicting import PredictsFromLogits
from skcgmvae._random import seeded
from skcgmvae._scaling import FeatureScaler, NoScaler
from skcgmvae._training import MultiLabelNet


class BaseNeuralClassifier(SavedModels, CallbackSupportMixin, PredictsFromLogits):
    """Base of the neural multi-label classifiers.

    A subclass lists its parameters and names two torch classes, ``_module_class``
    and ``_criterion_class`` (their seam is described in :mod:`skcgmvae._training`).
    Each receives those of the estimator's parameters that its ``__init__`` names; the
    module also, if it names them, ``n_rows``, ``n_features``, ``n_labels``, ``offset``,
    ``label_log_odds``, ``feature_cost``, ``continuous`` and what :meth:`_label_facts`
    tells.
    """

    _module_class = None
    _criterion_class = None

    # For a subclass that does not list them.
    n_members = 1
    quantile_features = False
    precision = "float32"
    compile = False

    _parameter_constraints = {
        "lr": [Interval(Real, 0, None, closed="neither")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "ema_decay": [Interval(Real, 0, 1, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "n_members": [Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "min_steps_per_epoch": [Interval(Integral, 1, None, closed="left")],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "scale_features": ["boolean"],
        "quantile_features": ["boolean"],
        "threshold": [Interval(Real, 0, 1, closed="both"), "array-like"],
        "warm_start": ["boolean"],
        "checkpoint": [str, os.PathLike, None],
        "callbacks": [list, tuple, None],
        "device": [str, torch.device],
        "precision": [StrOptions({"float32", "bfloat16"})],
        "compile": ["boolean"],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    # -- fit ---------------------------------------------------------------------

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    @explain_out_of_memory(in_training)
    def fit(self, X, y, sample_weight=None):
        """Train the network.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features, finite numbers on any scale. A :class:`numpy.memmap` is read,
            and scaled, batch by batch.
        y : {array-like, sparse matrix} of shape (n_samples, n_labels) or (n_samples,)
            Label matrix of 0 and 1, or the class of each row.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights. Rows of weight 0 are left out, and so are classes of
            a 1-D ``y`` that no other rows have.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        go_on = self.warm_start and hasattr(self, "net_")
        given = X, y, sample_weight
        X, Y, sample_weight = self._validate_fit(X, y, sample_weight, reset=not go_on)
        self._random_state = check_random_state(self.random_state)
        data = X, Y, sample_weight
        file = training_file(self, resolve_device(self.device), data, goes_on=go_on)
        if file is not None:
            self._random_state = file.random_state(self._random_state)
        members = self.net_.module_.members if go_on else self._members()
        train, valid = self._hold_out(Y, members)
        log_odds = label_log_odds(Y, train)
        with self._seeded():
            net = self._resume() if go_on else self._make_net(X, Y, train, log_odds)
            net.max_epochs = self.max_iter
            rows = self._rows(net, X, Y, sample_weight)
            callbacks = dict(net.callbacks_)
            if valid is not None:
                net.train_split = predefined_split(rows.only(valid))
                callbacks["keep_best"].label_log_odds = log_odds
            rows = rows.only(train)
            with (
                callbacks["keep_training"].attached(file),
                callbacks["scikit_learn"].attached(self, *given),
            ):
                net.partial_fit(rows)
        self._finish(net)
        self._warn_if_best_was_last()
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    @explain_out_of_memory(in_training)
    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """Pass over these rows once, going on from where the model is.

        The first call decides for good how features are scaled, or which ranks they
        have (a column that is constant in it is ignored, and beyond its extremes ranks
        stay level), which words are rare, how frequent the labels are that are to be
        smoothed, and by the number of its rows how much a penalty of weights counts
        beside the loss: let it be large and typical. Nothing is held out for early
        stopping.

        Parameters
        ----------
        X, y, sample_weight
            As in :meth:`fit`.
        classes : array-like of shape (n_classes,), default=None
            For a 1-D ``y``: all classes that will ever come; needed in the first call
            if its rows lack some.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        first = not hasattr(self, "net_")
        X, Y, sample_weight = self._validate_fit(
            X, y, sample_weight, reset=first, classes=classes, min_rows=1
        )
        if first:
            self._random_state = check_random_state(self.random_state)
        with self._seeded():
            members = self._members() if first else self.net_.module_.members
            train = rows_of_each(members, X.shape[0])
            if first:
                net = self._make_net(X, Y, train, label_log_odds(Y, train))
            else:
                net = self._resume()
            if first and self._scaler.is_blind:
                raise ValueError(
                    f"No feature varies in X, of {X.shape[0]} rows. The first call of "
                    "partial_fit decides how features are scaled, and would ignore all "
                    "of them: pass more rows, or set scale_features=False."
                )
            net.max_epochs, net.iterator_train__min_steps = 1, 1
            net.partial_fit(self._rows(net, X, Y, sample_weight).only(train))
        self._finish(net)
        return self

    def _members(self):
        """The shape of the ensemble: () for one network."""
        return () if self.n_members == 1 else (self.n_members,)

    def _hold_out(self, Y, members):
        """The rows each member trains on, and those it is validated on or None."""
        if not self.early_stopping:
            return rows_of_each(members, Y.shape[0]), None
        return hold_out(Y, members, self.validation_fraction, self._random_state)

    def _validate_fit(self, X, Y, sample_weight, *, reset, classes=None, min_rows=2):
        """The one door: X checked, Y as a 0/1 matrix, weights of mean 1 or None."""
        X = self._validate_features(X, reset=reset, ensure_min_samples=min_rows)
        Y = self._check_targets(X, Y)
        if sample_weight is not None:
            with naming("sample_weight"):
                sample_weight = _check_sample_weight(
                    sample_weight, X, ensure_non_negative=True
                )
            used = np.flatnonzero(sample_weight)
            if len(used) < min_rows:
                raise ValueError(
                    f"sample_weight must be positive for at least {min_rows} rows; it "
                    f"is for {len(used)} of {len(sample_weight)}."
                )
            if len(used) < len(sample_weight):
                X, Y = X[used], _safe_indexing(Y, used)
                sample_weight = sample_weight[used]
            # None exceeds 1, but older NumPy warns of lanes that it divides in vain.
            with np.errstate(over="ignore"):
                sample_weight = sample_weight / sample_weight.max()
            sample_weight /= sample_weight.mean()
        if reset:
            vars(self).pop("net_", None)
            Y = self._encode_labels(Y, classes, copy=False)
        else:
            if classes is not None and not self._labels.has_classes(classes):
                raise ValueError(
                    f"classes={list(classes)} differ from those of the first call, "
                    f"{self.classes_.tolist()}."
                )
            Y = self._labels.transform(Y, copy=False)
        check_threshold(self.threshold, self._labels)
        self._check_parameters(X)
        return X, Y, sample_weight

    def _check_parameters(self, X):
        """Refuse what the constraints of single parameters cannot tell.

        A subclass adds parameters that contradict each other or ``X``.
        """
        check_precision(self.precision, resolve_device(self.device))
        for name, sizes in self.get_params(deep=False).items():
            if name.endswith("_layer_sizes"):
                check_layer_sizes(name, sizes)

    def _make_net(self, X, Y, train, log_odds):
        """The scaler, fitted, and the net, initialised, for the rows ``train``.

        ``train`` is (*members, N).
        """
        self._scaler = FeatureScaler() if self.scale_features else NoScaler()
        seen = np.unique(train)
        self._scaler.fit(X, seen, by_rank=self.quantile_features)
        offset, continuous = self._scaler.offset, self._scaler.continuous_
        cost = self._scaler.cost_
        label_log_odds = torch.from_numpy(log_odds).float()
        module_parameters = self._accepted_by(
            self._module_class,
            n_rows=train.shape[-1],
            n_features=X.shape[1],
            n_labels=Y.shape[1],
            offset=None if offset is None else torch.from_numpy(offset),
            label_log_odds=label_log_odds,
            feature_cost=None if cost is None else torch.from_numpy(cost).float(),
            continuous=torch.from_numpy(continuous) if len(continuous) else None,
            **self._label_facts(Y, seen),
        )
        criterion_parameters = self._accepted_by(
            self._criterion_class, label_log_odds=label_log_odds
        )
        return self._build_net(module_parameters, criterion_parameters)

    def _build_net(self, module_parameters, criterion_parameters):
        """The net, initialised, of a module and a criterion with these parameters."""
        logs = {0: [], 1: [("progress_bar", ProgressBar())]}
        net = MultiLabelNet(
            self._module_class,
            criterion=self._criterion_class,
            optimizer=torch.optim.AdamW,
            optimizer__weight_decay=self.weight_decay,
            optimizer__fused=True,
            lr=self.lr,
            ema_decay=self.ema_decay,
            precision=self.precision,
            compile=self.compile,
            batch_size=self.batch_size,
            iterator_train__shuffle=True,
            iterator_train__min_steps=self.min_steps_per_epoch,
            train_split=None,
            device=str(resolve_device(self.device)),
            verbose=int(self.verbose),
            callbacks=[
                ("keep_best", KeepBest(self.n_iter_no_change, self.tol)),
                *self._module_callbacks(module_parameters),
                *(self.callbacks or []),
                ("scikit_learn", ScikitLearnCallbacks()),
                ("keep_training", KeepTraining()),
                *logs.get(int(self.verbose), [("print_log", EpochLines())]),
            ],
            **{f"module__{name}": value for name, value in module_parameters.items()},
            **{f"criterion__{k}": value for k, value in criterion_parameters.items()},
        )
        return net.initialize()

    def _module_callbacks(self, module_parameters):
        """Those that a model with such a module needs in training, with names."""
        return []

    def _label_facts(self, Y, rows):
        """What else the module of a subclass is told of these rows' labels, by name."""
        return {}

    def _accepted_by(self, torch_class, **facts):
        """Those of the parameters, and of the facts, that ``torch_class`` takes."""
        known = self.get_params(deep=False) | facts
        names = inspect.signature(torch_class).parameters
        return {name: known[name] for name in names if name in known}

    def _resume(self):
        """The net that is there, with the training parameters as they are now."""
        net = self.net_
        net.lr, net.batch_size, net.ema_decay = self.lr, self.batch_size, self.ema_decay
        net.precision, net.compile = self.precision, self.compile
        net.iterator_train__min_steps = self.min_steps_per_epoch
        for group in net.optimizer_.param_groups:
            group["weight_decay"] = self.weight_decay
            group["lr"] = group["initial_lr"] = self.lr  # which a schedule starts from
        keep_best = dict(net.callbacks_)["keep_best"]
        keep_best.patience, keep_best.tol = self.n_iter_no_change, self.tol
        return net

    def _seeded(self):
        """Let ``random_state`` rule torch's generators, and leave them as they were."""
        seed = int(self._random_state.randint(2**31 - 1))
        return seeded(seed, resolve_device(self.device))

    def _rows(self, net, X, Y, sample_weight):
        """The rows, where the net trains: scaled, or to be batch by batch.

        A dense X in memory is moved to the device whole. Of other rows a scaled copy
        would be one more.
        """
        if issparse(X) or is_memory_mapped(X):
            X = Streamed(X, self._scaler)
        else:
            X = self._scaler.transform(X)
        return Rows(X, Y, sample_weight, device=net.device)

    def _finish(self, net):
        """Keep the trained net and what it learnt about its training, not the data."""
        # One record a batch would outgrow the weights in a saved model.
        for epoch in net.history:
            epoch["batches"] = []
        self.net_ = net
        self.n_iter_ = sum("train_loss" in epoch for epoch in net.history)
        keep_best = dict(net.callbacks_)["keep_best"]
        self.best_epoch_ = keep_best.best_epoch_
        calibration = keep_best.best_calibration_ or (None, None)
        self.logit_scale_, self.logit_shift_ = calibration

    def _warn_if_best_was_last(self):
        """Say so, unless the training was too short to be stopped, or ended by will."""
        net = self.net_
        could_stop = self.early_stopping and self.max_iter > self.n_iter_no_change
        # Of a training that a checkpoint says is finished no epoch is left.
        ended_by_number = net.max_epochs and not net.stop_requested_
        best_was_last = self.best_epoch_ == len(net.history)
        if could_stop and ended_by_number and best_was_last:
            warnings.warn(
                "The network predicted held-out rows best in the last epoch, "
                f"{self.best_epoch_}: it may not have converged. Raise max_iter (it is "
                f"{self.max_iter}).",
                ConvergenceWarning,
                stacklevel=2,
            )
