/* SPDX-License-Identifier: Apache-2.0 */
/* Files that are there, not there, not files, or not finished. */
#include "base/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "tests/expect.h"

enum { PATH_CAP = 256 };

/* Every test runs in an empty directory of its own, which is the working
 * directory meanwhile. */
static int
enter_scratch(void **state)
{
    char *path = NULL;

    if (mem_strdup(&path, "/tmp/longwave-test-XXXXXX") != ST_OK ||
        mkdtemp(path) == NULL || chdir(path) != 0)
        return -1;
    *state = path;
    return 0;
}

static int
leave_scratch(void **state)
{
    char command[PATH_CAP];
    int rc;

    (void)snprintf(command, sizeof(command), "rm -rf '%s'",
                   (const char *)*state);
    rc = chdir("/") | system(command);
    mem_free(*state);
    return rc;
}

static void
put(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void
expect_content(const char *path, const char *text)
{
    char *got = NULL;
    size_t len = 0;

    EXPECT_OK(file_read(&got, &len, path, 1000));
    assert_int_equal(len, strlen(text));
    assert_string_equal(got, text);
    mem_free(got);
}

/* Names in the working directory beside "." and "..". */
static size_t
count_names(void)
{
    DIR *dir = opendir(".");
    size_t n = 0;

    assert_non_null(dir);
    for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir))
        n += e->d_name[0] != '.';
    (void)closedir(dir);
    return n;
}

static void
a_file_is_read_whole(void **unused)
{
    char *text = NULL;
    size_t len = 99;

    (void)unused;
    put("f", "hello");
    expect_content("f", "hello");
    put("empty", "");
    EXPECT_OK(file_read(&text, &len, "empty", 0));
    assert_int_equal(len, 0);
    assert_int_equal(text[0], '\0');
    mem_free(text);
}

static void
the_limit_is_inclusive(void **unused)
{
    char *text = NULL;
    size_t len = 99;

    (void)unused;
    put("f", "hello");
    EXPECT_OK(file_read(&text, &len, "f", 5));
    mem_free(text);
    text = NULL;
    len = 99;
    EXPECT_ST(file_read(&text, &len, "f", 4), ST_LIMIT);
    assert_null(text);
    assert_int_equal(len, 99);
}

static void
what_is_no_file_is_refused(void **unused)
{
    char *text = NULL;
    size_t len;
    file_map map = {0};

    (void)unused;
    assert_int_equal(mkfifo("fifo", 0600), 0);
    assert_int_equal(mkdir("dir", 0700), 0);
    EXPECT_ST(file_read(&text, &len, "fifo", 10), ST_ARG); /* and at once */
    EXPECT_ST(file_map_open(&map, "fifo"), ST_ARG);
    EXPECT_ST(file_read(&text, &len, "dir", 10), ST_ARG);
    EXPECT_ST(file_read(&text, &len, "/dev/zero", 10), ST_ARG);
    EXPECT_ST(file_read(&text, &len, "none", 10), ST_NOTFOUND);
    assert_non_null(strstr(status_text(), "none"));
    EXPECT_ST(file_read(&text, &len, "none/none", 10), ST_NOTFOUND);
    EXPECT_ST(file_map_open(&map, "none"), ST_NOTFOUND);
    assert_null(text);
    assert_null(map.data);
}

