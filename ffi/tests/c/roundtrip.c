/*
 * A true round trip through libkfs: open a bucket, append record batches, wait until they are
 * durable, fetch them back. Once by calls that wait, once by completion callback.
 *
 *   roundtrip URL BATCH_FILE RECORDS_IN_BATCH
 *
 * Built and run by ../roundtrip.rs; exits 0 when all is as it must be.
 */
#include "check.h"

#include <pthread.h>
#include <string.h>

static int64_t records;

/* Fetches the whole log from `from` on in answers of one batch each, and compares what was appended. */
static void fetch_all(const kfs_bucket *bucket, int32_t partition, int64_t from, int64_t end) {
  kfs_reader *reader = NULL;
  well(kfs_reader_open(bucket, "orders", partition, NULL, &reader), "open a reader");
  int64_t offset = from;
  while (offset < end) {
    kfs_fetch *fetch = NULL;
    well(kfs_reader_fetch(reader, offset, 1, false, TIMEOUT_MS, NULL, &fetch), "fetch");
    kfs_batch got = {NULL, 0, -1, -1};
    CHECK(kfs_fetch_batch_count(fetch) == 1 && kfs_fetch_batch(fetch, 0, &got) && !kfs_fetch_batch(fetch, 1, &got));
    CHECK(got.base_offset == offset && got.last_offset == offset + records - 1 && got.length == batch_length);
    /* A batch keeps everything but its base offset, its first eight bytes, and its leader epoch behind the length. */
    CHECK(memcmp(got.data + 8, batch + 8, 4) == 0 && memcmp(got.data + 16, batch + 16, batch_length - 16) == 0);
    well(kfs_fetch_check_batch(fetch, 0), "decode a batch");
    fails(kfs_fetch_check_batch(fetch, 1), KFS_INVALID_INPUT, "a batch that is not there");
    fails(kfs_fetch_check_batch(NULL, 0), KFS_INVALID_INPUT, "no fetch");
    kfs_bytes chunk = kfs_fetch_chunk(fetch, 0);
    CHECK(kfs_fetch_chunk_count(fetch) == 1 && chunk.data == got.data && chunk.length == got.length);
    CHECK(kfs_fetch_chunk(fetch, 1).data == NULL && kfs_fetch_chunk(fetch, 1).length == 0);
    CHECK(kfs_fetch_log_start(fetch) == from && !kfs_fetch_hole(fetch, NULL, NULL));
    CHECK(kfs_fetch_next_offset(fetch) == offset + records && kfs_fetch_high_watermark(fetch) > got.last_offset);
    offset = kfs_fetch_next_offset(fetch);
    kfs_fetch_free(fetch);
  }

  kfs_fetch *fetch = NULL;
  well(kfs_reader_fetch(reader, end, 1 << 20, false, TIMEOUT_MS, NULL, &fetch), "fetch at the end");
  CHECK(kfs_fetch_batch_count(fetch) == 0 && kfs_fetch_chunk_count(fetch) == 0);
  CHECK(kfs_fetch_high_watermark(fetch) == end && kfs_fetch_next_offset(fetch) == end);
  kfs_fetch_free(fetch);
  fetch = NULL;

  int64_t start = -1, last = -1;
  kfs_error *error = kfs_reader_fetch(reader, end + 1, 1, false, TIMEOUT_MS, NULL, &fetch);
  CHECK(kfs_error_log_range(error, &start, &last) && start == from && last == end && fetch == NULL);
  fails(error, KFS_OUT_OF_RANGE, "fetch beyond the end");

  /* The bytes outlive reader and bucket. */
  well(kfs_reader_fetch(reader, from, 1 << 20, false, TIMEOUT_MS, NULL, &fetch), "fetch all");
  kfs_reader_free(reader);
  CHECK(kfs_fetch_batch_count(fetch) == (size_t)((end - from) / records));
  kfs_batch got;
  for (size_t i = 0; kfs_fetch_batch(fetch, i, &got); i++)
    CHECK(memcmp(got.data + 16, batch + 16, batch_length - 16) == 0);
  kfs_fetch_free(fetch);
}

