"""What the documents say of the tests is so."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RELIABILITY = (ROOT / "docs" / "reliability.rst").read_text()


def test_tests_that_are_named_are_there():
    file, named = None, 0
    for name, test in re.findall(
        r"``(?:tests/)?(test_\w+\.py)?(?:::(test_\w+))?``", RELIABILITY
    ):
        file = name or file
        if name or test:
            source = (ROOT / "tests" / file).read_text()
            assert not test or f"def {test}(" in source
            named += 1
    assert named > 10


@pytest.mark.parametrize("target", ["test", "test-min", "fuzz"])
def test_targets_that_are_named_are_there(target):
    assert f"``make {target}" in RELIABILITY
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
