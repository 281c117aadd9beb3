"""Conversion of the arguments of `measure` to their types, with a one-sentence error for values that make no sense.

The command line passes text, papermill guesses types (`-p cell_numbers 50`, `-p seeds "[0, 1]"`), and a notebook passes
the values in its cell. All are converted, or refused, here before anything is loaded.
"""

import os
import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from numbers import Real
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from ..errors import InputError
from ..information.core import MIN_PAIRS
from ..models import MODELS
from .controls import CONTROLS

_usual = [name for name, kind in MODELS.items() if kind.by_default and not kind.variation_of]
DEFAULT_MODELS = (*reversed(_usual), *CONTROLS)  # the simplest first
LARGEST = 2**63 - 1
"""The largest number that a column of integers can hold."""

_SWITCHES = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def read(**asked: object) -> SimpleNamespace:
    """Return the arguments of `measure` in their types; None and empty text stand for the default.

    InputError for an invalid value; the message names the argument and the command line's option.
    """
    return SimpleNamespace(**{name: _READERS[name](name, value) for name, value in asked.items()})


def _wrong(name: str, wanted: str, found: object) -> InputError:
    shown = found if isinstance(found, str | int | float | list | tuple | dict) else type(found).__name__
    return InputError(f"{name} (--{name.replace('_', '-')}) must be {wanted}: found {str(repr(shown))[:80]}")


def _is_nothing(value: object) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _text(name: str, value: object, usual: str | None = None) -> str | None:
    if _is_nothing(value):
        return usual
    if not isinstance(value, str):
        raise _wrong(name, "text", value)
    return value.strip()


def _path(name: str, value: object) -> Path | None:
    if _is_nothing(value):
        return None
    if not isinstance(value, str | os.PathLike):
        raise _wrong(name, "a path", value)
    return Path(value).expanduser()


def _dataset(name: str, value: object) -> str:
    if _is_nothing(value) or not isinstance(value, str | os.PathLike):
        raise _wrong(name, "a registered name or the path of a file", value)
    return os.fspath(value)


def _switch(name: str, value: object) -> bool:
    found = _SWITCHES.get(str(value).strip().lower())
    if found is None:
        raise _wrong(name, "True or False", value)
    return found


def _number(name: str, value: object, wanted: str) -> float:
    try:
        if isinstance(value, bool | np.bool_) or not isinstance(value, str | Real):
            raise ValueError
        return float(value)
    except (ValueError, OverflowError):
        raise _wrong(name, wanted, value) from None


def _whole(name: str, value: object, least: int = 0, wanted: str = "") -> int:
    """Read a whole number; 1e3 and "1e3" are accepted, 10.5 is not."""
    wanted = wanted or f"a whole number from {least} on"
    number = _number(name, value, wanted)
    if not number.is_integer():
        raise _wrong(name, wanted, value)
    try:
        exact = int(value)  # type: ignore[call-overload]  # keeps all digits of a large number
    except ValueError:
        exact = int(number)
    if exact < least:
        raise _wrong(name, wanted, value)
    if exact > LARGEST:
        raise _wrong(name, f"at most 2^63 - 1, which is {LARGEST}", value)
    return exact


def _maybe(reader: Callable, name: str, value: object) -> object:
    return None if _is_nothing(value) else reader(name, value)


def _list(reader: Callable, usual: tuple | None, name: str, value: object) -> tuple | None:
    """Read a list. A single value is a list of one, text such as "[50, 100]" is split, and duplicates are dropped."""
    if _is_nothing(value):
        return usual
    entries = value.tolist() if isinstance(value, np.ndarray) else value
    if isinstance(entries, set | frozenset):
        entries = sorted(entries, key=str)
    if not isinstance(entries, Iterable) or isinstance(entries, str | bytes | Mapping):
        entries = [entries]
    values = tuple(
        reader(name, one) for entry in entries for one in (_parts(entry) if isinstance(entry, str) else [entry])
    )
    if not values:
        raise _wrong(name, "a list with at least one entry", value)
    return tuple(dict.fromkeys(values))


def _parts(text: str) -> list[str]:
    return [part.strip("'\"") for part in re.split(r"[,;\s]+", text.strip().strip("[]()")) if part]


def _above_0(most: float, wanted: str, name: str, value: object, kind: str = "") -> float:
    number = _number(name, value, kind or wanted)
    if not 0 < number <= most:
        raise _wrong(name, wanted, value)
    return number


_fraction = partial(_above_0, 1, "in (0, 1], the share of molecules to keep", kind="a number")
_seconds = partial(_above_0, 1e8, "a number of seconds above 0, at most 1e8")
_NAME = partial(_text, usual="")
_FEWEST = f"a whole number from {MIN_PAIRS} on, for fewer carry no estimate"
_READERS: dict[str, Callable[[str, object], object]] = {
    "dataset": _dataset,
    "file": _dataset,
    "signal": _text,
    "embedding": _text,
    "embeddings": _path,
    "layer": _text,
    "round_counts": _switch,
    "models": partial(_list, _NAME, DEFAULT_MODELS),
    "preset": partial(_text, usual="small"),
    "cell_numbers": partial(_list, partial(_whole, least=1), None),
    "fractions": partial(_list, _fraction, None),
    "fractions_train": partial(_list, _fraction, None),
    "seeds": partial(_list, _whole, (0,)),
    "seed": _whole,
    "estimators": partial(_list, _NAME, ("default",)),
    "estimator": partial(_text, usual="default"),
    "variant": _NAME,
    "n_test": partial(_maybe, partial(_whole, least=MIN_PAIRS, wanted=_FEWEST)),
    "n_validation": partial(_maybe, partial(_whole, least=1)),
    "device": partial(_text, usual="cpu"),
    "devices": lambda name, value: 1 if _is_nothing(value) else _whole(name, value, 1),
    "precision": lambda name, value: _text(name, str(value) if isinstance(value, int) else value, ""),
    "results": _path,
    "keep_embeddings": _switch,
    "unit_seconds": partial(_maybe, _seconds),
    "workers": lambda name, value: 1 if _is_nothing(value) else _whole(name, value, 1),
    "output": _path,
    "progress": _switch,
}


def check_places(results: Path | None, output: Path | None) -> None:
    """Raise InputError, before anything is measured, if no file can be written at `results` or `output`."""
    if results is not None:
        check_folder("results", results)
    if output is not None:
        check_folder("output", output.parent, output)


def check_folder(name: str, folder: Path, path: Path | None = None) -> None:
    """Raise InputError if `folder`, or the file `path` in it, cannot be written; `name` is the argument's name."""
    shown = str(path or folder)
    try:
        if path is not None and path.is_dir():
            raise _wrong(name, "the file to write, and that is a folder", shown)
        place = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    except OSError as error:
        raise _wrong(name, f"a path that can be reached ({error.strerror})", shown) from None
    if not place.is_dir():
        raise _wrong(name, f"in a folder, and {place} is a file", shown)
    if not os.access(place, os.W_OK | os.X_OK):
        raise _wrong(name, f"where files can be written, and {place} is read-only", shown)
