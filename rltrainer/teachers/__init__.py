"""Synthetic teachers, by name. Add one: a file here and a line in the table."""

from rltrainer.core import Teacher
from rltrainer.teachers.oracle import OracleTeacher

TEACHERS: dict[str, type[Teacher]] = {"oracle": OracleTeacher}

__all__ = ["TEACHERS", "OracleTeacher"]
