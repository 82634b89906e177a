/* SPDX-License-Identifier: Apache-2.0 */
/* Flags and their variables: what is taken, what is refused, and --help. */
#include "base/option.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/expect.h"

typedef struct values {
    bool json, color;
    uint64_t threads, any;
    double heat, free_number;
    const char *model;
    option_list host;
    const char *argument[2];
    size_t n_argument;
    bool done;
} values;

enum { MAX_ARG = 24 };

/* Parses the words of `line`, which blanks separate. */
static status
parse_into(values *v, const char *line)
{
    static char words[512]; /* values point into it */
    char *argv[MAX_ARG] = {words};
    int argc = 1;
    const option_entry entry[] = {
        {"json", OPTION_FLAG, &v->json, NULL, "print one object", 0, 0},
        {"color", OPTION_FLAG, &v->color, NULL, "use colours", 0, 0},
        {"Numbers", OPTION_HEAD, NULL, NULL, NULL, 0, 0},
        {"threads", OPTION_U64, &v->threads, "N", "how many", 1, 8},
        {"any-u64", OPTION_U64, &v->any, "N", "any (default all)", 0, 0},
        {"heat", OPTION_F64, &v->heat, "T", "how hot", 0, 2},
        {"free", OPTION_F64, &v->free_number, "X", "any number", 0, 0},
        {"Texts", OPTION_HEAD, NULL, NULL, NULL, 0, 0},
        {"model", OPTION_TEXT, &v->model, "DIR",
         "the directory of the model, which this text describes at such a "
         "length that it must be wrapped",
         0, 0},
        {"a-flag-with-a-long-name", OPTION_LIST, &v->host, "HOST[:PORT]",
         "may be given often", 0, 0},
    };
    const option_set set = {.program = "prog",
                            .summary = "Usage: prog [FLAG ...] [ARG ...]",
                            .footer = "The end.",
                            .entry = entry,
                            .n_entry = sizeof(entry) / sizeof(entry[0]),
                            .max_argument = 2};

    (void)snprintf(words, sizeof(words), "prog %s", line);
    argv[0] = strtok_r(words, " ", &argv[MAX_ARG - 1]);
    while (argc < MAX_ARG - 1 &&
           (argv[argc] = strtok_r(NULL, " ", &argv[MAX_ARG - 1])) != NULL)
        argc++;
    argv[argc] = NULL;
    return option_parse(&set, argc, argv, v->argument, &v->n_argument,
                        &v->done);
}

static values
parse(const char *line)
{
    values v = {.threads = 4, .heat = 1.5, .model = "."};

    EXPECT_OK(parse_into(&v, line));
    return v;
}

/* The line is refused, with a sentence that has `part` in it. */
static void
refuse(const char *line, const char *part)
{
    values v = {.threads = 4};

    EXPECT_ST(parse_into(&v, line), ST_ARG);
    if (strstr(status_text(), part) == NULL)
        fail_msg("'%s': no '%s' in: %s", line, part, status_text());
}

static int
clear_environment(void **unused)
{
    (void)unused;
    return unsetenv("LONGWAVE_JSON") | unsetenv("LONGWAVE_THREADS") |
           unsetenv("LONGWAVE_ANY_U64") | unsetenv("LONGWAVE_MODEL") |
           unsetenv("LONGWAVE_A_FLAG_WITH_A_LONG_NAME");
}

static void
defaults_stay(void **unused)
{
    values v = parse("");

    (void)unused;
    assert_false(v.json || v.color || v.done);
    assert_int_equal(v.threads, 4);
    assert_true(v.heat == 1.5);
    assert_string_equal(v.model, ".");
    assert_int_equal(v.host.n + v.n_argument, 0);
}

static void
both_forms_of_a_value(void **unused)
{
    values v = parse("--threads=2 --heat 0.25 --model=a=b --json "
                     "--free -1.5e3 --any-u64 18446744073709551615");

    (void)unused;
    assert_int_equal(v.threads, 2);
    assert_true(v.heat == 0.25);
    assert_true(v.free_number == -1500.0);
    assert_true(v.any == UINT64_MAX);
    assert_string_equal(v.model, "a=b");
    assert_true(v.json);
    assert_string_equal(parse("--model=--odd").model, "--odd");
    assert_string_equal(parse("--model=").model, "");
    assert_string_equal(parse("--model -").model, "-");
}

static void
the_last_one_counts(void **unused)
{
    (void)unused;
    assert_int_equal(parse("--threads 2 --threads 3").threads, 3);
    assert_false(parse("--json --no-json").json);
    assert_true(parse("--no-json --json").json);
}

static void
arguments_between_flags(void **unused)
{
    values v = parse("one --threads 2 -- --json");

    (void)unused;
    assert_int_equal(v.n_argument, 2);
    assert_string_equal(v.argument[0], "one");
    assert_string_equal(v.argument[1], "--json");
    assert_false(v.json);
    assert_string_equal(parse("-").argument[0], "-");
    refuse("a b c", "'c'");
    refuse("a b -- c", "'c'");
}

