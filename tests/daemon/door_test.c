/* SPDX-License-Identifier: Apache-2.0 */
/* T25: what the daemon does not start with, and lists that change. */
#include "daemon/door.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/secret.h"
#include "tests/daemon/scratch.h"

#define SECOND UINT64_C(1000000000)

typedef struct scene {
    scratch box;
    char key[128], list[128];
    keyfile daemon, client;
    zcontext *z;
} scene;

static int
enter(void **state)
{
    scene *s = calloc(1, sizeof(*s));

    assert_non_null(s);
    *state = s;
    scratch_init(&s->box);
    (void)snprintf(s->key, sizeof(s->key), "%s/key", s->box.dir);
    (void)snprintf(s->list, sizeof(s->list), "%s/list", s->box.dir);
    EXPECT_OK(keyfile_generate(&s->daemon));
    EXPECT_OK(keyfile_create(&s->daemon, s->key));
    EXPECT_OK(keyfile_generate(&s->client));
    EXPECT_OK(allowlist_edit(s->list, s->client.public_key, ALLOWLIST_CLIENT,
                             "a person"));
    EXPECT_OK(zcontext_new(&s->z));
    return 0;
}

static int
leave(void **state)
{
    scene *s = *state;

    zcontext_free(s->z);
    scratch_fini(&s->box);
    free(s);
    return 0;
}

static status
opens(const char *key, const char *list, bool allow_local_users)
{
    door_setup setup = {
        .key = key, .authorized = list, .allow_local_users = allow_local_users};
    door *d = NULL;
    zcontext *z;
    status st;

    EXPECT_OK(zcontext_new(&z)); /* has one doorkeeper in its life */
    st = door_open(&d, z, &setup);
    door_close(d);
    zcontext_free(z);
    return st;
}

static void
unsafe_set_ups_are_refused(void **state)
{
    scene *s = *state;

    EXPECT_OK(opens(NULL, NULL, false));
    EXPECT_OK(opens(s->key, s->list, false));
    EXPECT_ST(opens(s->key, NULL, false), ST_DENIED);
    EXPECT_ST(opens(NULL, s->list, false), ST_DENIED);
    EXPECT_ST(opens(s->key, s->list, true), ST_ARG);
    EXPECT_ST(opens(scratch_path(&s->box, "nothing"), s->list, false),
              ST_DENIED);
    EXPECT_ST(opens(s->key, scratch_path(&s->box, "nothing"), false),
              ST_DENIED);
    assert_int_equal(chmod(s->key, 0644), 0);
    EXPECT_ST(opens(s->key, s->list, false), ST_DENIED);
    assert_int_equal(chmod(s->key, 0600), 0);
    assert_int_equal(chmod(s->list, 0622), 0);
    EXPECT_ST(opens(s->key, s->list, false), ST_DENIED);
    assert_int_equal(chmod(s->list, 0644), 0);
    EXPECT_OK(opens(s->key, s->list, false));
}

static void
empty_and_wrong_lists_are_refused(void **state)
{
    scene *s = *state;

    EXPECT_OK(file_write(s->list, "# nobody\n", 9));
    EXPECT_ST(opens(s->key, s->list, false), ST_DENIED);
    assert_non_null(strstr(status_text(), "no key"));
    EXPECT_OK(file_write(s->list, "client me\n", 10));
    EXPECT_ST(opens(s->key, s->list, false), ST_DENIED);
    assert_non_null(strstr(status_text(), "line 1"));
}

static void
private_sockets_are_open(void **state)
{
    scene *s = *state;
    door_setup none = {.key = NULL};
    door *d;

    EXPECT_OK(door_open(&d, s->z, &none));
    assert_int_equal(door_roles(d, ""),
                     ALLOWLIST_CLIENT | ALLOWLIST_WORLD | ALLOWLIST_ADMIN);
    assert_int_equal(door_roles(d, s->client.public_key), 0);
    assert_null(door_guard(d, ZSOCKET_WORLDS)->key);
    EXPECT_OK(door_check(d, "ipc:///nowhere"));
    door_close(d);
}

