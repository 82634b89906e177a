/* SPDX-License-Identifier: Apache-2.0 */
/* Flags, their environment variables, and --help from one table. */
#include "base/option.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { HELP_COLUMN = 28, HELP_WIDTH = 78, ENV_NAME_MAX = 64 };

static status
parse_u64(const option_entry *e, const char *text)
{
    char *end;
    unsigned long long value;
    bool bounded = e->min != 0.0 || e->max != 0.0;

    errno = 0;
    value = strtoull(text, &end, 10);
    /* strtoull takes "-1" and leading space; a flag does not. */
    if (!isdigit((unsigned char)text[0]) || *end != '\0' || errno != 0)
        return status_fail(ST_ARG, "--%s: not a whole number: '%s'", e->name,
                           text);
    if (bounded && ((double)value < e->min || (double)value > e->max))
        return status_fail(ST_ARG, "--%s: %s is not within %.0f to %.0f",
                           e->name, text, e->min, e->max);
    *(uint64_t *)e->value = value;
    return ST_OK;
}

static status
parse_f64(const option_entry *e, const char *text)
{
    char *end;
    double value;
    bool bounded = e->min != 0.0 || e->max != 0.0;

    errno = 0;
    value = strtod(text, &end);
    if (end == text || *end != '\0' || isspace((unsigned char)text[0]) ||
        !isfinite(value))
        return status_fail(ST_ARG, "--%s: not a number: '%s'", e->name, text);
    if (bounded && (value < e->min || value > e->max))
        return status_fail(ST_ARG, "--%s: %s is not within %g to %g", e->name,
                           text, e->min, e->max);
    *(double *)e->value = value;
    return ST_OK;
}

static status
parse_value(const option_entry *e, const char *text)
{
    option_list *list;

    switch (e->kind) {
    case OPTION_U64:
        return parse_u64(e, text);
    case OPTION_F64:
        return parse_f64(e, text);
    case OPTION_TEXT:
        *(const char **)e->value = text;
        return ST_OK;
    case OPTION_LIST:
        list = e->value;
        if (list->n == sizeof(list->item) / sizeof(list->item[0]))
            return status_fail(ST_ARG, "--%s: given more than %zu times",
                               e->name, list->n);
        list->item[list->n++] = text;
        return ST_OK;
    case OPTION_FLAG:
    case OPTION_HEAD:
        break;
    }
    return status_fail(ST_ARG, "--%s takes no value", e->name);
}

/* LONGWAVE_NAME of a flag. */
static void
env_name(char out[ENV_NAME_MAX], const char *name)
{
    size_t n = (size_t)snprintf(out, ENV_NAME_MAX, "LONGWAVE_%s", name);

    for (size_t i = 0; i < n && i < ENV_NAME_MAX - 1; i++)
        out[i] = out[i] == '-' ? '_' : (char)toupper((unsigned char)out[i]);
}

static status
parse_env_flag(const option_entry *e, const char *env, const char *text)
{
    bool yes = strcmp(text, "1") == 0 || strcmp(text, "yes") == 0 ||
               strcmp(text, "true") == 0;
    bool no = text[0] == '\0' || strcmp(text, "0") == 0 ||
              strcmp(text, "no") == 0 || strcmp(text, "false") == 0;

    if (!yes && !no)
        return status_fail(ST_ARG, "%s: neither 1 nor 0: '%s'", env, text);
    *(bool *)e->value = yes;
    return ST_OK;
}

static status
read_env(const option_set *set)
{
    status st = ST_OK;

    for (size_t i = 0; i < set->n_entry && st == ST_OK; i++) {
        const option_entry *e = &set->entry[i];
        char env[ENV_NAME_MAX];
        const char *text;

        if (e->kind == OPTION_HEAD)
            continue;
        env_name(env, e->name);
        text = getenv(env);
        if (text == NULL)
            continue;
        st = e->kind == OPTION_FLAG ? parse_env_flag(e, env, text)
                                    : parse_value(e, text);
    }
    return st;
}

static const option_entry *
find(const option_set *set, const char *name, size_t len)
{
    for (size_t i = 0; i < set->n_entry; i++) {
        const option_entry *e = &set->entry[i];

        if (e->kind != OPTION_HEAD && strlen(e->name) == len &&
            memcmp(e->name, name, len) == 0)
            return e;
    }
    return NULL;
}

static status
unknown(const option_set *set, const char *arg)
{
    return status_fail(ST_ARG, "unknown flag '%s'; see %s --help", arg,
                       set->program);
}

