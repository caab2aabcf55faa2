/*
 * Credentials that the host supplies through a callback.
 *
 *   credentials ENDPOINT BUCKET ID SECRET BATCH_FILE
 *
 * Built and run by ../credentials.rs, which checks that the output holds no secret; exits 0 when all is as it must be.
 */
#include "check.h"

#include <stdatomic.h>
#include <string.h>
#include <time.h>

#define LONG_AGO_MS 1

enum answer { GOOD, WRONG, LOCKED, AWAY_ONCE, NOTHING, OTHER_KIND, NOT_UTF8 };

/* What the callback is given. */
struct vault {
  char id[64], secret[64];
  atomic_int answer, calls, running, released;
};

static void ask_vault(void *user_data, kfs_credentials *answer) {
  struct vault *vault = user_data;
  CHECK(atomic_fetch_add(&vault->running, 1) == 0 && !atomic_load(&vault->released));
  atomic_fetch_add(&vault->calls, 1);
  /* Overwritten as soon as they were given: the library has copies. */
  char id[64], secret[64], message[128];
  memcpy(id, vault->id, sizeof id);
  memcpy(secret, vault->secret, sizeof secret);
  kfs_credentials_expire_at(answer, LONG_AGO_MS);
  switch (atomic_load(&vault->answer)) {
  case GOOD:
    kfs_credentials_fail(answer, KFS_UNAVAILABLE, "the last answer counts");
    kfs_credentials_access_key(answer, id, secret, NULL);
    break;
  case WRONG:
    kfs_credentials_access_key(answer, id, "wrong", "of-another-session");
    break;
  case LOCKED:
    snprintf(message, sizeof message, "the vault is locked for %s; password=planted-1234", secret);
    kfs_credentials_fail(answer, KFS_PERMISSION_DENIED, message);
    break;
  case AWAY_ONCE:
    kfs_credentials_fail(answer, KFS_UNAVAILABLE, NULL);
    atomic_store(&vault->answer, GOOD);
    break;
  case OTHER_KIND:
    kfs_credentials_bearer_token(answer, secret);
    break;
  case NOT_UTF8:
    kfs_credentials_access_key(answer, id, "\xff\xfe", NULL);
    break;
  default:
    break;
  }
  memset(id, 0, sizeof id);
  memset(secret, 0, sizeof secret);
  memset(message, 0, sizeof message);
  atomic_fetch_sub(&vault->running, 1);
}

static void release_vault(void *user_data) {
  struct vault *vault = user_data;
  CHECK(atomic_load(&vault->running) == 0);
  CHECK(atomic_fetch_add(&vault->released, 1) == 0);
}

static kfs_bucket *open_bucket(const char *endpoint, const char *name, kfs_credential_source *source) {
  char document[512];
  snprintf(document, sizeof document, "{\"storage\": {\"backend\": \"s3\", \"bucket\": \"%s\", \"endpoint\": \"%s\"}}", name,
           endpoint);
  kfs_config *config = NULL;
  well(kfs_config_from_document(document, &config), "read the document");
  kfs_bucket_options options;
  kfs_bucket_options_init(&options, sizeof options);
  options.environment = 0;
  options.preflight = 0;
  options.credentials = source;
  kfs_bucket *bucket = NULL;
  /* Nobody gave leave to send anything in plain text: the error names the setting. */
  kfs_error *error = kfs_bucket_open_config(config, &options, &bucket);
  CHECK(kfs_error_code(error) == KFS_INVALID_INPUT && strstr(kfs_error_message(error), "endpoint") != NULL);
  kfs_error_free(error);
  well(kfs_config_set(config, "allow_http", "true"), "set allow_http");
  well(kfs_bucket_open_config(config, &options, &bucket), "open the bucket");
  kfs_config_free(config);
  return bucket;
}

/* Asks the store for a partition that nobody has asked for yet. */
static kfs_error *look(const kfs_bucket *bucket, int32_t partition) {
  kfs_reader *reader = NULL;
  kfs_fetch *fetch = NULL;
  well(kfs_reader_open(bucket, "credentials", partition, NULL, &reader), "open a reader");
  kfs_error *error = kfs_reader_fetch(reader, 0, 1, false, TIMEOUT_MS, NULL, &fetch);
  kfs_fetch_free(fetch);
  kfs_reader_free(reader);
  return error;
}

static void refused(kfs_error *error, int32_t code, const char *said, const char *secret) {
  const char *message = kfs_error_message(error), *hint = kfs_error_hint(error);
  printf("%s\n%s\n", message, hint ? hint : "");
  CHECK(kfs_error_code(error) == code);
  CHECK(strstr(message, said) != NULL);
  CHECK(strstr(message, secret) == NULL && strstr(message, "planted-1234") == NULL);
  kfs_error_free(error);
}

/* A store that sends its callers away says for how long, and what it calls the request. */
static void a_busy_store_is_told(const kfs_bucket *bucket) {
  kfs_reader *reader = NULL;
  kfs_fetch *fetch = NULL;
  well(kfs_reader_open(bucket, "later", 0, NULL, &reader), "open a reader");
  kfs_error *error = kfs_reader_fetch(reader, 0, 1, false, 300, NULL, &fetch);
  printf("%s\n", kfs_error_message(error));
  CHECK(kfs_error_code(error) == KFS_TIMED_OUT);
  uint64_t pause_ms = 0;
  CHECK(kfs_error_retry_after_ms(error, &pause_ms) && pause_ms == 7000);
  CHECK(strcmp(kfs_error_request_id(error), "fake-request") == 0);
  CHECK(strlen(kfs_error_client_request_id(error)) == 36);
  kfs_error_free(error);
  kfs_reader_free(reader);
}

