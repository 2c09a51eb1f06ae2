"""Write a model of this version and format, and what it predicts, for later ones.

    python tests/models/make.py

Files of earlier versions and formats stay: that they open is the point of them.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.datasets import make_multilabel_classification

from skcgmvae import CGMVAEClassifier, __version__
from skcgmvae._persistence import FORMAT

FOLDER = Path(__file__).parent


def main():
    """Fit, save, and keep the predictions for some of the rows."""
    X, Y = make_multilabel_classification(n_features=6, n_classes=3, random_state=0)
    X = np.hstack([X, X > [10, 12, 11, 9, 14, 15]])  # indicators, rare and less so
    Y = pd.DataFrame(Y, columns=["sun", "sea", "sand"])
    clf = CGMVAEClassifier(
        latent_dim=4,
        embedding_dim=8,
        encoder_layer_sizes=(16,),
        label_encoder_layer_sizes=(8,),
        decoder_layer_sizes=(16,),
        n_members=2,
        min_latent_std=100.0,  # stretches, though there are few steps
        label_smoothing=0.3,
        max_iter=5,
        random_state=0,
        device="cpu",
    ).fit(X, Y)
    path = FOLDER / f"CGMVAEClassifier-{__version__}-{FORMAT}.safetensors"
    if path.exists():
        raise SystemExit(f"{path.name} is there already; remove it if it is wrong.")
    clf.save_model(path)
    kept = {
        "X": X[:20].tolist(),
        "probabilities": clf.predict_proba(X[:20]).tolist(),
        "labels": clf.predict(X[:20]).tolist(),
        "label_names": Y.columns.tolist(),
    }
    path.with_suffix(".json").write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
