/* SPDX-License-Identifier: Apache-2.0 */
/* Opens, spools and reads what is to be sent. */
#include "client/upload.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/ids.h"

enum { BLOCK = 64 << 10, WIDE_IDS = 4096 };

void
upload_init_text(upload *u, const char *text)
{
    *u = (upload){
        .kind = CLIENT_TEXT, .bytes = strlen(text), .text = text, .fd = -1};
}

void
upload_close(upload *u)
{
    if (!u->text && u->fd >= 0)
        close(u->fd);
    u->fd = -1;
}

static status
io_failed(const char *path)
{
    return status_fail(errno == ENOENT ? ST_NOTFOUND : ST_IO, "%s: %s", path,
                       strerror(errno));
}

static status
write_all(int to, const char *block, ssize_t n)
{
    for (ssize_t done = 0; done < n;) {
        ssize_t m = write(to, block + done, (size_t)(n - done));

        if (m < 0 && errno != EINTR)
            return io_failed("a temporary file");
        done += m > 0 ? m : 0;
    }
    return ST_OK;
}

static status
copy(int to, int from, const char *path, uint64_t most)
{
    char block[BLOCK];
    status st = ST_OK;

    for (uint64_t sum = 0;;) {
        ssize_t n = read(from, block, sizeof(block));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            TRY(io_failed(path));
        if (n == 0)
            return ST_OK;
        sum += (uint64_t)n;
        if (sum > most)
            TRY(status_fail(ST_LIMIT,
                            "%s has more bytes than the limit of %llu", path,
                            (unsigned long long)most));
        TRY(write_all(to, block, n));
    }
fail:
    return st;
}

/* A file without a name that holds what `from` had. */
static status
spool(int *out, int from, const char *path, uint64_t most)
{
    FILE *file = tmpfile();
    int fd = -1;
    status st;

    if (!file)
        return io_failed("a temporary file");
    fd = fcntl(fileno(file), F_DUPFD_CLOEXEC, 3);
    if (fd < 0)
        TRY(io_failed("a temporary file"));
    TRY(copy(fd, from, path, most));
    *out = fd;
    fclose(file);
    return ST_OK;
fail:
    if (fd >= 0)
        close(fd);
    fclose(file);
    return st;
}

static status
check_size(uint64_t bytes, const char *path, uint64_t most)
{
    if (bytes <= most)
        return ST_OK;
    return status_fail(ST_LIMIT, "%s has %llu bytes, and the limit is %llu",
                       path, (unsigned long long)bytes,
                       (unsigned long long)most);
}

/* `most` of the bytes in the file. */
static status
open_file(upload *u, const char *path, uint64_t most)
{
    bool standard = strcmp(path, "-") == 0;
    int fd = -1, spooled = -1;
    struct stat found;
    status st;

    *u = (upload){.kind = CLIENT_TEXT, .fd = -1};
    fd = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &found) != 0)
        TRY(io_failed(path));
    if (S_ISDIR(found.st_mode))
        TRY(status_fail(ST_ARG, "%s is a directory", path));
    /* Files of /proc have something, and a size of 0. */
    if (standard || !S_ISREG(found.st_mode) || found.st_size == 0) {
        TRY(spool(&spooled, fd, path, most));
        if (!standard)
            close(fd);
        fd = spooled;
        if (fstat(fd, &found) != 0)
            TRY(io_failed(path));
    }
    u->fd = fd;
    u->bytes = (uint64_t)found.st_size;
    return ST_OK;
fail:
    if (fd > STDIN_FILENO)
        close(fd);
    return st;
}

status
upload_open_file(upload *u, const char *path, uint64_t most)
{
    status st;

    TRY(open_file(u, path, most));
    TRY(check_size(u->bytes, path, most));
    return ST_OK;
fail:
    upload_close(u);
    return st;
}

status
upload_open_ids(upload *u, const char *path, uint64_t most)
{
    ids_place place;
    status st;

    /* There is more in it than ids: how much is not known before. */
    TRY(open_file(u, path, UINT64_MAX));
    TRY(ids_find(&place, u->fd, u->bytes));
    u->kind = CLIENT_IDS;
    u->start = place.start;
    u->wide = place.wide;
    u->bytes = place.n * sizeof(int32_t);
    TRY(check_size(u->bytes, path, most));
    return ST_OK;
fail:
    upload_close(u);
    return st;
}

static status
read_fd(const upload *u, void *out, size_t len, uint64_t at)
{
    for (size_t done = 0; done < len;) {
        ssize_t n =
            pread(u->fd, (char *)out + done, len - done, (off_t)(at + done));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return status_fail(ST_IO, "the input: %s", strerror(errno));
        if (n == 0)
            return status_fail(ST_IO, "the input became shorter meanwhile");
        done += (size_t)n;
    }
    return ST_OK;
}

static uint64_t
little_endian(const uint8_t *p)
{
    uint64_t value = 0;

    for (int i = 7; i >= 0; i--)
        value = value << 8 | p[i];
    return value;
}

static status
read_wide(const upload *u, uint8_t *out, size_t n, uint64_t first)
{
    uint8_t wide[8 * WIDE_IDS];

    for (size_t done = 0; done < n;) {
        size_t part = n - done < WIDE_IDS ? n - done : WIDE_IDS;
        status st = read_fd(u, wide, 8 * part, u->start + 8 * (first + done));

        if (st != ST_OK)
            return st;
        for (size_t i = 0; i < part; i++, out += 4) {
            uint64_t id = little_endian(wide + 8 * i);

            if (id > INT32_MAX)
                return status_fail(ST_ARG, "token %llu: the id %lld is not one",
                                   (unsigned long long)(first + done + i),
                                   (long long)id);
            for (int k = 0; k < 4; k++)
                out[k] = (uint8_t)(id >> 8 * k);
        }
        done += part;
    }
    return ST_OK;
}

status
upload_read(const upload *u, void *out, size_t len, uint64_t offset)
{
    if (u->text) {
        memcpy(out, u->text + offset, len);
        return ST_OK;
    }
    if (u->wide)
        return read_wide(u, out, len / 4, offset / 4);
    return read_fd(u, out, len, u->start + offset);
}