static void
unknown_flags(void **unused)
{
    (void)unused;
    refuse("--thread 2", "--thread ");
    refuse("--threads2", "--threads2");
    refuse("--no-threads", "--no-threads");
    refuse("--no-", "--no-");
    refuse("--=x", "--=x");
    refuse("-x", "-x");
    refuse("--Numbers", "--Numbers");
    refuse("--no-json=1", "--no-json=1");
    refuse("--json=1", "takes no value");
}

static void
missing_values(void **unused)
{
    (void)unused;
    refuse("--threads", "--threads needs a value");
    refuse("--model --json", "--model needs a value");
    refuse("--model --", "--model needs a value");
}

static void
whole_numbers(void **unused)
{
    static const char *const bad[] = {"-1", "+1",   "1.0", "0x10",
                                      "1k", "four", "1,0", "1e3"};
    char line[64];

    (void)unused;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        (void)snprintf(line, sizeof(line), "--any-u64 %s", bad[i]);
        refuse(line, bad[i]);
    }
    refuse("--any-u64=", "--any-u64 wants a whole number");
    refuse("--any-u64 18446744073709551616", "18446744073709551616");
    refuse("--threads 0", "--threads must be 1 to 8, not 0");
    refuse("--threads 9", "--threads must be 1 to 8, not 9");
    refuse("--threads 18446744073709551615", "must be 1 to 8");
    assert_int_equal(parse("--threads 1").threads, 1);
    assert_int_equal(parse("--threads 8").threads, 8);
}

static void
other_numbers(void **unused)
{
    static const char *const bad[] = {"nan", "-nan", "inf",   "infinity",
                                      "0x1", "1e",   "1e999", "1.2.3",
                                      "1-",  "e"};
    char line[64];

    (void)unused;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        (void)snprintf(line, sizeof(line), "--free %s", bad[i]);
        refuse(line, bad[i]);
    }
    refuse("--free=", "--free wants a number");
    refuse("--heat -0.1", "--heat must be 0 to 2, not -0.1");
    refuse("--heat 2.1", "--heat must be 0 to 2");
    assert_true(parse("--heat 2").heat == 2.0);
    assert_true(parse("--heat 0").heat == 0);
    assert_true(parse("--heat .5").heat == 0.5);
}

static void
lists_gather(void **unused)
{
    values v = parse("--a-flag-with-a-long-name a "
                     "--a-flag-with-a-long-name=b");
    char line[512];
    size_t len = 0;

    (void)unused;
    assert_int_equal(v.host.n, 2);
    assert_string_equal(v.host.item[0], "a");
    assert_string_equal(v.host.item[1], "b");
    for (int i = 0; i < 17; i++)
        len += (size_t)snprintf(line + len, sizeof(line) - len,
                                "--a-flag-with-a-long-name=b ");
    refuse(line, "more than 16 times");
}

static void
variables_stand_in_for_flags(void **unused)
{
    values v;

    (void)unused;
    assert_int_equal(setenv("LONGWAVE_ANY_U64", "7", 1), 0);
    assert_int_equal(setenv("LONGWAVE_JSON", "True", 1), 0);
    assert_int_equal(setenv("LONGWAVE_MODEL", "here", 1), 0);
    assert_int_equal(setenv("LONGWAVE_THREADS", "", 1), 0);
    assert_int_equal(setenv("LONGWAVE_A_FLAG_WITH_A_LONG_NAME", "h", 1), 0);
    v = parse("");
    assert_int_equal(v.any, 7);
    assert_true(v.json);
    assert_string_equal(v.model, "here");
    assert_int_equal(v.threads, 4); /* empty counts as unset */
    assert_int_equal(v.host.n, 1);
    assert_int_equal(setenv("LONGWAVE_JSON", "0", 1), 0);
    assert_false(parse("").json);
}

static void
the_flag_wins_over_its_variable(void **unused)
{
    values v;

    (void)unused;
    assert_int_equal(setenv("LONGWAVE_THREADS", "2", 1), 0);
    assert_int_equal(setenv("LONGWAVE_JSON", "1", 1), 0);
    assert_int_equal(setenv("LONGWAVE_A_FLAG_WITH_A_LONG_NAME", "h", 1), 0);
    v = parse("--threads 3 --no-json --a-flag-with-a-long-name x");
    assert_int_equal(v.threads, 3);
    assert_false(v.json);
    assert_int_equal(v.host.n, 1);
    assert_string_equal(v.host.item[0], "x");
    assert_int_equal(setenv("LONGWAVE_THREADS", "wrong", 1), 0);
    assert_int_equal(parse("--threads 3").threads, 3);
}

