"""Whether a run's folder is whole: what it holds is read back and compared. Nothing is changed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from rltrainer.checkpoints import Checkpoint, Checkpoints, Damaged
from rltrainer.config import Config
from rltrainer.core import Label, Query, UserError
from rltrainer.doctor import Check
from rltrainer.labels import read_lines
from rltrainer.segment_files import read_segment
from rltrainer.store import FILE, ORACLE, Store, newest_backup, way_out

ENDED = ("finished", "stopped")


def inspect(run: Path) -> list[Check]:
    """Everything looked at in a run's folder. Raises UserError where there is no such folder."""
    if not run.is_dir():
        raise UserError(f"{str(run)!r} is not a run folder; pass the folder that `rltrainer train` printed")
    settings = config(run)
    chosen = Config.read(run / "config.yaml") if settings.status == "ok" and (run / "config.yaml").exists() else None
    if chosen is not None and not chosen.learns_reward and not (run / FILE).exists():
        return [settings, checkpoints(run, None), arrays(run, "policy.safetensors", ended=False)]  # a baseline keeps no store
    try:
        store = Store.open(run)
    except UserError as error:
        found, _, mend = str(error).rpartition("; ")
        return [settings, Check("store", "fail", found, mend)]
    try:
        lengths, files = segments(run, store)
        learned = ("policy",) if chosen is not None and chosen.method == "cpl" else ("policy", "reward")
        ended = (store.newest_event("progress") or {}).get("phase") in ENDED
        return [
            settings,
            database(store),
            files,
            labels(store, lengths),
            exported(run, store),
            checkpoints(run, store),
            *(arrays(run, f"{name}.safetensors", ended=ended) for name in learned),
        ]
    finally:
        store.close()


def config(run: Path) -> Check:
    """Whether the settings can be read. A loop in code of one's own writes none beside its store, and saves no policy."""
    trained = (run / "policy.safetensors").exists() or Checkpoints(run).numbers()
    if not trained and (run / FILE).exists() and not (run / "config.yaml").exists():
        return Check("config.yaml", "ok", "not there, as where code of one's own trains; the store has the settings")
    try:
        Config.read(run / "config.yaml")
    except UserError as error:
        return Check("config.yaml", "fail", str(error), _restore(run, "config.yaml"))
    return Check("config.yaml", "ok", "can be read")


def database(store: Store) -> Check:
    """Whether SQLite finds its file sound, indexes and references included."""
    damage = store.damage(thorough=True)
    if damage is not None:
        return Check("store", "fail", f"{FILE} is damaged ({damage})", way_out(store.folder))
    counts = store.counts()
    return Check("store", "ok", f"sound: {counts['asked']} pairs asked, {counts['labels']} labels, {counts['skipped']} skipped")


def segments(run: Path, store: Store) -> tuple[dict[str, int], Check]:
    """Steps by id of the segments that are what their names say, and what to say of them all."""
    names = store.segments()
    lengths: dict[str, int] = {}
    for name in names:
        try:
            lengths[name] = len(read_segment(run / "segments" / f"{name}.safetensors"))
        except UserError:
            continue
    bad = [name for name in names if name not in lengths]
    if bad:
        found = f"{len(bad)} of {len(names)} are gone or not what their names say: {_some(bad)}"
        return lengths, Check("segments", "fail", found, _restore(run, f"segments/{bad[0]}.safetensors"))
    return lengths, Check("segments", "ok", f"{len(names)} files, each what its name says")


def labels(store: Store, lengths: dict[str, int]) -> Check:
    """Whether each label, old revisions included, answers a query of this run, about segments and steps that it has."""
    try:
        answers = store.labels()
        bad = [label.id for label in answers if not _fits(label, store.query(label.query_id), lengths)]
    except (ValueError, TypeError, LookupError) as error:
        return Check("labels", "fail", f"a row cannot be read ({error})", way_out(store.folder))
    if bad:
        return Check("labels", "fail", f"{len(bad)} of {len(answers)} do not fit a query: {_some(bad)}", way_out(store.folder))
    return Check("labels", "ok", f"{len(answers)} with all revisions, each of a query that was asked")


