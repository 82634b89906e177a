/* SPDX-License-Identifier: Apache-2.0 */
/* Reads and makes files whose owner and mode matter. */
#include "base/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"

/* Looks at what was opened, not at the path, which can change meanwhile. */
static status
check(int fd, size_t *size, const char *path, size_t limit, secret_care care)
{
    struct stat sb;

    if (fstat(fd, &sb) != 0)
        return file_failed("look at", path);
    if (!S_ISREG(sb.st_mode))
        return status_fail(ST_ARG, "%s is not a regular file", path);
    if (sb.st_uid != geteuid() && sb.st_uid != 0)
        return status_fail(ST_DENIED, "%s belongs to another user", path);
    if ((sb.st_mode & (mode_t)care) != 0)
        return status_fail(ST_DENIED,
                           "others may %s %s (mode %03o): chmod %s helps",
                           care == SECRET_PRIVATE ? "read" : "write", path,
                           (unsigned)(sb.st_mode & 0777),
                           care == SECRET_PRIVATE ? "600" : "go-w");
    if (sb.st_size < 0 || (size_t)sb.st_size > limit)
        return status_fail(ST_LIMIT, "%s has more than %zu bytes", path, limit);
    *size = (size_t)sb.st_size;
    return ST_OK;
}

static status
read_all(int fd, char *data, size_t *len, const char *path)
{
    size_t at = 0;

    while (at < *len) {
        ssize_t n = read(fd, data + at, *len - at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return file_failed("read", path);
        if (n == 0)
            break;
        at += (size_t)n;
    }
    *len = at;
    return ST_OK;
}

/* O_NONBLOCK so that a FIFO does not hang the open that then refuses it. */
status
secret_read(char **out, size_t *len, const char *path, size_t limit,
            secret_care care)
{
    char *data = NULL;
    size_t size = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    status st;

    if (fd < 0)
        return file_failed("open", path);
    TRY(check(fd, &size, path, limit, care));
    TRY(mem_new(&data, size + 1, 1));
    TRY(read_all(fd, data, &size, path));
    (void)close(fd);
    *out = data;
    *len = size;
    return ST_OK;
fail:
    (void)close(fd);
    secret_free(data, size);
    return st;
}

void
secret_wipe(void *data, size_t len)
{
    explicit_bzero(data, len);
}

void
secret_free(char *data, size_t len)
{
    if (!data)
        return;
    secret_wipe(data, len);
    mem_free(data);
}

static status
write_all(int fd, const char *data, size_t len, const char *path)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return file_failed("write", path);
        data += n;
        len -= (size_t)n;
    }
    return fsync(fd) == 0 ? ST_OK : file_failed("write", path);
}

status
secret_create(const char *path, const void *data, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    status st;

    if (fd < 0 && errno == EEXIST)
        return status_fail(ST_STATE, "%s is there already", path);
    if (fd < 0)
        return file_failed("make", path);
    st = write_all(fd, data, len, path);
    if (close(fd) != 0 && st == ST_OK)
        st = file_failed("write", path);
    if (st == ST_OK)
        st = file_sync_entry(path);
    if (st != ST_OK)
        (void)unlink(path);
    return st;
}
