/* SPDX-License-Identifier: Apache-2.0 */
/* An unlinked file of int32 in the machine's own byte order. */
#include "daemon/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"

struct spool {
    int fd;
    uint32_t holders;
    uint64_t n;
};

status
spool_new(spool **out, const char *dir)
{
    spool *s = NULL;
    char path[4096];
    int len = snprintf(path, sizeof(path), "%s/input.XXXXXX", dir);
    status st;

    if (len < 0 || (size_t)len >= sizeof(path))
        return status_fail(ST_ARG, "the data directory's path is too long");
    TRY(mem_new(&s, 1, sizeof(*s)));
    s->holders = 1;
    s->fd = mkostemp(path, O_CLOEXEC);
    if (s->fd < 0)
        TRY(file_failed("make a file in", dir));
    (void)unlink(path);
    *out = s;
    return ST_OK;
fail:
    mem_free(s);
    return st == ST_NOMEM ? st : ST_IO;
}

spool *
spool_hold(spool *s)
{
    s->holders++;
    return s;
}

void
spool_free(spool *s)
{
    if (!s || --s->holders > 0)
        return;
    (void)close(s->fd);
    mem_free(s);
}

status
spool_add(spool *s, const int32_t *ids, size_t n)
{
    const char *from = (const char *)ids;
    size_t left = n * sizeof(*ids);
    off_t at = (off_t)(s->n * sizeof(*ids));

    while (left > 0) {
        ssize_t put = pwrite(s->fd, from, left, at);

        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return status_fail(ST_IO, "tokens cannot be written: %s",
                               strerror(errno));
        from += put;
        at += put;
        left -= (size_t)put;
    }
    s->n += n;
    return ST_OK;
}

uint64_t
spool_count(const spool *s)
{
    return s->n;
}

status
spool_read(const spool *s, int32_t *out, uint64_t first, size_t n)
{
    char *to = (char *)out;
    size_t left = n * sizeof(*out);
    off_t at = (off_t)(first * sizeof(*out));

    if (first > s->n || n > s->n - first)
        return status_fail(ST_IO, "tokens beyond the end are asked for");
    while (left > 0) {
        ssize_t got = pread(s->fd, to, left, at);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return status_fail(ST_IO, "tokens cannot be read back: %s",
                               got < 0 ? strerror(errno) : "the end");
        to += got;
        at += got;
        left -= (size_t)got;
    }
    return ST_OK;
}