/* Nothing is wrong with the file then. */
static void
without_descriptors_it_is_a_shortage(void **unused)
{
    char *text = NULL;
    size_t len;
    file_map map = {0};
    struct rlimit old;
    struct rlimit few;

    (void)unused;
    put("f", "hello");
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    few = (struct rlimit){.rlim_cur = 0, .rlim_max = old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    EXPECT_ST(file_read(&text, &len, "f", 5), ST_NOMEM);
    EXPECT_ST(file_map_open(&map, "f"), ST_NOMEM);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    EXPECT_OK(file_read(&text, &len, "f", 5));
    mem_free(text);
}

static void
maps_show_the_bytes(void **unused)
{
    file_map map = {0};

    (void)unused;
    put("f", "mapped");
    put("empty", "");
    EXPECT_OK(file_map_open(&map, "f"));
    assert_int_equal(map.len, 6);
    assert_memory_equal(map.data, "mapped", 6);
    assert_true(map.fd >= 0);
    file_map_close(&map);
    assert_null(map.data);
    file_map_close(&map);
    EXPECT_OK(file_map_open(&map, "empty"));
    assert_int_equal(map.len, 0);
    file_map_close(&map);
}

/* Of a file that was mapped, and that is shorter now. */
static void
bytes_are_read_where_they_are_wanted(void **unused)
{
    file_map map = {0};
    char got[8] = "........";

    (void)unused;
    put("f", "0123456789");
    EXPECT_OK(file_map_open(&map, "f"));
    EXPECT_OK(file_read_at(map.fd, got, 4, 3));
    assert_memory_equal(got, "3456....", 8);
    EXPECT_OK(file_read_at(map.fd, got, 0, 100));
    assert_int_equal(truncate("f", 5), 0);
    EXPECT_OK(file_read_at(map.fd, got, 5, 0));
    EXPECT_ST(file_read_at(map.fd, got, 4, 3), ST_IO);
    assert_non_null(strstr(status_text(), "shorter"));
    int fd = map.fd;
    file_map_close(&map);
    EXPECT_ST(file_read_at(fd, got, 1, 0), ST_IO); /* closed with its map */
}

static void
a_write_replaces_the_whole_file(void **unused)
{
    struct stat sb;

    (void)unused;
    put("f", "a longer old content");
    EXPECT_OK(file_write("f", "new", 3));
    expect_content("f", "new");
    assert_int_equal(count_names(), 1);
    EXPECT_OK(file_write("private", "x", 1));
    assert_int_equal(stat("private", &sb), 0);
    assert_int_equal(sb.st_mode & 077, 0);
}

static void
nothing_is_seen_before_the_end(void **unused)
{
    file_writer w;

    (void)unused;
    EXPECT_OK(file_writer_open(&w, "f"));
    EXPECT_OK(file_writer_add(&w, "ab", 2));
    assert_false(file_exists("f"));
    EXPECT_OK(file_writer_add(&w, "", 0));
    EXPECT_OK(file_writer_add(&w, "c", 1));
    EXPECT_OK(file_writer_finish(&w, false));
    file_writer_close(&w);
    expect_content("f", "abc");
    assert_int_equal(count_names(), 1);
}

static void
an_abandoned_write_leaves_nothing(void **unused)
{
    file_writer w;

    (void)unused;
    put("f", "old");
    EXPECT_OK(file_writer_open(&w, "f"));
    EXPECT_OK(file_writer_add(&w, "new", 3));
    file_writer_close(&w);
    file_writer_close(&w);
    expect_content("f", "old");
    assert_int_equal(count_names(), 1);
    w = (file_writer){.fd = 0}; /* not a descriptor of its own */
    file_writer_close(&w);
    assert_true(fcntl(0, F_GETFD) >= 0);
}

static void
a_failed_write_leaves_nothing(void **unused)
{
    file_writer w;

    (void)unused;
    EXPECT_ST(file_writer_open(&w, "none/f"), ST_IO);
    file_writer_close(&w);
    assert_string_equal(status_text(),
                        "cannot write none/f: No such file or directory");
    assert_int_equal(mkdir("taken", 0700), 0);
    EXPECT_ST(file_write("taken", "x", 1), ST_IO);
    assert_int_equal(count_names(), 1);
}

static void
expect_kept(const char *path, mode_t kind)
{
    struct stat s;

    EXPECT_ST(file_write(path, "x", 1), ST_IO);
    assert_non_null(strstr(status_text(), "is not a regular file"));
    assert_int_equal(lstat(path, &s), 0);
    assert_int_equal(s.st_mode & S_IFMT, kind);
}

/* Root who writes to /dev/null would have no /dev/null any more. */
static void
a_write_replaces_files_alone(void **unused)
{
    (void)unused;
    put("victim", "precious");
    assert_int_equal(symlink("victim", "link"), 0);
    assert_int_equal(symlink("nowhere", "dangling"), 0);
    assert_int_equal(mkfifo("pipe", 0600), 0);
    expect_kept("link", S_IFLNK);
    expect_kept("dangling", S_IFLNK);
    expect_kept("pipe", S_IFIFO);
    expect_content("victim", "precious");
    assert_int_equal(count_names(), 4);
}

/* In a directory open to all, somebody may lay a link where the unfinished
 * file will be. */
static void
a_write_follows_no_link(void **unused)
{
    char name[64];

    (void)unused;
    put("victim", "precious");
    (void)snprintf(name, sizeof(name), "f.%ld.tmp", (long)getpid());
    assert_int_equal(symlink("victim", name), 0);
    EXPECT_OK(file_write("f", "new", 3));
    expect_content("victim", "precious");
    expect_content("f", "new");
    assert_int_equal(count_names(), 2);
}

/* Each way by which two names can be one file. */
static void
one_file_has_several_names(void **unused)
{
    (void)unused;
    put("f", "x");
    put("g", "x");
    assert_int_equal(mkdir("d", 0700), 0);
    assert_int_equal(symlink("f", "link"), 0);
    assert_int_equal(link("f", "hard"), 0);
    assert_int_equal(symlink("d", "e"), 0);
    assert_true(file_same("f", "f"));
    assert_true(file_same("f", "./d/../f"));
    assert_true(file_same("link", "f"));
    assert_true(file_same("f", "hard"));
    assert_false(file_same("f", "g"));
    assert_false(file_same("f", "none"));
    assert_false(file_same("d", "d"));
    assert_false(file_same("/dev/null", "/dev/null"));
    /* What is not there yet. */
    assert_true(file_same("d/new", "e/new"));
    assert_false(file_same("d/new", "new"));
    assert_false(file_same("d/new", "d/newer"));
    assert_false(file_same("no/new", "no/new"));
}

static void
a_file_is_found_in_a_directory(void **unused)
{
    (void)unused;
    put("f", "x");
    put("outside", "x");
    assert_int_equal(mkdir("d", 0700), 0);
    assert_int_equal(symlink("../outside", "d/weights"), 0);
    assert_int_equal(link("f", "d/hard"), 0);
    assert_true(file_same_within("f", "d"));
    assert_true(file_same_within("d/weights", "d"));
    assert_true(file_same_within("outside", "d/"));
    assert_false(file_same_within("d/new", "d"));
    put("d/other", "x");
    assert_true(file_same_within("d/other", "d"));
    assert_false(file_same_within("f", "none"));
    assert_false(file_same_within("d", "."));
    assert_false(file_same_within("/dev/null", "/dev"));
}

static void
descriptors_do_not_reach_children(void **unused)
{
    file_writer w;

    (void)unused;
    EXPECT_OK(file_writer_open(&w, "f"));
    assert_int_equal(fcntl(w.fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    file_writer_close(&w);
}

static void
removing_the_absent_is_fine(void **unused)
{
    (void)unused;
    put("f", "x");
    assert_true(file_exists("f"));
    EXPECT_OK(file_remove("f"));
    assert_false(file_exists("f"));
    EXPECT_OK(file_remove("f"));
}

static void
directories_are_made_with_parents(void **unused)
{
    struct stat sb;

    (void)unused;
    EXPECT_OK(file_mkdir("a/b/c", true));
    EXPECT_OK(file_mkdir("a/b/c", true));
    assert_int_equal(stat("a/b/c", &sb), 0);
    assert_int_equal(sb.st_mode & 0777, 0700);
    EXPECT_OK(file_mkdir("slash/", true));
    EXPECT_ST(file_mkdir("", false), ST_ARG);
    put("f", "x");
    EXPECT_ST(file_mkdir("f", false), ST_ARG);
    EXPECT_ST(file_mkdir("f/g", false), ST_NOTFOUND);
}

static void
a_private_directory_is_closed_to_others(void **unused)
{
    (void)unused;
    EXPECT_OK(file_mkdir("d", true));
    assert_int_equal(chmod("d", 0777), 0);
    EXPECT_ST(file_mkdir("d", true), ST_DENIED);
    assert_int_equal(chmod("d", 0750), 0);
    EXPECT_ST(file_mkdir("d", true), ST_DENIED);
    EXPECT_OK(file_mkdir("d", false));
    assert_int_equal(chmod("d", 0700), 0);
    assert_int_equal(symlink("d", "link"), 0);
    EXPECT_ST(file_mkdir("link", true), ST_ARG);
}

/* Only root can give a directory away; others meet one that is root's. */
static void
a_directory_of_another_user_is_refused(void **unused)
{
    (void)unused;
    if (geteuid() != 0) {
        EXPECT_ST(file_mkdir("/root", true), ST_DENIED);
        return;
    }
    EXPECT_OK(file_mkdir("d", true));
    assert_int_equal(chown("d", 12345, 12345), 0);
    EXPECT_ST(file_mkdir("d", true), ST_DENIED);
    assert_non_null(strstr(status_text(), "another user"));
}

static void
names_are_joined_with_one_slash(void **unused)
{
    static const char *const cases[][3] = {
        {"a", "b", "a/b"}, {"a/", "b", "a/b"}, {"/", "b", "/b"}};
    char *path = NULL;

    (void)unused;
    for (size_t i = 0; i < 3; i++) {
        EXPECT_OK(file_join(&path, cases[i][0], cases[i][1]));
        assert_string_equal(path, cases[i][2]);
        mem_free(path);
    }
}

static void
the_runtime_directory_is_the_users_own(void **state)
{
    char want[PATH_CAP];
    char *path = NULL;

    assert_int_equal(setenv("XDG_RUNTIME_DIR", *state, 1), 0);
    EXPECT_OK(file_runtime_dir(&path));
    (void)snprintf(want, sizeof(want), "%s/longwave", (const char *)*state);
    assert_string_equal(path, want);
    mem_free(path);
    path = NULL;
    assert_int_equal(chmod(want, 0777), 0);
    EXPECT_ST(file_runtime_dir(&path), ST_DENIED);
    assert_null(path);
    assert_int_equal(unsetenv("XDG_RUNTIME_DIR"), 0);
}

static void
the_state_directory_follows_the_environment(void **unused)
{
    char *path = NULL;

    (void)unused;
    assert_int_equal(setenv("XDG_STATE_HOME", "/s", 1), 0);
    EXPECT_OK(file_state_dir(&path));
    assert_string_equal(path, "/s/longwave");
    mem_free(path);
    /* The rules of XDG: a relative path is to be ignored. */
    assert_int_equal(setenv("XDG_STATE_HOME", "relative", 1), 0);
    assert_int_equal(setenv("HOME", "/h", 1), 0);
    EXPECT_OK(file_state_dir(&path));
    assert_string_equal(path, "/h/.local/state/longwave");
    mem_free(path);
    assert_int_equal(unsetenv("XDG_STATE_HOME") | unsetenv("HOME"), 0);
    EXPECT_ST(file_state_dir(&path), ST_ARG);
}

#define IN_SCRATCH(test)                                                       \
    cmocka_unit_test_setup_teardown(test, enter_scratch, leave_scratch)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        IN_SCRATCH(a_file_is_read_whole),
        IN_SCRATCH(the_limit_is_inclusive),
        IN_SCRATCH(what_is_no_file_is_refused),
        IN_SCRATCH(without_descriptors_it_is_a_shortage),
        IN_SCRATCH(maps_show_the_bytes),
        IN_SCRATCH(bytes_are_read_where_they_are_wanted),
        IN_SCRATCH(a_write_replaces_the_whole_file),
        IN_SCRATCH(nothing_is_seen_before_the_end),
        IN_SCRATCH(an_abandoned_write_leaves_nothing),
        IN_SCRATCH(a_failed_write_leaves_nothing),
        IN_SCRATCH(a_write_replaces_files_alone),
        IN_SCRATCH(a_write_follows_no_link),
        IN_SCRATCH(one_file_has_several_names),
        IN_SCRATCH(a_file_is_found_in_a_directory),
        IN_SCRATCH(descriptors_do_not_reach_children),
        IN_SCRATCH(removing_the_absent_is_fine),
        IN_SCRATCH(directories_are_made_with_parents),
        IN_SCRATCH(a_private_directory_is_closed_to_others),
        IN_SCRATCH(a_directory_of_another_user_is_refused),
        IN_SCRATCH(names_are_joined_with_one_slash),
        IN_SCRATCH(the_runtime_directory_is_the_users_own),
        IN_SCRATCH(the_state_directory_follows_the_environment),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
