/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of keys: what a line gives, and what a wrong one takes. */
#include "proto/allowlist.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "tests/expect.h"

#define A "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"
#define B "D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs"

enum { PATH_CAP = 64 };

typedef struct place {
    char dir[PATH_CAP], path[PATH_CAP];
} place;

static int
enter(void **state)
{
    place *p = calloc(1, sizeof(*p));

    assert_non_null(p);
    (void)snprintf(p->dir, sizeof(p->dir), "/tmp/lw-list-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    (void)snprintf(p->path, sizeof(p->path), "%s/l", p->dir);
    *state = p;
    return 0;
}

static int
leave(void **state)
{
    place *p = *state;

    (void)unlink(p->path);
    assert_int_equal(rmdir(p->dir), 0);
    free(p);
    return 0;
}

static void
roles_have_names(void **state)
{
    (void)state;
    assert_int_equal(allowlist_roles("client"), ALLOWLIST_CLIENT);
    assert_int_equal(allowlist_roles("world"), ALLOWLIST_WORLD);
    assert_int_equal(allowlist_roles("admin,client"),
                     ALLOWLIST_ADMIN | ALLOWLIST_CLIENT);
    assert_int_equal(allowlist_roles(""), 0);
    assert_int_equal(allowlist_roles("client,"), 0);
    assert_int_equal(allowlist_roles("client,root"), 0);
    assert_int_equal(allowlist_roles("Client"), 0);
    assert_int_equal(allowlist_roles("clients"), 0);
}

static allowlist *
list_of(const char *text)
{
    allowlist *l;

    EXPECT_OK(allowlist_parse(&l, text, strlen(text)));
    return l;
}

static void
keys_are_found(void **state)
{
    allowlist *l = list_of("# us\n\nclient " A " a person\r\nworld,admin " B);

    (void)state;
    assert_string_equal(allowlist_fault(l), "");
    assert_int_equal(allowlist_count(l), 2);
    assert_int_equal(allowlist_find(l, A), ALLOWLIST_CLIENT);
    assert_int_equal(allowlist_find(l, B), ALLOWLIST_WORLD | ALLOWLIST_ADMIN);
    assert_int_equal(
        allowlist_find(l, "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf8"), 0);
    assert_int_equal(allowlist_find(l, ""), 0);
    assert_int_equal(allowlist_find(l, A "x"), 0);
    allowlist_free(l);
}

static void
wrong_lines_let_nobody_in(void **state)
{
    static const char *const bad[] = {
        A,
        "client",
        "root " A,
        "client " A "x",
        "client \x1b[31m" A,
        "client " A " name\x1b[31m",
        " client" A,
        "client " A "\nclient " A, /* which of them? */
    };
    char zero[] = "client " A " n?me\n";
    allowlist *l;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        l = list_of(bad[i]);
        assert_string_not_equal(allowlist_fault(l), "");
        assert_int_equal(allowlist_count(l), 0);
        assert_int_equal(allowlist_find(l, A), 0);
        allowlist_free(l);
    }
    *strchr(zero, '?') = '\0';
    EXPECT_OK(allowlist_parse(&l, zero, sizeof(zero) - 1));
    assert_int_equal(allowlist_find(l, A), 0);
    allowlist_free(l);
    l = list_of("nonsense\nclient " B); /* the others are not touched */
    assert_int_equal(allowlist_find(l, B), ALLOWLIST_CLIENT);
    assert_non_null(strstr(allowlist_fault(l), "line 1"));
    allowlist_free(l);
}

static void
expect_text(const place *p, const char *text)
{
    char *data;
    size_t len;

    EXPECT_OK(file_read(&data, &len, p->path, 4096));
    assert_string_equal(data, text);
    mem_free(data);
}