def _fits(label: Label, query: Query | None, lengths: dict[str, int]) -> bool:
    if query is None:
        return False
    pair, answer = {query.first, query.second}, label.answer
    return {*answer.trims, *([answer.preferred] if answer.preferred else [])} <= pair and all(
        0 <= start < end <= lengths.get(name, end) for name, (start, end) in answer.trims.items()
    )


def exported(run: Path, store: Store) -> Check:
    """Whether `labels.jsonl` has what stands, and nothing that the store lacks."""
    file = run / "labels.jsonl"
    if not file.exists():
        return Check("labels.jsonl", "ok", "not there: written when training ends")
    again = f"rltrainer export {run}"
    try:
        lines = {line.label_id: line.source for line in read_lines(file)}
        known, standing = ({label.id for label in found} for found in (store.labels(), store.standing_labels()))
    except UserError as error:
        return Check("labels.jsonl", "fail", str(error).rpartition("; ")[0], again)
    except ValueError:
        return Check("labels.jsonl", "warn", "cannot be compared with the store's labels")
    lost = sum(source != ORACLE for label, source in lines.items() if label not in known)  # a resumed run asks an oracle anew
    if lost:
        return Check("labels.jsonl", "fail", f"holds {lost} labels that the store lacks", f"rltrainer import {run} {file}")
    if lines.keys() != standing:
        missing, ended = len(standing - lines.keys()), len(lines.keys() - standing)
        found = f"older than the store: {missing} labels are not in it" + (f", and {ended} stand no more" if ended else "")
        return Check("labels.jsonl", "warn", found, again)
    return Check("labels.jsonl", "ok", f"{len(lines)} labels, as they stand")


def checkpoints(run: Path, store: Store | None) -> Check:
    """Whether each is what was written, and the newest one fits the store: it holds the labels that were learned from."""
    kept = Checkpoints(run)
    numbers, whole, bad = kept.numbers(), [], []
    for number in numbers:
        try:
            whole.append(kept.read(number))
        except Damaged as damage:
            bad.append(f"{number} is damaged: {damage}")
    if not numbers:
        return Check("checkpoints", "ok", "not there yet: the first is written when the warm-up is over")
    if not whole:
        return Check("checkpoints", "fail", "; ".join(bad), f"rltrainer train --labels-from {run}")
    unlike = None if store is None else _unlike(whole[-1], store)
    if unlike is not None:
        return Check("checkpoints", "fail", unlike, _restore(run, FILE))
    if bad:
        return Check("checkpoints", "warn", "; ".join(bad), f"none needed: --resume goes on from {whole[-1].number}")
    finished = store is not None and (store.newest_event("progress") or {}).get("phase") == "finished"
    more = "" if finished else f"; rltrainer train --resume {run} goes on from them"
    return Check("checkpoints", "ok", f"{len(whole)}, each as it was written{more}")


def _unlike(checkpoint: Checkpoint, store: Store) -> str | None:
    """What a checkpoint learned from and the store lacks, in words."""
    taken = checkpoint.memory.facts["loop"]["taken"]
    held = sum(label.seq <= taken["cursor"] for label in store.labels())
    if held == taken["labels"]:
        return None
    return f"{checkpoint.number} learned from {taken['labels']} labels, of which the store holds {held}"


def arrays(run: Path, name: str, *, ended: bool) -> Check:
    """Whether what was learned can be read and is finite. ended: whether the run had its chance to save it"""
    try:
        found = load_file(run / name)
    except FileNotFoundError:
        if ended:
            return Check(name, "fail", "gone, though the run ended and saved it", _restore(run, name))
        return Check(name, "warn", "not there: saved when training ends, also by Ctrl-C")
    except (OSError, SafetensorError) as error:
        return Check(name, "fail", f"cannot be read ({error})", _restore(run, name))
    bad = [part for part, values in found.items() if not np.isfinite(values).all()]
    if bad:
        return Check(name, "fail", f"not finite: {_some(bad)}", _restore(run, name))
    return Check(name, "ok", f"{len(found)} arrays, all finite")


def _restore(run: Path, name: str) -> str:
    """How to have a file back."""
    backup = newest_backup(run)
    if backup is not None and (backup / name).exists():
        return f"cp {backup / name} {run / name}"
    return f"copy {name} from another copy of the run, if there is one"


def _some(names: Iterable[str]) -> str:
    first, *others = names
    return f"{first} and {len(others)} more" if others else first
