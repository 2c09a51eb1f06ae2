"""The models that are compared, each under the name that the tables print."""

from copy import deepcopy

import numpy as np
from scipy.sparse import issparse
from scipy.special import expit
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import (
    ExtraTreesClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.multioutput import ClassifierChain
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    Normalizer,
    StandardScaler,
)
from sklearn.svm import LinearSVC

from benchmarks.accuracy.levers import (
    AsymmetricLoss,
    ConstantPenalty,
    EqualCosts,
    FreeBits,
    KLWarmUp,
    LabelSmoothing,
    cosine_schedule,
    with_loss,
)
from skcgmvae import CGMVAEClassifier, paper_configuration
from skcgmvae.baselines import (
    HARAM,
    MLARAM,
    BinaryRelevance,
    C2AEClassifier,
    LaMPClassifier,
    MLkNN,
    MPVAEClassifier,
    SLEECClassifier,
)
from skcgmvae.metrics import label_probabilities


def cgmvae(X, seed, *, loss=None, **parameters):
    """C-GMVAE on the CPU, with the defaults of everything not given."""
    model = CGMVAEClassifier if loss is None else with_loss(loss)
    return model(random_state=seed, device="cpu", **parameters)


def scaled(X, model):
    """A model on features of one scale, or on sparse rows of one length.

    Of words, what counts is their share of a text. On the validation rows of bibtex
    linear models are better by it, and neighbours much better.
    """
    return make_pipeline(Normalizer() if issparse(X) else StandardScaler(), model)


class LabelMatrix(ClassifierMixin, BaseEstimator):
    """A multi-label classifier of scikit-learn, with probabilities as one matrix."""

    def __init__(self, estimator):
        self.estimator = estimator

    def fit(self, X, Y):
        self.estimator.fit(X, Y)
        return self

    def predict_proba(self, X):
        return label_probabilities(self.estimator, X)


class Forest(LabelMatrix):
    """A forest of 500 trees, or of 100 where there are many rows and labels.

    Each leaf holds a number for every label, so that 500 trees would not fit in memory.
    """

    MOST_LABELS = 800_000  # over all rows

    def fit(self, X, Y):
        n_trees = 500 if Y.size <= self.MOST_LABELS else 100
        self.estimator.set_params(n_estimators=n_trees)
        return super().fit(X, Y)


class MLP(ClassifierMixin, BaseEstimator):
    """scikit-learn's MLP, stopped by the log-loss of a tenth of its rows.

    Its own early stopping goes by subset accuracy, which is 0 throughout where there
    are many labels, and then keeps the first epoch.
    """

    def __init__(self, random_state=None):
        self.random_state = random_state

    def fit(self, X, Y):
        # scikit-learn casts the numbers of the labels to the dtype of Y, and in eight
        # bits those from 256 on would become others.
        Y = Y.astype(int)
        train, held_out = train_test_split(
            np.arange(len(Y)), test_size=0.1, random_state=self.random_state
        )
        network = MLPClassifier((512, 256), random_state=self.random_state)
        lowest, misses = np.inf, 0
        for _ in range(200):
            network.partial_fit(X[train], Y[train], classes=np.arange(Y.shape[1]))
            P = np.clip(network.predict_proba(X[held_out]), 1e-7, 1 - 1e-7)
            loss = -np.where(Y[held_out], np.log(P), np.log1p(-P)).mean()
            misses += 1
            if loss < lowest:
                lowest, misses, self.model_ = loss, 0, deepcopy(network)
            if misses == 10:
                break
        return self

    def predict_proba(self, X):
        return self.model_.predict_proba(X)


def regression(X):
    """A logistic regression; validation rows prefer 0.1 to 1, and 10 if sparse."""
    return LogisticRegression(C=10.0 if issparse(X) else 0.1, max_iter=500)


