/* SPDX-License-Identifier: Apache-2.0 */
/* The local world's process: restarts, sentences, ends. */
#include "daemon/launch.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "base/clock.h"
#include "base/log.h"
#include "daemon/launch_argv.h"
#include "tests/daemon/scratch.h"

typedef struct record {
    launch_state state[16];
    uint64_t token[16];
    char why[16][256];
    size_t n;
} record;

static void
note(void *ctx, launch_state state, uint64_t token, const char *why)
{
    record *r = ctx;

    assert_true(r->n < 16);
    r->state[r->n] = state;
    r->token[r->n] = token;
    (void)snprintf(r->why[r->n], sizeof(r->why[0]), "%s", why);
    r->n++;
}

/* Ticks until so many events were seen; ten seconds are a failure. */
static void
wait_events(launch *l, const record *r, size_t n)
{
    for (int i = 0; i < 2000 && r->n < n; i++) {
        launch_tick(l);
        clock_sleep_us(5000);
    }
    assert_true(r->n >= n);
}

static void
wait_end(launch *l)
{
    for (int i = 0; i < 2000 && launch_is_running(l); i++) {
        launch_tick(l);
        clock_sleep_us(5000);
    }
    assert_false(launch_is_running(l));
}

static launch *
start(record *r, const char *command)
{
    launch_setup setup = {
        .command = command, .model = "m", .endpoint = "ipc:///x"};
    launch *l;

    EXPECT_OK(launch_new(&l, &setup, note, r));
    launch_start(l);
    return l;
}

/* T24: again and again, with growing pauses; whoever would rather give up can
 * know. */
static void
a_world_that_dies_is_started_again(void **state)
{
    record r = {0};
    uint64_t start_ns = clock_ns();
    launch *l = start(&r, "exit 3");

    (void)state;
    wait_events(l, &r, 8);
    for (size_t i = 0; i < 8; i += 2) {
        assert_int_equal(r.state[i], LAUNCH_STARTED);
        assert_int_equal(r.state[i + 1], LAUNCH_ENDED);
        assert_non_null(strstr(r.why[i + 1], "status 3"));
        assert_true(r.token[i] != 0);
        assert_true(i == 0 || r.token[i] != r.token[i - 2]);
    }
    assert_true(clock_ns() - start_ns >= UINT64_C(700) * 1000000);
    assert_false(launch_is_hopeless(l));
    wait_events(l, &r, 10);
    assert_true(launch_is_hopeless(l));
    launch_progress(l);
    assert_false(launch_is_hopeless(l));
    wait_events(l, &r, 12); /* 1.6 s: that pause had begun */
    start_ns = clock_ns();
    wait_events(l, &r, 13);
    assert_true(clock_ns() - start_ns < UINT64_C(3) * 1000000000); /* 0.1 s */
    launch_free(l);
}

static void
sees_for_a_second(launch *l, const record *r, size_t n)
{
    for (int i = 0; i < 200; i++) {
        launch_tick(l);
        clock_sleep_us(5000);
    }
    assert_int_equal(r->n, n);
}

/* Status 2 is bad usage or bad input: no start behind another mends that. */
static void
a_world_that_cannot_work_waits_long(void **state)
{
    record r = {0}, joined = {0};
    launch *l = start(&r, "exit 2");

    (void)state;
    wait_events(l, &r, 2);
    assert_non_null(strstr(r.why[1], "cannot be used"));
    assert_true(launch_is_hopeless(l));
    sees_for_a_second(l, &r, 2);
    launch_free(l);
    /* One that was there has had a command line that can be used. */
    l = start(&joined, "sleep 0.1; exit 2");
    launch_joined(l, joined.token[0]);
    wait_events(l, &joined, 3);
    assert_string_equal(joined.why[1], "the world ended with status 2");
    assert_false(launch_is_hopeless(l));
    launch_free(l);
}

/* A world that never joins is ended, one that has joined is left alone. */
static void
joining_has_a_deadline(void **state)
{
    launch_setup setup = {.command = "sleep 100",
                          .model = "m",
                          .endpoint = "ipc:///x",
                          .start_ms = 100};
    record r = {0};
    launch *l;

    (void)state;
    EXPECT_OK(launch_new(&l, &setup, note, &r));
    launch_start(l);
    wait_events(l, &r, 3);
    assert_non_null(strstr(r.why[1], "signal 9"));
    launch_joined(l, r.token[2]);
    for (int i = 0; i < 40; i++) {
        launch_tick(l);
        clock_sleep_us(5000);
    }
    assert_int_equal(r.n, 3);
    launch_kill(l, r.token[2] + 1, 0); /* of another start */
    assert_true(launch_is_running(l));
    launch_kill(l, r.token[2], 0);
    wait_events(l, &r, 4);
    launch_free(l);
}

