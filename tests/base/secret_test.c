/* SPDX-License-Identifier: Apache-2.0 */
/* Files that others could read or write are not believed. */
#include "base/secret.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/expect.h"

enum { PATH_CAP = 64, LIMIT = 100 };

typedef struct place {
    char dir[PATH_CAP], path[PATH_CAP];
} place;

static unsigned n_sync[2]; /* of files, of directories */
static bool directories_fail;

/* In the place of the library's. */
int
fsync(int fd)
{
    struct stat sb;
    bool directory;

    assert_int_equal(fstat(fd, &sb), 0);
    directory = S_ISDIR(sb.st_mode);
    n_sync[directory]++;
    if (directory && directories_fail) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_fsync, fd);
}

static int
enter(void **state)
{
    place *p = calloc(1, sizeof(*p));

    assert_non_null(p);
    (void)snprintf(p->dir, sizeof(p->dir), "/tmp/lw-secret-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    (void)snprintf(p->path, sizeof(p->path), "%s/f", p->dir);
    *state = p;
    return 0;
}

static int
leave(void **state)
{
    place *p = *state;

    (void)unlink(p->path);
    (void)rmdir(p->path);
    assert_int_equal(rmdir(p->dir), 0);
    free(p);
    return 0;
}

static status
try_read(const place *p, secret_care care)
{
    char *data = NULL;
    size_t len = 0;
    status st = secret_read(&data, &len, p->path, LIMIT, care);

    if (st == ST_OK) {
        assert_int_equal(len, 5);
        assert_string_equal(data, "hello");
        secret_free(data, len);
    }
    return st;
}

static void
made_files_are_closed(void **state)
{
    place *p = *state;
    struct stat sb;

    EXPECT_OK(secret_create(p->path, "hello", 5));
    assert_int_equal(stat(p->path, &sb), 0);
    assert_int_equal(sb.st_mode & 07777, 0600);
    EXPECT_OK(try_read(p, SECRET_PRIVATE));
    EXPECT_ST(secret_create(p->path, "other", 5), ST_STATE);
    EXPECT_OK(try_read(p, SECRET_PRIVATE)); /* the first one is still there */
}

/* Before the return, for a key that is given out must not be gone after the
 * power was. */
static void
names_are_durable(void **state)
{
    place *p = *state;

    memset(n_sync, 0, sizeof(n_sync));
    EXPECT_OK(secret_create(p->path, "hello", 5));
    assert_int_equal(n_sync[0], 1);
    assert_int_equal(n_sync[1], 1);
    assert_int_equal(unlink(p->path), 0);
    directories_fail = true;
    EXPECT_ST(secret_create(p->path, "hello", 5), ST_IO);
    directories_fail = false;
    assert_int_not_equal(access(p->path, F_OK), 0);
}

static void
open_files_are_refused(void **state)
{
    static const struct {
        mode_t mode;
        status private, trusted;
    } row[] = {
        {0600, ST_OK, ST_OK},         {0400, ST_OK, ST_OK},
        {0640, ST_DENIED, ST_OK},     {0644, ST_DENIED, ST_OK},
        {0604, ST_DENIED, ST_OK},     {0620, ST_DENIED, ST_DENIED},
        {0602, ST_DENIED, ST_DENIED}, {0666, ST_DENIED, ST_DENIED},
    };
    place *p = *state;

    EXPECT_OK(secret_create(p->path, "hello", 5));
    for (size_t i = 0; i < sizeof(row) / sizeof(*row); i++) {
        assert_int_equal(chmod(p->path, row[i].mode), 0);
        EXPECT_ST(try_read(p, SECRET_PRIVATE), row[i].private);
        EXPECT_ST(try_read(p, SECRET_TRUSTED), row[i].trusted);
    }
}

static void
only_small_regular_files_are_read(void **state)
{
    place *p = *state;
    char big[LIMIT + 1] = {0};

    EXPECT_ST(try_read(p, SECRET_PRIVATE), ST_NOTFOUND);
    assert_int_equal(mkfifo(p->path, 0600), 0);
    EXPECT_ST(try_read(p, SECRET_PRIVATE), ST_ARG);
    assert_int_equal(unlink(p->path), 0);
    assert_int_equal(mkdir(p->path, 0700), 0);
    EXPECT_ST(try_read(p, SECRET_PRIVATE), ST_ARG);
    assert_int_equal(rmdir(p->path), 0);
    EXPECT_OK(secret_create(p->path, big, sizeof(big)));
    EXPECT_ST(try_read(p, SECRET_PRIVATE), ST_LIMIT);
}

static void
other_peoples_files_are_refused(void **state)
{
    place *p = *state;

    EXPECT_OK(secret_create(p->path, "hello", 5));
    if (chown(p->path, 12345, (gid_t)-1) != 0)
        skip(); /* only root can give a file away */
    EXPECT_ST(try_read(p, SECRET_TRUSTED), ST_DENIED);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(made_files_are_closed, enter, leave),
        cmocka_unit_test_setup_teardown(names_are_durable, enter, leave),
        cmocka_unit_test_setup_teardown(open_files_are_refused, enter, leave),
        cmocka_unit_test_setup_teardown(only_small_regular_files_are_read,
                                        enter, leave),
        cmocka_unit_test_setup_teardown(other_peoples_files_are_refused, enter,
                                        leave),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