class Link(ClassifierMixin, BaseEstimator):
    """A classifier of one label, which may be the same in all rows.

    scikit-learn's chain would end in an error there.
    """

    def __init__(self, estimator):
        self.estimator = estimator

    def fit(self, X, y):
        self.classes_ = np.array([0, 1])
        self.model_ = BinaryRelevance(self.estimator).fit(X, y.reshape(-1, 1))
        return self

    def predict(self, X):
        return self.model_.predict(X).ravel()

    def predict_proba(self, X):
        p = self.model_.predict_proba(X)
        return np.hstack([1 - p, p])


def chain(X, seed):
    """One chain in random order, each link seeing the links before it."""
    links = Link(regression(X))
    return scaled(X, ClassifierChain(links, order="random", random_state=seed))


def gradient_boosting(X, seed):
    """scikit-learn's, on a dense copy: it takes no sparse features."""
    model = BinaryRelevance(HistGradientBoostingClassifier(random_state=seed))
    if not issparse(X):
        return model
    dense = FunctionTransformer(lambda X: X.toarray(), accept_sparse=True)
    return make_pipeline(dense, model)


def lightgbm(X, seed):
    """One boosted forest a label, by LightGBM.

    Its own defaults fit these small tables too closely: small trees that each see a
    part of rows and features are better on the validation rows of emotions, sider and
    bibtex, and level on those of yeast.
    """
    from lightgbm import LGBMClassifier  # not needed by anything else

    return BinaryRelevance(
        LGBMClassifier(
            num_leaves=15,
            learning_rate=0.05,
            colsample_bytree=0.3,
            subsample=0.7,
            subsample_freq=1,
            reg_lambda=1.0,
            random_state=seed,
            n_jobs=1,
            verbose=-1,
        )
    )


class PlattSVM(ClassifierMixin, BaseEstimator):
    """A linear SVM to whose margins three folds fit a logistic curve (Platt).

    A class of fewer rows than folds leaves the curve as it is.
    """

    def __init__(self, random_state=None):
        self.random_state = random_state

    def fit(self, X, y):
        self.classes_, counts = np.unique(y, return_counts=True)
        svm = LinearSVC(random_state=self.random_state)
        if counts.min() >= 3:
            svm = CalibratedClassifierCV(svm, cv=3, ensemble=False)
        self.model_ = svm.fit(X, y)
        return self

    def predict_proba(self, X):
        if hasattr(self.model_, "predict_proba"):
            return self.model_.predict_proba(X)
        p = expit(self.model_.decision_function(X))
        return np.column_stack([1 - p, p])

    def predict(self, X):
        return self.model_.predict(X)


def mlp(X, seed):
    """On features of one scale, which it prefers to rows of one length."""
    scaler = MaxAbsScaler() if issparse(X) else StandardScaler()
    return make_pipeline(scaler, MLP(random_state=seed))


# A model is called with X, of which only the format matters, and a seed.
PEERS = {
    "logistic": lambda X, seed: scaled(X, BinaryRelevance(regression(X))),
    "linear SVM": lambda X, seed: scaled(
        X, BinaryRelevance(PlattSVM(random_state=seed))
    ),
    "chain of logistic": chain,
    "random forest": lambda X, seed: Forest(RandomForestClassifier(random_state=seed)),
    "extra trees": lambda X, seed: Forest(ExtraTreesClassifier(random_state=seed)),
    "gradient boosting": gradient_boosting,
    "LightGBM": lightgbm,
    "kNN": lambda X, seed: LabelMatrix(scaled(X, KNeighborsClassifier(10))),
    "MLP": mlp,
    "MLkNN": lambda X, seed: scaled(X, MLkNN()),
    "MLARAM": lambda X, seed: MLARAM(),
    "HARAM": lambda X, seed: HARAM(),
    "SLEEC": lambda X, seed: scaled(X, SLEECClassifier(random_state=seed)),
}

# The neural ones take longer, and run on the CPU as C-GMVAE does.
NEURAL_PEERS = {
    "C2AE": lambda X, seed: C2AEClassifier(random_state=seed, device="cpu"),
    "MPVAE": lambda X, seed: MPVAEClassifier(random_state=seed, device="cpu"),
    "LaMP": lambda X, seed: LaMPClassifier(random_state=seed, device="cpu"),
}

OURS = "C-GMVAE"

