"""The extension module (python/src). Every wait takes a timeout in seconds; None: as long as it takes."""

from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Literal, Optional, Self, Union, final

from typing_extensions import Buffer

from ._types import Credentials, CredentialsDict, Offsets, Record, StoredRecord, WriterStatus

__version__: str

def open(
    url: Optional[str] = None,
    *,
    config: Union[str, Mapping[str, Any], None] = None,
    settings: Optional[dict[str, str]] = None,
    environment: bool = True,
    credentials: Optional[Callable[[], Union[Credentials, CredentialsDict, None]]] = None,
    namespace: str = "default",
    buffer_bytes: Optional[int] = None,
    cache_bytes: Optional[int] = None,
    map: bool = True,
    file_mode: int = 0o600,
    dir_mode: int = 0o700,
    preflight: bool = True,
    single_writer: bool = False,
) -> Bucket:
    """Opens "file:///directory", "memory:", "s3://bucket/prefix", "az://container/prefix" or "gs://bucket/prefix".

    Sends no request. One bucket for a process is enough: it owns the bounds over all its partitions.

    `config` takes the place of the URL: a document in YAML or JSON, as its text, or the same as a dict. It is what
    stands below "storage", or the document itself if it has "backend". `settings` are settings by name, which count
    more than those of the URL, the document and the environment. docs/backends.md lists them; errors name the one that
    can't be right. With `environment=False` neither variables nor the machine's own credentials count.

    `credentials` gives the credentials of a bucket in a cloud, and counts more than all others. It is called without
    arguments before the first request, again five minutes before what it gave runs out, and each minute if that is not
    known. It runs on a thread of libkfs's and may block: requests wait meanwhile, so it must not use the bucket. A bucket
    calls it once at a time. While the last credentials are good, they are used if it fails. What it raises is the
    `__cause__` of the error of each request then: after a ConnectionError or a TimeoutError the request is tried again,
    after anything else it is a PermissionDeniedError, as after None.

    For a directory: with `map=False` large files are copied when they are read instead of mapped into
    memory. Choose that where another program may truncate a file, which kills a process that has it
    mapped. `file_mode` and `dir_mode` are the permissions of what is made, of which the umask takes away; they
    include 0o400 and 0o700, and are at most 0o777. `buffer_bytes` is at least 64.

    A bucket on the network is checked before the first write to it, once in a process; `preflight=False` switches that
    off. With `single_writer=True` a bucket without create-if-absent is taken too: you promise that never more than one
    writer of a partition is open, in all processes together. docs/durability.md says what is not promised any more then.
    """

def runtime_threads(threads: int) -> None:
    """Sets how many worker threads all buckets of this process share: 2 unless this is called, 1024 at most.

    Call it before the first bucket is opened: while the threads run and are another number, it is a
    `ConflictError`. A forked child starts with 2.
    """

@final
class Bucket:
    """A bucket (or a directory, or memory) that holds partition logs.

    As a context it closes itself: for as long as that takes, or, when the block raised, 30 seconds
    at most and without an error of its own.
    """

    @property
    def url(self) -> str: ...
    def partition(self, topic: str, partition: int) -> Partition:
        """A partition by its name. Asks nothing of the store."""

    def close(self, timeout: Optional[float] = None) -> None:
        """Flushes and closes every writer. At the timeout the error names what is not durable."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None: ...

@final
class Partition:
    """A partition's log by name."""

    @property
    def topic(self) -> str: ...
    @property
    def number(self) -> int: ...
    def writer(
        self,
        *,
        preset: Optional[Literal["kafscale"]] = None,
        on_conflict: Literal["takeover", "fence", "rebase"] = "takeover",
        start_offset: Optional[int] = None,
        leader_epoch: Optional[int] = None,
        flush_bytes: Optional[int] = None,
        flush_interval: Optional[float] = None,
        linger: Optional[float] = None,
        compression: Literal["none", "gzip", "snappy", "lz4", "zstd"] = "none",
        check: Literal["produce", "decode", "crc"] = "produce",
        log_append_time: bool = False,
        name: Optional[str] = None,
        timeout: Optional[float] = None,
    ) -> Writer:
        """Opens a writer: finds the end of the log and checks its newest segment.

        flush_bytes is at least 1. A flush_interval of 0 flushes at once.

        check says what is asked of appended batches besides a right header and CRC. "produce" is what a
        Kafka broker asks of a producer; a wrong max_timestamp is set right. log_append_time allows batches
        that are marked LogAppendTime there. "decode" is for copies: batches whose records decode are stored
        as they are, compacted and control batches too. "crc" is for batches that a broker checked: records
        are not looked at.

        preset="kafscale" keeps segments below 1 MiB, for a partition that a KafScale broker serves to
        Kafka's consumers. Other arguments go over it.
        """

    def reader(
        self,
        *,
        skip_corrupt: bool = False,
        wait_for_partition: bool = False,
        max_decompressed: Optional[int] = None,
        isolation: str = "read_uncommitted",
    ) -> Reader:
        """A reader. Asks nothing of the store; whether the log exists is found by the first fetch.

        `max_decompressed` is the most bytes that the records of one batch may take when decompressed, 128 MiB
        by default. A batch beyond it raises UnsupportedError when its records are asked for.

        `isolation` is "read_uncommitted" or, as in Kafka, "read_committed": records of a transaction come after
        it has committed, those of an aborted one never, and nothing at or after the first record of one that is
        still open.
        """

