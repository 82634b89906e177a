/* SPDX-License-Identifier: Apache-2.0 */
/* A world's own directory in shared memory. */
#include "daemon/launch_place.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/mem.h"

enum { NAME_BYTES = 64, MAX_DEPTH = 8 };

struct launch_place {
    char *root, *path; /* path: of the present start, or NULL */
    char head[NAME_BYTES];
};

/* Removes a file, or a directory with what is in it, and follows no link.
 * Who is there at the same time (a rank that is about to end) may leave
 * something behind: then the next call finds it. */
static void
take_away(int at, const char *name, int depth)
{
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;

    if (!dir) {
        if (fd >= 0)
            (void)close(fd);
        (void)unlinkat(at, name, 0);
        return;
    }
    while (depth < MAX_DEPTH && (entry = readdir(dir)) != NULL)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            take_away(dirfd(dir), entry->d_name, depth + 1);
    (void)closedir(dir);
    (void)unlinkat(at, name, AT_REMOVEDIR);
}

/* Others may write to /dev/shm: a name alone proves nothing. */
static bool
is_ours(const launch_place *p, int at, const char *name)
{
    struct stat info;

    return strncmp(name, p->head, strlen(p->head)) == 0 &&
           fstatat(at, name, &info, AT_SYMLINK_NOFOLLOW) == 0 &&
           S_ISDIR(info.st_mode) && info.st_uid == geteuid();
}

void
launch_place_clear(launch_place *p)
{
    DIR *dir = opendir(p->root);
    struct dirent *entry;

    mem_free(p->path);
    p->path = NULL;
    if (!dir)
        return;
    while ((entry = readdir(dir)) != NULL)
        if (is_ours(p, dirfd(dir), entry->d_name))
            take_away(dirfd(dir), entry->d_name, 0);
    (void)closedir(dir);
}

status
launch_place_next(launch_place *p)
{
    char *path = NULL;
    uint64_t chance;
    size_t size;
    status st;

    launch_place_clear(p);
    hash_random(&chance, sizeof(chance));
    size = strlen(p->root) + NAME_BYTES + 32;
    TRY(mem_new(&path, size, 1));
    (void)snprintf(path, size, "%s/%s%016" PRIx64, p->root, p->head, chance);
    if (mkdir(path, 0700) != 0)
        TRY(status_fail(ST_IO, "cannot create %s: %s", path, strerror(errno)));
    p->path = path;
    return ST_OK;
fail:
    mem_free(path);
    return st;
}

const char *
launch_place_path(const launch_place *p)
{
    return p->path;
}

/* No two data directories of a running kernel have the same device and
 * inode, and a directory's lock is held by one daemon. */
status
launch_place_new(launch_place **out, const char *root, const char *data)
{
    launch_place *p = NULL;
    struct stat info;
    status st;

    TRY(mem_new(&p, 1, sizeof(*p)));
    TRY(mem_strdup(&p->root, root ? root : "/dev/shm"));
    if (stat(data, &info) != 0)
        TRY(status_fail(ST_IO, "cannot look at %s: %s", data, strerror(errno)));
    (void)snprintf(p->head, sizeof(p->head),
                   "longwave-%" PRIx64 "-%" PRIx64 "-", (uint64_t)info.st_dev,
                   (uint64_t)info.st_ino);
    launch_place_clear(p);
    *out = p;
    return ST_OK;
fail:
    launch_place_free(p);
    return st;
}

void
launch_place_free(launch_place *p)
{
    if (!p)
        return;
    if (p->root && p->head[0])
        launch_place_clear(p);
    mem_free(p->path);
    mem_free(p->root);
    mem_free(p);
}
