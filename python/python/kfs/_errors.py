"""The exceptions. The names and what they mean are those of kfs_core::ErrorKind."""

from __future__ import annotations

from typing import Optional


class KfsError(Exception):
    """Anything that goes wrong in kfs. The attributes say what a program must know to act on it."""

    #: The kind's name, such as "not found".
    kind: str = "internal error"
    #: The kind's number, the same in all languages.
    code: int = 13
    #: What to do about it, when that is more than the kind says.
    hint: Optional[str] = None
    #: The key of the object that it is about, and the byte position in it.
    key: Optional[str] = None
    position: Optional[int] = None
    #: First and last offset that broken bytes cover.
    offsets: Optional[tuple[int, int]] = None
    #: For OutOfRangeError: log start offset and log end offset (one past the last).
    log_range: Optional[tuple[int, int]] = None
    #: For CorruptError: the next offset that can be read.
    next_readable_offset: Optional[int] = None
    #: For FencedError: the name of the writer that won, where the store told.
    winner: Optional[str] = None
    #: What the store calls the request that failed, for its operator.
    request_id: Optional[str] = None
    #: What kfs called the request, a UUID that it sent with it. None where nothing was sent, and on Azure with an account key.
    client_request_id: Optional[str] = None
    #: How long the store asked to wait before the next try (Retry-After), in seconds. kfs itself waits 300 at most.
    retry_after: Optional[float] = None
    #: For a failed append "not" (it may be appended again) or "perhaps" (look at the log first).
    stored: Optional[str] = None
    #: Whether the same call may succeed later.
    retriable: bool = False


class NotFoundError(KfsError, FileNotFoundError):
    """The partition, segment or bucket does not exist."""


class PermissionDeniedError(KfsError, PermissionError):
    """The store refused the credentials or the action. Nothing was changed."""


class InvalidInputError(KfsError, ValueError):
    """An argument can't be right. Nothing was changed."""


class OutOfRangeError(KfsError, IndexError):
    """The offset is outside the log; log_range says what the log holds."""


class ConflictError(KfsError):
    """Another start offset was fixed before, or another exclusive writer is open in this process."""


class FencedError(KfsError):
    """Another writer owns the partition now."""


class CorruptError(KfsError):
    """Stored bytes are not what they must be; key and position say where."""


class UnavailableError(KfsError, ConnectionError):
    """The store can't be reached or is overloaded. Try again."""


class TimedOutError(KfsError, TimeoutError):
    """The timeout passed. The work may still complete."""


class FullError(KfsError, BlockingIOError):
    """The buffer is full. Wait for durability of what is in it, then try again."""


class UnsupportedError(KfsError, NotImplementedError):
    """The store or the format's version lacks something that is needed."""


class ClosedError(KfsError, ValueError):
    """The writer was closed."""


class InternalError(KfsError, RuntimeError):
    """A fault of kfs. Please report it."""


class ForkError(KfsError, RuntimeError):
    """The object was made before a fork, and this is the child: its threads did not come along."""


#: By code, as the extension module raises them.
BY_CODE: dict[int, type[KfsError]] = {
    1: NotFoundError,
    2: PermissionDeniedError,
    3: InvalidInputError,
    4: OutOfRangeError,
    5: ConflictError,
    6: FencedError,
    7: CorruptError,
    8: UnavailableError,
    9: TimedOutError,
    10: FullError,
    11: UnsupportedError,
    12: ClosedError,
    13: InternalError,
}

for _class in (KfsError, *BY_CODE.values(), ForkError):
    _class.__module__ = "kfs"
del _class