static void
lives_on(launch *l, const record *r)
{
    for (int i = 0; i < 80; i++) {
        launch_tick(l);
        clock_sleep_us(5000);
    }
    assert_int_equal(r->n, 1);
}

/* Its ranks go on without one that has died: it has its time to join once more,
 * from then on. */
static void
a_world_that_was_left_is_awaited(void **state)
{
    launch_setup setup = {.command = "sleep 100",
                          .model = "m",
                          .endpoint = "ipc:///x",
                          .start_ms = 200};
    record r = {0};
    uint64_t left_ns;
    launch *l;

    (void)state;
    EXPECT_OK(launch_new(&l, &setup, note, &r));
    launch_start(l);
    launch_joined(l, r.token[0]);
    launch_await(l, r.token[0] + 1); /* of another start */
    lives_on(l, &r);
    launch_await(l, r.token[0]);
    launch_joined(l, r.token[0]);
    lives_on(l, &r);
    left_ns = clock_ns();
    launch_await(l, r.token[0]);
    wait_events(l, &r, 2);
    assert_true(clock_ns() - left_ns >= UINT64_C(200) * 1000000);
    assert_non_null(strstr(r.why[1], "signal 9"));
    launch_free(l);
}

/* T14: one that is about to end tells how, one that is not is ended. */
static void
a_world_that_left_may_end_by_itself(void **state)
{
    record r = {0};
    launch *l = start(&r, "sleep 0.2; exit 42");

    (void)state;
    launch_kill(l, r.token[0], 3600 * 1000);
    wait_events(l, &r, 3);
    assert_non_null(strstr(r.why[1], "status 42"));
    launch_free(l);
    r.n = 0;
    l = start(&r, "sleep 100");
    launch_kill(l, r.token[0], 20);
    wait_events(l, &r, 2);
    assert_non_null(strstr(r.why[1], "signal 9"));
    launch_free(l);
}

static void
the_sentence_names_the_signal(void **state)
{
    record r = {0};
    launch *l = start(&r, "kill -9 $$");

    (void)state;
    wait_events(l, &r, 2);
    assert_non_null(strstr(r.why[1], "signal 9"));
    launch_free(l);
    r.n = 0;
    l = start(&r, "exit 137"); /* what mpirun makes of it */
    wait_events(l, &r, 2);
    assert_non_null(strstr(r.why[1], "signal 9"));
    launch_free(l);
}

static void
a_missing_program_is_named(void **state)
{
    scratch box;
    record r = {0};
    launch_setup setup = {.workers = 1, .model = "m", .endpoint = "ipc:///x"};
    char *path = strdup(getenv("PATH"));
    launch *l;

    (void)state;
    scratch_init(&box);
    EXPECT_OK(launch_new(&l, &setup, note, &r));
    assert_int_equal(setenv("PATH", box.dir, 1), 0);
    launch_start(l);
    assert_int_equal(setenv("PATH", path, 1), 0);
    free(path);
    wait_events(l, &r, 2);
    assert_int_equal(r.state[1], LAUNCH_ENDED);
    assert_non_null(strstr(r.why[1], "mpirun"));
    launch_free(l);
    scratch_fini(&box);
}

/* The whole group goes, also what the command left behind. */
static void
stopping_ends_the_group(void **state)
{
    scratch box;
    record r = {0};
    char command[512];
    launch *l;
    FILE *f;
    int pid = 0;

    (void)state;
    scratch_init(&box);
    (void)snprintf(command, sizeof(command),
                   "trap '' TERM; sleep 100 & echo $! > %s/new; "
                   "mv %s/new %s/pid; wait; wait; sleep 100",
                   box.dir, box.dir, box.dir);
    l = start(&r, command);
    for (int i = 0; i < 1000 && access(scratch_path(&box, "pid"), R_OK); i++)
        clock_sleep_us(5000);
    f = fopen(scratch_path(&box, "pid"), "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%d", &pid), 1);
    (void)fclose(f);
    launch_stop(l, 0); /* SIGTERM is ignored: SIGKILL follows */
    wait_end(l);
    for (int i = 0; i < 1000 && kill(pid, 0) == 0; i++)
        clock_sleep_us(5000);
    assert_int_not_equal(kill(pid, 0), 0);
    assert_int_equal(r.n, 1);
    launch_free(l);
    scratch_fini(&box);
}

static void
a_stopped_world_is_not_restarted(void **state)
{
    record r = {0};
    launch *l = start(&r, "sleep 100");

    (void)state;
    launch_stop(l, 0);
    wait_end(l);
    launch_tick(l);
    assert_int_equal(r.n, 1);
    launch_free(l);
}

