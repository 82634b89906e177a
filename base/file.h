/* SPDX-License-Identifier: Apache-2.0 */
/* Files: whole reads with a limit, maps, and writes that survive a crash.
 *
 * Everything opened here is close-on-exec, and only regular files are read
 * (no FIFO, device or directory). */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* What errno says of a file: ST_NOTFOUND, ST_DENIED, ST_NOMEM (memory or
 * descriptors are short, which says nothing about the file), else ST_IO. */
status file_failed(const char *doing, const char *path) MUST_USE;

/* The whole file, NUL-terminated beyond *len; mem_free().  As file_failed(),
 * and ST_ARG (not a regular file), ST_LIMIT (longer than `limit`). */
status file_read(char **out, size_t *len, const char *path,
                 size_t limit) MUST_USE;

typedef struct file_map {
    const void *data;
    size_t len;
    int fd; /* open while `data` is not NULL */
} file_map;
/* As file_read, without a limit; an empty file has data NULL.  The file must
 * not become shorter while it is mapped. */
status file_map_open(file_map *out, const char *path) MUST_USE;
void file_map_close(file_map *map); /* zeroed is fine */
/* out[len] = the bytes of an open file from `at` on.  Where all of a map is
 * wanted elsewhere this is faster than to copy it: no page of the file enters
 * this process's memory.  ST_IO, also where the file ends before. */
status file_read_at(int fd, void *out, size_t len, uint64_t at) MUST_USE;
/* `len` bytes of a map will be read soon: reading ahead may begin. */
void file_map_expect(const void *data, size_t len);
/* The whole pages within `len` bytes of a map leave this process's memory; they
 * come back when they are read again. */
void file_map_forget(const void *data, size_t len);

/* Writes beside `path`, fsyncs, renames, fsyncs the directory.  ST_IO:
 * something is there that is not a regular file (a device, a link), and stays;
 * or it could not be written. */
status file_write(const char *path, const void *data, size_t len) MUST_USE;

/* Streamed version of file_write: nothing is seen at `path` before finish. */
typedef struct file_writer {
    char *path, *tmp;
    int fd; /* may be read, too */
} file_writer;
status file_writer_open(file_writer *w, const char *path) MUST_USE;
status file_writer_add(file_writer *w, const void *data, size_t len) MUST_USE;
/* `durable`: fsync of file and directory. */
status file_writer_finish(file_writer *w, bool durable) MUST_USE;
/* Drops what was not finished; zeroed is fine. */
void file_writer_close(file_writer *w);

/* An fsync of this process has failed at some time.  The kernel may have thrown
 * away what it could not write, and says nothing the next time: nothing that
 * was written since can be relied on. */
bool file_sync_failed(void);
/* Makes durable that `path` is in its directory. */
status file_sync_entry(const char *path) MUST_USE;
void file_sync_fail(void); /* it has, outside of this file */

/* Whether both are one regular file, by whatever names and links, or would
 * become one because neither is there yet.  Devices and pipes never are. */
bool file_same(const char *a, const char *b);
/* Whether `path` is one of the regular files in `dir`, or a link to it. */
bool file_same_within(const char *path, const char *dir);

bool file_exists(const char *path);
status file_remove(const char *path) MUST_USE; /* absent is fine */
/* Creates a directory (and parents) with mode 0700 if it is not there, durably.
 * An existing last part must belong to this user and be closed to others when
 * `strict`. */
status file_mkdir(const char *path, bool strict) MUST_USE;
/* "a/b" from "a" and "b"; mem_free(). */
status file_join(char **out, const char *dir, const char *name) MUST_USE;

/* The user's runtime directory: $XDG_RUNTIME_DIR/longwave, else
 * /tmp/longwave-UID; created 0700 and checked. */
status file_runtime_dir(char **out) MUST_USE;
/* Where the user's programs keep what they know: $XDG_STATE_HOME/longwave,
 * else ~/.local/state/longwave.  Only the path: nothing is created. */
status file_state_dir(char **out) MUST_USE;

#endif
