"""Fitted models in files that cannot run code: ``save_model`` and ``load_model``."""

import json
import warnings

import numpy as np
import torch
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from skorch.history import History

import skcgmvae
from skcgmvae._calibration import Calibration
from skcgmvae._devices import resolve_device
from skcgmvae._files import DamagedFileError, as_tensors, read_tree, write_tree
from skcgmvae._labels import LabelCoder
from skcgmvae._random import seeded
from skcgmvae._scaling import FeatureScaler, NoScaler

# Raised when a file comes to hold what earlier versions could not read, or when what it
# holds comes to mean something else: before 2, of an ensemble only every second member
# saw ranks; before 3, logits were calibrated by their scale alone; before 4, latent
# means varied as little as they would; before 5, the penalty of the linear path did not
# fall; before 6, it was the same for all features; before 7, no labels were smoothed.
FORMAT = 7

SCALERS = {scaler.__name__: scaler for scaler in (FeatureScaler, NoScaler)}

# Of the machine and the moment, not of the model.
NOT_KEPT = ("checkpoint", "device")


class SavedModels:
    """Mixin of a neural classifier that can be written to a file and read again.

    The file holds numbers and text only (:mod:`skcgmvae._files`): the weights, what
    the features are scaled by, the names and classes of the labels, the parameters and
    the losses by epoch.
    """

    # Parameters that came later, with what a file that has them not was fitted with;
    # weights, which are as they begin, with the first format that has them.
    _values_before = {}
    _weights_since = {}

    def save_model(self, path):
        """Write the fitted model to a file that any later release can read.

        A safetensors file: arrays, and JSON for everything else. Nothing in it is
        executed when it is loaded. It holds no rows of the training data, but, by
        which later ones are ranked, up to 256 values of each column that
        ``quantile_features`` ranks.

        Parameters
        ----------
        path : path-like
            A file that is there is replaced, in one step, when all has been written.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If there is no fitted model yet.
        TypeError
            If the classes of a 1-D ``y`` are neither numbers nor text.
        OSError
            If the file cannot be written; the one that was there is untouched.

        Warns
        -----
        UserWarning
            If ``callbacks`` are set, or ``random_state`` is an instance: objects that
            a file without code cannot hold. The loaded model has None.

        See Also
        --------
        load_model : Read it again.

        Notes
        -----
        ``device`` and ``checkpoint`` are not kept, for the model may be loaded on
        another machine, nor is the state of the optimiser: ``partial_fit`` of a loaded
        model, or ``fit`` with ``warm_start=True``, goes on from the weights with a
        fresh one.
        """
        check_is_fitted(self, "net_")
        net = self.net_
        write_tree(
            path,
            {
                "format": FORMAT,
                "version": skcgmvae.__version__,
                "class": type(self).__name__,
                "parameters": self._plain_parameters(),
                "features": {
                    "count": self.n_features_in_,
                    "names": _plain_array(getattr(self, "feature_names_in_", None)),
                },
                "labels": _plain_labels(self._labels),
                "scaler": {"class": type(self._scaler).__name__, **vars(self._scaler)},
                "module": net.get_params_for("module"),
                "criterion": net.get_params_for("criterion"),
                "weights": dict(net.module_.state_dict()),
                "training": {
                    "history": list(net.history),
                    "best_epoch": self.best_epoch_,
                    "logit_scale": self.logit_scale_,
                    "logit_shift": self.logit_shift_,
                },
            },
        )

    @classmethod
    def load_model(cls, path, *, device="auto"):
        """Read a model that :meth:`save_model` wrote.

        Parameters
        ----------
        path : path-like
        device : str or torch.device, default="auto"
            The parameter ``device`` of the loaded model, wherever it was trained.

        Returns
        -------
        object
            A fitted estimator that predicts what the saved one did: on the same device
            the same, bit for bit.

        Raises
        ------
        OSError
            If there is no such file, or it may not be read.
        ValueError
            If the file is damaged, is of another kind or another class, or was written
            by a later version, or by one from before the first release that saw
            features otherwise.

        Examples
        --------
        >>> from pathlib import Path
        >>> from tempfile import mkdtemp
        >>> from skcgmvae import CGMVAEClassifier
        >>> from skcgmvae.datasets import load_digit_attributes
        >>> X, Y = load_digit_attributes(return_X_y=True)
        >>> clf = CGMVAEClassifier(max_iter=1, random_state=0).fit(X, Y)
        >>> path = Path(mkdtemp()) / "digits.safetensors"
        >>> clf.save_model(path)
        >>> loaded = CGMVAEClassifier.load_model(path)
        >>> bool((loaded.predict_proba(X) == clf.predict_proba(X)).all())
        True
        """
        resolve_device(device)
        tree = read_tree(path)
        cls._check_header(path, tree)
        try:
            return cls._from_tree(tree, device)
        except Exception as error:
            raise DamagedFileError(
                f"{path} does not hold a whole {cls.__name__}: {error}"
            ) from error

    def _plain_parameters(self):
        """The parameters that a file can hold; a warning names those that it cannot."""
        parameters = self.get_params(deep=False)
        for name in NOT_KEPT:
            del parameters[name]
        for name, value in parameters.items():
            if not isinstance(value, np.ndarray | np.generic) and not _is_json(value):
                warnings.warn(
                    f"{name}={value!r} is not saved: a file without code cannot hold "
                    f"it. The loaded model has {name}=None.",
                    UserWarning,
                    stacklevel=3,
                )
                parameters[name] = None
        return parameters

    @classmethod
    def _check_header(cls, path, tree):
        file_format, name = tree.get("format"), tree.get("class")
        if not isinstance(file_format, int) or not isinstance(name, str):
            raise DamagedFileError(f"{path} holds no model that save_model wrote.")
        if file_format > FORMAT:
            raise DamagedFileError(
                f"{path} was written by skcgmvae {tree.get('version')}, in a format "
                f"that version {skcgmvae.__version__} does not know; use a later one."
            )
        scaler = tree.get("scaler")
        seen = scaler.get("ranked_") if isinstance(scaler, dict) else None
        if file_format < 2 and seen is not None:
            raise DamagedFileError(
                f"{path} is of an early version, in which only some members saw ranks: "
                "this one cannot read it. Fit the model anew."
            )
        if name != cls.__name__:
            raise DamagedFileError(
                f"{path} holds a {name}, not a {cls.__name__}; use {name}.load_model."
            )

    @classmethod
    def _from_tree(cls, tree, device):
        parameters = cls._values_before | tree["parameters"]
        clf = cls(**_known(parameters, cls._get_param_names()))
        clf.device = device
        clf._validate_params()
        clf._random_state = check_random_state(clf.random_state)
        clf.n_features_in_ = tree["features"]["count"]
        if tree["features"]["names"] is not None:
            clf.feature_names_in_ = _whole_array(tree["features"]["names"])
        clf._keep_labels(_labels_from_tree(tree["labels"]))
        scaler = tree["scaler"]
        clf._scaler = SCALERS[scaler.pop("class")]()
        vars(clf._scaler).update(scaler)
        clf._finish(clf._net_from_tree(tree))
        return clf

    def _net_from_tree(self, tree):
        module_parameters, criterion_parameters, weights = (
            as_tensors(tree[part]) for part in ("module", "criterion", "weights")
        )
        module_parameters = self._values_before | module_parameters
        # On a device without memory: what the header says is compared with what the
        # file holds before anything of that size is made.
        with torch.device("meta"):
            expected = self._module_class(**module_parameters).state_dict()
        later = {
            n for n, since in self._weights_since.items() if tree["format"] < since
        }
        for name in later:
            expected.pop(name, None)
        shapes = {name: tuple(weight.shape) for name, weight in weights.items()}
        if shapes != {name: tuple(weight.shape) for name, weight in expected.items()}:
            raise ValueError("the weights are not those of the parameters.")
        with seeded(0, resolve_device(self.device)):  # the global generators stay
            net = self._build_net(module_parameters, criterion_parameters)
        net.module_.load_state_dict(weights, strict=not later)
        training = tree["training"]
        net.history = History(training["history"])
        keep_best = dict(net.callbacks_)["keep_best"]
        keep_best.best_epoch_ = training["best_epoch"]
        if training["logit_scale"] is not None:
            shape = net.n_heads, self._labels.n_labels_
            keep_best.best_calibration_ = _calibration(training, shape)
        return net


