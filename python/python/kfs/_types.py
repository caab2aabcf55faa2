"""Plain values that go in and come out."""

from __future__ import annotations

from typing import NamedTuple, Optional, Sequence, Union

Header = tuple[Union[bytes, str], Optional[bytes]]


class Record(NamedTuple):
    """A record to append. None as key or value is null; a header is a name and a value."""

    value: Optional[bytes]
    key: Optional[bytes] = None
    headers: Sequence[Header] = ()
    #: Unix milliseconds; None: now.
    timestamp_ms: Optional[int] = None


class StoredRecord(NamedTuple):
    """A record of the log."""

    offset: int
    #: Unix milliseconds.
    timestamp_ms: int
    key: Optional[bytes]
    value: Optional[bytes]
    headers: list[tuple[bytes, Optional[bytes]]]


class Offsets(NamedTuple):
    """The offsets that an append got: first and last, both included."""

    base: int
    last: int
