"""Looking an implementation up by the name that the config gives it."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from rltrainer.core import UserError

T = TypeVar("T")


def named(table: Mapping[str, T], name: str, setting: str) -> T:
    """The entry of a seam's table, or a user's own `package.module:name`.

    Raises UserError that names the setting, what was found and what is allowed.
    """
    if name in table:
        return table[name]
    allowed = f"({', '.join(table)}, or package.module:name)"
    if ":" not in name:
        guess = difflib.get_close_matches(name, table, n=1)
        hint = f"did you mean {guess[0]!r}? " if guess else ""
        raise UserError(f"{setting} is {name!r}; {hint}{allowed}")
    return imported(name, setting)


def imported(name: str, setting: str) -> T:  # type: ignore[type-var]
    """The object that `package.module:name` stands for; modules in the working directory are found too. Raises UserError."""
    module, _, attribute = name.partition(":")
    if not all(part.isidentifier() for part in module.split(".")):
        raise UserError(f"{setting} is {name!r}, and {module!r} is not the name of a module; write package.module:name")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        found = getattr(importlib.import_module(module), attribute)
    except Exception as error:  # a module is foreign code and may raise anything
        what = str(error).partition("\n")[0] or type(error).__name__
        raise UserError(f"{setting} is {name!r}, which cannot be imported: {what}") from error
    if not callable(found):
        raise UserError(f"{setting} is {name!r}, which is a {type(found).__name__}; name a class or a function")
    return found  # type: ignore[no-any-return]
