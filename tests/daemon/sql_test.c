/* SPDX-License-Identifier: Apache-2.0 */
/* Transactions that end on their own, and files that lie on a network. */
#include "daemon/sql.h"

#include <string.h>
#include <sys/vfs.h>

#include "tests/daemon/scratch.h"

enum { NFS = 0x6969, FULL = 2, EXTRA = 3 };

static bool is_remote;

/* Instead of the C library's. */
int
statfs(const char *path, struct statfs *out)
{
    (void)path;
    memset(out, 0, sizeof(*out));
    out->f_type = is_remote ? NFS : 0;
    return 0;
}

static uint64_t
number(sql *s, const char *text)
{
    sql_query *q;
    bool row;
    uint64_t n;

    EXPECT_OK(sql_start(s, &q, text));
    EXPECT_OK(sql_next(q, &row));
    assert_true(row);
    n = sql_number(q, 0);
    sql_stop(q);
    return n;
}

static const char COUNT[] = "SELECT count(*) FROM t";

static status
insert(sql *s, uint64_t value)
{
    static const char text[] = "INSERT INTO t VALUES (?)";
    sql_query *q;
    status st;

    TRY(sql_start(s, &q, text));
    sql_put_number(q, 1, value);
    TRY(sql_run(q));
fail:
    return st;
}

/* A new database, and a transaction in which a table has got its first row. */
static sql *
begin_with_one(scratch *box)
{
    sql *s;

    EXPECT_OK(sql_open(&s, scratch_path(box, "db")));
    EXPECT_OK(sql_execute(s, "CREATE TABLE t (x INTEGER PRIMARY KEY)"));
    EXPECT_OK(sql_begin(s));
    EXPECT_OK(insert(s, 1));
    return s;
}

/* What follows in such a transaction would be committed by itself, although
 * it is said to have failed with the others. */
static void
what_was_rolled_back_is_not_gone_on_with(void **state)
{
    scratch box;
    sql *s;

    (void)state;
    scratch_init(&box);
    s = begin_with_one(&box);
    EXPECT_ST(sql_execute(s, "INSERT OR ROLLBACK INTO t VALUES (1)"), ST_IO);
    EXPECT_ST(sql_change_begin(s), ST_IO);
    EXPECT_ST(insert(s, 2), ST_IO);
    EXPECT_ST(sql_commit(s), ST_IO);
    assert_int_equal(number(s, COUNT), 0);
    EXPECT_OK(sql_begin(s));
    EXPECT_OK(insert(s, 3));
    EXPECT_OK(sql_commit(s));
    sql_close(s);
    EXPECT_OK(sql_open(&s, scratch_path(&box, "db")));
    assert_int_equal(number(s, COUNT), 1);
    sql_close(s);
    scratch_fini(&box);
}

static void
a_failed_change_alone_is_undone(void **state)
{
    scratch box;
    sql *s;

    (void)state;
    scratch_init(&box);
    s = begin_with_one(&box);
    EXPECT_OK(sql_change_begin(s));
    EXPECT_OK(insert(s, 2));
    EXPECT_ST(sql_change_end(s, insert(s, 1)), ST_IO);
    EXPECT_OK(sql_commit(s));
    assert_int_equal(number(s, COUNT), 1);
    sql_close(s);
    scratch_fini(&box);
}

/* Without a log a transaction has ended when its journal is gone for good. */
static void
a_network_needs_more(void **state)
{
    scratch box;
    sql *s;

    (void)state;
    scratch_init(&box);
    EXPECT_OK(sql_open(&s, scratch_path(&box, "near")));
    assert_int_equal(number(s, "PRAGMA synchronous"), FULL);
    sql_close(s);
    is_remote = true;
    EXPECT_OK(sql_open(&s, scratch_path(&box, "far")));
    assert_int_equal(number(s, "PRAGMA synchronous"), EXTRA);
    EXPECT_OK(sql_execute(s, "CREATE TABLE t (x INTEGER PRIMARY KEY)"));
    EXPECT_OK(insert(s, 1));
    sql_close(s);
    is_remote = false;
    scratch_fini(&box);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_rolled_back_is_not_gone_on_with),
        cmocka_unit_test(a_failed_change_alone_is_undone),
        cmocka_unit_test(a_network_needs_more),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