PAPER = {
    "C-GMVAE, published code": lambda X, seed: cgmvae(
        X, seed, **paper_configuration("published_code")
    ),
    "C-GMVAE, Eq. 7": lambda X, seed: cgmvae(X, seed, **paper_configuration("eq7")),
}

COMPARED = {OURS: cgmvae} | PAPER | PEERS | NEURAL_PEERS


def variants(parameters):
    """C-GMVAE with one thing changed, for each, {name: model}."""
    return {
        # A callback keeps what it saw, so that each model has a copy of its own.
        f"{OURS}, {name}": lambda X, seed, new=new: cgmvae(X, seed, **deepcopy(new))
        for name, new in parameters.items()
    }


def one_by_one(name, values):
    """The values of one parameter, as variants."""
    return {f"{name} {value:g}": {name: value} for value in values}


LATENT = "Linear path and latent means, one thing taken away after another"

# The paper's experiments with the method itself, and our own levers.
STUDIES = {
    "Gaussian mixture and contrastive learning (the paper's Table 4)": variants(
        {
            "uni-Gaussian": paper_configuration("uni_gaussian"),
            "GM only": paper_configuration("gm_only"),
            "contrastive only": paper_configuration("contrastive_only"),
            "GM and contrastive": paper_configuration("gm_contrastive"),
        }
    ),
    "Sensitivity to alpha, beta and E (the paper's Table 7)": variants(
        one_by_one("alpha", (0.1, 0.5, 1.5, 2.0))
        | one_by_one("beta", (0.1, 0.5, 1.5, 2.0))
        | one_by_one("embedding_dim", (64, 512, 2048))
    ),
    LATENT: variants(
        {
            "equal costs": {"callbacks": [EqualCosts()]},
            "equal costs, constant penalty": {
                "callbacks": [EqualCosts(), ConstantPenalty()]
            },
            "equal costs, constant penalty, min_latent_std 0": {
                "callbacks": [EqualCosts(), ConstantPenalty()],
                "min_latent_std": 0.0,
            },
        }
    ),
    "Labels smoothed as far as the network is too sure": variants(
        {"label_smoothing auto": {"label_smoothing": "auto"}}
    ),
    "What this package adds or sets otherwise, one thing changed at a time": variants(
        one_by_one("n_members", (1, 2, 8))
        | {
            "no linear path": {"linear_path": False},
            "no average of weights": {"ema_decay": 0.0},
            "no scaling": {"scale_features": False},
            "no ranks, no bins": {"quantile_features": False},
            "no bins": {"n_bins": 0},
            "the paper's layers": {
                "embedding_dim": 512,
                "encoder_layer_sizes": (256, 512, 256),
                "label_encoder_layer_sizes": (512, 256),
                "decoder_layer_sizes": (512, 512),
            },
        }
        | one_by_one("linear_penalty", (0.1, 10.0))
        | one_by_one("kl_weight", (0.0, 0.01, 0.1, 1.0))
        | one_by_one("dropout", (0.1, 0.5))
        | one_by_one("input_dropout", (0.0, 0.7))
        | one_by_one("weight_decay", (0.0, 0.1))
        | one_by_one("lr", (0.0005, 0.001, 0.004))
        | one_by_one("batch_size", (32, 64, 256))
        | one_by_one("min_steps_per_epoch", (1, 200))
        | one_by_one("max_iter", (25, 50))
        | one_by_one("n_samples", (4,))
        | {
            "cosine over 20 epochs": cosine_schedule(20),
            "KL warm-up": {"callbacks": [KLWarmUp()]},
            "free bits": {"loss": FreeBits},
            "labels drawn to a half": {"loss": LabelSmoothing},
            "asymmetric loss": {"loss": AsymmetricLoss},
            "GELU": {"activation": "gelu"},
            "skip connection": {"skip_connection": True},
            "label branch": {"label_branch": True},
            "reconstruction": {"reconstruction": "gaussian", "recon_weight": 1e-3},
        }
    ),
}

MODELS = dict(COMPARED)
for study in STUDIES.values():
    MODELS |= study
