"""Prints the shipped config.yaml: every setting at its default, each with what it means. `make config.yaml` runs it."""

from __future__ import annotations

from typing import Any

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from rltrainer.config import Config, Section

HEAD = """\
# Every setting of rltrainer at its default, each with what it means. Change what you like, leave out what you don't
# care about, and train with `rltrainer train --config FILE`. Every setting is a flag too, which wins over the file:
# `--env Pendulum-v1 --queries.batch 10`.
#
# Unknown and repeated names are refused. The names in brackets, such as allowTies, are those of older files: they stand
# at the top level, and work as they are.
"""


def shipped() -> str:
    """The text of config.yaml."""
    return "\n".join([HEAD, *_lines(Config, "")]) + "\n"


def _lines(model: type[BaseModel], indent: str) -> list[str]:
    """One line for each setting, its meaning in a column of its own; sections after a blank line."""
    plain = {name: field for name, field in model.model_fields.items() if _section(field) is None}
    defaults = {name: _yaml(field.get_default(call_default_factory=True)) for name, field in plain.items()}
    settings = {name: f"{indent}{name}: {default}" for name, default in defaults.items()}
    column = max(map(len, settings.values())) + 2
    lines = [f"{settings[name]:<{column}}# {field.description}" for name, field in plain.items()]
    for name, field in model.model_fields.items():
        section = _section(field)
        if section is not None:
            lines += ["", f"# {section.__doc__}", f"{name}:", *_lines(section, indent + "  ")]
    return lines


def _section(field: FieldInfo) -> type[Section] | None:
    found = field.annotation
    return found if isinstance(found, type) and issubclass(found, Section) else None


def _yaml(value: Any) -> str:
    """A default as a person would write it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, int):
        return f"{value:_}" if value >= 10_000 else str(value)
    if isinstance(value, tuple):
        return f"[{', '.join(map(_yaml, value))}]"
    return yaml.safe_dump(value, allow_unicode=True, width=1000).removesuffix("...\n").strip()


if __name__ == "__main__":
    print(shipped(), end="")