static void append_and_wait(const kfs_bucket *bucket) {
  kfs_writer_options options;
  kfs_writer_options_init(&options, sizeof options);
  options.start_offset = 100;
  options.name = "roundtrip.c";

  kfs_writer *writer = NULL;
  CHECK(options.batch_check == KFS_CHECK_PRODUCE && options.segment_bytes == INT32_MAX);
  kfs_writer_options other = options;
  other.batch_check = 3;
  fails(kfs_writer_open(bucket, "orders", 0, &other, TIMEOUT_MS, NULL, &writer), KFS_INVALID_INPUT, "no such check");
  kfs_writer_options_init_kafscale(&other, sizeof other);
  CHECK(other.segment_bytes < 1 << 20 && other.flush_bytes < other.segment_bytes);
  well(kfs_writer_open(bucket, "orders", 0, &options, TIMEOUT_MS, NULL, &writer), "open a writer");

  kfs_offsets offsets = {-1, -1};
  for (int64_t i = 0; i < 3; i++) {
    well(kfs_writer_append_batches(writer, batch, batch_length, TIMEOUT_MS, NULL, &offsets), "append");
    CHECK(offsets.base == 100 + i * records && offsets.last == offsets.base + records - 1);
  }

  /* Nothing is written when it fails. */
  kfs_error *error = kfs_writer_append_batches(writer, batch, batch_length - 1, TIMEOUT_MS, NULL, &offsets);
  CHECK(kfs_error_stored(error) == KFS_STORED_NOT && !kfs_error_is_retriable(error));
  CHECK(strcmp(kfs_error_name(error), "invalid input") == 0 && strlen(kfs_error_message(error)) > 0);
  fails(error, KFS_INVALID_INPUT, "append a cut batch");
  CHECK(offsets.base == 100 + 2 * records);

  kfs_writer *second = writer;
  fails(kfs_writer_open(bucket, "orders", 0, NULL, TIMEOUT_MS, NULL, &second), KFS_CONFLICT, "open a second writer");
  CHECK(second == writer);

  well(kfs_writer_close(writer, TIMEOUT_MS, NULL), "close the writer");
  fails(kfs_writer_append_batches(writer, batch, batch_length, TIMEOUT_MS, NULL, &offsets), KFS_CLOSED, "append after close");
  kfs_writer_free(writer);
  fetch_all(bucket, 0, 100, 100 + 3 * records);
}

/* What the callbacks tell the thread that waits for them. */
struct told {
  pthread_mutex_t lock;
  pthread_cond_t changed;
  int succeeded;
  int failed;
  int refused;
  int64_t next_base;
  const kfs_writer *writer;
};

static void appended(void *user_data, const kfs_error *error, const kfs_offsets *offsets) {
  struct told *told = user_data;
  pthread_mutex_lock(&told->lock);
  if (error == NULL) {
    CHECK(offsets != NULL && offsets->last - offsets->base + 1 == records);
    if (offsets->base >= told->next_base) told->next_base = offsets->last + 1;
    told->succeeded++;
  } else {
    CHECK(offsets == NULL && kfs_error_stored(error) != KFS_STORED_NOT_APPLICABLE);
    told->failed++;
  }
  if (told->writer != NULL) {
    /* A callback must not wait for the writer that waits for it. */
    kfs_error *refusal = kfs_writer_append_batches(told->writer, batch, batch_length, TIMEOUT_MS, NULL, NULL);
    if (kfs_error_code(refusal) == KFS_INVALID_INPUT) told->refused++;
    kfs_error_free(refusal);
    told->writer = NULL;
  }
  pthread_cond_broadcast(&told->changed);
  pthread_mutex_unlock(&told->lock);
}

static void append_and_be_told(const kfs_bucket *bucket) {
  struct told told = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
  kfs_writer *writer = NULL;
  well(kfs_writer_open(bucket, "orders", 1, NULL, TIMEOUT_MS, NULL, &writer), "open a writer");

  const int appends = 20;
  /* Held while appending: no callback runs within the call. */
  pthread_mutex_lock(&told.lock);
  for (int i = 0; i < appends; i++) {
    bool somebody_waits = i == appends - 1;
    well(kfs_writer_append_batches_callback(writer, batch, batch_length, somebody_waits, TIMEOUT_MS, NULL, appended, &told),
         "append");
  }
  while (told.succeeded + told.failed < appends) pthread_cond_wait(&told.changed, &told.lock);
  CHECK(told.failed == 0 && told.next_base == appends * records);

  told.writer = writer;
  well(kfs_writer_append_batches_callback(writer, batch, batch_length, false, 0, NULL, appended, &told), "append");
  /* Nobody waits for this one, but time flushes too. */
  while (told.succeeded + told.failed < appends + 1) pthread_cond_wait(&told.changed, &told.lock);
  CHECK(told.refused == 1 && told.succeeded == appends + 1);

  told.next_base = 0;
  well(kfs_writer_append_batches_callback(writer, batch, batch_length, false, 0, NULL, appended, &told), "append");
  pthread_mutex_unlock(&told.lock);
  well(kfs_writer_flush(writer, TIMEOUT_MS, NULL), "flush");
  kfs_writer_state state;
  kfs_error *last_error = NULL;
  well(kfs_writer_status(writer, &state, sizeof state, &last_error), "status");
  CHECK(state.size == sizeof state && state.phase == KFS_WRITER_OPEN && last_error == NULL);
  CHECK(state.buffered_bytes == 0 && state.buffered_records == 0 && state.failures == 0);
  CHECK(state.retrying_ms == -1);
  well(kfs_writer_close(writer, TIMEOUT_MS, NULL), "close the writer");
  well(kfs_writer_status(writer, &state, sizeof state, NULL), "status after close");
  CHECK(state.phase == KFS_WRITER_CLOSED && state.flushing_ms == -1);
  /* When a close returns, every callback has. What the refused callback appended went in before it waited. */
  CHECK(told.succeeded == appends + 2 && told.next_base == (appends + 3) * records);

  fails(kfs_writer_append_batches_callback(writer, batch, batch_length, true, 0, NULL, appended, &told), KFS_CLOSED,
        "append after close");
  kfs_writer_free(writer);
  CHECK(told.succeeded == appends + 2 && told.failed == 0);
  fetch_all(bucket, 1, 0, told.next_base);

  /* A writer that is freed without a close tells what became of its appends, before the call returns. */
  well(kfs_writer_open(bucket, "orders", 2, NULL, TIMEOUT_MS, NULL, &writer), "open a writer");
  well(kfs_writer_append_batches_callback(writer, batch, batch_length, false, 0, NULL, appended, &told), "append");
  kfs_writer_free(writer);
  CHECK(told.succeeded + told.failed == appends + 3);
  pthread_cond_destroy(&told.changed);
  pthread_mutex_destroy(&told.lock);
}

