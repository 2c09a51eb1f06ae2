"""scikit-learn's own checks."""

from inspect import signature

from sklearn.utils.estimator_checks import parametrize_with_checks

from skcgmvae import CGMVAEClassifier

EXPECTED_FAILURES = {
    "check_sample_weight_equivalence_on_dense_data": (
        "A weight of 2 is not bit for bit a repeated row: repeated rows fall into "
        "different mini-batches and draw different dropout masks."
    ),
    "check_sample_weight_equivalence_on_sparse_data": (
        "A weight of 2 is not bit for bit a repeated row: repeated rows fall into "
        "different mini-batches and draw different dropout masks."
    ),
}


# Older versions of scikit-learn leave it to pytest's own setting, which is strict too.
STRICT = (
    {"xfail_strict": True}
    if "xfail_strict" in signature(parametrize_with_checks).parameters
    else {}
)


def make_small():
    """An estimator that learns the checks' toy data in a fraction of a second."""
    return CGMVAEClassifier(
        latent_dim=8,
        embedding_dim=16,
        encoder_layer_sizes=(32,),
        label_encoder_layer_sizes=(16,),
        decoder_layer_sizes=(32,),
        dropout=0.0,
        lr=1e-2,
        max_iter=10,
        min_steps_per_epoch=10,
        device="cpu",
    )


@parametrize_with_checks(
    [make_small()],
    expected_failed_checks=lambda _: EXPECTED_FAILURES,
    **STRICT,
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)
