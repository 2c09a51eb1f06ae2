"""What a GPU is for: rows a second, and the share of the device's own products."""

import time

import torch
from sklearn.base import clone

from benchmarks.speed.plain import SkorchLoop
from benchmarks.speed.timing import ONE_PASS, SIZES, in_turns, medians, random_data
from skcgmvae import CGMVAEClassifier


def beside_skorch(number, device):
    X, Y = random_data(*SIZES["yeast"])
    clf = CGMVAEClassifier(**ONE_PASS, max_iter=20, device=device).fit(X, Y)
    rows = clf._rows(clf.net_, X, Y, None)
    by_skorch = SkorchLoop(clf.net_, rows.X.cpu(), rows.y.float().cpu())
    by_skorch.initialize()

    def trained(n_members, compile=False):
        model = clone(clf).set_params(n_members=n_members, compile=compile).fit(X, Y)
        return sum(model.history_[:, "dur"]) / model.n_iter_

    seconds = in_turns(
        {
            "ours": lambda: trained(1),
            "ours_4_members": lambda: trained(4),
            "compiled": lambda: trained(1, compile=True),
            "compiled_4_members": lambda: trained(4, compile=True),
            "skorch": by_skorch.epoch,
        },
        number,
    )
    return {name: len(X) / value for name, value in medians(seconds).items()}


OF_FEATURES = {"feature_encoder.layers.input.weight", "linear_path.weight"}


def million_rows(device, compile):
    """FLOPs of training in bfloat16, as a share of those of one large product."""
    torch.manual_seed(0)
    X, Y = random_data(1_000_000, 500, 100)
    clf = CGMVAEClassifier(
        n_members=1,
        batch_size=4096,
        precision="bfloat16",
        compile=compile,
        early_stopping=False,
        max_iter=3,
        random_state=0,
        device=device,
    ).fit(X, Y)
    seconds = min(clf.history_[:, "dur"])
    # Two forwards, two to the gradient of the weights, and, but for features, two to
    # the gradient of what they were multiplied with. Labels are encoded once a batch.
    flops = len(X) * sum(
        (4 if name in OF_FEATURES else 6) * weight.numel()
        for name, weight in clf.net_.module_.named_parameters()
        if weight.ndim == 2 and not name.startswith("label_encoder")
    )
    square = torch.randn(8192, 8192, device=device, dtype=torch.bfloat16)
    square @ square
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(20):
        square @ square
    torch.cuda.synchronize()
    limit = 20 * 2 * 8192**3 / (time.perf_counter() - start)
    return {"rows_a_second": len(X) / seconds, "share": flops / seconds / limit}
