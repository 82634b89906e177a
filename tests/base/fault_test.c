/* SPDX-License-Identifier: Apache-2.0 */
/* Fault points: the list, the count, and what the file layer makes of them. */
#include "base/fault.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "tests/expect.h"

static char path[64];

static int
name_file(void **state)
{
    (void)state;
    (void)snprintf(path, sizeof(path), "/tmp/longwave-fault-%ld",
                   (long)getpid());
    return 0;
}

static int
remove_file(void **state)
{
    (void)state;
    return fault_set("") == ST_OK && file_remove(path) == ST_OK ? 0 : -1;
}

/* A point that is renamed or gone shows here, and in who relies on it. */
static void
points_have_names_of_their_own(void **state)
{
    (void)state;
    assert_int_equal(FAULT_COUNT, 29);
    for (int i = 0; i < FAULT_COUNT; i++) {
        assert_non_null(strchr(fault_name((fault_point)i), '.'));
        for (int k = 0; k < i; k++)
            assert_string_not_equal(fault_name((fault_point)i),
                                    fault_name((fault_point)k));
    }
}

static void
what_is_no_list_is_refused(void **state)
{
    static const char *const wrong[] = {
        "file.write",         "file.write:1",      "file.write:0:eio",
        "file.write:x:eio",   "file.no:1:eio",     "file.write:1:bang",
        "file.write:1:eio=x", "file.write:1:eio;", ":1:eio",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
        EXPECT_ST(fault_set(wrong[i]), ST_ARG);
    EXPECT_OK(
        fault_set("file.write:1:eio,file.sync:2+:enospc,mem.new:3:exit=4"));
}

static void
the_nth_time_counts(void **state)
{
    (void)state;
    EXPECT_OK(fault_set("mem.new:2:nomem,file.sync:2+:enospc,hop.data:1:nan"));
    for (int i = 1; i < 5; i++) {
        assert_int_equal(fault_pass(FAULT_MEM_NEW),
                         i == 2 ? FAULT_ERROR : FAULT_NOTHING);
        errno = 0;
        assert_int_equal(fault_pass(FAULT_FILE_SYNC),
                         i >= 2 ? FAULT_ERROR : FAULT_NOTHING);
        assert_int_equal(errno, i >= 2 ? ENOSPC : 0);
    }
    assert_true(FAULT_SPOILS(HOP_DATA));
    assert_int_equal(fault_passed(FAULT_MEM_NEW), 4);
}

/* How a process ends that comes by. */
static int
end_of(const char *list)
{
    int how;
    pid_t pid = fork();

    if (pid == 0) {
        if (fault_set(list) == ST_OK)
            (void)fault_pass(FAULT_ACK_BEFORE);
        _exit(77);
    }
    assert_int_equal(waitpid(pid, &how, 0), pid);
    return how;
}

static void
leave(void *ctx, int exit_status)
{
    assert_string_equal(ctx, "all");
    _exit(exit_status);
}

static void
processes_end_as_told(void **state)
{
    char all[] = "all";
    int how;

    (void)state;
    how = end_of("ack.before:1:kill");
    assert_true(WIFSIGNALED(how) && WTERMSIG(how) == SIGKILL);
    how = end_of("ack.before:1:exit=9");
    assert_true(WIFEXITED(how) && WEXITSTATUS(how) == 9);
    how = end_of("ack.before:1:abort=42");
    assert_true(WIFSIGNALED(how) && WTERMSIG(how) == SIGABRT);
    fault_on_abort(leave, all);
    how = end_of("ack.before:1:abort=42");
    fault_on_abort(NULL, NULL);
    assert_true(WIFEXITED(how) && WEXITSTATUS(how) == 42);
    how = end_of("ack.before:2:kill");
    assert_true(WIFEXITED(how) && WEXITSTATUS(how) == 77);
    how = end_of("ack.before:1:stall=1");
    assert_true(WIFEXITED(how) && WEXITSTATUS(how) == 77);
}

/* Whatever fails, the file is as it was, or as it should be, never between. */
static void
files_are_whole_or_as_before(void **state)
{
    static const char *const lists[] = {
        "file.open:1:eio", "file.write:1:eio",  "file.write:2:enospc",
        "file.sync:1:eio", "file.rename:1:eio",
    };
    char tmp[256];
    char *data;
    size_t len;

    (void)state;
    (void)snprintf(tmp, sizeof(tmp), "%s.%ld.tmp", path, (long)getpid());
    EXPECT_OK(fault_set(""));
    EXPECT_OK(file_write(path, "before", 6));
    for (size_t i = 0; i < sizeof(lists) / sizeof(*lists); i++) {
        char both[128];

        (void)snprintf(both, sizeof(both), "%s,file.write:1:short", lists[i]);
        EXPECT_OK(fault_set(both));
        EXPECT_ST(file_write(path, "after it", 8), ST_IO);
        EXPECT_OK(fault_set(""));
        EXPECT_OK(file_read(&data, &len, path, 100));
        assert_string_equal(data, "before");
        mem_free(data);
        assert_false(file_exists(tmp)); /* nor is anything left of it */
    }
    EXPECT_OK(fault_set("file.write:1:short,file.write:2:short"));
    EXPECT_OK(file_write(path, "after it", 8));
    assert_int_equal(fault_passed(FAULT_FILE_WRITE), 3);
    EXPECT_OK(file_read(&data, &len, path, 100));
    assert_string_equal(data, "after it");
    mem_free(data);
}

static void
a_failed_fsync_is_not_forgotten(void **state)
{
    (void)state;
    EXPECT_OK(fault_set("file.directory:1:eio"));
    EXPECT_ST(file_write(path, "x", 1), ST_IO);
    EXPECT_OK(fault_set(""));
    EXPECT_OK(file_write(path, "y", 1));
    assert_true(file_sync_failed());
}

static void
memory_runs_out(void **state)
{
    char *a = NULL;

    (void)state;
    EXPECT_OK(fault_set("mem.new:2:nomem"));
    EXPECT_OK(mem_new(&a, 1, 8));
    EXPECT_ST(mem_resize(&a, 2, 8), ST_NOMEM);
    EXPECT_OK(mem_resize(&a, 2, 8));
    mem_free(a);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(points_have_names_of_their_own),
        cmocka_unit_test(what_is_no_list_is_refused),
        cmocka_unit_test(the_nth_time_counts),
        cmocka_unit_test(processes_end_as_told),
        cmocka_unit_test(files_are_whole_or_as_before),
        cmocka_unit_test(a_failed_fsync_is_not_forgotten),
        cmocka_unit_test(memory_runs_out),
    };

    return cmocka_run_group_tests(tests, name_file, remove_file);
}
