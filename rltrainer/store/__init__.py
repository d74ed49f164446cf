"""Where trainer and label service meet. The only room that knows SQL."""

from rltrainer.store.database import BACKUPS, FILE, NoRoom, journal_mode, newest_backup, way_out
from rltrainer.store.store import ORACLE, Store
from rltrainer.store.tables import VERSION

__all__ = ["BACKUPS", "FILE", "ORACLE", "VERSION", "NoRoom", "Store", "journal_mode", "newest_backup", "way_out"]
