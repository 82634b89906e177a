/* SPDX-License-Identifier: Apache-2.0 */
/* T30: model directories that lead elsewhere, hang, or change meanwhile. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "model/config.h"
#include "model/safetensors.h"
#include "model/tokenizer.h"
#include "tests/expect.h"

enum { PATH_CAP = 512, N_OPEN = 2000, MOST = 500000 };

typedef struct place {
    char dir[64];
    char path[PATH_CAP];
} place;

static const char *
at(place *p, const char *name)
{
    (void)snprintf(p->path, sizeof(p->path), "%s/%s", p->dir, name);
    return p->path;
}

static void
write_file(place *p, const char *name, const void *data, size_t len)
{
    FILE *file = fopen(at(p, name), "wb");

    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
}

/* A checkpoint without tensors. */
static void
write_empty(place *p, const char *name)
{
    static const char empty[] = "\2\0\0\0\0\0\0\0{}";

    write_file(p, name, empty, sizeof(empty) - 1);
}

static int
enter(void **state)
{
    place *p = calloc(1, sizeof(*p));

    assert_non_null(p);
    (void)snprintf(p->dir, sizeof(p->dir), "/tmp/lw-hostile-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    *state = p;
    return 0;
}

static int
leave(void **state)
{
    static const char *const name[] = {"config.json",
                                       "tokenizer.json",
                                       "model.safetensors",
                                       "model.safetensors.index.json",
                                       "good",
                                       "fifo",
                                       "swap"};
    place *p = *state;

    for (size_t i = 0; i < sizeof(name) / sizeof(*name); i++)
        (void)remove(at(p, name[i]));
    assert_int_equal(rmdir(p->dir), 0);
    free(p);
    return 0;
}

/* What a directory gives; every object is closed again. */
static status
try_weights(const place *p)
{
    safetensors *s = NULL;
    status st = safetensors_open(&s, p->dir);

    safetensors_close(s);
    return st;
}

static status
try_tokenizer(const char *dir)
{
    tokenizer *tok = NULL;
    status st = tokenizer_open(&tok, dir);

    tokenizer_close(tok);
    return st;
}

static void
pipes_and_directories_are_no_files(void **state)
{
    static const char *const name[] = {"config.json", "tokenizer.json",
                                       "model.safetensors"};
    place *p = *state;
    model_config cfg;

    for (int kind = 0; kind < 2; kind++) {
        for (size_t i = 0; i < 3; i++)
            assert_int_equal(kind == 0 ? mkfifo(at(p, name[i]), 0600)
                                       : mkdir(at(p, name[i]), 0700),
                             0);
        EXPECT_ST(config_load(&cfg, p->dir), ST_ARG);
        EXPECT_ST(try_tokenizer(p->dir), ST_ARG);
        EXPECT_ST(try_weights(p), ST_ARG);
        for (size_t i = 0; i < 3; i++)
            assert_int_equal(remove(at(p, name[i])), 0);
    }
}

static void
links_lead_to_nothing_that_is_read(void **state)
{
    static const char *const target[] = {
        "/dev/zero",   "/dev/null",          "/proc/self/mem",
        "/proc/kmsg",  "/proc/self/environ", "/proc/self/fd/0",
        "/etc/passwd", "model.safetensors"};
    place *p = *state;

    for (size_t i = 0; i < sizeof(target) / sizeof(*target); i++) {
        status st;

        assert_int_equal(symlink(target[i], at(p, "model.safetensors")), 0);
        st = try_weights(p);
        assert_int_not_equal(st, ST_OK);
        assert_int_not_equal(st, ST_NOMEM);
        assert_null(strstr(status_text(), "root:"));
        assert_int_equal(remove(at(p, "model.safetensors")), 0);
    }
}

static void
processes_are_no_models(void **state)
{
    static const char *const dir[] = {"/proc/self", "/proc/self/fd", "/dev",
                                      "/sys", "/"};
    model_config cfg;

    (void)state;
    for (size_t i = 0; i < sizeof(dir) / sizeof(*dir); i++) {
        safetensors *s = NULL;

        EXPECT_ST(config_load(&cfg, dir[i]), ST_NOTFOUND);
        EXPECT_ST(safetensors_open(&s, dir[i]), ST_NOTFOUND);
    }
}

static void
shards_stay_in_their_directory(void **state)
{
    static const char *const shard[] = {"../good",
                                        "./good",
                                        "/etc/passwd",
                                        "..",
                                        ".",
                                        "",
                                        "sub/good",
                                        "good/../good",
                                        "..\\\\good",
                                        ".hidden",
                                        "%2e%2e%2fgood",
                                        "good\\u0000.x",
                                        "/proc/self/fd/0",
                                        "good\\n",
                                        "\\u002e\\u002e/good"};
    place *p = *state;
    char text[256];

    write_empty(p, "good");
    for (size_t i = 0; i < sizeof(shard) / sizeof(*shard); i++) {
        (void)snprintf(text, sizeof(text), "{\"weight_map\":{\"a\":\"%s\"}}",
                       shard[i]);
        write_file(p, "model.safetensors.index.json", text, strlen(text));
        if (try_weights(p) == ST_OK)
            fail_msg("the shard '%s' is read", shard[i]);
    }
}

/* ------------------------------------------------------------------ races */

typedef struct swapper {
    place p;
    atomic_bool done;
} swapper;

/* Each kind of thing takes its turn at one path, by rename, so that there is
 * always one of them. */
static void *
swap(void *ctx)
{
    swapper *s = ctx;
    char to[PATH_CAP], from[PATH_CAP];
    static const char *const target[] = {"good", "fifo",    "/dev/zero",
                                         "/",    "nothing", "/proc/self/mem"};

    (void)snprintf(to, sizeof(to), "%s/model.safetensors", s->p.dir);
    (void)snprintf(from, sizeof(from), "%s/swap", s->p.dir);
    for (size_t i = 0; !atomic_load(&s->done); i++)
        if (symlink(target[i % 6], from) != 0 || rename(from, to) != 0)
            break;
    return NULL;
}

static void
what_changes_meanwhile_is_good_or_refused(void **state)
{
    place *p = *state;
    swapper s = {.p = *p};
    pthread_t thread;
    int good = 0;
    int n;

    write_empty(p, "good");
    assert_int_equal(mkfifo(at(p, "fifo"), 0600), 0);
    assert_int_equal(symlink("good", at(p, "model.safetensors")), 0);
    atomic_init(&s.done, false);
    assert_int_equal(pthread_create(&thread, NULL, swap, &s), 0);
    /* On a busy machine the other thread may be late. */
    for (n = 0; n < N_OPEN || (n < MOST && (good == 0 || good == n)); n++) {
        status st = try_weights(p);

        good += st == ST_OK;
        if (st != ST_OK && st != ST_ARG && st != ST_NOTFOUND)
            fail_msg("%s: %s", status_name(st), status_text());
    }
    atomic_store(&s.done, true);
    (void)pthread_join(thread, NULL);
    assert_true(good > 0 && good < n); /* both have been met */
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(pipes_and_directories_are_no_files,
                                        enter, leave),
        cmocka_unit_test_setup_teardown(links_lead_to_nothing_that_is_read,
                                        enter, leave),
        cmocka_unit_test(processes_are_no_models),
        cmocka_unit_test_setup_teardown(shards_stay_in_their_directory, enter,
                                        leave),
        cmocka_unit_test_setup_teardown(
            what_changes_meanwhile_is_good_or_refused, enter, leave),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
