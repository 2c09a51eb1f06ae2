"""The variants of C-GMVAE in the paper, as parameters of CGMVAEClassifier."""

# Eq. 7 as printed, with the layers of appendix B.1 and Table 7's alpha, beta, E and
# dropout for yeast.
_EQ7 = {
    "embedding_dim": 512,
    "encoder_layer_sizes": (256, 512, 256),
    "label_encoder_layer_sizes": (512, 256),
    "decoder_layer_sizes": (512, 512),
    "n_members": 1,
    "min_latent_std": 0.0,
    "prior": "mixture",
    "normalize": "contrastive",
    "reconstruction": "gaussian",
    "skip_connection": False,
    "linear_path": False,
    "label_branch": False,
    "n_samples": 1,
    "alpha": 1.0,
    "beta": 0.5,
    "kl_weight": 1.0,
    "recon_weight": 1.0,
    "temperature": 1.0,
    "dropout": 0.5,
    "input_dropout": 0.0,
    "quantile_features": False,
    "ema_decay": 0.0,
}

_CONFIGURATIONS = {
    "eq7": _EQ7,
    "published_code": _EQ7
    | {
        "activation": "leaky_relu",
        "normalize": "feature",
        "reconstruction": None,
        "skip_connection": True,
        "label_branch": True,
        "n_samples": 2,
        "kl_weight": 6.0,
        "scale_features": False,
    },
    # Table 4: one thing changed at a time, and no linear path to make up for it.
    "uni_gaussian": {"prior": "gaussian", "alpha": 0.0, "linear_path": False},
    "gm_only": {"prior": "mixture", "alpha": 0.0, "linear_path": False},
    "contrastive_only": {"prior": None, "alpha": 1.0, "linear_path": False},
    "gm_contrastive": {"prior": "mixture", "alpha": 1.0, "linear_path": False},
}


def paper_configuration(name):
    """Parameters of :class:`CGMVAEClassifier` for a variant of the paper.

    Parameters
    ----------
    name : str
        - ``"eq7"``: the objective of Eq. 7 exactly: all terms, KL and reconstruction
          with weight 1, the decoder on z alone. Its latent space collapses.
        - ``"published_code"``: what the authors' code trains: ``x`` enters the decoder
          too, KL weight 6, no reconstruction, a label branch, two samples, the
          feature embedding normalised everywhere.
        - ``"uni_gaussian"``, ``"gm_only"``, ``"contrastive_only"``,
          ``"gm_contrastive"``: the rows of Table 4, on this package's defaults
          without the linear path.

    Returns
    -------
    dict
        Keyword arguments; a new dict at each call.

    Raises
    ------
    ValueError
        If there is no variant of that name.

    Examples
    --------
    >>> from skcgmvae import CGMVAEClassifier, paper_configuration
    >>> paper_configuration("gm_only")
    {'prior': 'mixture', 'alpha': 0.0, 'linear_path': False}
    >>> CGMVAEClassifier(**paper_configuration("eq7")).kl_weight
    1.0
    """
    if name not in _CONFIGURATIONS:
        raise ValueError(
            f"name={name!r} is no variant of the paper; there are "
            f"{', '.join(sorted(_CONFIGURATIONS))}."
        )
    return dict(_CONFIGURATIONS[name])
