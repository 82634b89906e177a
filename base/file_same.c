/* SPDX-License-Identifier: Apache-2.0 */
/* Whether two paths are one file, whatever they are called. */
#include "base/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static bool
same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* Whether a file would be made at both that is not there yet: one name in one
 * directory.  What is too long for a path is none. */
static bool
same_place(const char *a, const char *b)
{
    char dir_a[PATH_MAX], dir_b[PATH_MAX], name_a[PATH_MAX], name_b[PATH_MAX];
    struct stat at_a, at_b;

    if (strlen(a) >= PATH_MAX || strlen(b) >= PATH_MAX)
        return false;
    /* Both functions write into what they are given. */
    (void)snprintf(dir_a, sizeof(dir_a), "%s", a);
    (void)snprintf(dir_b, sizeof(dir_b), "%s", b);
    (void)snprintf(name_a, sizeof(name_a), "%s", a);
    (void)snprintf(name_b, sizeof(name_b), "%s", b);
    return strcmp(basename(name_a), basename(name_b)) == 0 &&
           stat(dirname(dir_a), &at_a) == 0 &&
           stat(dirname(dir_b), &at_b) == 0 && same_file(&at_a, &at_b);
}

bool
file_same(const char *a, const char *b)
{
    struct stat at_a, at_b;
    bool is_a = stat(a, &at_a) == 0, is_b = stat(b, &at_b) == 0;

    if (is_a && is_b)
        return S_ISREG(at_a.st_mode) && same_file(&at_a, &at_b);
    return !is_a && !is_b && same_place(a, b);
}

bool
file_same_within(const char *path, const char *dir)
{
    struct stat at, in;
    bool same = false;

    if (stat(path, &at) != 0 || !S_ISREG(at.st_mode))
        return false;
    DIR *list = opendir(dir);
    if (list == NULL)
        return false;
    for (struct dirent *e = readdir(list); e != NULL && !same;
         e = readdir(list))
        same =
            fstatat(dirfd(list), e->d_name, &in, 0) == 0 && same_file(&at, &in);
    (void)closedir(list);
    return same;
}