static void
one_line_is_changed(void **state)
{
    static const char text[] = "# us\nclient " A " x\n?\nend";
    place *p = *state;
    allowlist *l;

    EXPECT_ST(allowlist_read(&l, p->path), ST_NOTFOUND);
    EXPECT_ST(allowlist_edit(p->path, A, 0, ""), ST_NOTFOUND);
    EXPECT_OK(allowlist_edit(p->path, A, ALLOWLIST_CLIENT, "a person"));
    expect_text(p, "client " A " a person\n");
    EXPECT_OK(file_write(p->path, text, sizeof(text) - 1));
    EXPECT_OK(allowlist_edit(p->path, B, ALLOWLIST_WORLD, ""));
    expect_text(p, "# us\nclient " A " x\n?\nend\nworld " B "\n");
    EXPECT_OK(
        allowlist_edit(p->path, A, ALLOWLIST_ADMIN | ALLOWLIST_CLIENT, "y"));
    expect_text(p, "# us\n?\nend\nworld " B "\nclient,admin " A " y\n");
    EXPECT_OK(allowlist_edit(p->path, B, 0, ""));
    EXPECT_ST(allowlist_edit(p->path, B, 0, ""), ST_NOTFOUND);
    expect_text(p, "# us\n?\nend\nclient,admin " A " y\n");
    EXPECT_ST(allowlist_edit(p->path, A, ALLOWLIST_CLIENT, "a\nb"), ST_ARG);
    EXPECT_ST(allowlist_edit(p->path, "key", ALLOWLIST_CLIENT, ""), ST_ARG);
    EXPECT_ST(allowlist_edit(p->path, A, 64, ""), ST_ARG);
    EXPECT_OK(allowlist_read(&l, p->path));
    assert_int_equal(allowlist_find(l, A), ALLOWLIST_CLIENT | ALLOWLIST_ADMIN);
    allowlist_free(l);
    assert_int_equal(chmod(p->path, 0662), 0);
    EXPECT_ST(allowlist_read(&l, p->path), ST_DENIED);
    EXPECT_ST(allowlist_edit(p->path, A, ALLOWLIST_CLIENT, ""), ST_DENIED);
}

/* Whether a key that nobody else changes stays what it was made. */
static bool
stays(const place *p, const char *key, unsigned roles)
{
    bool same = true;

    for (int i = 0; i < 5 && same; i++) {
        allowlist *l;

        if (allowlist_read(&l, p->path) != ST_OK)
            return false;
        same = allowlist_find(l, key) == roles;
        allowlist_free(l);
        (void)usleep(500);
    }
    return same;
}

static bool
edits(const place *p, const char *key)
{
    for (int i = 0; i < 30; i++) {
        unsigned roles = i % 2 ? ALLOWLIST_CLIENT : ALLOWLIST_WORLD;

        if (allowlist_edit(p->path, key, roles, "") != ST_OK ||
            !stays(p, key, roles))
            return false;
    }
    return true;
}

/* Two people at once: no key is lost, and none stays that was revoked. */
static void
edits_at_once_are_all_made(void **state)
{
    place *p = *state;
    int how;
    pid_t other = fork();

    assert_true(other >= 0);
    if (other == 0)
        _exit(edits(p, B) ? 0 : 1);
    assert_true(edits(p, A));
    assert_int_equal(waitpid(other, &how, 0), other);
    assert_int_equal(how, 0);
}

static void
whoever_could_read_it_still_can(void **state)
{
    place *p = *state;
    struct stat sb;

    EXPECT_OK(allowlist_edit(p->path, A, ALLOWLIST_CLIENT, ""));
    assert_int_equal(stat(p->path, &sb), 0);
    assert_int_equal(sb.st_mode & 0777, 0600);
    assert_int_equal(chmod(p->path, 0644), 0);
    if (geteuid() == 0)
        assert_int_equal(chown(p->path, 0, 7), 0);
    EXPECT_OK(allowlist_edit(p->path, B, ALLOWLIST_CLIENT, ""));
    assert_int_equal(stat(p->path, &sb), 0);
    assert_int_equal(sb.st_mode & 0777, 0644);
    if (geteuid() == 0)
        assert_int_equal(sb.st_gid, 7);
}

static void
there_is_a_largest_list(void **state)
{
    size_t size = (size_t)(ALLOWLIST_MAX + 1) * (sizeof("client " A "\n") - 1);
    char *text = calloc(1, size + 1);
    allowlist *l;
    size_t n = 0;

    (void)state;
    assert_non_null(text);
    for (unsigned i = 0; i <= ALLOWLIST_MAX; i++)
        n += (size_t)snprintf(text + n, size + 1 - n,
                              "client %05u>}U?@Lns47E1%%kR.o@n%%FcmmsL/@{H8]"
                              "yf%01u\n",
                              i, i % 10);
    EXPECT_OK(allowlist_parse(&l, text, n));
    assert_int_equal(allowlist_count(l), ALLOWLIST_MAX);
    assert_non_null(strstr(allowlist_fault(l), "more keys"));
    allowlist_free(l);
    free(text);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(roles_have_names),
        cmocka_unit_test(keys_are_found),
        cmocka_unit_test(wrong_lines_let_nobody_in),
        cmocka_unit_test_setup_teardown(one_line_is_changed, enter, leave),
        cmocka_unit_test_setup_teardown(edits_at_once_are_all_made, enter,
                                        leave),
        cmocka_unit_test_setup_teardown(whoever_could_read_it_still_can, enter,
                                        leave),
        cmocka_unit_test(there_is_a_largest_list),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