def _calibration(training, shape):
    """What a file says of it, for logits of the shape (K, L)."""
    scale, shift = np.asarray(training["logit_scale"]), training.get("logit_shift")
    if scale.ndim == 1 and shift is None:  # before format 3: one scale for all labels
        scale = np.repeat(scale[:, None], shape[1], axis=1)
        shift = np.zeros(shape[1])
    shift = np.asarray(shift)
    if (scale.shape, shift.shape) != (shape, shape[1:]):
        raise ValueError(
            f"logit_scale and logit_shift have the shapes {scale.shape} and "
            f"{shift.shape}, where {shape[0]} heads and {shape[1]} labels want {shape} "
            f"and {shape[1:]}."
        )
    if not (np.isfinite(scale).all() and np.isfinite(shift).all()):
        raise ValueError("logit_scale and logit_shift must be finite.")
    return Calibration(scale, shift)


def _is_json(value):
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True


def _known(parameters, names):
    unknown = sorted(set(parameters) - set(names))
    if unknown:
        raise ValueError(f"unknown parameters {unknown}.")
    return {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in parameters.items()
    }


def _plain_labels(labels):
    """What a LabelCoder has learnt, as a tree."""
    tree = {name: value for name, value in vars(labels).items() if name != "classes"}
    for name in ("classes_", "label_names_"):
        tree[name] = _plain_array(tree[name])
    if labels.is_matrix_:
        tree["dtype_"] = labels.dtype_.str
    return tree


def _labels_from_tree(tree):
    labels = LabelCoder()
    for name in ("classes_", "label_names_"):
        tree[name] = _whole_array(tree[name])
    if "dtype_" in tree:
        tree["dtype_"] = np.dtype(tree["dtype_"])
    vars(labels).update(tree)
    return labels


def _plain_array(array):
    """An array of numbers as it is, one of text as a dict that JSON can hold."""
    if array is None or array.dtype.kind in "biuf":
        return array
    values = array.tolist()
    if not all(isinstance(value, str) for value in values):
        raise TypeError(
            "classes_ must be numbers or text to be saved in a file without code; got "
            f"{values[:3]}."
        )
    return {"dtype": array.dtype.str, "text": values}


def _whole_array(value):
    if not isinstance(value, dict):
        return value
    dtype = np.dtype(value["dtype"])
    if dtype.kind not in "OU":
        raise ValueError(f"text cannot be of the dtype {dtype}.")
    return np.array(value["text"], dtype=dtype)
