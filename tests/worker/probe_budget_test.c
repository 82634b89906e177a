/* SPDX-License-Identifier: Apache-2.0 */
/* Cores of virtual time that others have, too: a measurement ends when it
 * should, and has as much done as there was time for. */
#include "worker/probe_budget.h"

#include "tests/expect.h"

static const double SECONDS = 0.5;

/* Others have the core for `away` seconds whenever this work had it for `turn`
 * seconds. */
typedef struct core {
    double turn, away;
    double now, cpu, had;
} core;

static void
work(core *c, double seconds)
{
    for (; c->had + seconds >= c->turn; c->had = 0) {
        double run = c->turn - c->had;
        c->now += run + c->away;
        c->cpu += run;
        seconds -= run;
    }
    c->now += seconds;
    c->cpu += seconds;
    c->had += seconds;
}

/* Runs pieces as long as there is time for the next one; how many. */
static uint32_t
measure(core *c, double piece)
{
    probe_budget b;
    uint32_t n = 0;

    probe_budget_init(&b, c->now, c->cpu, SECONDS);
    work(c, 0.02); /* that opening takes, at the least */
    for (; n < 100000 && piece <= probe_budget_left(&b, c->now, c->cpu); n++)
        work(c, piece);
    return n;
}

/* Whatever the core's part: the end is kept but for what the system deals out
 * at once, and most of the time is used. */
static void
test_kept(void **ctx)
{
    static const double parts[] = {1, 0.9, 0.5, 0.3, 0.1};
    static const double pieces[] = {1e-4, 1e-3, 0.01, 0.05, 0.11};
    (void)ctx;
    for (size_t i = 0; i < 5; i++)
        for (size_t k = 0; k < 5; k++)
            for (double period = 0.004; period < 0.04; period += 0.005) {
                core c = {.turn = period * parts[i],
                          .away = period * (1 - parts[i]),
                          .now = 3};
                uint32_t n = measure(&c, pieces[k]);
                double took = c.now - 3, each = pieces[k] / parts[i];
                if (took > SECONDS + 2 * period + 0.5 * each)
                    fail_msg("%g s: pieces of %g s, %g of a core", took,
                             pieces[k], parts[i]);
                if (took < SECONDS - 1.5 * each - 2 * period)
                    fail_msg("%u pieces of %g s took %g s, %g of a core", n,
                             pieces[k], took, parts[i]);
            }
}

/* A piece that is too long for what is left is not begun. */
static void
test_too_long(void **ctx)
{
    core c = {.turn = 0.0025, .away = 0.0075};
    probe_budget b;
    (void)ctx;

    probe_budget_init(&b, c.now, c.cpu, SECONDS);
    work(&c, 0.05);
    double left = probe_budget_left(&b, c.now, c.cpu);
    assert_true(left < 0.4 * (SECONDS - c.now));
    assert_true(left > 0.25 * (SECONDS - c.now));
    work(&c, 0.2);
    assert_true(probe_budget_left(&b, c.now, c.cpu) <= 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kept),
        cmocka_unit_test(test_too_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
