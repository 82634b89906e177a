/* SPDX-License-Identifier: Apache-2.0 */
/* Flags from argv and the environment, checked against one table. */
#include "base/option.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/option_help.h"

enum {
    NAME_MAX_LEN = 64, /* longest LONGWAVE_NAME and --NAME, with its NUL */
    ENTRY_MAX = 64     /* bits of `seen` */
};

typedef struct parser {
    const option_set *set;
    int argc;
    char **argv;
    const char **argument;
    size_t n_argument;
    uint64_t seen; /* bit e: entry e was given in argv */
} parser;

static status
parse_u64(const option_entry *e, const char *origin, const char *text)
{
    unsigned long long v;
    char *end;

    errno = 0;
    v = isdigit((unsigned char)text[0]) ? strtoull(text, &end, 10) : 0;
    if (!isdigit((unsigned char)text[0]) || *end != '\0' || errno != 0)
        return status_fail(ST_ARG, "%s wants a whole number, not '%s'", origin,
                           text);
    if ((e->min != 0 || e->max != 0) &&
        ((double)v < e->min || (double)v > e->max))
        return status_fail(ST_ARG, "%s must be %.0f to %.0f, not %s", origin,
                           e->min, e->max, text);
    *(uint64_t *)e->value = v;
    return ST_OK;
}

static status
parse_f64(const option_entry *e, const char *origin, const char *text)
{
    double v = 0;
    char *end;

    /* strtod alone would also take blanks, "nan", "inf" and hexadecimal. */
    bool plain =
        text[0] != '\0' && strspn(text, "0123456789+-.eE") == strlen(text);
    if (plain) {
        v = strtod(text, &end);
        plain = end != text && *end == '\0' && isfinite(v);
    }
    if (!plain)
        return status_fail(ST_ARG, "%s wants a number, not '%s'", origin, text);
    if ((e->min != 0 || e->max != 0) && (v < e->min || v > e->max))
        return status_fail(ST_ARG, "%s must be %g to %g, not %s", origin,
                           e->min, e->max, text);
    *(double *)e->value = v;
    return ST_OK;
}

static status
add_item(const option_entry *e, const char *origin, const char *text)
{
    option_list *list = e->value;

    if (list->n == sizeof(list->item) / sizeof(list->item[0]))
        return status_fail(ST_ARG, "%s is given more than %zu times", origin,
                           list->n);
    list->item[list->n++] = text;
    return ST_OK;
}

/* `origin` is the flag or the variable, as the user wrote it. */
static status
set_value(const option_entry *e, const char *origin, const char *text)
{
    switch (e->kind) {
    case OPTION_U64:
        return parse_u64(e, origin, text);
    case OPTION_F64:
        return parse_f64(e, origin, text);
    case OPTION_TEXT:
        *(const char **)e->value = text;
        return ST_OK;
    case OPTION_LIST:
        return add_item(e, origin, text);
    case OPTION_FLAG:
    case OPTION_HEAD:
        break;
    }
    ASSERT(false);
    return ST_STATE;
}

static bool
any_of(const char *text, const char *a, const char *b, const char *c,
       const char *d)
{
    return strcasecmp(text, a) == 0 || strcasecmp(text, b) == 0 ||
           strcasecmp(text, c) == 0 || strcasecmp(text, d) == 0;
}

static status
set_flag_from_text(const option_entry *e, const char *origin, const char *text)
{
    if (any_of(text, "1", "yes", "true", "on"))
        *(bool *)e->value = true;
    else if (any_of(text, "0", "no", "false", "off"))
        *(bool *)e->value = false;
    else
        return status_fail(ST_ARG, "%s must be 1 or 0, not '%s'", origin, text);
    return ST_OK;
}

static void
env_name(char out[NAME_MAX_LEN], const char *name)
{
    int n = snprintf(out, NAME_MAX_LEN, "LONGWAVE_%s", name);

    ASSERT(n > 0 && n < NAME_MAX_LEN);
    for (; *out != '\0'; out++)
        *out = *out == '-' ? '_' : (char)toupper((unsigned char)*out);
}

/* Variables of entries that argv did not give: so the flag wins, and a wrong
 * variable can be overruled.  An empty variable counts as unset. */
static status
read_environment(const parser *p)
{
    char name[NAME_MAX_LEN];
    const char *text;
    status st;

    for (size_t i = 0; i < p->set->n_entry; i++) {
        const option_entry *e = &p->set->entry[i];
        if (e->kind == OPTION_HEAD || (p->seen >> i & 1) != 0)
            continue;
        env_name(name, e->name);
        text = getenv(name);
        if (text == NULL || text[0] == '\0')
            continue;
        if (e->kind == OPTION_FLAG) {
            TRY(set_flag_from_text(e, name, text));
            continue;
        }
        if (e->kind == OPTION_LIST)
            ((option_list *)e->value)->n = 0;
        TRY(set_value(e, name, text));
    }
    return ST_OK;
fail:
    return st;
}

