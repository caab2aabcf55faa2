"""The Python package against directories and memory. Run by roundtrip.rs; needs nothing but Python."""

import os
import pickle
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path

import kfs

SOON = 30.0


def batches_of(fetch):
    """(base offset, last offset) of each batch, read from the bytes themselves."""
    found = []
    for chunk in fetch.chunks:
        at = 0
        while at < len(chunk):
            base, length = struct.unpack_from(">qi", chunk, at)
            (last_delta,) = struct.unpack_from(">i", chunk, at + 23)
            found.append((base, base + last_delta))
            at += 12 + length
    return found


class RoundTrip(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = Path(directory.name)
        self.url = f"file://{directory.name}"

    def test_records_go_in_and_come_out(self):
        records = [
            kfs.Record(b"paid", key=b"user-1", timestamp_ms=1_767_225_600_000),
            kfs.Record(None, headers=[("trace", b"1"), (b"trace", None)]),
            kfs.Record(bytearray(b""), key=memoryview(b"user-2")),
        ]
        before = int(time.time() * 1000)
        with kfs.open(self.url) as bucket:
            partition = bucket.partition("orders", 3)
            self.assertEqual((partition.topic, partition.number, bucket.url), ("orders", 3, self.url))
            with partition.writer(start_offset=100, compression="zstd", name="test") as writer:
                append = writer.append(records, timeout=SOON)
                offsets = append.durable(timeout=SOON)
                self.assertEqual(offsets, kfs.Offsets(100, 102))
                self.assertEqual((append.offsets, append.done), (offsets, True))
            fetch = partition.reader().fetch(101, timeout=SOON)
        self.assertTrue((self.path / "default/orders/3" / f"segment-{100:020}.kfs").is_file())
        self.assertEqual((fetch.next_offset, fetch.high_watermark, fetch.log_start), (103, 103, 100))
        self.assertIsNone(fetch.hole)
        first, second = fetch.records()
        self.assertEqual((first.offset, first.key, first.value), (101, None, None))
        self.assertEqual(first.headers, [(b"trace", b"1"), (b"trace", None)])
        self.assertLessEqual(before, first.timestamp_ms)
        self.assertEqual((second.offset, second.key, second.value), (102, b"user-2", b""))

    def test_modes_and_mapping_are_options(self):
        url = f"{self.url}/made"
        with kfs.open(url, map=False, file_mode=0o640, dir_mode=0o750) as bucket:
            partition = bucket.partition("modes", 0)
            with partition.writer() as writer:
                writer.append([kfs.Record(os.urandom(200_000))]).durable(SOON)
            chunk = partition.reader().fetch(0, timeout=SOON).chunks[0]
        place = self.path / "made/default/modes/0"
        segment = place / f"segment-{0:020}.kfs"
        umask = os.umask(0)
        os.umask(umask)
        self.assertEqual(place.stat().st_mode & 0o777, 0o750 & ~umask)
        self.assertEqual(segment.stat().st_mode & 0o777, 0o640 & ~umask)
        # Not mapped: a program that truncates the file does no harm to what was read.
        before = bytes(chunk)
        os.truncate(segment, 0)
        self.assertEqual(bytes(chunk), before)

    def test_batches_go_in_and_come_out_as_they_are(self):
        with kfs.open(self.url) as bucket:
            source = bucket.partition("source", 0)
            with source.writer() as writer:
                writer.append([kfs.Record(b"v%d" % i) for i in range(10)]).durable(SOON)
            batch = bytes(source.reader().fetch(0).chunks[0])

            copy = bucket.partition("copy", 0)
            with copy.writer(start_offset=7) as writer:
                for buffer in (batch, bytearray(batch), memoryview(batch)):
                    last = writer.append_batches(buffer, timeout=SOON)
                writer.append_batches(batch + batch, timeout=0)
                writer.flush(SOON)
                self.assertEqual(last.durable(0), (27, 36))
            fetch = copy.reader().fetch(0 + 7, max_bytes=1 << 20)
            self.assertEqual(batches_of(fetch), [(base, base + 9) for base in range(7, 57, 10)])
            self.assertEqual(len(fetch), 5 * len(batch))
            one = copy.reader().fetch(17, max_bytes=1)
            self.assertEqual(batches_of(one), [(17, 26)])
            self.assertEqual([r.value for r in one.records()], [b"v%d" % i for i in range(10)])

    def test_chunks_are_read_only_views_that_outlive_what_they_came_from(self):
        with kfs.open(self.url) as bucket:
            partition = bucket.partition("orders", 0)
            with partition.writer() as writer:
                writer.append([kfs.Record(b"x" * 100_000)]).durable(SOON)
            chunks = partition.reader().fetch(0).chunks
        del bucket, partition, writer
        (chunk,) = chunks
        self.assertIsInstance(chunk, memoryview)
        self.assertTrue(chunk.readonly and chunk.contiguous)
        self.assertEqual((chunk.format, chunk.itemsize, chunk.ndim), ("B", 1, 1))
        tail = chunk[-50_000:-10]
        del chunks, chunk
        self.assertEqual(set(tail), {ord("x")})

    def test_buffered_batches_come_to_who_asks_for_them(self):
        with kfs.open("memory:") as bucket:
            partition = bucket.partition("orders", 0)
            writer = partition.writer(on_conflict="fence", flush_interval=3600.0, linger=3600.0)
            first = writer.append([kfs.Record(b"a")])
            writer.flush(SOON)
            second = writer.append([kfs.Record(b"b")])
            self.assertEqual((first.done, second.done, second.offsets), (True, False, (1, 1)))
            reader = partition.reader()
            self.assertFalse(reader.fetch(1))
            self.assertEqual([r.value for r in reader.fetch(1, include_buffered=True).records()], [b"b"])

    def test_a_block_that_raises_closes_its_writer_and_raises_that(self):
        with kfs.open("memory:") as bucket:
            partition = bucket.partition("orders", 0)
            with self.assertRaises(ZeroDivisionError):
                with partition.writer() as writer:
                    append = writer.append([kfs.Record(b"a")])
                    1 / 0
            self.assertEqual(append.durable(0), (0, 0))
            self.assertRaises(kfs.ClosedError, writer.append, [kfs.Record(b"late")])

    def test_an_end_is_empty_and_beyond_it_is_out_of_range(self):
        with kfs.open("memory:") as bucket:
            partition = bucket.partition("orders", 0)
            with partition.writer() as writer:
                writer.append([kfs.Record(b"a")]).durable(SOON)
            reader = partition.reader()
            end = reader.fetch(1)
            self.assertFalse(end)
            self.assertEqual((len(end), end.chunks, list(end.records()), end.next_offset), (0, [], [], 1))
            with self.assertRaises(kfs.OutOfRangeError) as caught:
                reader.fetch(2)
            self.assertEqual(caught.exception.log_range, (0, 1))
            self.assertIsInstance(caught.exception, IndexError)


def crc32c(data):
    """CRC-32C, bit by bit: for a few bytes."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


class Decoding(unittest.TestCase):
    """Records are decoded as they are asked for."""

    def test_a_batch_of_many_records_is_decoded_as_it_is_read_and_lets_other_threads_run(self):
        count = 200_000
        with kfs.open("memory:") as bucket:
            partition = bucket.partition("orders", 0)
            with partition.writer(compression="gzip") as writer:
                writer.append([kfs.Record(b"", timestamp_ms=0)] * count).durable(SOON)
            records = partition.reader().fetch(0).records()
        self.assertIs(iter(records), records)
        before = resident()
        turns, over = [], threading.Event()

        def take_turns():
            while not over.is_set():
                turns.append(None)
                time.sleep(0)

        # From here on a thread runs only when another one lets it.
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1000.0)
        self.addCleanup(sys.setswitchinterval, interval)
        other = threading.Thread(target=take_turns)
        other.start()
        seen = sum(1 for _ in records)
        over.set()
        other.join()
        self.assertEqual(seen, count)
        self.assertTrue(turns)
        self.assertLess(resident() - before, 32 << 20, "records are not gathered")
        self.assertEqual(list(records), [], "each record is given once")

    def test_a_batch_beyond_the_limit_says_so_and_a_higher_limit_reads_it(self):
        with kfs.open("memory:") as bucket:
            partition = bucket.partition("orders", 0)
            with partition.writer(compression="zstd") as writer:
                writer.append([kfs.Record(b"\0" * (2 << 20))]).durable(SOON)
            with self.assertRaises(kfs.UnsupportedError) as caught:
                next(partition.reader(max_decompressed=1 << 20).fetch(0).records())
            self.assertIn("max_decompressed", caught.exception.hint)
            (record,) = partition.reader(max_decompressed=3 << 20).fetch(0).records()
            self.assertEqual(len(record.value), 2 << 20)

    def test_batches_are_checked_as_the_writer_asks(self):
        with kfs.open("memory:") as bucket:
            partition = bucket.partition("orders", 0)
            with partition.writer(preset="kafscale") as writer:
                writer.append([kfs.Record(b"v", timestamp_ms=5)]).durable(SOON)
                self.assertRaises(ValueError, writer.append, [kfs.Record(b"v" * (1 << 20))])
            (chunk,) = partition.reader().fetch(0).chunks
            wrong = bytearray(chunk)
            # The header's max_timestamp, which is not as the record has it; the CRC is wrong now.
            wrong[35:43] = (4).to_bytes(8, "big")
            for offset, check in enumerate(["produce", "decode", "crc"], start=1):
                with partition.writer(check=check) as writer:
                    self.assertRaises(ValueError, writer.append_batches, bytes(wrong))
                    self.assertEqual(writer.append_batches(bytes(chunk)).durable(SOON).last, offset)

    def test_records_that_cannot_be_decoded_are_named_with_their_place(self):
        with tempfile.TemporaryDirectory() as directory:
            with kfs.open(f"file://{directory}") as bucket:
                partition = bucket.partition("orders", 0)
                with partition.writer() as writer:
                    for value in (b"a", b"b"):
                        writer.append([kfs.Record(value)]).durable(SOON)
                path = Path(directory) / "default/orders/0" / f"segment-{0:020}.kfs"
                segment = bytearray(path.read_bytes())
                # The first record's length, and the CRCs over it.
                segment[32 + 61] = 0x7E
                segment[32 + 17 : 32 + 21] = struct.pack(">I", crc32c(segment[32 + 21 : -16]))
                segment[-16:-12] = struct.pack(">I", crc32c(segment[32:-16]))
                path.write_bytes(segment)
                records = partition.reader().fetch(0).records()
                with self.assertRaises(kfs.CorruptError) as caught:
                    next(records)
                error = caught.exception
                self.assertTrue(error.key.endswith(path.name), error.key)
                self.assertEqual((error.position, error.offsets, error.next_readable_offset), (93, (0, 0), 1))
                behind = partition.reader().fetch(error.next_readable_offset).records()
                self.assertEqual([r.value for r in behind], [b"b"])


def resident():
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Errors(unittest.TestCase):
    def test_they_are_the_builtins_that_one_expects(self):
        for ours, builtin in [
            (kfs.NotFoundError, FileNotFoundError),
            (kfs.PermissionDeniedError, PermissionError),
            (kfs.InvalidInputError, ValueError),
            (kfs.TimedOutError, TimeoutError),
            (kfs.UnavailableError, ConnectionError),
            (kfs.FullError, BlockingIOError),
            (kfs.UnsupportedError, NotImplementedError),
        ]:
            self.assertTrue(issubclass(ours, builtin) and issubclass(ours, kfs.KfsError))
            self.assertEqual(ours.__module__, "kfs")

    def test_they_say_what_a_program_must_know(self):
        with kfs.open("memory:") as bucket:
            with self.assertRaises(FileNotFoundError) as caught:
                bucket.partition("orders", 0).reader().fetch(0)
            error = caught.exception
            self.assertIsInstance(error, kfs.NotFoundError)
            self.assertEqual((error.kind, error.code, error.retriable, error.stored), ("not found", 1, False, None))
            self.assertIn("orders/0", str(error))
            again = pickle.loads(pickle.dumps(error))
            self.assertEqual((type(again), str(again), again.code), (type(error), str(error), 1))

            partition = bucket.partition("orders", 0)
            with partition.writer() as writer:
                with self.assertRaises(ValueError) as caught:
                    writer.append_batches(b"not a batch")
                self.assertEqual(caught.exception.stored, "not")
                with self.assertRaises(kfs.ConflictError):
                    partition.writer()
            with self.assertRaises(kfs.ClosedError):
                writer.append([kfs.Record(b"late")])

    def test_arguments_are_checked(self):
        with self.assertRaises(NotImplementedError):
            kfs.open("gopher://there")
        with kfs.open("memory:") as bucket:
            for wrong in [
                lambda: bucket.partition("a/b", 0),
                lambda: bucket.partition("orders", -1),
                lambda: bucket.partition("orders", 0).writer(on_conflict="fight"),
                lambda: bucket.partition("orders", 0).writer(compression="rar"),
                lambda: bucket.partition("orders", 0).writer(check="none"),
                lambda: bucket.partition("orders", 0).writer(preset="kafka"),
                lambda: bucket.partition("orders", 0).writer(timeout=-1),
                lambda: bucket.partition("orders", 0).writer(flush_bytes=0),
                lambda: bucket.partition("orders", 0).writer(start_offset=-1),
                lambda: bucket.partition("orders", 0).writer(leader_epoch=-1),
                lambda: kfs.open("memory:", buffer_bytes=0),
                lambda: kfs.open("memory:", dir_mode=0),
                lambda: bucket.partition("orders", 0).writer(timeout=float("nan")),
                lambda: bucket.partition("orders", 0).reader().fetch(-1),
            ]:
                self.assertRaises(ValueError, wrong)
            with bucket.partition("orders", 0).writer() as writer:
                for wrong in ["text", b"a batch", [b"value"]]:
                    with self.assertRaisesRegex(TypeError, "append_batches takes record batches"):
                        writer.append(wrong)
                self.assertRaises(TypeError, writer.append_batches, "text")
                self.assertRaises(TypeError, writer.append, [kfs.Record("text")])
                self.assertRaises(ValueError, writer.append, [])


class Waiting(unittest.TestCase):
    def setUp(self):
        self.bucket = kfs.open("memory:", buffer_bytes=100)
        # Never flushes by itself, so that waits last.
        self.writer = self.bucket.partition("orders", 0).writer(flush_interval=3600.0, linger=3600.0)
        self.addCleanup(self.bucket.close)
        self.append = self.writer.append([kfs.Record(b"x" * 60)])

    def test_a_timeout_ends_the_wait_and_not_the_work(self):
        with self.assertRaises(TimeoutError) as caught:
            self.append.durable(timeout=0.02)
        self.assertEqual((caught.exception.stored, caught.exception.retriable), ("perhaps", True))
        self.writer.flush(SOON)
        self.assertEqual(self.append.durable(timeout=0), (0, 0))

    def test_a_status_tells_what_is_buffered(self):
        status = self.writer.status()
        self.assertEqual((status.phase, status.doing, status.buffered_records), ("open", "nothing", 1))
        self.assertGreater(status.buffered_bytes, 60)
        self.assertEqual((status.flushing_for, status.retrying_for, status.failures), (None, None, 0))
        self.assertIsNone(status.last_error)

    def test_a_flush_that_is_refused_is_told_with_its_cause(self):
        with tempfile.TemporaryDirectory() as directory:
            bucket = kfs.open(f"file://{directory}")
            writer = bucket.partition("orders", 0).writer()
            # A file where the log's directory should be.
            Path(directory, "default").write_bytes(b"")
            append = writer.append([kfs.Record(b"x")])
            with self.assertRaises(TimeoutError) as caught:
                append.durable(timeout=0.3)
            self.assertIn("a file has the name of a directory", str(caught.exception))
            status = writer.status()
            self.assertIsInstance(status.last_error, kfs.InvalidInputError)
            self.assertGreater(status.retrying_for, 0.0)
            self.assertIn(str(status.last_error).split(";")[0], str(caught.exception))
            with self.assertRaises(kfs.ClosedError) as caught:
                writer.close(timeout=0.0)
            self.assertEqual((caught.exception.stored, writer.status().phase), ("not", "failed"))
            self.assertIn("failed", str(caught.exception))

    def test_a_full_buffer_blocks_or_says_so(self):
        with self.assertRaises(BlockingIOError) as caught:
            self.writer.append([kfs.Record(b"y" * 60)], timeout=0)
        self.assertEqual(caught.exception.stored, "not")

    def test_other_threads_run_meanwhile(self):
        ended = []
        thread = threading.Thread(target=lambda: ended.append(self.append.durable(SOON)))
        thread.start()
        time.sleep(0.05)
        self.assertEqual(ended, [])
        self.writer.flush(SOON)
        thread.join(SOON)
        self.assertEqual(ended, [(0, 0)])

    def test_a_signal_ends_the_wait(self):
        def interrupt(_number, _frame):
            raise KeyboardInterrupt

        before = signal.signal(signal.SIGALRM, interrupt)
        self.addCleanup(signal.signal, signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with self.assertRaises(KeyboardInterrupt):
            self.append.durable()
        self.assertFalse(self.append.done)

    def test_buckets_share_one_runtime(self):
        program = """
import os, kfs
threads = lambda: len(os.listdir("/proc/self/task"))
kfs.runtime_threads(3)
before = threads()
buckets = [kfs.open("memory:"), kfs.open("memory:")]
assert threads() - before == 3, threads()
try:
    kfs.runtime_threads(4)
except kfs.ConflictError as error:
    assert "3 threads already" in str(error), error
else:
    raise AssertionError("it was set while the threads run")
"""
        if sys.platform == "linux":
            subprocess.run([sys.executable, "-c", program], check=True, timeout=SOON)

    def test_a_fork_is_told_why_it_can_not(self):
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            # Nothing of unittest may go on in here.
            try:
                told = []
                for use in (self.append.durable, self.writer.flush, lambda: self.bucket.partition("a", 0)):
                    try:
                        use()
                    except kfs.ForkError as error:
                        told.append("after the fork" in str(error))
                    except BaseException:
                        told.append(False)
                # Dropping what the parent owns neither hangs nor flushes.
                del use
                self.append = self.writer = self.bucket = None
                # What the child opens itself works.
                with kfs.open("memory:") as bucket, bucket.partition("a", 0).writer() as writer:
                    told.append(writer.append([kfs.Record(b"a")]).durable(SOON) == (0, 0))
                os.write(write, b"good" if told == [True] * 4 else b"bad!")
            finally:
                os._exit(0)
        os.close(write)
        self.addCleanup(os.close, read)
        os.waitpid(child, 0)
        self.assertEqual(os.read(read, 10), b"good")
        self.writer.flush(SOON)
        self.assertTrue(self.append.done)


if __name__ == "__main__":
    unittest.main()