@final
class Writer:
    """Appends to one partition, from any thread. As a context it closes itself as a Bucket does."""

    def append(self, records: Iterable[Record], *, timeout: Optional[float] = None) -> Append:
        """Appends records as one. They share batches with other appends.

        Waits for room in the buffer only; with a timeout of 0 it raises FullError instead.
        """

    def append_batches(self, batches: Buffer, *, timeout: Optional[float] = None) -> Append:
        """Appends record batches (magic 2), one or several back to back, as one.

        Waits as `append` does. `bytes` are not copied, other buffers are.
        """

    def flush(self, timeout: Optional[float] = None) -> None:
        """Flushes what is buffered now, and waits until it is durable."""

    def status(self) -> WriterStatus:
        """What it is doing now, what is not durable yet, and why its flush waits if it does."""

    def close(self, timeout: Optional[float] = None) -> None:
        """Takes no more appends, flushes and ends the writer. At the timeout it gives up what is left."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None: ...

@final
class Append:
    """An append that is buffered or beyond. Dropping it changes nothing for the append."""

    def durable(self, timeout: Optional[float] = None) -> Offsets:
        """Waits until it is durable, which makes the writer flush, and gives its offsets."""

    @property
    def offsets(self) -> Optional[Offsets]:
        """Its offsets once they are final. Not a promise of durability."""

    @property
    def done(self) -> bool:
        """Whether it is durable or has failed."""

@final
class Reader:
    """Reads one partition. It never writes."""

    def fetch(
        self,
        offset: int,
        max_bytes: int = 1048576,
        *,
        include_buffered: bool = False,
        timeout: Optional[float] = None,
    ) -> Fetch:
        """Whole batches from the one that holds the offset on; the first comes whatever its length."""

@final
class Fetch:
    """What a fetch gave. Empty (and false) at the log's end."""

    @property
    def chunks(self) -> list[memoryview]:
        """Stretches of whole record batches: read-only views, not copies."""

    @property
    def next_offset(self) -> int:
        """Where to fetch next."""

    @property
    def high_watermark(self) -> int:
        """One past the last offset that is known to be durable."""

    @property
    def log_start(self) -> int:
        """The first offset that is served."""

    @property
    def hole(self) -> Optional[tuple[int, int]]:
        """Offsets that were asked for and do not exist: the first missing, the next that exists."""

    def records(self) -> Records:
        """Iterates over the records from the offset asked for on, without control records.

        Records are decoded as they are asked for, and one batch is decompressed at a time, so a fetch never
        takes more memory than its bytes and one batch. Other threads run while a batch is decompressed. For
        records that can't be decoded CorruptError names key, position and offsets; the iterator then goes on
        with the next batch.
        """

    def __len__(self) -> int:
        """Bytes of all batches."""

@final
class Records:
    """The records of a fetch, in order. An iterator: it gives each record once."""

    def __iter__(self) -> Self: ...
    def __next__(self) -> StoredRecord: ...