static void config_errors_name_the_setting(void) {
  kfs_config *config = NULL;
  kfs_error *error = kfs_config_from_document("storage:\n  backend: s3\n  bucket: b\n  regoin: x\n", &config);
  CHECK(kfs_error_code(error) == KFS_INVALID_INPUT && config == NULL);
  CHECK(strstr(kfs_error_message(error), "line 4") != NULL && strstr(kfs_error_message(error), "regoin") != NULL);
  kfs_error_free(error);
  fails(kfs_config_from_url("s3://bucket?secret_key=planted-1234", &config), KFS_INVALID_INPUT, "a secret in a URL");
  fails(kfs_config_from_document("backend: s4", &config), KFS_UNSUPPORTED, "a backend that there is not");
  fails(kfs_config_from_document(NULL, &config), KFS_INVALID_INPUT, "no document");
  well(kfs_config_from_url("s3://bucket?region=x", &config), "read a URL");
  fails(kfs_config_set(config, "nonsense", "1"), KFS_INVALID_INPUT, "a setting that there is not");
  well(kfs_config_set(config, "connect_timeout", "planted-1234"), "values are read later");
  kfs_bucket *bucket = NULL;
  error = kfs_bucket_open_config(config, NULL, &bucket);
  CHECK(kfs_error_code(error) == KFS_INVALID_INPUT && strstr(kfs_error_message(error), "connect_timeout") != NULL);
  kfs_error_free(error);
  kfs_config_free(config);
  kfs_config_free(NULL);
}

int main(int argc, char **argv) {
  CHECK(argc == 6);
  read_batch(argv[5]);
  config_errors_name_the_setting();
  struct vault vault = {0};
  snprintf(vault.id, sizeof vault.id, "%s", argv[3]);
  snprintf(vault.secret, sizeof vault.secret, "%s", argv[4]);
  kfs_credential_source *source = NULL;
  fails(kfs_credential_source_new(NULL, &vault, release_vault, &source), KFS_INVALID_INPUT, "no callback");
  well(kfs_credential_source_new(ask_vault, &vault, release_vault, &source), "make a source");
  kfs_bucket *bucket = open_bucket(argv[1], argv[2], source);
  kfs_credential_source_free(source);
  CHECK(atomic_load(&vault.calls) == 0 && !atomic_load(&vault.released));

  /* What the first call gave has run out, so the source is asked for each request. */
  kfs_writer *writer = NULL;
  kfs_offsets offsets;
  well(kfs_writer_open(bucket, "credentials", 0, NULL, TIMEOUT_MS, NULL, &writer), "open a writer");
  well(kfs_writer_append_batches(writer, batch, batch_length, TIMEOUT_MS, NULL, &offsets), "append");
  CHECK(offsets.base == 0 && atomic_load(&vault.calls) > 1);
  well(look(bucket, 0), "read it back");

  atomic_store(&vault.answer, WRONG);
  refused(look(bucket, 1), KFS_PERMISSION_DENIED, "", vault.secret);
  atomic_store(&vault.answer, LOCKED);
  refused(look(bucket, 2), KFS_PERMISSION_DENIED, "the vault is locked for [removed]", vault.secret);
  atomic_store(&vault.answer, NOTHING);
  refused(look(bucket, 3), KFS_PERMISSION_DENIED, "the credential callback gave no credentials", vault.secret);
  atomic_store(&vault.answer, OTHER_KIND);
  refused(look(bucket, 4), KFS_INVALID_INPUT, "S3 takes an access key, and the caller's source of credentials gave a bearer token",
          vault.secret);
  atomic_store(&vault.answer, NOT_UTF8);
  refused(look(bucket, 5), KFS_INVALID_INPUT, "secret is not UTF-8", vault.secret);
  /* It is tried again. */
  atomic_store(&vault.answer, AWAY_ONCE);
  fails(look(bucket, 6), KFS_NOT_FOUND, "a partition that nobody made");

  if (getenv("KFS_TEST_FAKE")) a_busy_store_is_told(bucket);

  well(kfs_writer_append_batches(writer, batch, batch_length, TIMEOUT_MS, NULL, &offsets), "append again");
  well(kfs_writer_close(writer, TIMEOUT_MS, NULL), "close the writer");
  kfs_writer_free(writer);
  CHECK(!atomic_load(&vault.released));
  kfs_bucket_free(bucket);
  /* Another thread may be the last to let go of it. */
  struct timespec moment = {0, 1000000};
  for (int i = 0; i < TIMEOUT_MS && !atomic_load(&vault.released); i++) nanosleep(&moment, NULL);
  CHECK(atomic_load(&vault.released) == 1);

  /* A source that no bucket uses. */
  struct vault unused = {0};
  well(kfs_credential_source_new(ask_vault, &unused, release_vault, &source), "make a source");
  kfs_credential_source_free(source);
  CHECK(atomic_load(&unused.released) == 1 && atomic_load(&unused.calls) == 0);
  free(batch);
  puts("all is well");
  return 0;
}