static void
lists_are_read_again(void **state)
{
    scene *s = *state;
    door_setup setup = {.key = s->key, .authorized = s->list};
    const char *who = s->client.public_key;
    uint64_t now = 10 * SECOND;
    door *d;

    EXPECT_OK(door_open(&d, s->z, &setup));
    assert_int_equal(door_roles(d, who), ALLOWLIST_CLIENT);
    assert_int_equal(door_roles(d, s->daemon.public_key), ALLOWLIST_WORLD);
    EXPECT_OK(allowlist_edit(s->list, who, ALLOWLIST_WORLD, ""));
    door_tick(d, now += 2 * SECOND);
    assert_int_equal(door_roles(d, who), ALLOWLIST_WORLD);
    EXPECT_OK(allowlist_edit(s->list, who, 0, ""));
    door_tick(d, now + SECOND / 2); /* not at every tick */
    assert_int_equal(door_roles(d, who), ALLOWLIST_WORLD);
    door_tick(d, now += 2 * SECOND);
    assert_int_equal(door_roles(d, who), 0);
    EXPECT_OK(allowlist_edit(s->list, who, ALLOWLIST_CLIENT, ""));
    door_tick(d, now += 2 * SECOND);
    assert_int_equal(door_roles(d, who), ALLOWLIST_CLIENT);
    assert_int_equal(chmod(s->list, 0666), 0); /* whose is it now? */
    door_tick(d, now += 2 * SECOND);
    assert_int_equal(door_roles(d, who), 0);
    assert_int_equal(chmod(s->list, 0600), 0);
    door_tick(d, now += 2 * SECOND);
    assert_int_equal(door_roles(d, who), ALLOWLIST_CLIENT);
    EXPECT_OK(file_remove(s->list));
    door_tick(d, now += 2 * SECOND);
    assert_int_equal(door_roles(d, who), 0);
    assert_int_equal(door_roles(d, s->daemon.public_key), ALLOWLIST_WORLD);
    door_close(d);
}

/* No more descriptors; those that are there can still be waited for, as
 * ZeroMQ's threads do. */
static void
use_up_descriptors(struct rlimit *old)
{
    struct rlimit few;
    int next = open("/dev/null", O_RDONLY | O_CLOEXEC);

    assert_true(next >= 0);
    close(next);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, old), 0);
    few = (struct rlimit){.rlim_cur = (rlim_t)next, .rlim_max = old->rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
}

/* That there are no descriptors just now says nothing of the list, which stays
 * the same. */
static void
a_list_that_cannot_be_read_is_tried_again(void **state)
{
    scene *s = *state;
    door_setup setup = {.key = s->key, .authorized = s->list};
    const char *who = s->client.public_key;
    uint64_t now = 10 * SECOND;
    struct rlimit old;
    door *d;

    EXPECT_OK(door_open(&d, s->z, &setup));
    assert_int_equal(chmod(s->list, 0644), 0); /* it is looked at */
    use_up_descriptors(&old);
    door_tick(d, now += 2 * SECOND);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_int_equal(door_roles(d, who), 0);
    door_tick(d, now += 2 * SECOND);
    assert_int_equal(door_roles(d, who), ALLOWLIST_CLIENT);
    door_close(d);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(unsafe_set_ups_are_refused, enter,
                                        leave),
        cmocka_unit_test_setup_teardown(empty_and_wrong_lists_are_refused,
                                        enter, leave),
        cmocka_unit_test_setup_teardown(private_sockets_are_open, enter, leave),
        cmocka_unit_test_setup_teardown(lists_are_read_again, enter, leave),
        cmocka_unit_test_setup_teardown(
            a_list_that_cannot_be_read_is_tried_again, enter, leave),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
