"""Products in bfloat16: which are, which are not, and who refuses them."""

import numpy as np
import pytest
import torch
from common import DEVICE, small, toy

from skcgmvae._devices import check_precision
from skcgmvae._files import read_tree, write_tree
from skcgmvae._layers import product
from skcgmvae._losses import CGMVAELoss

X, Y = toy()
BFLOAT = torch.bfloat16


@pytest.mark.parametrize("members", [(), (3,)])
def test_factors_and_sums_are_rounded_and_nothing_else(members):
    x, weight = torch.randn(*members, 9, 50), torch.randn(*members, 50, 4)
    bias = torch.randn(*members, 4)
    with torch.autocast("cpu", BFLOAT):
        found = product(x, weight, bias)
    exact = x.to(BFLOAT).double() @ weight.to(BFLOAT).double()
    expected = exact.to(BFLOAT).float() + bias[..., None, :]
    # A sum that lies between two numbers may be rounded to either.
    torch.testing.assert_close(found, expected, rtol=0, atol=2**-4)
    assert (found == expected).float().mean() > 0.9
    plain = product(x, weight, bias)
    assert (found != plain).float().mean() > 0.9
    torch.testing.assert_close(plain, x @ weight + bias[..., None, :])


@pytest.mark.parametrize("parameters", [{}, {"label_branch": True, "n_samples": 2}])
def test_losses_are_in_float32(parameters):
    """As they would be in twice the precision, from the same outputs of the network."""

    class Compared(CGMVAELoss):
        n_steps = 0

        def forward(self, output, y):
            terms = super().forward(output, y)
            exact = super().forward(in_double(output), y.double())
            for name, term in terms.items():
                torch.testing.assert_close(
                    term.double(), exact[name], rtol=1e-4, atol=1e-4
                )
            Compared.n_steps += 1
            return terms

    clf = small(precision="bfloat16", reconstruction="gaussian", **parameters)
    clf._criterion_class = Compared
    clf.fit(X, Y)
    assert Compared.n_steps


def in_double(output):
    def cast(values):
        return {
            name: value.double()
            for name, value in values._asdict().items()
            if torch.is_tensor(value) and value.is_floating_point()
        }

    prior = output.prior._replace(**cast(output.prior))
    return output._replace(**cast(output), prior=prior)


def test_weights_and_the_optimiser_are_in_float32():
    clf = small(precision="bfloat16").fit(X, Y)
    net = clf.net_
    kept = [*net.module_.parameters()]
    for state in net.optimizer_.state.values():
        kept += state.values()
    assert {tensor.dtype for tensor in kept} == {torch.float32}


def test_predictions_are_in_float32(tmp_path):
    clf = small(precision="bfloat16").fit(X, Y)
    clf.save_model(tmp_path / "model")
    loaded = small().load_model(tmp_path / "model", device=DEVICE)
    assert loaded.precision == "bfloat16"
    np.testing.assert_array_equal(loaded.predict_proba(X), clf.predict_proba(X))
    module = clf.net_.module_.eval().double()
    x = torch.from_numpy(clf._scaler.transform(X)).double().to(DEVICE)
    with torch.no_grad():
        heads = module(x).cpu().numpy()
    exact = np.einsum("kl,nkl->nl", clf.logit_scale_, heads) + clf.logit_shift_
    np.testing.assert_allclose(loaded.decision_function(X), exact, atol=1e-4)


def test_a_warm_start_may_change_it():
    def gone_on(precision):
        clf = small(warm_start=True).fit(X, Y)
        return clf.set_params(precision=precision).fit(X, Y).predict_proba(X)

    assert np.abs(gone_on("bfloat16") - gone_on("float32")).max() > 1e-5


def test_it_is_one_of_two():
    with pytest.raises(ValueError, match="'precision' parameter.*'float16'"):
        small(precision="float16").fit(X, Y)


@pytest.mark.filterwarnings("ignore:CUDA is not available")
def test_a_device_that_cannot_refuses(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: False)
    for device in ("cuda", "meta"):
        with pytest.raises(ValueError, match=f"'bfloat16' was asked.*device='{device}"):
            check_precision("bfloat16", torch.device(device))
        check_precision("float32", torch.device(device))
    monkeypatch.setattr(torch, "autocast", lambda *_: torch.no_grad())
    with pytest.raises(ValueError, match="Use precision='float32'"):
        small(precision="bfloat16").fit(X, Y)


def test_a_checkpoint_may_be_older_than_the_parameter(tmp_path, same_fall):
    path = tmp_path / "training"
    whole = small().fit(X, Y)
    small(max_iter=2, checkpoint=path).fit(X, Y)
    tree = read_tree(path)
    assert tree["training"]["parameters"].pop("precision") == "float32"
    write_tree(path, tree)
    with pytest.raises(ValueError, match="precision='float32' instead of 'bfloat16'"):
        small(checkpoint=path, precision="bfloat16").fit(X, Y)
    rest = small(checkpoint=path).fit(X, Y)
    np.testing.assert_array_equal(rest.predict_proba(X), whole.predict_proba(X))
