/*
 * Writers that are freed within callbacks, and handles in a forked child.
 *
 *   border URL BATCH_FILE
 *
 * Built and run by ../border.rs; exits 0 when all is as it must be. What hangs is ended by alarm().
 */
#include "check.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define HUNG_AFTER_SECONDS 120

static void pause_ms(long ms) {
  struct timespec time = {ms / 1000, (ms % 1000) * 1000000};
  nanosleep(&time, NULL);
}

static void await_flag(atomic_int *flag) {
  while (!atomic_load(flag)) pause_ms(1);
}

static kfs_writer *open_writer(const kfs_bucket *bucket, int32_t partition, const kfs_writer_options *options) {
  kfs_writer *writer = NULL;
  well(kfs_writer_open(bucket, "border", partition, options, TIMEOUT_MS, NULL, &writer), "open a writer");
  return writer;
}

static void append(kfs_writer *writer, bool flush, kfs_append_callback callback, void *data) {
  well(kfs_writer_append_batches_callback(writer, batch, batch_length, flush, TIMEOUT_MS, NULL, callback, data), "append");
}

/* What the callbacks of one case share. */
struct shared {
  kfs_writer *a, *b;
  atomic_int a_in, b_in, freeing, freed, b_out, a_done, b_done, calls, failed;
};

/* Runs while A's callback frees B. */
static void slow_b(void *data, const kfs_error *error, const kfs_offsets *offsets) {
  struct shared *shared = data;
  CHECK(error == NULL && offsets != NULL);
  atomic_store(&shared->b_in, 1);
  await_flag(&shared->freeing);
  pause_ms(200);
  CHECK(!atomic_load(&shared->freed));
  atomic_store(&shared->b_out, 1);
}

static void frees_b(void *data, const kfs_error *error, const kfs_offsets *offsets) {
  struct shared *shared = data;
  CHECK(error == NULL && offsets != NULL);
  await_flag(&shared->b_in);
  /* A close can't wait here, and says so. */
  fails(kfs_writer_close(shared->b, -1, NULL), KFS_INVALID_INPUT, "close within a callback");
  atomic_store(&shared->freeing, 1);
  kfs_writer_free(shared->b);
  atomic_store(&shared->freed, 1);
  CHECK(atomic_load(&shared->b_out));
  atomic_store(&shared->a_done, 1);
}

static void free_waits_for_the_callbacks_of_another_writer(const kfs_bucket *bucket) {
  struct shared shared = {0};
  shared.a = open_writer(bucket, 0, NULL);
  shared.b = open_writer(bucket, 1, NULL);
  append(shared.b, true, slow_b, &shared);
  append(shared.a, true, frees_b, &shared);
  await_flag(&shared.a_done);
  kfs_writer_free(shared.a);
}

static void counts_failure(void *data, const kfs_error *error, const kfs_offsets *offsets) {
  struct shared *shared = data;
  CHECK(kfs_error_code(error) == KFS_CLOSED && offsets == NULL);
  CHECK(kfs_error_stored(error) == KFS_STORED_NOT);
  atomic_fetch_add(&shared->failed, 1);
}

static void frees_what_is_buffered(void *data, const kfs_error *error, const kfs_offsets *offsets) {
  struct shared *shared = data;
  CHECK(error == NULL && offsets != NULL);
  kfs_writer_free(shared->b);
  CHECK(atomic_load(&shared->failed) == 3);
  atomic_store(&shared->a_done, 1);
}

static void free_within_a_callback_tells_what_was_buffered(const kfs_bucket *bucket) {
  struct shared shared = {0};
  kfs_writer_options options;
  kfs_writer_options_init(&options, sizeof options);
  options.flush_interval_ms = 3600000;
  shared.a = open_writer(bucket, 0, NULL);
  shared.b = open_writer(bucket, 2, &options);
  for (int i = 0; i < 3; i++) append(shared.b, false, counts_failure, &shared);
  append(shared.a, true, frees_what_is_buffered, &shared);
  await_flag(&shared.a_done);
  kfs_writer_free(shared.a);
}

static void a_frees_b(void *data, const kfs_error *error, const kfs_offsets *offsets) {
  struct shared *shared = data;
  CHECK(error == NULL && offsets != NULL);
  atomic_store(&shared->a_in, 1);
  await_flag(&shared->b_in);
  kfs_writer_free(shared->b);
  atomic_store(&shared->a_done, 1);
}

static void b_frees_a(void *data, const kfs_error *error, const kfs_offsets *offsets) {
  struct shared *shared = data;
  CHECK(error == NULL && offsets != NULL);
  atomic_store(&shared->b_in, 1);
  await_flag(&shared->a_in);
  kfs_writer_free(shared->a);
  atomic_store(&shared->b_done, 1);
}

