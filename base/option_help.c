/* SPDX-License-Identifier: Apache-2.0 */
/* Lays the table of flags out in two columns. */
#include "base/option_help.h"

#include <stdio.h>
#include <string.h>

enum {
    HELP_WIDTH = 79,   /* columns of a line */
    HELP_LEFT_MAX = 30 /* widest left column; a longer flag gets a line */
};

static int
left_column(char *out, size_t cap, const option_entry *e)
{
    if (e->kind == OPTION_FLAG)
        return snprintf(out, cap, "  --%s%s",
                        *(const bool *)e->value ? "[no-]" : "", e->name);
    return snprintf(out, cap, "  --%s %s", e->name,
                    e->argument != NULL ? e->argument : "VALUE");
}

/* What a flag would not take stands for "not said". */
static bool
is_taken(const option_entry *e, double value)
{
    return (e->min == 0 && e->max == 0) || (value >= e->min && value <= e->max);
}

/* " (default x)", or "" where the help says it or where it helps nobody. */
static void
default_text(char *out, size_t cap, const option_entry *e)
{
    const option_list *list = e->value;
    const char *text = NULL;

    out[0] = '\0';
    if (strstr(e->help, "(default ") != NULL)
        return;
    if (e->kind == OPTION_U64 && is_taken(e, (double)*(uint64_t *)e->value))
        (void)snprintf(out, cap, " (default %llu)",
                       (unsigned long long)*(const uint64_t *)e->value);
    else if (e->kind == OPTION_F64 && is_taken(e, *(const double *)e->value))
        (void)snprintf(out, cap, " (default %g)", *(const double *)e->value);
    else if (e->kind == OPTION_FLAG && *(const bool *)e->value)
        (void)snprintf(out, cap, " (default on)");
    else if (e->kind == OPTION_TEXT)
        text = *(const char *const *)e->value;
    else if (e->kind == OPTION_LIST && list->n > 0)
        text = list->item[0];
    if (text != NULL && text[0] != '\0')
        (void)snprintf(out, cap, " (default %s)", text);
}

/* Prints `text` in columns `left` .. HELP_WIDTH, breaking at blanks; the
 * cursor is at column `left` before. */
static void
print_wrapped(const char *text, size_t left)
{
    size_t room = HELP_WIDTH - left;
    size_t cut;

    while (strlen(text) > room) {
        for (cut = room; cut > 0 && text[cut] != ' '; cut--)
            ;
        if (cut == 0)
            cut = strcspn(text, " ");
        printf("%.*s", (int)cut, text);
        text += cut;
        text += strspn(text, " ");
        if (*text != '\0')
            printf("\n%*s", (int)left, "");
    }
    printf("%s\n", text);
}

static void
print_entry(const char *left_text, size_t left, const char *help)
{
    size_t used = strlen(left_text);

    if (used + 2 > left)
        printf("%s\n%*s", left_text, (int)left, "");
    else
        printf("%-*s", (int)left, left_text);
    print_wrapped(help, left);
}

/* Column where the help texts begin: behind the longest flag that fits. */
static size_t
help_column(const option_set *set)
{
    char text[128];
    size_t left = sizeof("  --version") + 1;

    for (size_t i = 0; i < set->n_entry; i++) {
        size_t n;
        if (set->entry[i].kind == OPTION_HEAD)
            continue;
        n = (size_t)left_column(text, sizeof(text), &set->entry[i]) + 2;
        if (n > left && n <= HELP_LEFT_MAX)
            left = n;
    }
    return left;
}

void
option_help_print(const option_set *set)
{
    size_t left = help_column(set);
    char text[128];
    char help[1024];
    char standard[256];

    printf("%s\n", set->summary);
    if (set->n_entry > 0 && set->entry[0].kind != OPTION_HEAD)
        printf("\nFlags:\n");
    for (size_t i = 0; i < set->n_entry; i++) {
        const option_entry *e = &set->entry[i];
        if (e->kind == OPTION_HEAD) {
            printf("\n%s:\n", e->name);
            continue;
        }
        (void)left_column(text, sizeof(text), e);
        default_text(standard, sizeof(standard), e);
        (void)snprintf(help, sizeof(help), "%s%s", e->help, standard);
        print_entry(text, left, help);
    }
    printf("\nOther:\n");
    print_entry("  --help", left, "print this text and exit");
    print_entry("  --version", left, "print the version and exit");
    printf("\nEvery flag can also be set in the environment: --some-flag VALUE "
           "as\nLONGWAVE_SOME_FLAG=VALUE, a flag without value as 1 or 0. The "
           "command line\nwins.\n");
    if (set->footer != NULL)
        printf("\n%s\n", set->footer);
}
