"""Errors whose message is one sentence for the user: what is wrong, what was found, and the remedy."""

from collections.abc import Iterable, Sized
from typing import TypeVar

_Sized = TypeVar("_Sized", bound=Sized)


class InputError(ValueError):
    """Raised if a request cannot be carried out as asked; the message is the whole explanation.

    In a notebook it is shown as that one sentence, without a traceback (IPython calls `_render_traceback_`);
    the command line prints it and exits with status 2.
    """

    def _render_traceback_(self) -> list[str]:
        return [f"{type(self).__name__}: {self}"]


class TooLittle(InputError):
    """Raised if a table holds too little for a figure; a page shows the message instead and continues."""


def enough(found: _Sized, otherwise: str) -> _Sized:
    """Return `found`, or raise TooLittle with the message `otherwise` if it is empty."""
    if len(found):
        return found
    raise TooLittle(otherwise)


def choose(kind: str, value: str, allowed: Iterable[str]) -> str:
    """Return `value` if it is one of `allowed`, else raise InputError with a message that calls it `kind`."""
    names = sorted(allowed)
    if value in names:
        return value
    remedy = f"choose one of {', '.join(names)}" if names else "there is none"
    raise InputError(f"unknown {kind} {value!r}: {remedy}")
