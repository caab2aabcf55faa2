"""Kafka partition logs straight in an object-store bucket, inside your process.

    with kfs.open("file:///var/lib/orders") as bucket:
        orders = bucket.partition("orders", 0)
        with orders.writer() as writer:
            writer.append([kfs.Record(b"paid", key=b"user-1")]).durable(timeout=10)
        for record in orders.reader().fetch(0).records():
            print(record.offset, record.value)
"""

from ._errors import (
    ClosedError,
    ConflictError,
    CorruptError,
    FencedError,
    ForkError,
    FullError,
    InternalError,
    InvalidInputError,
    KfsError,
    NotFoundError,
    OutOfRangeError,
    PermissionDeniedError,
    TimedOutError,
    UnavailableError,
    UnsupportedError,
)
from ._kfs import Append, Bucket, Fetch, Partition, Reader, Writer, __version__, open, runtime_threads
from ._types import Credentials, CredentialsDict, Header, Offsets, Record, StoredRecord, WriterStatus

__all__ = [
    "Append",
    "Bucket",
    "ClosedError",
    "ConflictError",
    "CorruptError",
    "Credentials",
    "CredentialsDict",
    "Fetch",
    "FencedError",
    "ForkError",
    "FullError",
    "Header",
    "InternalError",
    "InvalidInputError",
    "KfsError",
    "NotFoundError",
    "Offsets",
    "OutOfRangeError",
    "Partition",
    "PermissionDeniedError",
    "Reader",
    "Record",
    "StoredRecord",
    "TimedOutError",
    "UnavailableError",
    "UnsupportedError",
    "Writer",
    "WriterStatus",
    "__version__",
    "open",
    "runtime_threads",
]
