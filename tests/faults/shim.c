/* SPDX-License-Identifier: Apache-2.0 */
/* A disk between a daemon and its disk: preloaded into longwaved, it writes
 * down, in one order, what is written, made durable, renamed and removed under
 * a directory, and what is sent to peers; and it lets the n-th of them fail.
 *
 *   SHIM_DIR    the directory; also what turns it on, in `longwaved` alone
 *   SHIM_LOG    a file of records: struct record, path, data
 *   SHIM_FAIL   KIND:NTH:ERRNO, KIND as below */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

typedef enum kind {
    WRITE = 1,
    SYNC,
    TRUNCATE,
    RENAME,
    UNLINK,
    SENT,
    FAILED /* `at` is the kind of what failed */
} kind;

typedef struct record {
    uint32_t kind, path_len;
    uint64_t at, len;
} record;

typedef struct zmq_message zmq_message;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char directory[PATH_MAX];
static int out = -1;
static unsigned fail_kind, fail_nth, n_seen;
static int fail_errno;

int zmq_msg_send(zmq_message *m, void *socket, int flags);

__attribute__((constructor)) static void
start(void)
{
    const char *dir = getenv("SHIM_DIR");
    const char *fail = getenv("SHIM_FAIL");
    char name[PATH_MAX] = "";

    if (dir == NULL || readlink("/proc/self/exe", name, sizeof(name) - 1) < 0 ||
        strcmp(strrchr(name, '/'), "/longwaved") != 0)
        return;
    (void)snprintf(directory, sizeof(directory), "%s", dir);
    out = open(getenv("SHIM_LOG"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC,
               0600);
    if (fail != NULL &&
        sscanf(fail, "%u:%u:%d", &fail_kind, &fail_nth, &fail_errno) != 3)
        _exit(2);
}

static void
put(const void *data, size_t len)
{
    const char *at = data;

    while (len > 0) {
        ssize_t n = syscall(SYS_write, out, at, len);

        if (n < 0)
            _exit(3);
        at += n;
        len -= (size_t)n;
    }
}

static void
note(kind k, const char *path, uint64_t at, const void *data, uint64_t len)
{
    record r = {
        .kind = k, .path_len = (uint32_t)strlen(path), .at = at, .len = len};

    put(&r, sizeof(r));
    put(path, r.path_len);
    if (data != NULL)
        put(data, len);
}

static int
is_ours(const char *path)
{
    return out >= 0 && strncmp(path, directory, strlen(directory)) == 0;
}

static int
path_of(int fd, char path[PATH_MAX])
{
    char link[64];
    int e = errno;
    ssize_t n;

    if (out < 0 || fd == out)
        return 0;
    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    n = readlink(link, path, PATH_MAX - 1);
    errno = e;
    if (n < 0)
        return 0;
    path[n] = '\0';
    return is_ours(path) && strstr(path, " (deleted)") == NULL;
}

/* Holds the lock on return; true: the call is to fail, errno is set. */
static int
begin(kind k, const char *path)
{
    (void)pthread_mutex_lock(&lock);
    if (k != fail_kind || ++n_seen != fail_nth)
        return 0;
    note(FAILED, path, k, NULL, 0);
    errno = fail_errno;
    return 1;
}

static void
end(void)
{
    (void)pthread_mutex_unlock(&lock);
}

static ssize_t
write_at(int fd, const void *data, size_t len, off_t at, int has_at)
{
    char path[PATH_MAX];
    int ours = path_of(fd, path);
    ssize_t n = -1;

    if (ours && begin(WRITE, path)) {
        end();
        return -1;
    }
    if (ours && !has_at)
        at = lseek(fd, 0, SEEK_CUR);
    n = has_at ? syscall(SYS_pwrite64, fd, data, len, at)
               : syscall(SYS_write, fd, data, len);
    if (ours) {
        if (n > 0)
            note(WRITE, path, (uint64_t)at, data, (uint64_t)n);
        end();
    }
    return n;
}

ssize_t
write(int fd, const void *data, size_t len)
{
    return write_at(fd, data, len, 0, 0);
}

ssize_t
pwrite(int fd, const void *data, size_t len, off_t at)
{
    return write_at(fd, data, len, at, 1);
}

ssize_t
pwrite64(int fd, const void *data, size_t len, off64_t at)
{
    return write_at(fd, data, len, at, 1);
}

static int
sync_of(int fd, long number)
{
    char path[PATH_MAX];
    int ours = path_of(fd, path);
    int rc;

    if (ours && begin(SYNC, path)) {
        end();
        return -1;
    }
    rc = (int)syscall(number, fd);
    if (ours) {
        if (rc == 0)
            note(SYNC, path, 0, NULL, 0);
        end();
    }
    return rc;
}

int
fsync(int fd)
{
    return sync_of(fd, SYS_fsync);
}

int
fdatasync(int fd)
{
    return sync_of(fd, SYS_fdatasync);
}

int
ftruncate(int fd, off_t len)
{
    char path[PATH_MAX];
    int ours = path_of(fd, path);
    int rc;

    if (ours)
        (void)begin(TRUNCATE, path);
    rc = (int)syscall(SYS_ftruncate, fd, len);
    if (ours) {
        if (rc == 0)
            note(TRUNCATE, path, (uint64_t)len, NULL, 0);
        end();
    }
    return rc;
}

int
ftruncate64(int fd, off64_t len)
{
    return ftruncate(fd, len);
}

int
rename(const char *from, const char *to)
{
    int ours = is_ours(from);
    int rc;

    if (ours)
        (void)begin(RENAME, from);
    rc = (int)syscall(SYS_rename, from, to);
    if (ours) {
        if (rc == 0)
            note(RENAME, from, 0, to, strlen(to));
        end();
    }
    return rc;
}

int
unlink(const char *path)
{
    int ours = is_ours(path);
    int rc;

    if (ours)
        (void)begin(UNLINK, path);
    rc = (int)syscall(SYS_unlink, path);
    if (ours) {
        if (rc == 0)
            note(UNLINK, path, 0, NULL, 0);
        end();
    }
    return rc;
}

int
zmq_msg_send(zmq_message *m, void *socket, int flags)
{
    static int (*real)(zmq_message *, void *, int);
    static void *(*data_of)(zmq_message *);
    static size_t (*size_of)(const zmq_message *);
    size_t len;

    if (real == NULL) {
        void *symbol = dlsym(RTLD_NEXT, "zmq_msg_data");

        memcpy(&data_of, &symbol, sizeof(symbol));
        symbol = dlsym(RTLD_NEXT, "zmq_msg_size");
        memcpy(&size_of, &symbol, sizeof(symbol));
        symbol = dlsym(RTLD_NEXT, "zmq_msg_send");
        memcpy(&real, &symbol, sizeof(symbol));
    }
    len = size_of(m);
    if (out >= 0 && len < 4096) {
        (void)begin(SENT, "");
        note(SENT, "", 0, data_of(m), len);
        end();
    }
    return real(m, socket, flags);
}