/* The entry called text[0 .. len), or n_entry. */
static size_t
find(const option_set *set, const char *text, size_t len)
{
    size_t i;

    for (i = 0; i < set->n_entry; i++) {
        const option_entry *e = &set->entry[i];
        if (e->kind != OPTION_HEAD && strlen(e->name) == len &&
            memcmp(e->name, text, len) == 0)
            break;
    }
    return i;
}

static status
unknown_flag(const parser *p, const char *arg)
{
    return status_fail(ST_ARG,
                       "unknown flag %s (%s --help lists them; -- goes before "
                       "arguments that begin with -)",
                       arg, p->set->program);
}

/* --no-NAME of a flag without value; ST_ARG when there is none such. */
static status
clear_flag(parser *p, const char *arg)
{
    const option_set *set = p->set;
    size_t i = set->n_entry;

    if (strncmp(arg, "--no-", 5) == 0)
        i = find(set, arg + 5, strlen(arg + 5));
    if (i == set->n_entry || set->entry[i].kind != OPTION_FLAG)
        return unknown_flag(p, arg);
    *(bool *)set->entry[i].value = false;
    p->seen |= (uint64_t)1 << i;
    return ST_OK;
}

/* The value of entry `e` at argv[*at]: behind '=', or the next argument, which
 * then must not look like a flag: `--model --json` forgot the model. */
static status
take_value(const parser *p, const option_entry *e, int *at, const char **out)
{
    const char *equals = strchr(p->argv[*at], '=');
    const char *next = *at + 1 < p->argc ? p->argv[*at + 1] : NULL;

    if (equals != NULL) {
        *out = equals + 1;
        return ST_OK;
    }
    if (next == NULL || strncmp(next, "--", 2) == 0)
        return status_fail(ST_ARG, "--%s needs a value: %s", e->name,
                           e->argument != NULL ? e->argument : "VALUE");
    *out = next;
    (*at)++;
    return ST_OK;
}

static status
read_flag(parser *p, int *at)
{
    const char *arg = p->argv[*at];
    size_t i = p->set->n_entry;
    char origin[NAME_MAX_LEN];
    const option_entry *e;
    const char *text = "";
    status st;

    if (strncmp(arg, "--", 2) == 0)
        i = find(p->set, arg + 2, strcspn(arg + 2, "="));
    if (i == p->set->n_entry)
        return clear_flag(p, arg);
    e = &p->set->entry[i];
    if (e->kind == OPTION_FLAG) {
        if (strchr(arg, '=') != NULL)
            return status_fail(ST_ARG, "--%s takes no value", e->name);
        *(bool *)e->value = true;
    } else {
        TRY(take_value(p, e, at, &text));
        if (e->kind == OPTION_LIST && (p->seen >> i & 1) == 0)
            ((option_list *)e->value)->n = 0; /* drop the default */
        (void)snprintf(origin, sizeof(origin), "--%s", e->name);
        TRY(set_value(e, origin, text));
    }
    p->seen |= (uint64_t)1 << i;
    return ST_OK;
fail:
    return st;
}

static status
read_argument(parser *p, const char *arg)
{
    if (p->n_argument == p->set->max_argument)
        return status_fail(ST_ARG, "unexpected argument '%s'", arg);
    p->argument[p->n_argument++] = arg;
    return ST_OK;
}

static status
read_arguments(parser *p)
{
    bool flags = true;
    status st;

    for (int at = 1; at < p->argc; at++) {
        const char *arg = p->argv[at];
        if (flags && strcmp(arg, "--") == 0)
            flags = false;
        else if (flags && arg[0] == '-' && arg[1] != '\0')
            TRY(read_flag(p, &at));
        else
            TRY(read_argument(p, arg));
    }
    return ST_OK;
fail:
    return st;
}

/* Looks before anything is parsed, so that --help shows the defaults and works
 * beside wrong flags.  Of all values only "-h" can be mistaken for it, and only
 * as an argument of its own: take_value() refuses those that begin with "--".
 */
static status
answer_questions(const option_set *set, int argc, char **argv, bool *done)
{
    bool asked = false;

    for (int i = 1; !asked && i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            option_help_print(set);
            asked = true;
        } else if (strcmp(argv[i], "--version") == 0) {
            printf("%s %s\n", set->program, LONGWAVE_VERSION);
            asked = true;
        }
    }
    if (asked && (fflush(stdout) != 0 || ferror(stdout)))
        return status_fail(ST_IO, "cannot write to stdout: %s",
                           strerror(errno));
    *done = asked;
    return ST_OK;
}

status
option_parse(const option_set *set, int argc, char **argv,
             const char **argument, size_t *n_argument, bool *done)
{
    parser p = {.set = set, .argc = argc, .argv = argv, .argument = argument};
    bool asked;
    status st;

    ASSERT(set->n_entry <= ENTRY_MAX);
    TRY(answer_questions(set, argc, argv, &asked));
    if (!asked) {
        TRY(read_arguments(&p));
        TRY(read_environment(&p));
    }
    *n_argument = p.n_argument;
    *done = asked;
    return ST_OK;
fail:
    return st;
}
