"""Plain values that go in and come out."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Mapping, NamedTuple, Optional, Sequence, TypedDict, Union

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


@dataclass(frozen=True)
class Credentials:
    """What a credentials callable gives: an access key, a bearer token, or an account key. `repr` shows none of them."""

    #: An access key of S3, with the session token of a temporary one.
    access_key_id: Optional[str] = field(default=None, repr=False)
    secret_access_key: Optional[str] = field(default=None, repr=False)
    session_token: Optional[str] = field(default=None, repr=False)
    #: A bearer token, for Azure and Google.
    bearer_token: Optional[str] = field(default=None, repr=False)
    #: The key of an Azure account, in base64.
    account_key: Optional[str] = field(default=None, repr=False)
    #: When they run out: a datetime with a time zone, or Unix time in seconds. None: the callable is asked each minute.
    expires_at: Union[datetime, float, None] = None


class CredentialsDict(TypedDict, total=False):
    """The same as a dictionary."""

    access_key_id: Optional[str]
    secret_access_key: Optional[str]
    session_token: Optional[str]
    bearer_token: Optional[str]
    account_key: Optional[str]
    expires_at: Union[datetime, float, None]


_TEXTS = ("access_key_id", "secret_access_key", "session_token", "bearer_token", "account_key")


def supplied(given: Any) -> Optional[tuple[Any, ...]]:
    """What the extension module reads: the texts, and when they run out in Unix milliseconds. No message holds a value."""
    if given is None:
        return None
    if isinstance(given, Credentials):
        given = vars(given)
    if not isinstance(given, Mapping):
        raise TypeError(f"credentials are a kfs.Credentials or a dict, not {type(given).__name__}")
    if not set(given) <= {*_TEXTS, "expires_at"}:
        raise TypeError(f"credentials have a field that there is not; there are {', '.join(_TEXTS)} and expires_at")
    texts = [given.get(name) for name in _TEXTS]
    for name, text in zip(_TEXTS, texts):
        if not isinstance(text, (str, type(None))):
            raise TypeError(f"{name} is {type(text).__name__}, not str")
    kinds = [texts[0] is not None or texts[1] is not None, texts[3] is not None, texts[4] is not None]
    if sum(kinds) > 1:
        raise ValueError("credentials are an access key, a bearer token or an account key, and several were given")
    if kinds[0] and (texts[0] is None or texts[1] is None):
        raise ValueError("access_key_id and secret_access_key go together, and one is missing")
    ends = given.get("expires_at")
    if isinstance(ends, datetime):
        if ends.tzinfo is None:
            raise ValueError("expires_at has no time zone")
        ends = ends.timestamp()
    elif not isinstance(ends, (int, float, type(None))):
        raise TypeError(f"expires_at is {type(ends).__name__}, not a datetime or a number")
    return (*texts, None if ends is None else int(ends * 1000))
