"""A report as one HTML file. What comes from people or from a run's folder is escaped, wherever it stands."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import chain
from pathlib import Path
from typing import Any

import yaml

from rltrainer.agreement import Agreement, Work
from rltrainer.core import UserError
from rltrainer.disk import write_whole
from rltrainer.report.figures import Figures
from rltrainer.report.plots import COLOURS, Curve, draw
from rltrainer.report.style import STYLE

FILE = "report.html"
VERDICTS = {
    "much": "much better",
    "prefer": "better",
    "slightly": "slightly better",
    "equal": "equal",
    "both_bad": "both bad",
    "skip": "can’t tell",
}
LOGO = (
    '<svg viewBox="0 0 32 32" width="24" height="24" aria-hidden="true"><circle fill="#2f6fe4" cx="11.5" cy="16" r="9.5"/>'
    '<rect fill="#e8741e" x="16" y="8" width="14" height="16" rx="4"/></svg>'
)
BAR_LABEL_SHARE = 0.06
"""A part of a bar that is narrower has no room for its number; the table above has it."""


def write(figures: Figures, run: Path) -> Path:
    """Write the report into the run's folder, over an older one, and give the file. Raises UserError where that cannot be."""
    file = run / FILE
    try:
        write_whole(file, page(figures).encode())
    except OSError as error:
        raise UserError(f"{str(file)!r} cannot be written: {error.strerror}; make room, or pass a run that is yours") from None
    return file


def page(figures: Figures) -> str:
    """The whole document."""
    parts = [
        _header(figures),
        _tiles(figures),
        _plots(figures),
        _people(figures.labelers),
        _agreement(figures.labelers, figures.agreements),
        _changes(figures.changes),
        _settings(figures),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(figures.folder)} · rltrainer</title>\n<style>{STYLE}</style>\n</head>\n"
        f'<body>\n<main class="sheet">\n{chr(10).join(filter(None, parts))}\n</main>\n</body>\n</html>\n'
    )


# ------------------------------------------------------------------ how the run stands


def _header(figures: Figures) -> str:
    state = figures.state
    verdict = (state.get("diagnosis") or {}).get("verdict", "")
    words = [str(state.get("message") or ""), str(verdict)]
    return (
        f'<header><p class="brand">{LOGO} rltrainer report</p><h1>{escape(figures.env)}</h1>'
        f'<p class="muted">{escape(figures.folder)} · begun {_moment(figures.created_at)} · '
        f"this report made {_moment(figures.made_at)}</p>"
        f"<p>{escape(' '.join(filter(None, words)))}</p></header>"
    )


def _tiles(figures: Figures) -> str:
    state, counts = figures.state, figures.counts
    found = state.get("diagnosis") or {}
    low, high = found.get("accuracy_low"), found.get("accuracy_high")
    accuracy = state.get("held_out_accuracy")
    budget = figures.config.get("labels") or 0
    within = "" if low is None or high is None else f", {low:.0%} to {high:.0%} likely"
    tiles = [
        (f"{counts['labels']:,}", f"of {budget:,} labels" if budget else "labels"),
        (f"{int(state.get('step') or 0):,}", f"of {int(state['steps']):,} training steps" if state.get("steps") else "steps"),
        ("–" if accuracy is None else f"{accuracy:.0%}", f"of held-out answers foretold{within}"),
        (_number(figures.returns[-1][1]) if figures.returns else "–", "return, as the env pays it"),
        (f"{len(figures.labelers):,}", "labeler" if len(figures.labelers) == 1 else "labelers"),
    ]
    return '<dl class="tiles">' + "".join(f"<div><dt>{words}</dt><dd>{value}</dd></div>" for value, words in tiles) + "</dl>"


