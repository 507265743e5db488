"""On which line of a TOML file a key stands. ``tomllib`` does not say, and a message without a line is half a message.

The scanner runs over text that ``tomllib`` has already accepted, so it checks nothing: it walks the structure of
TOML 1.0 (toml.io/en/v1.0.0) and notes the line of each key, table header and array item.

Concurrency: pure.
"""

from __future__ import annotations

import re
import tomllib
from typing import TypeAlias

Key: TypeAlias = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_PART = re.compile(r"""\s*("(?:[^"\\\n]|\\.)*"|'[^'\n]*'|[A-Za-z0-9_-]+)\s*""", re.ASCII)
# Longest first: a multi-line string may end in up to two more quotes, which belong to it.
_STRING = re.compile(
    r'''"""(?:[^\\]|\\.)*?"""(?:"{1,2})?'''  # multi-line basic
    r"""|'''.*?'''(?:'{1,2})?"""  # multi-line literal
    r'''|"(?:[^"\\\n]|\\.)*"'''  # basic
    r"""|'[^'\n]*'""",  # literal
    re.DOTALL,
)
_SCALAR = re.compile(r"[^,\]}\n#]+")


def lines_of(text: str) -> dict[Key, int]:
    """Line number, from 1, of every key path; array items have their index in the path."""
    return _Scanner(text).run()


def line_of(lines: dict[Key, int], key: Key) -> int | None:
    """The line of ``key``, or of the nearest thing around it that stands in the file."""
    while key:
        if key in lines:
            return lines[key]
        key = key[:-1]
    return None


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.lines: dict[Key, int] = {}
        self.tables: dict[Key, int] = {}
        """Arrays of tables, and the index of their last one."""

    def run(self) -> dict[Key, int]:
        table: Key = ()
        self.skip()
        while self.at < len(self.text):
            if self.text[self.at] == "[":
                table = self.header()
            else:
                self.pair(table)
            self.skip()
        return self.lines

    def skip(self) -> None:
        match = _BLANK.match(self.text, self.at)
        self.at = match.end() if match else self.at

    def note(self, key: Key, at: int) -> None:
        self.lines.setdefault(key, self.text.count("\n", 0, at) + 1)

    def header(self) -> Key:
        at = self.at
        array = self.text.startswith("[[", at)
        self.at += 2 if array else 1
        parts = self.dotted()
        self.at += 2 if array else 1
        key: Key = ()
        for number, part in enumerate(parts):
            key = (*key, part)
            if array and number == len(parts) - 1:
                self.tables[key] = self.tables.get(key, -1) + 1
            if key in self.tables:
                self.note(key, at)
                key = (*key, self.tables[key])
            self.note(key, at)
        return key

    def dotted(self) -> list[str]:
        parts: list[str] = []
        while match := _PART.match(self.text, self.at):
            self.at = match.end()
            parts.append(_plain(match[1]))
            if not self.text.startswith(".", self.at):
                break
            self.at += 1
        return parts

    def pair(self, table: Key) -> None:
        at = self.at
        key = table
        for part in self.dotted():
            key = (*key, part)
            self.note(key, at)
        self.at += 1  # the equals sign
        self.skip()
        self.value(key)

    def value(self, key: Key) -> None:
        opening = self.text[self.at]
        if opening == "[":
            self.sequence("]", key)
        elif opening == "{":
            self.sequence("}", key)
        else:
            match = (_STRING if opening in "\"'" else _SCALAR).match(self.text, self.at)
            self.at = match.end() if match else len(self.text)

    def sequence(self, closing: str, key: Key) -> None:
        """An array's items, or an inline table's pairs."""
        self.at += 1
        self.skip()
        number = 0
        while self.at < len(self.text) and self.text[self.at] != closing:
            if closing == "}":
                self.pair(key)
            else:
                self.note((*key, number), self.at)
                self.value((*key, number))
                number += 1
            self.skip()
            if self.text.startswith(",", self.at):
                self.at += 1
                self.skip()
        self.at += 1


def _plain(part: str) -> str:
    """A key's part without its quotes and escapes."""
    if part[0] in "\"'":
        return str(tomllib.loads(f"value = {part}")["value"])
    return part
