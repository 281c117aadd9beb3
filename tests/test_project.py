"""The files that must agree: pyproject.toml, constraints.txt, environment.yml, the schema of the workflow."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata

import jsonschema
import nbformat
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from noise_scaling import __version__, measurements


@pytest.fixture(scope="module")
def pyproject(root):
    return tomllib.loads((root / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def pins(root):
    lines = (root / "constraints.txt").read_text().split()
    return {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}


def requirements(pyproject):
    extras = pyproject["project"]["optional-dependencies"]
    return [Requirement(r) for r in [*pyproject["project"]["dependencies"], *extras["book"], *extras["dev"]]]


def test_constraints_pin_every_dependency_within_its_range(pyproject, pins):
    for requirement in requirements(pyproject):
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), requirement


def test_the_environment_is_the_pinned_one(pyproject, pins):
    for requirement in requirements(pyproject):
        installed = Version(metadata.version(requirement.name)).public
        assert installed == Version(pins[canonicalize_name(requirement.name)]).public, requirement


def test_conda_environment_is_the_same(root, pyproject, pins):
    environment = yaml.safe_load((root / "environment.yml").read_text())
    python, *_, pip = environment["dependencies"]
    assert Version(python.split("=")[1]) in Requirement(f"x{pyproject['project']['requires-python']}").specifier
    assert pip["pip"] == ["-c constraints.txt", f"torch=={pins['torch']}", "-e .[book,dev]"]


PYTHONS = ["3.11", "3.12", "3.13", "3.14"]


def test_one_range_of_pythons(root, pyproject):
    """requires-python, the Makefile's refusal, README, .ci/pins and the Actions matrix."""
    allowed = Requirement(f"x{pyproject['project']['requires-python']}").specifier
    assert [f"3.{minor}" for minor in range(9, 20) if allowed.contains(f"3.{minor}.0")] == PYTHONS
    (low, high) = re.search(r"\((3, \d+)\) <= v < \((3, \d+)\)", (root / "Makefile").read_text()).groups()
    assert allowed == Requirement(f"x>={low},<{high}".replace(", ", ".")).specifier
    assert f"Python {', '.join(PYTHONS[:-1])} or {PYTHONS[-1]}" in (root / "README.md").read_text()
    assert f"for version in {' '.join(PYTHONS)}; do" in (root / ".ci/pins").read_text()
    actions = yaml.safe_load((root / ".github/workflows/ci.yml").read_text())
    assert actions["jobs"]["commands"]["strategy"]["matrix"]["python"] == PYTHONS


def test_actions_run_what_ci_runs_and_build_the_pages_alone(root):
    actions = yaml.safe_load((root / ".github/workflows/ci.yml").read_text())
    run = [step["run"] for step in actions["jobs"]["commands"]["steps"] if "run" in step]
    assert run == [".ci/run", "source .venv/bin/activate && jupyter-book build ."]
    assert actions["jobs"]["publish"]["needs"] == "commands"
    slurm = [step.get("run") for step in actions["jobs"]["slurm"]["steps"]]
    assert slurm[-3:] == ["make env", ".ci/slurm", ".ci/storage"]
    assert any("hadolint" in step.get("uses", "") for step in actions["jobs"]["container"]["steps"])
    assert "docker build --tag noise-scaling ." in [s.get("run") for s in actions["jobs"]["container"]["steps"]]


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("TORCH=gpu", "TORCH is gpu: give cpu or cuda"),
        ("PYTHON=./old", "Python 3.11, 3.12, 3.13 or 3.14 is needed, 3.10 was found: make PYTHON="),
    ],
)
def test_make_says_in_a_sentence_what_it_cannot_do(root, tmp_path, setting, sentence):
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(root / name, tmp_path)
    old = tmp_path / "old"
    old.write_text(f"#!{sys.executable}\nimport sys\nsys.version_info = (3, 10, 1)\nexec(sys.argv[2])\n")
    old.chmod(0o755)
    run = subprocess.run(["make", "env", setting], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode != 0
    assert sentence in run.stderr.splitlines()[0]
    assert not (tmp_path / ".venv").exists()


def test_one_version(root, pyproject):
    assert pyproject["project"]["version"] == __version__ == metadata.version("noise-scaling")
    assert f"version: {__version__}" in (root / "CITATION.cff").read_text()
    assert json.loads((root / ".zenodo.json").read_text())["version"] == __version__
    assert f"version = {{{__version__}}}" in (root / "notebooks/home.ipynb").read_text()
    assert f"## {__version__}" in (root / "CHANGELOG.md").read_text()


def test_both_papers_are_cited_alike(root):
    """CITATION.cff has the titles and authors of references.bib, the front page's BibTeX its entries as they stand."""
    bib, home = (root / "book/references.bib").read_text(), nbformat.read(root / "notebooks/home.ipynb", as_version=4)
    cited = yaml.safe_load((root / "CITATION.cff").read_text())["references"]
    for key, paper in zip(("sadalski2025scaling", "gowri2025measurement"), cited, strict=True):
        entry = re.search(rf"^@\w+\{{{key},\n.*?^\}}$", bib, flags=re.MULTILINE | re.DOTALL)[0]
        assert entry in home.cells[-1].source
        assert f"{{{paper['title']}}}" in entry
        names = " and ".join(f"{name['family-names']}, {name['given-names']}" for name in paper["authors"])
        assert f"{{{names}}}" in entry


def test_files_are_not_long(root):
    long = {str(p): n for p in (root / "src").rglob("*.py") if (n := p.read_text().count("\n")) > 350}
    assert not long


def test_no_absolute_paths(root):
    found = subprocess.run(
        ["git", "grep", "-nE", r"(^|[^A-Za-z0-9_.~-])/(home|root|tmp|work|Users)/[a-z]", "--", "."],
        cwd=root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert [line for line in found.stdout.splitlines() if "test_project.py" not in line] == []


@pytest.mark.parametrize("name", ["demo"])
def test_configurations_fit_the_schema(root, name):
    schema = yaml.safe_load((root / "workflow/config/schema.json").read_text())
    config = yaml.safe_load((root / f"workflow/config/{name}.yml").read_text())
    jsonschema.validate(config, schema)
    with pytest.raises(jsonschema.ValidationError, match="seedz"):
        jsonschema.validate(config | {"seedz": [1]}, schema)


def test_the_book_shows_every_committed_table(root):
    """What keep.py adds or takes away is named in the configuration of the book too."""
    tables = {path.stem for path in (root / "data/measurements").glob("*.csv")} - {"demo"}
    assert tables == set(yaml.safe_load((root / "workflow/config/demo.yml").read_text())["beside"])


def test_dry_run_of_the_workflow(root):
    """Snakemake accepts the whole graph: 2 data sets x 2 seeds, 1 job more of Geneformer, pages and book."""
    run = subprocess.run(
        [sys.executable, "workflow/run.py", "workflow/config/demo.yml", "--dry-run", "--forceall"],
        cwd=root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    jobs = dict(re.findall(r"^(\w+)\s+(\d+)$", run.stdout, flags=re.MULTILINE))
    assert (jobs["measure"], jobs["gather"], jobs["html"]) == ("5", "1", "1")


def test_every_column_is_in_the_data_dictionary(root):
    text = (root / "book/data_dictionary.md").read_text()
    assert [name for name in measurements.COLUMNS if f"`{name}`" not in text] == []
