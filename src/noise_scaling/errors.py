"""Errors written for the person who reads them: the thing, what was found, the way out, in one sentence."""

from collections.abc import Iterable, Sized
from typing import TypeVar

_Sized = TypeVar("_Sized", bound=Sized)


class InputError(ValueError):
    """What was asked for cannot be done as asked; the message is the whole explanation.

    In a notebook it is shown as that one sentence, without a traceback (IPython calls `_render_traceback_`);
    the command line prints it and exits with status 2.
    """

    def _render_traceback_(self) -> list[str]:
        return [f"{type(self).__name__}: {self}"]


class TooLittle(InputError):
    """A table holds too little for this figure; a page shows the sentence in its place and goes on."""


def enough(found: _Sized, otherwise: str) -> _Sized:
    """`found`; where it is empty TooLittle is raised instead, with the sentence `otherwise`."""
    if len(found):
        return found
    raise TooLittle(otherwise)


def choose(kind: str, value: str, allowed: Iterable[str]) -> str:
    """Return `value` if it is one of `allowed`; the sentence calls it `kind`. InputError if `value` is none of them."""
    names = sorted(allowed)
    if value in names:
        return value
    remedy = f"choose one of {', '.join(names)}" if names else "there is none"
    raise InputError(f"unknown {kind} {value!r}: {remedy}")