/* One flag, at argv[*at]; moves *at past a value taken from the next one. */
static status
parse_flag(const option_set *set, int argc, char **argv, int *at)
{
    const char *arg = argv[*at];
    const char *name = arg + 2;
    const char *equal = strchr(name, '=');
    size_t len = equal != NULL ? (size_t)(equal - name) : strlen(name);
    const option_entry *e = find(set, name, len);

    if (e == NULL && equal == NULL && strncmp(name, "no-", 3) == 0) {
        e = find(set, name + 3, len - 3);
        if (e == NULL || e->kind != OPTION_FLAG)
            return unknown(set, arg);
        *(bool *)e->value = false;
        return ST_OK;
    }
    if (e == NULL)
        return unknown(set, arg);
    if (equal != NULL)
        return parse_value(e, equal + 1);
    if (e->kind == OPTION_FLAG) {
        *(bool *)e->value = true;
        return ST_OK;
    }
    if (*at + 1 >= argc)
        return status_fail(ST_ARG, "--%s needs a value", e->name);
    return parse_value(e, argv[++*at]);
}

/* Prints `text` wrapped into the right-hand column. */
static void
print_wrapped(const char *text)
{
    size_t column = HELP_COLUMN;

    while (*text != '\0') {
        size_t word = strcspn(text, " ");

        if (column > HELP_COLUMN && column + 1 + word > HELP_WIDTH) {
            printf("\n%*s", HELP_COLUMN, "");
            column = HELP_COLUMN;
        } else if (column > HELP_COLUMN) {
            putchar(' ');
            column++;
        }
        printf("%.*s", (int)word, text);
        column += word;
        text += word;
        text += strspn(text, " ");
    }
    putchar('\n');
}

static void
print_default(char *out, size_t size, const option_entry *e)
{
    const char *text;

    out[0] = '\0';
    if (e->kind == OPTION_U64) {
        (void)snprintf(out, size, " [%llu]",
                       (unsigned long long)*(uint64_t *)e->value);
    } else if (e->kind == OPTION_F64) {
        (void)snprintf(out, size, " [%g]", *(double *)e->value);
    } else if (e->kind == OPTION_TEXT) {
        text = *(const char **)e->value;
        if (text != NULL && text[0] != '\0')
            (void)snprintf(out, size, " [%s]", text);
    }
}

static void
print_entry(const option_entry *e)
{
    char text[1024];
    char value[256];
    int n;

    if (e->kind == OPTION_HEAD) {
        printf("\n%s:\n", e->name);
        return;
    }
    n = printf("  --%s%s%s", e->name, e->argument != NULL ? " " : "",
               e->argument != NULL ? e->argument : "");
    if (n >= HELP_COLUMN - 1)
        printf("\n%*s", HELP_COLUMN, "");
    else
        printf("%*s", HELP_COLUMN - n, "");
    print_default(value, sizeof(value), e);
    (void)snprintf(text, sizeof(text), "%s%s", e->help, value);
    print_wrapped(text);
}

static void
print_help(const option_set *set)
{
    printf("%s\n", set->summary);
    if (set->n_entry > 0 && set->entry[0].kind != OPTION_HEAD)
        printf("\nFlags:\n");
    for (size_t i = 0; i < set->n_entry; i++)
        print_entry(&set->entry[i]);
    printf("\n  --help                    print this and exit\n"
           "  --version                 print the version and exit\n"
           "\nEvery flag has an environment variable: --data-dir is "
           "LONGWAVE_DATA_DIR;\nthe flag wins.\n");
    if (set->footer != NULL)
        printf("\n%s\n", set->footer);
}

/* --help shows defaults, so it is looked for before values change. */
static bool
asked_to_print(const option_set *set, int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            print_help(set);
            return true;
        }
        if (strcmp(argv[i], "--version") == 0) {
            printf("%s %s\n", set->program, LONGWAVE_VERSION);
            return true;
        }
    }
    return false;
}

status
option_parse(const option_set *set, int argc, char **argv,
             const char **argument, size_t *n_argument, bool *done)
{
    status st;
    bool flags = true;
    size_t n = 0;

    if (asked_to_print(set, argc, argv)) {
        *done = true;
        *n_argument = 0;
        return ST_OK;
    }
    TRY(read_env(set));
    for (int i = 1; i < argc; i++) {
        if (flags && strcmp(argv[i], "--") == 0) {
            flags = false;
        } else if (flags && strncmp(argv[i], "--", 2) == 0) {
            TRY(parse_flag(set, argc, argv, &i));
        } else if (flags && argv[i][0] == '-' && argv[i][1] != '\0') {
            TRY(unknown(set, argv[i]));
        } else if (n == set->max_argument) {
            TRY(status_fail(ST_ARG, "unexpected argument '%s'; see %s --help",
                            argv[i], set->program));
        } else {
            argument[n++] = argv[i];
        }
    }
    *n_argument = n;
    *done = false;
    return ST_OK;
fail:
    return st;
}
