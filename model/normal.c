/* SPDX-License-Identifier: Apache-2.0 */
/* One step after the other, from one buffer to the other. */
#include "model/normal.h"

#include <string.h>

#include "base/utf8.h"

status
normal_add(normal *p, const normal_step *step)
{
    if (p->n == NORMAL_MAX)
        return status_fail(ST_LIMIT, "more than %d steps change the text",
                           NORMAL_MAX);
    p->step[p->n++] = *step;
    return ST_OK;
}

bool
normal_has(const normal *p, normal_kind kind)
{
    for (size_t i = 0; i < p->n; i++)
        if (p->step[i].kind == kind)
            return true;
    return false;
}

void
normal_scratch_fini(normal_scratch *s)
{
    bytes_fini(&s->text[0]);
    bytes_fini(&s->text[1]);
    unicode_scratch_fini(&s->unicode);
}

static status
replace(const normal_step *step, bytes *out, const char *text, size_t len)
{
    const char *end = text + len;
    status st;

    while (text < end) {
        const char *at =
            memmem(text, (size_t)(end - text), step->from, step->n_from);
        size_t n = (size_t)((at != NULL ? at : end) - text);

        TRY(bytes_reserve(out, n + NORMAL_LONGEST));
        TRY(bytes_add(out, text, n));
        if (at == NULL)
            break;
        TRY(bytes_add(out, step->to, step->n_to));
        text = at + step->n_from;
    }
    return ST_OK;

fail:
    return st;
}

static bool
begins_with(const normal_part *part, const normal_step *step)
{
    return part->len >= step->n_to &&
           memcmp(part->text, step->to, step->n_to) == 0;
}

/* Whether the step has nothing to do. */
static bool
is_idle(const normal_step *step, const normal_part *part)
{
    switch (step->kind) {
    case NORMAL_PREPEND:
        return !part->begins;
    case NORMAL_PREFIX:
        return !part->begins || begins_with(part, step);
    case NORMAL_FIRST:
        return !part->first || begins_with(part, step);
    case NORMAL_REPLACE:
        return memmem(part->text, part->len, step->from, step->n_from) == NULL;
    case NORMAL_NFC:
    default:
        return false;
    }
}

static status
apply(const normal_step *step, normal_scratch *s, bytes *out,
      const normal_part *part)
{
    status st;

    out->len = 0;
    if (step->kind == NORMAL_NFC)
        return unicode_nfc(&s->unicode, out, part->text, part->len);
    if (step->kind == NORMAL_REPLACE)
        return replace(step, out, part->text, part->len);
    TRY(bytes_add(out, step->to, step->n_to));
    TRY(bytes_add(out, part->text, part->len));
    return ST_OK;

fail:
    return st;
}

status
normal_apply(const normal *p, normal_scratch *s, normal_part *part)
{
    int turn = 0;
    status st;

    for (size_t i = 0; i < p->n && part->len > 0; i++) {
        const normal_step *step = &p->step[i];
        bytes *out = &s->text[turn];

        if (is_idle(step, part))
            continue;
        TRY(apply(step, s, out, part));
        part->text = out->data;
        part->len = out->len;
        turn = 1 - turn;
    }
    return ST_OK;

fail:
    return st;
}

bool
normal_keeps_places(const normal *p)
{
    for (size_t i = 0; i < p->n; i++) {
        size_t n;

        if (p->step[i].kind == NORMAL_REPLACE &&
            (utf8_next(p->step[i].to, p->step[i].n_to, &n) != UTF8_GOOD ||
             n != p->step[i].n_to))
            return false;
    }
    return true;
}

uint32_t
normal_last(const normal *p, uint32_t c)
{
    for (size_t i = 0; i < p->n; i++) {
        const normal_step *step = &p->step[i];

        if (step->kind == NORMAL_REPLACE &&
            c == utf8_value(step->from, step->n_from))
            c = unicode_before(step->to, step->n_to);
    }
    return c;
}

uint32_t
normal_first(const normal *p, uint32_t c)
{
    for (size_t i = 0; i < p->n; i++) {
        const normal_step *step = &p->step[i];

        if (step->kind == NORMAL_REPLACE &&
            c == utf8_value(step->from, step->n_from))
            c = unicode_at(step->to, step->n_to, 0);
    }
    return c;
}
