"""The store, worked on in one thread, so that a slow disk never holds up the sockets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from rltrainer.core import Forecast, Label, Link, Query, Segment
from rltrainer.labeling.effects import ChangeSettings, Lease, Pause, Release, SaveLabel, Snapshot
from rltrainer.store import Store

P = ParamSpec("P")
T = TypeVar("T")


class StoreDesk:
    """What the service does with its run's store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._thread = ThreadPoolExecutor(1, "store")
        self._seen = 0  # the newest label handed out
        self._foretold = 0  # the newest forecast

    @property
    def run(self) -> Path:
        """The folder of the run."""
        return self._store.folder

    async def snapshot(self) -> Snapshot:
        """The store now, with the labels that came since the last snapshot."""
        return await self._in_thread(self._snapshot)

    async def report(self) -> tuple[Mapping[str, int], Mapping[str, Any] | None]:
        """How many pairs and labels there are, and the trainer's newest progress event."""
        return await self._in_thread(self._store.counts), await self._in_thread(self._store.newest_event, "progress")

    async def forecast(self) -> Forecast | None:
        """The trainer's newest forecast, once."""
        found = await self._in_thread(self._store.forecast, self._foretold)
        self._foretold = found.seq if found else self._foretold
        return found

    async def past(self) -> list[dict[str, Any]]:
        """The trainer's progress events so far, oldest first."""
        return await self._in_thread(self._store.events, "progress")

    async def links(self) -> Mapping[str, Link]:
        """Links that let somebody in, by token hash."""
        return await self._in_thread(self._store.links)

    async def open(self, host: str, port: int, token_hash: str, link: Link) -> None:
        """Note where the service listens, for who invites labelers, and add the link that it gives out."""
        await self._in_thread(self._store.add_link, token_hash, link)
        await self._in_thread(partial(self._store.log, "service", host=host, port=port))

    async def save(
        self, labels: Sequence[SaveLabel], leases: Sequence[Lease | Release]
    ) -> list[Label | LookupError | ValueError]:
        """Returns once the labels are durable; in place of one that does not fit the run, why. Leases are noted beside."""
        answers = [(label.label_id, label.query_id, label.labeler, label.answer) for label in labels]
        looks: dict[str, tuple[str, float] | None] = {}
        for change in leases:
            lease = (change.labeler, time.time() + change.seconds) if isinstance(change, Lease) else None
            looks |= dict.fromkeys(change.query_ids, lease)
        return await self._in_thread(self._store.note, answers, looks)

    async def note(self, change: ChangeSettings | Pause) -> None:
        match change:
            case ChangeSettings(changes, labeler):
                await self._in_thread(self._store.change_settings, changes, labeler)
            case Pause(paused, labeler):
                await self._in_thread(self._store.pause, labeler, paused=paused)

    async def pair(self, query_id: str) -> tuple[Query, Segment, Segment]:
        """A query and its segments. Raises LookupError where there is no such query, UserError for a damaged file."""
        return await self._in_thread(self._pair, query_id)

    def close(self) -> None:
        """Waits for what is being done."""
        self._thread.shutdown()

    def _snapshot(self) -> Snapshot:
        labels = self._store.labels(self._seen)
        self._seen = labels[-1].seq if labels else self._seen
        store = self._store
        return Snapshot(store.waiting(), labels, store.leased(time.time()), store.settings(), store.paused())

    def _pair(self, query_id: str) -> tuple[Query, Segment, Segment]:
        query = self._store.query(query_id)
        if query is None:
            raise LookupError(f"no query {query_id!r} in this run")
        return query, self._store.segment(query.first), self._store.segment(query.second)

    async def _in_thread(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.wrap_future(self._thread.submit(function, *args, **kwargs))