static void
variables_are_checked_under_their_name(void **unused)
{
    (void)unused;
    assert_int_equal(setenv("LONGWAVE_THREADS", "9", 1), 0);
    refuse("", "LONGWAVE_THREADS must be 1 to 8, not 9");
    assert_int_equal(unsetenv("LONGWAVE_THREADS"), 0);
    assert_int_equal(setenv("LONGWAVE_JSON", "maybe", 1), 0);
    refuse("", "LONGWAVE_JSON must be 1 or 0, not 'maybe'");
}

/* Runs the line with stdout going to `out`. */
static status
printed(char *out, size_t cap, values *v, const char *line)
{
    FILE *file = tmpfile();
    int saved;
    status st;
    size_t len;

    assert_non_null(file);
    (void)fflush(stdout);
    saved = dup(STDOUT_FILENO);
    assert_true(saved >= 0 && dup2(fileno(file), STDOUT_FILENO) >= 0);
    st = parse_into(v, line);
    (void)fflush(stdout);
    assert_true(dup2(saved, STDOUT_FILENO) >= 0);
    assert_int_equal(close(saved), 0);
    rewind(file);
    len = fread(out, 1, cap - 1, file);
    out[len] = '\0';
    (void)fclose(file);
    return st;
}

static const char help_text[] =
    "Usage: prog [FLAG ...] [ARG ...]\n"
    "\n"
    "Flags:\n"
    "  --json        print one object\n"
    "  --[no-]color  use colours (default on)\n"
    "\n"
    "Numbers:\n"
    "  --threads N   how many (default 4)\n"
    "  --any-u64 N   any (default all)\n"
    "  --heat T      how hot (default 1.5)\n"
    "  --free X      any number (default 0)\n"
    "\n"
    "Texts:\n"
    "  --model DIR   the directory of the model, which this text describes at "
    "such a\n"
    "                length that it must be wrapped (default .)\n"
    "  --a-flag-with-a-long-name HOST[:PORT]\n"
    "                may be given often\n"
    "\n"
    "Other:\n"
    "  --help        print this text and exit\n"
    "  --version     print the version and exit\n"
    "\n"
    "Every flag can also be set in the environment: --some-flag VALUE as\n"
    "LONGWAVE_SOME_FLAG=VALUE, a flag without value as 1 or 0. The command "
    "line\n"
    "wins.\n"
    "\n"
    "The end.\n";

static void
help_shows_the_defaults_in_columns(void **unused)
{
    values v = {.threads = 4, .heat = 1.5, .color = true, .model = "."};
    char text[4096];

    (void)unused;
    /* Neither flags before it nor mistakes change what is shown. */
    EXPECT_OK(printed(text, sizeof(text), &v, "--threads 2 --wrong --help"));
    assert_true(v.done);
    assert_int_equal(v.threads, 4);
    assert_string_equal(text, help_text);
    for (const char *at = text; *at != '\0'; at = strchr(at, '\n') + 1)
        assert_true(strcspn(at, "\n") < 80);
}

static void
what_a_flag_would_not_take_is_no_default(void **unused)
{
    values v = {.heat = 3, .model = "."};
    char text[4096];

    (void)unused;
    EXPECT_OK(printed(text, sizeof(text), &v, "--help"));
    assert_non_null(strstr(text, "how many\n"));
    assert_non_null(strstr(text, "how hot\n"));
    assert_non_null(strstr(text, "any number (default 0)\n"));
}

static void
version_names_the_program(void **unused)
{
    values v = {0};
    char text[64];

    (void)unused;
    EXPECT_OK(printed(text, sizeof(text), &v, "--version"));
    assert_true(v.done);
    assert_string_equal(text, "prog " LONGWAVE_VERSION "\n");
    v = parse("-- --version");
    assert_false(v.done);
    assert_string_equal(v.argument[0], "--version");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_stay),
        cmocka_unit_test(both_forms_of_a_value),
        cmocka_unit_test(the_last_one_counts),
        cmocka_unit_test(arguments_between_flags),
        cmocka_unit_test(unknown_flags),
        cmocka_unit_test(missing_values),
        cmocka_unit_test(whole_numbers),
        cmocka_unit_test(other_numbers),
        cmocka_unit_test(lists_gather),
        cmocka_unit_test_teardown(variables_stand_in_for_flags,
                                  clear_environment),
        cmocka_unit_test_teardown(the_flag_wins_over_its_variable,
                                  clear_environment),
        cmocka_unit_test_teardown(variables_are_checked_under_their_name,
                                  clear_environment),
        cmocka_unit_test(help_shows_the_defaults_in_columns),
        cmocka_unit_test(what_a_flag_would_not_take_is_no_default),
        cmocka_unit_test(version_names_the_program),
    };

    return cmocka_run_group_tests(tests, clear_environment, NULL);
}
