/* SPDX-License-Identifier: Apache-2.0 */
/* A directory of a test's own, gone afterwards. */
#ifndef TESTS_DAEMON_SCRATCH_H
#define TESTS_DAEMON_SCRATCH_H

#include "tests/expect.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct scratch {
    char dir[64];
    char path[256]; /* of the last scratch_path() */
} scratch;

static inline void
scratch_init(scratch *s)
{
    (void)snprintf(s->dir, sizeof(s->dir), "/tmp/longwave-test-XXXXXX");
    assert_non_null(mkdtemp(s->dir));
}

static inline int
scratch_remove(const char *path, const struct stat *info, int kind,
               struct FTW *where)
{
    (void)info;
    (void)kind;
    (void)where;
    return remove(path);
}

static inline void
scratch_fini(scratch *s)
{
    (void)nftw(s->dir, scratch_remove, 8, FTW_DEPTH | FTW_PHYS);
}

static inline const char *
scratch_path(scratch *s, const char *name)
{
    (void)snprintf(s->path, sizeof(s->path), "%s/%s", s->dir, name);
    return s->path;
}

#endif
