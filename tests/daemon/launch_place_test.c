/* SPDX-License-Identifier: Apache-2.0 */
/* A world's own directory: made, found again, removed; others' are not. */
#include "daemon/launch_place.h"

#include <fcntl.h>
#include <stdbool.h>
#include <sys/stat.h>

#include "tests/daemon/scratch.h"

static void
touch(const char *dir, const char *name)
{
    char path[512];
    int fd;

    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    fd = open(path, O_CREAT | O_WRONLY, 0600);
    assert_true(fd >= 0);
    assert_int_equal(close(fd), 0);
}

static void
folder(const char *dir, const char *name)
{
    char path[512];

    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    assert_int_equal(mkdir(path, 0700), 0);
}

/* As a killed mpirun leaves it. */
static void
fill(const char *dir)
{
    char path[512];

    touch(dir, "vader_segment.0");
    folder(dir, "ompi");
    folder(dir, "ompi/pid.1");
    touch(dir, "ompi/pid.1/contact.txt");
    (void)snprintf(path, sizeof(path), "%s/ompi/link", dir);
    assert_int_equal(symlink("/etc", path), 0);
}

static bool
is_there(const char *path)
{
    struct stat info;

    return lstat(path, &info) == 0;
}

static void
the_next_start_removes_the_one_before(void **state)
{
    launch_place *p = NULL;
    scratch root;
    scratch data;
    char first[512];
    struct stat info;

    (void)state;
    scratch_init(&root);
    scratch_init(&data);
    EXPECT_OK(launch_place_new(&p, root.dir, data.dir));
    assert_null(launch_place_path(p));
    EXPECT_OK(launch_place_next(p));
    (void)snprintf(first, sizeof(first), "%s", launch_place_path(p));
    assert_int_equal(stat(first, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0700);
    fill(first);
    EXPECT_OK(launch_place_next(p));
    assert_false(is_there(first));
    assert_true(is_there(launch_place_path(p)));
    (void)snprintf(first, sizeof(first), "%s", launch_place_path(p));
    fill(first);
    launch_place_free(p);
    assert_false(is_there(first));
    assert_true(is_there("/etc"));
    scratch_fini(&root);
    scratch_fini(&data);
}

/* The daemon before was killed; another one lives beside it. */
static void
only_what_is_of_the_data_directory_goes(void **state)
{
    launch_place *mine = NULL;
    launch_place *next = NULL;
    launch_place *other = NULL;
    scratch root;
    scratch data[2];

    (void)state;
    scratch_init(&root);
    scratch_init(&data[0]);
    scratch_init(&data[1]);
    EXPECT_OK(launch_place_new(&mine, root.dir, data[0].dir));
    EXPECT_OK(launch_place_new(&other, root.dir, data[1].dir));
    EXPECT_OK(launch_place_next(mine));
    EXPECT_OK(launch_place_next(other));
    fill(launch_place_path(mine));
    fill(launch_place_path(other));
    touch(root.dir, "vader_segment.of.somebody");
    EXPECT_OK(launch_place_new(&next, root.dir, data[0].dir));
    assert_false(is_there(launch_place_path(mine)));
    assert_true(is_there(launch_place_path(other)));
    launch_place_free(next);
    launch_place_free(mine);
    launch_place_free(other);
    assert_true(is_there(scratch_path(&root, "vader_segment.of.somebody")));
    scratch_fini(&root);
    scratch_fini(&data[0]);
    scratch_fini(&data[1]);
}

/* A name that a stranger can foresee is not enough. */
static void
links_are_left_alone(void **state)
{
    launch_place *p = NULL;
    scratch root;
    scratch data;
    scratch prey;
    char name[600];

    (void)state;
    scratch_init(&root);
    scratch_init(&data);
    scratch_init(&prey);
    touch(prey.dir, "kept");
    EXPECT_OK(launch_place_new(&p, root.dir, data.dir));
    EXPECT_OK(launch_place_next(p));
    (void)snprintf(name, sizeof(name), "%s-link", launch_place_path(p));
    assert_int_equal(symlink(prey.dir, name), 0);
    launch_place_clear(p);
    assert_true(is_there(name));
    assert_true(is_there(scratch_path(&prey, "kept")));
    launch_place_free(p);
    scratch_fini(&root);
    scratch_fini(&data);
    scratch_fini(&prey);
}

static void
no_room(void **state)
{
    launch_place *p = NULL;
    scratch data;

    (void)state;
    scratch_init(&data);
    EXPECT_OK(launch_place_new(&p, "/nonexistent/place", data.dir));
    EXPECT_ST(launch_place_next(p), ST_IO);
    assert_null(launch_place_path(p));
    launch_place_free(p);
    EXPECT_ST(launch_place_new(&p, NULL, "/nonexistent/data"), ST_IO);
    scratch_fini(&data);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_next_start_removes_the_one_before),
        cmocka_unit_test(only_what_is_of_the_data_directory_goes),
        cmocka_unit_test(links_are_left_alone),
        cmocka_unit_test(no_room),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