/* Nor has the keeper any, which is the parent of the command. */
static void
descriptors_stay_here(void **state)
{
    scratch box;
    record r = {0};
    char command[1024];
    int fds[2];
    launch *l;

    (void)state;
    scratch_init(&box);
    assert_int_equal(pipe(fds), 0); /* not close-on-exec */
    (void)snprintf(command, sizeof(command),
                   "for i in $(seq 100); do test -n \"$(ls /proc/$PPID/fd)\" "
                   "|| break; sleep 0.05; done; "
                   "test -z \"$(ls /proc/$PPID/fd)\" && "
                   "test ! -e /proc/self/fd/%d && test \"$LONGWAVE_DAEMON\" = "
                   "ipc:///x && test -n \"$LONGWAVE_LAUNCH_TOKEN\" && exit 42",
                   fds[0]);
    l = start(&r, command);
    wait_events(l, &r, 2);
    assert_non_null(strstr(r.why[1], "status 42"));
    launch_free(l);
    (void)close(fds[0]);
    (void)close(fds[1]);
    scratch_fini(&box);
}

/* The same where the kernel has no close_range(2), which this process cannot
 * undo: the last test. */
static void
descriptors_stay_here_on_old_kernels(void **state)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_close_range, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    struct sock_fprog program = {.len = sizeof(filter) / sizeof(*filter),
                                 .filter = filter};

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        skip();
    assert_int_equal(syscall(SYS_close_range, 1000, 1000, 0), -1);
    descriptors_stay_here(state);
}

static bool
has(char *const *list, const char *text)
{
    for (; *list; list++)
        if (strcmp(*list, text) == 0)
            return true;
    return false;
}

static void
mpirun_gets_its_flags(void **state)
{
    launch_setup setup = {.workers = 4096,
                          .model = "some model",
                          .endpoint = "ipc:///x",
                          .placement = "segments",
                          .weights = "int8",
                          .max_context = 500,
                          .given = {32, "none", 0.5, "bf16"},
                          .threads = 3};
    char path[20000] = "LONG_PATH=";
    launch_argv *a;

    (void)state;
    memset(path + 10, 'x', sizeof(path) - 11); /* as modules make them */
    assert_int_equal(setenv("LONG_PATH", path + 10, 1), 0);
    EXPECT_OK(launch_argv_new(&a, &setup, "/a/place", 77));
    assert_true(has(launch_argv_environment(a), path));
    assert_string_equal(launch_argv_list(a)[0], "mpirun");
    assert_true(has(launch_argv_list(a), "4096"));
    assert_true(has(launch_argv_list(a), "--oversubscribe"));
    assert_true(has(launch_argv_list(a), "some model"));
    assert_int_equal(has(launch_argv_list(a), "--allow-run-as-root"),
                     geteuid() == 0);
    assert_true(has(launch_argv_environment(a), "LONGWAVE_PLACEMENT=segments"));
    assert_true(has(launch_argv_environment(a), "LONGWAVE_THREADS=3"));
    assert_true(has(launch_argv_environment(a), "TMPDIR=/a/place"));
    assert_true(has(launch_argv_list(a), "btl_vader_backing_directory"));
    assert_true(has(launch_argv_list(a), "/a/place"));
    assert_true(has(launch_argv_environment(a), "LONGWAVE_WEIGHTS=int8"));
    assert_true(has(launch_argv_environment(a), "LONGWAVE_MAX_CONTEXT=500"));
    assert_true(has(launch_argv_environment(a), "LONGWAVE_SEGMENT=32"));
    assert_true(has(launch_argv_environment(a), "LONGWAVE_KEY_NORM=none"));
    assert_true(has(launch_argv_environment(a), "LONGWAVE_LORA_ALPHA=0.5"));
    assert_true(has(launch_argv_environment(a), "LONGWAVE_STATE_TYPE=bf16"));
    assert_true(has(launch_argv_environment(a), "LONGWAVE_LAUNCH_TOKEN=77"));
    launch_argv_free(a);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_world_that_dies_is_started_again),
        cmocka_unit_test(a_world_that_cannot_work_waits_long),
        cmocka_unit_test(joining_has_a_deadline),
        cmocka_unit_test(a_world_that_was_left_is_awaited),
        cmocka_unit_test(a_world_that_left_may_end_by_itself),
        cmocka_unit_test(the_sentence_names_the_signal),
        cmocka_unit_test(a_missing_program_is_named),
        cmocka_unit_test(stopping_ends_the_group),
        cmocka_unit_test(a_stopped_world_is_not_restarted),
        cmocka_unit_test(descriptors_stay_here),
        cmocka_unit_test(mpirun_gets_its_flags),
        cmocka_unit_test(descriptors_stay_here_on_old_kernels),
    };

    log_init("launch_test", LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
