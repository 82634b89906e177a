/* SPDX-License-Identifier: Apache-2.0 */
/* Key files: made, read again, and refused when something is wrong. */
#include "proto/keyfile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "tests/expect.h"

enum { PATH_CAP = 64 };

typedef struct place {
    char dir[PATH_CAP], path[PATH_CAP], pub[PATH_CAP];
} place;

static int
enter(void **state)
{
    place *p = calloc(1, sizeof(*p));

    assert_non_null(p);
    (void)snprintf(p->dir, sizeof(p->dir), "/tmp/lw-keyfile-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    (void)snprintf(p->path, sizeof(p->path), "%s/k", p->dir);
    (void)snprintf(p->pub, sizeof(p->pub), "%s/k.pub", p->dir);
    *state = p;
    return 0;
}

static int
leave(void **state)
{
    place *p = *state;

    (void)unlink(p->path);
    (void)unlink(p->pub);
    assert_int_equal(rmdir(p->dir), 0);
    free(p);
    return 0;
}

static void
texts_of_keys_are_known(void **state)
{
    static const char *const bad[] = {
        "",
        "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf",   /* 39 */
        "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf77", /* 41 */
        "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf ",
        "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf\"",
        "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf\xE4",
        "########################################", /* over 32 bits a group */
    };

    (void)state;
    assert_true(keyfile_is_key("rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"));
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        assert_false(keyfile_is_key(bad[i]));
}

static void
a_pair_comes_back(void **state)
{
    place *p = *state;
    keyfile made, read;
    char public_key[KEYFILE_SIZE];
    struct stat sb;

    EXPECT_OK(keyfile_generate(&made));
    assert_true(keyfile_is_key(made.public_key));
    assert_true(keyfile_is_key(made.secret_key));
    EXPECT_OK(keyfile_create(&made, p->path));
    EXPECT_OK(keyfile_read(&read, p->path));
    assert_string_equal(read.public_key, made.public_key);
    assert_string_equal(read.secret_key, made.secret_key);
    assert_string_equal(read.server_key, "");
    EXPECT_OK(keyfile_read_public(public_key, p->pub));
    assert_string_equal(public_key, made.public_key);
    EXPECT_ST(keyfile_read(&read, p->pub), ST_ARG); /* has no secret */
    EXPECT_ST(keyfile_create(&made, p->path), ST_STATE);
    assert_int_equal(stat(p->path, &sb), 0);
    assert_int_equal(sb.st_mode & 07777, 0600);
    assert_int_equal(chmod(p->path, 0640), 0); /* T25 */
    EXPECT_ST(keyfile_read(&read, p->path), ST_DENIED);
}

/* Whatever was made before a keygen was interrupted, the next one does not
 * stand before it without a word. */
static void
half_a_pair_is_completed_or_explained(void **state)
{
    place *p = *state;
    char key[KEYFILE_SIZE] = "";
    keyfile made = {.server_key = ""};
    keyfile other = {.server_key = ""};
    keyfile read;
    FILE *f;

    EXPECT_OK(keyfile_generate(&made));
    EXPECT_OK(keyfile_generate(&other));
    EXPECT_OK(keyfile_create(&made, p->path));
    assert_int_equal(unlink(p->pub), 0);
    EXPECT_ST(keyfile_create(&other, p->path), ST_STATE);
    assert_non_null(strstr(status_text(), "is made from it"));
    EXPECT_OK(keyfile_read_public(key, p->pub));
    assert_string_equal(key, made.public_key);
    EXPECT_OK(keyfile_read(&read, p->path));
    assert_string_equal(read.secret_key, made.secret_key);
    /* A public key alone: perhaps of a secret that was put elsewhere. */
    assert_int_equal(unlink(p->path), 0);
    EXPECT_ST(keyfile_create(&other, p->path), ST_STATE);
    assert_non_null(strstr(status_text(), "elsewhere or was never made"));
    assert_int_not_equal(access(p->path, F_OK), 0);
    EXPECT_OK(keyfile_read_public(key, p->pub));
    assert_string_equal(key, made.public_key);
    /* What a power cut leaves of a file. */
    assert_int_equal(unlink(p->pub), 0);
    f = fopen(p->path, "w");
    assert_non_null(f);
    assert_int_equal(fclose(f), 0);
    EXPECT_ST(keyfile_create(&other, p->path), ST_STATE);
    assert_non_null(strstr(status_text(), "is no key"));
    assert_int_not_equal(access(p->pub, F_OK), 0);
}

static void
a_client_needs_a_server(void **state)
{
    place *p = *state;
    keyfile made, read;

    EXPECT_OK(keyfile_generate(&made));
    EXPECT_OK(keyfile_create(&made, p->path));
    EXPECT_ST(keyfile_read_client(&read, p->path, NULL), ST_ARG);
    EXPECT_OK(keyfile_read_client(&read, p->path, p->pub));
    assert_string_equal(read.server_key, made.public_key);
    assert_int_equal(chmod(p->pub, 0666), 0); /* whose key is it now? */
    EXPECT_ST(keyfile_read_client(&read, p->path, p->pub), ST_DENIED);
    EXPECT_OK(keyfile_read_public(read.public_key, p->pub));
    assert_int_equal(unlink(p->path), 0);
    assert_int_equal(unlink(p->pub), 0);
    memcpy(made.server_key, made.public_key, KEYFILE_SIZE);
    EXPECT_OK(keyfile_create(&made, p->path));
    EXPECT_OK(keyfile_read_client(&read, p->path, NULL));
    assert_string_equal(read.server_key, made.public_key);
}

static void
other_files_are_refused(void **state)
{
#define KEY "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"
    static const char *const bad[] = {
        "",
        "\n\n# only comments\n",
        "public = " KEY,                   /* no secret */
        "secret = " KEY,                   /* no public */
        "public = " KEY "\nsecret = " KEY, /* of another pair */
        "public = " KEY "\npublic = " KEY, /* twice */
        "public = " KEY " x",
        "public " KEY,
        "private = " KEY,
        "Public = " KEY,
        "public = short",
        "public = " KEY KEY KEY KEY, /* a line without end */
    };
    static const char zero[] = "public = " KEY "\0\n";
    place *p = *state;
    keyfile k;

    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        EXPECT_OK(file_write(p->path, bad[i], strlen(bad[i])));
        EXPECT_ST(keyfile_read(&k, p->path), ST_ARG);
    }
    EXPECT_OK(file_write(p->path, zero, sizeof(zero) - 1));
    EXPECT_ST(keyfile_read(&k, p->path), ST_ARG);
}

/* One in 85 would: a thousand without one are no accident. */
static void
no_dash(void **state)
{
    keyfile made;

    (void)state;
    for (int i = 0; i < 1000; i++) {
        EXPECT_OK(keyfile_generate(&made));
        assert_int_not_equal(made.public_key[0], '-');
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_of_keys_are_known),
        cmocka_unit_test(no_dash),
        cmocka_unit_test_setup_teardown(a_pair_comes_back, enter, leave),
        cmocka_unit_test_setup_teardown(half_a_pair_is_completed_or_explained,
                                        enter, leave),
        cmocka_unit_test_setup_teardown(a_client_needs_a_server, enter, leave),
        cmocka_unit_test_setup_teardown(other_files_are_refused, enter, leave),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
