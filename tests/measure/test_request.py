from pathlib import Path

import numpy as np
import pytest

from noise_scaling.errors import InputError
from noise_scaling.measure import request
from noise_scaling.measure.request import DEFAULT_MODELS, LARGEST


@pytest.mark.parametrize(
    ("name", "given", "meant"),
    [
        ("cell_numbers", 50, (50,)),
        ("cell_numbers", "50", (50,)),
        ("cell_numbers", "[50, 100]", (50, 100)),
        ("cell_numbers", "50,100", (50, 100)),
        ("cell_numbers", ["50", "100"], (50, 100)),
        ("cell_numbers", 1e3, (1000,)),
        ("cell_numbers", "1e3", (1000,)),
        ("cell_numbers", [50, 50.0, "50"], (50,)),
        ("cell_numbers", np.array([50, 100]), (50, 100)),
        ("cell_numbers", range(10, 30, 10), (10, 20)),
        ("cell_numbers", None, None),
        ("cell_numbers", "", None),
        ("fractions", 0.1, (0.1,)),
        ("fractions", 1, (1.0,)),
        ("fractions", "[1, 0.1]", (1.0, 0.1)),
        ("fractions", "1;0.1", (1.0, 0.1)),
        ("fractions", np.float64(0.5), (0.5,)),
        ("seeds", 3, (3,)),
        ("seeds", {2, 1}, (1, 2)),
        ("seeds", str(LARGEST), (LARGEST,)),
        ("seeds", None, (0,)),
        ("models", "pca", ("pca",)),
        ("models", "['pca', \"scvi\"]", ("pca", "scvi")),
        ("models", "pca scvi", ("pca", "scvi")),
        ("models", ("pca", "pca"), ("pca",)),
        ("models", None, DEFAULT_MODELS),
        ("estimators", "lmi", ("lmi",)),
        ("n_test", "250", 250),
        ("n_test", 250.0, 250),
        ("n_test", np.int64(250), 250),
        ("n_test", None, None),
        ("n_validation", "1e2", 100),
        ("signal", "", None),
        ("signal", " obs:day ", "obs:day"),
        ("layer", "", None),
        ("variant", None, ""),
        ("preset", "", "small"),
        ("device", None, "cpu"),
        ("devices", "2", 2),
        ("devices", None, 1),
        ("precision", 32, "32"),
        ("precision", None, ""),
        ("workers", "2", 2),
        ("workers", None, 1),
        ("unit_seconds", "30", 30.0),
        ("unit_seconds", None, None),
        ("keep_embeddings", "true", True),
        ("keep_embeddings", 0, False),
        ("results", "", None),
        ("output", Path("a.csv"), Path("a.csv")),
        ("output", "~/a.csv", Path.home() / "a.csv"),
        ("dataset", Path("a/b.h5ad"), "a/b.h5ad"),
    ],
)
def test_the_obvious_reading(name, given, meant):
    found = getattr(request.read(**{name: given}), name)
    assert found == meant
    assert type(found) is type(meant)


@pytest.mark.parametrize(
    ("name", "given", "word"),
    [
        ("cell_numbers", [], "at least one entry"),
        ("cell_numbers", "[]", "at least one entry"),
        ("cell_numbers", 0, "from 1 on: found 0"),
        ("cell_numbers", -5, "found -5"),
        ("cell_numbers", 10.5, "found 10.5"),
        ("cell_numbers", "many", "found 'many'"),
        ("cell_numbers", True, "found True"),
        ("cell_numbers", [[50, 100]], "found [50, 100]"),
        ("cell_numbers", {"a": 1}, "found {'a': 1}"),
        ("cell_numbers", float("nan"), "found nan"),
        ("fractions", 0, "(0, 1]"),
        ("fractions", 1.5, "(0, 1]"),
        ("fractions", "50%", "a number: found '50%'"),
        ("fractions", float("nan"), "(0, 1]"),
        ("fractions", False, "a number: found False"),
        ("seeds", [], "at least one entry"),
        ("seeds", -1, "found -1"),
        ("seeds", 2**70, "at most 2^63 - 1"),
        ("seeds", 1e20, "at most 2^63 - 1"),
        ("seeds", float("inf"), "found inf"),
        ("seeds", "9" * 400, "a whole number"),
        ("models", 5, "text: found 5"),
        ("models", True, "text: found True"),
        ("n_test", 0, "from 30 on"),
        ("n_test", -3, "from 30 on"),
        ("n_test", 29, "from 30 on"),
        ("n_test", "all", "found 'all'"),
        ("n_test", [250], "found [250]"),
        ("n_test", True, "found True"),
        ("n_validation", 0, "from 1 on"),
        ("signal", 7, "text: found 7"),
        ("layer", False, "text: found False"),
        ("variant", 1, "text: found 1"),
        ("preset", 1, "text"),
        ("device", 0, "text"),
        ("workers", 0, "a whole number from 1 on: found 0"),
        ("workers", "auto", "a whole number from 1 on: found 'auto'"),
        ("unit_seconds", 0, "above 0"),
        ("unit_seconds", float("nan"), "above 0"),
        ("unit_seconds", "30s", "above 0"),
        ("keep_embeddings", "perhaps", "True or False"),
        ("results", 5, "a path"),
        ("output", True, "a path"),
        ("dataset", None, "registered name"),
        ("dataset", 10, "registered name"),
        ("dataset", "", "registered name"),
    ],
)
def test_one_sentence_that_names_the_argument_and_the_option(name, given, word):
    with pytest.raises(InputError) as error:
        request.read(**{name: given})
    said = str(error.value)
    assert said.startswith(f"{name} (--{name.replace('_', '-')}) must be")
    assert word in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("places", "word"),
    [
        ({"results": "file"}, "is a file"),
        ({"results": "file/units"}, "is a file"),
        ({"output": "file/t.csv"}, "is a file"),
        ({"output": "."}, "that is a folder"),
        ({"output": "x" * 300 + "/t.csv"}, "can be reached"),
    ],
)
def test_places_that_cannot_take_files(places, word, tmp_path):
    (tmp_path / "file").write_text("")
    asked = {"results": None, "output": None} | {name: tmp_path / place for name, place in places.items()}
    with pytest.raises(InputError, match=word):
        request.check_places(**asked)


def test_a_folder_that_is_yet_to_be_made_is_a_place(tmp_path):
    request.check_places(tmp_path / "a" / "b", tmp_path / "c" / "t.csv")
    assert not list(tmp_path.iterdir())


def test_a_read_only_folder_is_no_place(tmp_path, monkeypatch):
    monkeypatch.setattr(request.os, "access", lambda path, mode: False)  # root may write anywhere
    with pytest.raises(InputError, match="read-only"):
        request.check_places(None, tmp_path / "t.csv")
