"""The versions that are installed for tests are those that pyproject.toml promises."""

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]


def requirements(*extras):
    """What the package and some of its extras need."""
    texts = PROJECT["dependencies"] + sum((EXTRAS[extra] for extra in extras), [])
    return {text: Requirement(text) for text in texts}


def pins(file):
    """The version of each package in a file of constraints."""
    lines = (ROOT / file).read_text().splitlines()
    return dict(line.split()[0].split("==") for line in lines if "==" in line)


OLDEST, NEWEST = pins("constraints-min.txt"), pins("constraints.txt")


@pytest.mark.parametrize("text", requirements("test"))
def test_oldest_versions_are_the_lower_bounds(text):
    requirement = Requirement(text)
    (bound,) = requirement.specifier
    assert bound.operator in (">=", "==")
    assert Version(OLDEST[requirement.name]) == Version(bound.version)


@pytest.mark.parametrize("text", requirements(*EXTRAS))
def test_newest_versions_are_accepted(text):
    requirement = Requirement(text)
    assert requirement.specifier.contains(NEWEST[requirement.name])
