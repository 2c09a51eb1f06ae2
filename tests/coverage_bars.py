"""Print how much of skcgmvae/ the tests ran, and fail if it is too little.

Reads what ``coverage json`` reports from standard input.
"""

import json
import sys

# The least share, in per cent; a branch that no test takes hides among the lines.
BARS = {
    "lines": (95, "covered_lines", "num_statements"),
    "branches": (90, "covered_branches", "num_branches"),
}


def main(totals):
    """What to exit with: whether a share is below its bar."""
    missed = False
    for what, (bar, covered, there) in BARS.items():
        share = 100 * totals[covered] / totals[there]
        missed |= share < bar
        print(f"coverage of skcgmvae/: {share:.2f} % of {what} (at least {bar})")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main(json.load(sys.stdin)["totals"]))
