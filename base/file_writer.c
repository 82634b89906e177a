/* SPDX-License-Identifier: Apache-2.0 */
/* Writes that are whole or not there: tmp, fsync, rename, fsync directory. */
#include "base/fault.h"
#include "base/file.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static atomic_bool sync_has_failed;

bool
file_sync_failed(void)
{
    return atomic_load(&sync_has_failed);
}

static status
write_failed(const char *path)
{
    return status_fail(ST_IO, "cannot write %s: %s", path, strerror(errno));
}

void
file_sync_fail(void)
{
    atomic_store(&sync_has_failed, true);
}

/* A rename would put a file in the place of a device, a pipe, or a link. */
static status
check_place(const char *path)
{
    struct stat there;

    if (lstat(path, &there) == 0 && !S_ISREG(there.st_mode))
        return status_fail(ST_IO,
                           "cannot write %s: it is there and is not a "
                           "regular file",
                           path);
    return ST_OK;
}

status
file_writer_open(file_writer *w, const char *path)
{
    status st;
    size_t size = strlen(path) + 32;

    memset(w, 0, sizeof(*w));
    w->fd = -1;
    TRY(check_place(path));
    TRY(mem_strdup(&w->path, path));
    TRY(mem_new(&w->tmp, size, 1));
    /* Two processes that write one path must not share the unfinished file.
     * What lies there already is a dead process's, or somebody's link in a
     * directory open to all: it is removed, never written through. */
    (void)snprintf(w->tmp, size, "%s.%ld.tmp", path, (long)getpid());
    (void)unlink(w->tmp);
    w->fd = open(w->tmp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (w->fd < 0 || FAULT_FAILS(FILE_OPEN))
        TRY(write_failed(path));
    return ST_OK;
fail:
    file_writer_close(w);
    return st;
}

status
file_writer_add(file_writer *w, const void *data, size_t len)
{
    const char *at = data;

    while (len > 0) {
        size_t part = FAULT_CUT(FILE_WRITE, len);
        ssize_t n = part > 0 ? write(w->fd, at, part) : -1;

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return write_failed(w->path);
        at += n;
        len -= (size_t)n;
    }
    return ST_OK;
}

status
file_sync_entry(const char *path)
{
    status st = ST_OK;
    char *copy = NULL;
    int fd = -1;

    TRY(mem_strdup(&copy, path));
    fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || FAULT_FAILS(FILE_DIRECTORY) || fsync(fd) != 0) {
        file_sync_fail();
        TRY(write_failed(path));
    }
fail:
    if (fd >= 0)
        (void)close(fd);
    mem_free(copy);
    return st;
}

status
file_writer_finish(file_writer *w, bool durable)
{
    status st;
    int fd = w->fd;

    if (durable && (FAULT_FAILS(FILE_SYNC) || fsync(fd) != 0)) {
        file_sync_fail();
        TRY(write_failed(w->path));
    }
    w->fd = -1;
    if (close(fd) != 0 || FAULT_FAILS(FILE_RENAME) ||
        rename(w->tmp, w->path) != 0) {
        st = write_failed(w->path);
        (void)unlink(w->tmp);
        goto fail;
    }
    if (durable)
        TRY(file_sync_entry(w->path));
    file_writer_close(w);
    return ST_OK;
fail:
    return st;
}

void
file_writer_close(file_writer *w)
{
    if (w == NULL)
        return;
    if (w->path != NULL && w->fd >= 0) {
        (void)close(w->fd);
        (void)unlink(w->tmp);
    }
    mem_free(w->path);
    mem_free(w->tmp);
    memset(w, 0, sizeof(*w));
    w->fd = -1;
}

status
file_write(const char *path, const void *data, size_t len)
{
    status st;
    file_writer w = {.fd = -1};

    TRY(file_writer_open(&w, path));
    TRY(file_writer_add(&w, data, len));
    TRY(file_writer_finish(&w, true));
    return ST_OK;
fail:
    file_writer_close(&w);
    return st;
}