def _plots(figures: Figures) -> str:
    accuracy = _figure(
        "Held-out answers foretold",
        "Share of answers that the reward had not learned from, with its 95% interval. Chance is the dashed line.",
        [Curve(figures.accuracy)] if len(figures.accuracy) > 1 else [],
        "training steps",
        band=figures.accuracy_range,
        share=True,
        chance=0.5,
    )
    returns = _figure(
        "Return",
        "What an episode earns by the env’s own reward, which the agent never sees.",
        [Curve(figures.returns, colour=1)] if len(figures.returns) > 1 else [],
        "training steps",
    )
    seconds = max((points[-1][0] for points in figures.given.values()), default=0.0)
    unit, size = ("hours", 3600.0) if seconds > 2 * 3600 else ("minutes", 60.0)
    order = [one.labeler for one in figures.labelers if one.labeler in figures.given]
    drawn = order[:COLOURS]
    curves = [
        Curve([(0.0, 0.0), *((at / size, count) for at, count in figures.given[name])], colour, steps=True)
        for colour, name in enumerate(drawn)
    ]
    labels = _figure(
        "Labels over time",
        "Answers that stand, skipped pairs among them."
        + (f" Those of the {COLOURS} busiest labelers." if len(order) > COLOURS else ""),
        curves,
        f"{unit} since the run began",
        legend=_chips((f"background: var(--c{colour})", name) for colour, name in enumerate(drawn)),
    )
    return f'<div class="two">{accuracy}{returns}{labels}{_verdicts(figures.labelers)}</div>'


def _figure(title: str, note: str, curves: Sequence[Curve], along: str, *, legend: str = "", **options: Any) -> str:
    drawn = draw(curves, along, **options) if curves else '<p class="empty">Nothing to draw yet.</p>'
    return (
        f'<figure class="card plot"><figcaption><h2>{title}</h2><p class="note">{note}</p></figcaption>'
        f"{legend if curves else ''}{drawn}</figure>"
    )


def _chips(items: Iterable[tuple[str, str]]) -> str:
    """A legend: (style of the chip, text)."""
    return '<ul class="chips">' + "".join(f'<li><i style="{style}"></i>{escape(text)}</li>' for style, text in items) + "</ul>"


# ------------------------------------------------------------------ who labels


def _people(labelers: Sequence[Work]) -> str:
    if not labelers:
        return _card("Labelers", '<p class="empty">Nobody has answered yet.</p>')
    columns = ("Labeler", "Labels", "Skipped", "Taken back", "Time at work", "Labels a minute", "Agrees with own answers")
    rows = "".join(
        f"<tr><th scope='row'>{escape(one.labeler)}</th><td>{one.labels:,}</td><td>{one.skipped:,}</td>"
        f"<td>{one.taken_back:,}</td><td>{one.minutes:,.0f} min</td><td>{_or_dash(one.per_minute, '.1f')}</td>"
        f"<td>{_agrees(one)}</td></tr>"
        for one in labelers
    )
    head = "".join(f"<th scope='col'>{column}</th>" for column in columns)
    note = "Time at work is the time between answers less than a minute apart. A tie agrees with a preference by half."
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return _card("Labelers", _scrolling("Labelers", table), note)


def _agrees(one: Work) -> str:
    share = _or_dash(one.consistency, ".0%")
    return f"{share} <small>of {one.repeats:,} asked again</small>" if one.repeats else share


def _agreement(labelers: Sequence[Work], agreements: Sequence[Agreement]) -> str:
    if len(labelers) < 2:
        return ""
    if not agreements:
        return _card("Agreement", '<p class="empty">No pair has been judged by two labelers yet.</p>')
    found = {frozenset((each.one, each.other)): each for each in agreements}
    both = set(chain.from_iterable(found))
    names = [one.labeler for one in labelers if one.labeler in both]
    head = "".join(f"<th scope='col'>{escape(name)}</th>" for name in names)
    rows = "".join(
        f"<tr><th scope='row'>{escape(row)}</th>{''.join(_kappa(row, column, found) for column in names)}</tr>" for row in names
    )
    note = "Cohen’s κ on the pairs that both judged: 1 is the same answer every time, 0 no more than by chance."
    table = f'<table class="matrix"><thead><tr><td class="self"></td>{head}</tr></thead><tbody>{rows}</tbody></table>'
    return _card("Agreement", _scrolling("Agreement", table), note)


