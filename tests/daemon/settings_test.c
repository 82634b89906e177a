/* SPDX-License-Identifier: Apache-2.0 */
/* Each flag of longwaved reaches its own field, and no other. */
#include "daemon/settings.h"

#include "tests/daemon/scratch.h"

enum { MAX_ARGUMENT = 80 };

static status
parse(settings *out, const char *const *flag, size_t n)
{
    char *argv[MAX_ARGUMENT + 1];
    bool done = false;
    status st;

    assert_true(n < MAX_ARGUMENT);
    argv[0] = (char *)(uintptr_t) "longwaved";
    for (size_t i = 0; i < n; i++)
        argv[i + 1] = (char *)(uintptr_t)flag[i];
    argv[n + 1] = NULL;
    st = settings_parse(out, (int)n + 1, argv, &done);
    assert_false(done);
    return st;
}

#define PARSE(out, flag) parse(out, flag, sizeof(flag) / sizeof(*(flag)))

static void
every_flag_is_heard(void **state)
{
    static const char *const flag[] = {
        "--model=m",
        "--launch=run it",
        "--data=d",
        "--template=auto",
        "--listen=ipc://a",
        "--listen-worlds=ipc://b",
        "--allow-local-users",
        "--key=k",
        "--authorized=list",
        "--device=cpu",
        "--placement=layers",
        "--threads=3",
        "--weights=int8",
        "--max-context=4",
        "--json",
        "--verbose",
        "--segment=5",
        "--key-norm=l2",
        "--lora-alpha=6.5",
        "--state-type=bf16",
        "--max-question=7",
        "--max-input=8",
        "--max-queue=9",
        "--max-queued-bytes=10",
        "--max-tokens=11",
        "--key-share=12",
        "--keep=13",
        "--checkpoint-segments=14",
        "--checkpoint-seconds=15.5",
        "--hang-seconds=16.5",
        "--start-seconds=17.5",
        "--drain-seconds=18.5",
        "--exit-without-world",
    };
    settings s;

    (void)state;
    EXPECT_OK(PARSE(&s, flag));
    assert_string_equal(s.model, "m");
    assert_string_equal(s.launch, "run it");
    assert_string_equal(s.data, "d");
    assert_string_equal(s.template, "auto");
    assert_string_equal(s.listen, "ipc://a");
    assert_string_equal(s.listen_worlds, "ipc://b");
    assert_string_equal(s.key, "k");
    assert_string_equal(s.authorized, "list");
    assert_string_equal(s.device, "cpu");
    assert_string_equal(s.placement, "layers");
    assert_string_equal(s.weights, "int8");
    assert_string_equal(s.given.key_norm, "l2");
    assert_string_equal(s.given.state_type, "bf16");
    assert_true(s.allow_local_users && s.json && s.verbose &&
                s.exit_without_world);
    assert_int_equal(s.threads, 3);
    assert_int_equal(s.max_context, 4);
    assert_int_equal(s.given.segment_size, 5);
    assert_true(s.given.lora_alpha == 6.5);
    assert_int_equal(s.max_question, 7);
    assert_int_equal(s.max_input, 8);
    assert_int_equal(s.max_queue, 9);
    assert_int_equal(s.max_queued_bytes, 10);
    assert_int_equal(s.max_tokens, 11);
    assert_int_equal(s.key_share, 12);
    assert_int_equal(s.keep, 13);
    assert_int_equal(s.checkpoint_segments, 14);
    assert_true(s.checkpoint_seconds == 15.5);
    assert_true(s.hang_seconds == 16.5);
    assert_true(s.start_seconds == 17.5);
    assert_true(s.drain_seconds == 18.5);
    assert_int_equal(s.workers, 0);
    settings_fini(&s);
}

static void
what_is_not_said_is_there(void **state)
{
    static const char *const flag[] = {"--model=m", "--workers=2"};
    settings s;

    (void)state;
    EXPECT_OK(PARSE(&s, flag));
    assert_int_equal(s.workers, 2);
    assert_string_equal(s.template, "plain");
    assert_non_null(strstr(s.listen, "/client.sock"));
    assert_non_null(strstr(s.listen_worlds, "/world.sock"));
    assert_non_null(s.data);
    assert_null(s.launch);
    assert_false(s.allow_local_users || s.json || s.verbose ||
                 s.exit_without_world);
    settings_fini(&s);
}

static void
what_cannot_be_is_refused(void **state)
{
    static const char *const none[] = {"--workers=2"};
    static const char *const both[] = {"--model=m", "--workers=2",
                                       "--launch=run"};
    static const char *const large[] = {"--model=m", "--workers=4097"};
    static const char *const soon[] = {"--model=m", "--hang-seconds=0"};
    static const char *const empty[] = {"--model="};
    settings s;

    (void)state;
    EXPECT_ST(PARSE(&s, none), ST_ARG);
    EXPECT_ST(PARSE(&s, both), ST_ARG);
    EXPECT_ST(PARSE(&s, large), ST_ARG);
    EXPECT_ST(PARSE(&s, soon), ST_ARG);
    EXPECT_ST(PARSE(&s, empty), ST_ARG);
}

/* A world would start, refuse it and end, again and again. */
static void
what_no_world_would_take_is_refused(void **state)
{
    static const char *const flag[] = {
        "--device=tpu",   "--device=",         "--weights=int4",
        "--weights=",     "--placement=rows",  "--placement=",
        "--threads=1025", "--placement=layer", "--max-context=1073741825",
    };
    static const char *const fine[] = {
        "--model=m", "--device=cuda", "--weights=stored",
        "--placement=layers:3,1", "--threads=1024"};
    settings s;

    (void)state;
    for (size_t i = 0; i < sizeof(flag) / sizeof(*flag); i++) {
        const char *const one[] = {"--model=m", flag[i]};

        EXPECT_ST(PARSE(&s, one), ST_ARG);
    }
    EXPECT_OK(PARSE(&s, fine));
    settings_fini(&s);
}

/* The user's own directories stay untouched. */
static int
enter(void **state)
{
    static scratch box;

    scratch_init(&box);
    *state = &box;
    return setenv("XDG_RUNTIME_DIR", box.dir, 1) != 0 ||
           setenv("XDG_STATE_HOME", box.dir, 1) != 0;
}

static int
leave(void **state)
{
    scratch_fini(*state);
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_flag_is_heard),
        cmocka_unit_test(what_is_not_said_is_there),
        cmocka_unit_test(what_cannot_be_is_refused),
        cmocka_unit_test(what_no_world_would_take_is_refused),
    };

    return cmocka_run_group_tests(tests, enter, leave);
}
