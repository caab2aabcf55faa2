/* What the C programs of the tests share: checks that end the program, and the batch to append. */
#ifndef KFS_TESTS_CHECK_H
#define KFS_TESTS_CHECK_H

#include "kfs.h"

#include <stdio.h>
#include <stdlib.h>

#define TIMEOUT_MS 30000

static uint8_t *batch;
static size_t batch_length;

#define CHECK(condition)                                                          \
  do {                                                                            \
    if (!(condition)) {                                                           \
      fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);     \
      exit(1);                                                                    \
    }                                                                             \
  } while (0)

/* Ends the program unless all is well. */
static void well(kfs_error *error, const char *what) {
  if (error == NULL) return;
  const char *hint = kfs_error_hint(error);
  fprintf(stderr, "%s: %s%s%s\n", what, kfs_error_message(error), hint ? "; " : "", hint ? hint : "");
  kfs_error_free(error);
  exit(1);
}

/* Ends the program unless this failed with that code. */
static void fails(kfs_error *error, int32_t code, const char *what) {
  if (kfs_error_code(error) != code) {
    fprintf(stderr, "%s: code %d wanted, but: %d %s\n", what, (int)code, (int)kfs_error_code(error),
            kfs_error_message(error));
    exit(1);
  }
  kfs_error_free(error);
}

/* Reads the batch from a file. */
static void read_batch(const char *path) {
  FILE *file = fopen(path, "rb");
  CHECK(file != NULL && fseek(file, 0, SEEK_END) == 0);
  batch_length = (size_t)ftell(file);
  rewind(file);
  batch = malloc(batch_length);
  CHECK(batch != NULL && fread(batch, 1, batch_length, file) == batch_length);
  fclose(file);
}

#endif
