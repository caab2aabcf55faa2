"""Plain values that go in and come out."""

from __future__ import annotations

from typing import NamedTuple, Optional, Sequence, Union

from ._errors import KfsError

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


class WriterStatus(NamedTuple):
    """What a writer is doing, and why its flush waits if it does."""

    #: "open", "closing", "closed" or "failed". New ones may come.
    phase: str
    #: What the flush is doing now, such as "writing a segment"; "nothing" when none is on its way.
    doing: str
    #: Bytes of batches, and records, that are not durable yet, those on their way included.
    buffered_bytes: int
    buffered_records: int
    #: Seconds that the flush has been on its way; None when none is.
    flushing_for: Optional[float]
    #: Seconds that the flush has been tried again in vain; None when nothing failed.
    retrying_for: Optional[float]
    #: How many tries of the flush's last request have failed.
    failures: int
    #: The last failure of the flush that is tried again, or what ended the writer.
    last_error: Optional[KfsError]


class Offsets(NamedTuple):
    """The offsets that an append got: first and last, both included."""

    base: int
    last: int