static void callbacks_that_free_each_others_writers_do_not_wait_for_ever(const kfs_bucket *bucket) {
  struct shared shared = {0};
  shared.a = open_writer(bucket, 3, NULL);
  shared.b = open_writer(bucket, 4, NULL);
  append(shared.a, true, a_frees_b, &shared);
  append(shared.b, true, b_frees_a, &shared);
  await_flag(&shared.a_done);
  await_flag(&shared.b_done);
}

static void frees_itself(void *data, const kfs_error *error, const kfs_offsets *offsets) {
  struct shared *shared = data;
  (void)offsets;
  if (atomic_fetch_add(&shared->calls, 1) == 0) {
    CHECK(error == NULL);
    await_flag(&shared->freeing);
    kfs_writer_free(shared->a);
  }
  if (atomic_load(&shared->calls) == 2) atomic_store(&shared->a_done, 1);
}

static void free_within_a_callback_of_the_same_writer_returns(const kfs_bucket *bucket) {
  struct shared shared = {0};
  shared.a = open_writer(bucket, 5, NULL);
  append(shared.a, true, frees_itself, &shared);
  append(shared.a, false, frees_itself, &shared);
  atomic_store(&shared.freeing, 1);
  await_flag(&shared.a_done);
}

static void a_forked_child_gets_errors_and_frees_without_waiting(const char *url) {
  kfs_bucket_options options;
  kfs_bucket_options_init(&options, sizeof options);
  options.map = 0;
  options.file_mode = 0640;
  options.dir_mode = 0750;
  kfs_bucket *bucket = NULL;
  well(kfs_bucket_open(url, &options, &bucket), "open a bucket");
  kfs_writer *writer = open_writer(bucket, 6, NULL);
  kfs_reader *reader = NULL;
  kfs_fetch *fetch = NULL;
  kfs_cancel *cancel = kfs_cancel_new();
  kfs_offsets offsets;
  well(kfs_writer_append_batches(writer, batch, batch_length, TIMEOUT_MS, cancel, &offsets), "append");
  well(kfs_reader_open(bucket, "border", 6, NULL, &reader), "open a reader");
  well(kfs_reader_fetch(reader, 0, 1 << 20, false, TIMEOUT_MS, cancel, &fetch), "fetch");
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    alarm(HUNG_AFTER_SECONDS);
    fails(kfs_writer_append_batches(writer, batch, batch_length, -1, cancel, NULL), KFS_CLOSED, "append in a child");
    fails(kfs_writer_append_batches_callback(writer, batch, batch_length, true, 0, NULL, NULL, NULL), KFS_CLOSED, "append");
    fails(kfs_writer_flush(writer, -1, NULL), KFS_CLOSED, "flush in a child");
    fails(kfs_writer_close(writer, -1, cancel), KFS_CLOSED, "close in a child");
    kfs_fetch *another = NULL;
    fails(kfs_reader_fetch(reader, 0, 1, false, -1, NULL, &another), KFS_CLOSED, "fetch in a child");
    fails(kfs_bucket_close(bucket, -1, NULL), KFS_CLOSED, "close the bucket in a child");
    kfs_writer *more = NULL;
    fails(kfs_writer_open(bucket, "border", 7, NULL, -1, NULL, &more), KFS_CLOSED, "open in a child");
    CHECK(kfs_fetch_batch_count(fetch) == 1 && kfs_fetch_chunk(fetch, 0).data != NULL);
    kfs_cancel_cancel(cancel);
    kfs_cancel_free(cancel);
    kfs_fetch_free(fetch);
    kfs_reader_free(reader);
    kfs_writer_free(writer);
    kfs_bucket_free(bucket);
    _exit(0);
  }
  int status = 0;
  CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
  well(kfs_writer_append_batches(writer, batch, batch_length, TIMEOUT_MS, cancel, &offsets), "append after the fork");
  well(kfs_writer_close(writer, TIMEOUT_MS, cancel), "close");
  kfs_writer_free(writer);
  kfs_fetch_free(fetch);
  kfs_reader_free(reader);
  kfs_cancel_free(cancel);
  kfs_bucket_free(bucket);
}

int main(int count, char **arguments) {
  CHECK(count == 3);
  alarm(HUNG_AFTER_SECONDS);
  read_batch(arguments[2]);
  kfs_bucket *bucket = NULL;
  well(kfs_bucket_open("memory:", NULL, &bucket), "open a bucket");
  free_waits_for_the_callbacks_of_another_writer(bucket);
  free_within_a_callback_tells_what_was_buffered(bucket);
  callbacks_that_free_each_others_writers_do_not_wait_for_ever(bucket);
  free_within_a_callback_of_the_same_writer_returns(bucket);
  well(kfs_bucket_close(bucket, TIMEOUT_MS, NULL), "close the bucket");
  kfs_bucket_free(bucket);
  a_forked_child_gets_errors_and_frees_without_waiting(arguments[1]);
  free(batch);
  puts("all is well");
  return 0;
}