static void be_refused(void) {
  kfs_bucket *bucket = NULL;
  fails(kfs_bucket_open(NULL, NULL, &bucket), KFS_INVALID_INPUT, "no URL");
  fails(kfs_bucket_open("memory:", NULL, NULL), KFS_INVALID_INPUT, "nowhere to put the bucket");
  fails(kfs_bucket_open("\xff\xfe", NULL, &bucket), KFS_INVALID_INPUT, "a URL that is not UTF-8");
  fails(kfs_bucket_open("gopher://there", NULL, &bucket), KFS_UNSUPPORTED, "an unknown scheme");
  CHECK(bucket == NULL);

  /* A header of a later version: what it has more is fine as long as it is not used. */
  struct {
    kfs_bucket_options known;
    uint64_t later;
  } options;
  kfs_bucket_options_init(&options.known, sizeof options);
  CHECK(options.known.size == sizeof options && options.known.buffer_bytes > 0);
  well(kfs_bucket_open("memory:", &options.known, &bucket), "options of a later version");
  kfs_bucket_free(bucket);
  bucket = NULL;
  options.later = 1;
  fails(kfs_bucket_open("memory:", &options.known, &bucket), KFS_UNSUPPORTED, "an option of a later version");
  options.known.size = 0;
  fails(kfs_bucket_open("memory:", &options.known, &bucket), KFS_INVALID_INPUT, "options without a size");
  CHECK(bucket == NULL);

  kfs_writer *writer = NULL;
  fails(kfs_writer_open(NULL, "orders", 0, NULL, 0, NULL, &writer), KFS_INVALID_INPUT, "no bucket");
  fails(kfs_writer_append_batches(NULL, batch, batch_length, 0, NULL, NULL), KFS_INVALID_INPUT, "no writer");

  kfs_bucket_options plain;
  kfs_bucket_options_init(&plain, sizeof plain);
  plain.buffer_bytes = 0;
  fails(kfs_bucket_open("memory:", &plain, &bucket), KFS_INVALID_INPUT, "no room for an append");
  kfs_bucket_options_init(&plain, sizeof plain);
  plain.dir_mode = 0;
  fails(kfs_bucket_open("memory:", &plain, &bucket), KFS_INVALID_INPUT, "directories that nobody may use");
  kfs_bucket_options_init(&plain, sizeof plain);
  plain.name_space = "not/a/namespace";
  fails(kfs_bucket_open("memory:", &plain, &bucket), KFS_INVALID_INPUT, "a bad namespace");
  plain.name_space = "mine";
  well(kfs_bucket_open("memory:", &plain, &bucket), "open in memory");
  fails(kfs_writer_open(bucket, "a/b", 0, NULL, 0, NULL, &writer), KFS_INVALID_INPUT, "a bad topic");
  fails(kfs_writer_open(bucket, "orders", -1, NULL, 0, NULL, &writer), KFS_INVALID_INPUT, "a bad partition");
  kfs_writer_options patient;
  kfs_writer_options_init(&patient, sizeof patient);
  patient.flush_bytes = 0;
  fails(kfs_writer_open(bucket, "orders", 0, &patient, TIMEOUT_MS, NULL, &writer), KFS_INVALID_INPUT, "flushes of nothing");
  kfs_writer_options_init(&patient, sizeof patient);
  patient.index_interval = 0;
  fails(kfs_writer_open(bucket, "orders", 0, &patient, TIMEOUT_MS, NULL, &writer), KFS_INVALID_INPUT, "an index interval of 0");
  kfs_writer_options_init(&patient, sizeof patient);
  patient.flush_interval_ms = patient.linger_ms = 3600 * 1000;
  well(kfs_writer_open(bucket, "orders", 0, &patient, TIMEOUT_MS, NULL, &writer), "open a writer");
  fails(kfs_writer_append_batches(writer, NULL, 5, 0, NULL, NULL), KFS_INVALID_INPUT, "NULL with a length");
  fails(kfs_writer_append_batches(writer, NULL, 0, 0, NULL, NULL), KFS_INVALID_INPUT, "an append of nothing");

  kfs_reader *reader = NULL;
  kfs_fetch *fetch = NULL;
  fails(kfs_reader_open(bucket, "", 0, NULL, &reader), KFS_INVALID_INPUT, "no topic");
  well(kfs_reader_open(bucket, "nowhere", 0, NULL, &reader), "open a reader");
  fails(kfs_reader_fetch(reader, 0, 1, false, TIMEOUT_MS, NULL, &fetch), KFS_NOT_FOUND, "a partition that is not there");
  fails(kfs_reader_fetch(reader, -1, 1, false, TIMEOUT_MS, NULL, &fetch), KFS_INVALID_INPUT, "a negative offset");
  CHECK(fetch == NULL && kfs_fetch_next_offset(NULL) == -1 && kfs_fetch_batch_count(NULL) == 0);
  kfs_reader_free(reader);
  kfs_reader_options lenient;
  kfs_reader_options_init(&lenient, sizeof lenient);
  lenient.wait_for_partition = 1;
  lenient.isolation = 7;
  fails(kfs_reader_open(bucket, "nowhere", 0, &lenient, &reader), KFS_INVALID_INPUT, "an isolation that is not one");
  lenient.isolation = KFS_READ_COMMITTED;
  well(kfs_reader_open(bucket, "nowhere", 0, &lenient, &reader), "open a reader");
  well(kfs_reader_fetch(reader, 0, 1, false, TIMEOUT_MS, NULL, &fetch), "a partition that may come");
  CHECK(kfs_fetch_batch_count(fetch) == 0);
  kfs_fetch_free(fetch);
  kfs_reader_free(reader);

  /* A cancelled call ends, whatever its time limit; the append goes on. */
  kfs_cancel *cancel = kfs_cancel_new();
  kfs_cancel_cancel(cancel);
  kfs_error *error = kfs_writer_append_batches(writer, batch, batch_length, -1, cancel, NULL);
  CHECK(kfs_error_stored(error) == KFS_STORED_PERHAPS);
  kfs_error *copy = kfs_error_clone(error);
  fails(error, KFS_TIMED_OUT, "a cancelled append");
  fails(copy, KFS_TIMED_OUT, "its copy");
  kfs_cancel_free(cancel);

  /* In any order. */
  kfs_bucket_free(bucket);
  kfs_writer_free(writer);

  kfs_bucket_free(NULL);
  kfs_writer_free(NULL);
  kfs_reader_free(NULL);
  kfs_fetch_free(NULL);
  kfs_cancel_free(NULL);
  kfs_cancel_cancel(NULL);
  kfs_error_free(NULL);
  CHECK(kfs_error_code(NULL) == KFS_OK && kfs_error_message(NULL)[0] == 0 && kfs_error_clone(NULL) == NULL);
  CHECK(strcmp(kfs_error_name(NULL), "ok") == 0 && kfs_error_key(NULL) == NULL && kfs_error_winner(NULL) == NULL);
  CHECK(kfs_error_request_id(NULL) == NULL && kfs_error_client_request_id(NULL) == NULL);
  uint64_t pause_ms = 7;
  CHECK(!kfs_error_retry_after_ms(NULL, &pause_ms) && pause_ms == 7);
  int64_t offset = 7;
  CHECK(!kfs_error_log_range(NULL, &offset, &offset) && !kfs_error_offsets(NULL, &offset, NULL) && offset == 7);
}

int main(int argc, char **argv) {
  CHECK(argc == 4);
  CHECK(kfs_version_number() == KFS_VERSION_NUMBER && strcmp(kfs_version(), KFS_VERSION) == 0);
  read_batch(argv[2]);
  records = atoll(argv[3]);

  kfs_bucket *bucket = NULL;
  well(kfs_bucket_open(argv[1], NULL, &bucket), "open the bucket");
  append_and_wait(bucket);
  append_and_be_told(bucket);
  well(kfs_bucket_close(bucket, TIMEOUT_MS, NULL), "close the bucket");
  kfs_bucket_free(bucket);
  be_refused();
  free(batch);
  puts("all is well");
  return 0;
}