def _kappa(row: str, column: str, found: Mapping[frozenset[str], Agreement]) -> str:
    each = found.get(frozenset((row, column)))
    if row == column:
        return '<td class="self">·</td>'
    if each is None:
        return "<td><b>–</b><small>no pair</small></td>"
    shade = round(70 * max(0.0, each.kappa or 0.0))
    pairs = "1 pair" if each.pairs == 1 else f"{each.pairs:,} pairs"
    return (
        f'<td style="background: color-mix(in srgb, var(--c2) {shade}%, var(--sunk))"><b>{_or_dash(each.kappa, ".2f")}</b>'
        f"<small>{each.same:.0%} of {pairs}</small></td>"
    )


def _verdicts(labelers: Sequence[Work]) -> str:
    said = [one for one in labelers if one.verdicts]
    if not said:
        return ""
    kinds = [kind for kind in VERDICTS if any(kind in one.verdicts for one in said)]
    bars = "".join(f"<b>{escape(one.labeler)}</b>{_bar(one.verdicts, kinds)}" for one in said)
    legend = '<ul class="chips">' + "".join(f'<li><i class="{kind}"></i>{VERDICTS[kind]}</li>' for kind in kinds) + "</ul>"
    return _card("What was answered", f'{legend}<div class="bars">{bars}</div>')


def _bar(verdicts: Mapping[str, int], kinds: Sequence[str]) -> str:
    total = sum(verdicts.values())
    words = ", ".join(f"{verdicts[kind]:,} {VERDICTS[kind]}" for kind in kinds if kind in verdicts)
    parts = "".join(
        f'<span class="{kind}" style="flex: {verdicts[kind]}" title="{verdicts[kind]:,} {VERDICTS[kind]}">'
        f"{f'{verdicts[kind]:,}' if verdicts[kind] >= BAR_LABEL_SHARE * total else ''}</span>"
        for kind in kinds
        if kind in verdicts
    )
    return f'<div class="bar" role="img" aria-label="{words}">{parts}</div>'


# ------------------------------------------------------------------ settings


def _changes(changes: Sequence[Mapping[str, Any]]) -> str:
    if not changes:
        return ""
    rows = "".join(
        f"<tr><th scope='row'>{escape(name)}</th><td>{_value(value)}</td>"
        f"<td>{escape(str(change['labeler']))}, {_moment(change['at'])}</td></tr>"
        for change in changes
        for name, value in change["changes"].items()
    )
    return _card("Changed while the run went on", f'<table class="settings"><tbody>{rows}</tbody></table>')


def _settings(figures: Figures) -> str:
    chosen = {name: figures.config[name] for name in figures.chosen}
    others = {name: value for name, value in figures.config.items() if name not in chosen}
    table = _setting_rows(chosen, "") if chosen else '<p class="muted">Every setting has its default.</p>'
    rest = f"<summary>{len(others):,} settings as they are by default</summary>{_setting_rows(others, 'default')}"
    return _card("Settings", f"{table}<details>{rest}</details>")


def _setting_rows(settings: Mapping[str, Any], kind: str) -> str:
    rows = "".join(
        f"<tr class='{kind}'><th scope='row'>{escape(name)}</th><td>{_value(value)}</td></tr>"
        for name, value in settings.items()
    )
    return f'<table class="settings"><tbody>{rows}</tbody></table>'


# ------------------------------------------------------------------ words


def _card(title: str, content: str, note: str = "") -> str:
    under = f'<p class="note">{note}</p>' if note else ""
    return f'<section class="card"><div><h2>{title}</h2>{under}</div>{content}</section>'


def _scrolling(name: str, table: str) -> str:
    """A table that may be wider than a phone: it scrolls by itself, by keyboard, too."""
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{name}">{table}</div>'


def _value(value: Any) -> str:
    """As config.yaml has it."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000).strip().removesuffix("...").strip()
    return escape({"true": "on", "false": "off", "null": "unset"}.get(text, text))


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.1f}"


def _or_dash(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)
