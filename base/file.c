/* SPDX-License-Identifier: Apache-2.0 */
/* Whole reads, maps and directories. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

static status
status_of(int error)
{
    switch (error) {
    case ENOENT:
    case ENOTDIR:
        return ST_NOTFOUND;
    case EACCES:
    case EPERM:
        return ST_DENIED;
    case ENOMEM:
    case EMFILE:
    case ENFILE:
        return ST_NOMEM;
    default:
        return ST_IO;
    }
}

status
file_failed(const char *doing, const char *path)
{
    return status_fail(status_of(errno), "cannot %s %s: %s", doing, path,
                       strerror(errno));
}

/* O_NONBLOCK so that a FIFO does not hang the open that then refuses it. */
static status
open_regular(int *out, size_t *len, const char *path)
{
    struct stat sb;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0)
        return file_failed("open", path);
    if (fstat(fd, &sb) != 0 || !S_ISREG(sb.st_mode)) {
        (void)close(fd);
        return status_fail(ST_ARG, "%s is not a regular file", path);
    }
    *out = fd;
    *len = (size_t)sb.st_size;
    return ST_OK;
}

static status
read_all(int fd, char *data, size_t len, const char *path)
{
    size_t at = 0;

    while (at < len) {
        ssize_t n = read(fd, data + at, len - at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return file_failed("read", path);
        if (n == 0)
            return status_fail(ST_IO, "%s became shorter while it was read",
                               path);
        at += (size_t)n;
    }
    return ST_OK;
}

status
file_read(char **out, size_t *len, const char *path, size_t limit)
{
    status st;
    int fd = -1;
    size_t size;
    char *data = NULL;

    TRY(open_regular(&fd, &size, path));
    if (size > limit)
        TRY(status_fail(ST_LIMIT, "%s has %zu bytes, over the limit of %zu",
                        path, size, limit));
    TRY(mem_new(&data, size + 1, 1));
    TRY(read_all(fd, data, size, path));
    (void)close(fd);
    *out = data;
    *len = size;
    return ST_OK;
fail:
    mem_free(data);
    if (fd >= 0)
        (void)close(fd);
    return st;
}

status
file_map_open(file_map *out, const char *path)
{
    status st;
    int fd = -1;
    size_t size;
    void *data = NULL;

    TRY(open_regular(&fd, &size, path));
    if (size > 0) {
        data = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED)
            TRY(file_failed("map", path));
    }
    if (data == NULL)
        (void)close(fd);
    *out = (file_map){data, size, data != NULL ? fd : -1};
    return ST_OK;
fail:
    if (fd >= 0)
        (void)close(fd);
    return st;
}

void
file_map_close(file_map *map)
{
    void *data;

    if (map == NULL || map->data == NULL)
        return;
    memcpy(&data, &map->data, sizeof(data));
    (void)munmap(data, map->len);
    (void)close(map->fd);
    *map = (file_map){.fd = -1};
}

status
file_read_at(int fd, void *out, size_t len, uint64_t at)
{
    char *to = out;

    while (len > 0) {
        ssize_t n = pread(fd, to, len, (off_t)at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return status_fail(ST_IO, "cannot read: %s", strerror(errno));
        if (n == 0)
            return status_fail(ST_IO,
                               "a file became shorter while it was read");
        to += n;
        at += (uint64_t)n;
        len -= (size_t)n;
    }
    return ST_OK;
}

/* Advice on the pages within some bytes, or also on those at their edges. */
static void
advise(const void *data, size_t len, bool edges, int advice)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t more = edges ? 0 : page - 1;
    uintptr_t first = ((uintptr_t)data + more) / page * page;
    uintptr_t end = ((uintptr_t)data + len + page - 1 - more) / page * page;

    if (end > first)
        (void)madvise((void *)first, end - first, advice);
}

void
file_map_expect(const void *data, size_t len)
{
    advise(data, len, true, MADV_WILLNEED);
}

void
file_map_forget(const void *data, size_t len)
{
    advise(data, len, false, MADV_DONTNEED);
}

bool
file_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

status
file_remove(const char *path)
{
    if (unlink(path) != 0 && errno != ENOENT)
        return file_failed("remove", path);
    return ST_OK;
}

/* Whether `path` is a directory that belongs to this user alone. */
static status
check_private(const char *path)
{
    struct stat sb;

    if (lstat(path, &sb) != 0)
        return file_failed("look at", path);
    if (!S_ISDIR(sb.st_mode))
        return status_fail(ST_ARG, "%s is not a directory", path);
    if (sb.st_uid != geteuid())
        return status_fail(ST_DENIED, "%s belongs to another user", path);
    if ((sb.st_mode & 077) != 0)
        return status_fail(ST_DENIED,
                           "%s is open to other users (mode %03o, not 700)",
                           path, (unsigned)(sb.st_mode & 0777));
    return ST_OK;
}

/* What is kept in a directory is there after a power cut only if the directory
 * is. */
static status
make_directory(const char *path)
{
    if (mkdir(path, 0700) == 0)
        return file_sync_entry(path);
    return errno == EEXIST ? ST_OK : file_failed("create", path);
}

status
file_mkdir(const char *path, bool strict)
{
    status st;
    char *part = NULL;
    struct stat sb;

    if (path[0] == '\0')
        return status_fail(ST_ARG, "the name of a directory is empty");
    TRY(mem_strdup(&part, path));
    for (char *at = part + 1; *at != '\0'; at++) {
        if (*at != '/')
            continue;
        *at = '\0';
        TRY(make_directory(part));
        *at = '/';
    }
    TRY(make_directory(path));
    if (stat(path, &sb) != 0 || !S_ISDIR(sb.st_mode))
        TRY(status_fail(ST_ARG, "%s is not a directory", path));
    if (strict)
        TRY(check_private(path));
    mem_free(part);
    return ST_OK;
fail:
    mem_free(part);
    return st;
}

status
file_join(char **out, const char *dir, const char *name)
{
    status st;
    char *path = NULL;
    size_t len = strlen(dir);
    const char *slash = len > 0 && dir[len - 1] == '/' ? "" : "/";
    size_t size = len + strlen(name) + 2;

    TRY(mem_new(&path, size, 1));
    (void)snprintf(path, size, "%s%s%s", dir, slash, name);
    *out = path;
    return ST_OK;
fail:
    return st;
}

status
file_runtime_dir(char **out)
{
    status st;
    const char *run = getenv("XDG_RUNTIME_DIR");
    char *path = NULL;
    char fallback[64];

    if (run != NULL && run[0] == '/') {
        TRY(file_join(&path, run, "longwave"));
    } else {
        (void)snprintf(fallback, sizeof(fallback), "/tmp/longwave-%lu",
                       (unsigned long)geteuid());
        TRY(mem_strdup(&path, fallback));
    }
    TRY(file_mkdir(path, true));
    *out = path;
    return ST_OK;
fail:
    mem_free(path);
    return st;
}

status
file_state_dir(char **out)
{
    const char *state = getenv("XDG_STATE_HOME");
    const char *home = getenv("HOME");

    if (state != NULL && state[0] == '/')
        return file_join(out, state, "longwave");
    if (home == NULL || home[0] != '/')
        return status_fail(ST_ARG, "no home directory is known: HOME is not "
                                   "set");
    return file_join(out, home, ".local/state/longwave");
}
