/* SPDX-License-Identifier: Apache-2.0 */
/* Links of virtual time behind a shaper: how long measuring them takes, and
 * whether what is measured is what they are. */
#include "worker/probe_pace.h"

#include "tests/expect.h"

static const double BUDGET = 0.18;

/* A link that lets `burst` bytes through at the rate of a wire before its own
 * rate holds, which come back while it rests. */
typedef struct shaped {
    double latency_s, rate, burst, cpu_s; /* of a byte, at either end */
    double tokens, now, longest;
    /* Another has the core for so long within every so many messages. */
    double away_s;
    uint32_t every, n;
    uint32_t late; /* or during the first so many */
} shaped;

static const double WIRE = 5e9;

/* Both take their time one after the other. */
static double
behind_wire(double rate)
{
    return 1 / (1 / rate + 1 / WIRE);
}

static double
message(shaped *l, uint64_t len)
{
    double n = (double)len;
    double slow = n > l->tokens ? (n - l->tokens) / l->rate : 0;
    l->n++;
    bool away = l->n <= l->late || (l->every > 0 && l->n % l->every == 0);
    double idle = 2 * l->latency_s + (away ? l->away_s : 0);
    double took = idle + n / WIRE + slow;

    l->tokens = l->tokens > n ? l->tokens - n : 0;
    l->tokens += idle * l->rate;
    l->tokens = l->tokens < l->burst ? l->tokens : l->burst;
    l->now += took;
    l->longest = took > l->longest ? took : l->longest;
    return took;
}

static cost_link
measure(shaped *l)
{
    probe_pace p;
    probe_round r = {0};
    bool rested = false;

    l->tokens = l->burst;
    probe_pace_init(&p, BUDGET);
    for (int i = 0; probe_pace_next(&p, &r); i++) {
        probe_times t = {.send_s = l->cpu_s * (double)r.len,
                         .receive_s = 2 * l->cpu_s * (double)r.len};
        double start = l->now;
        assert_true(i < 40);
        assert_in_range(r.n, 1, PROBE_PACE_MOST);
        assert_in_range(r.len, 1, PROBE_PACE_LONGEST);
        assert_false(rested);
        rested = r.rests != 0;
        for (uint64_t k = 0; k < r.n; k++) {
            t.last = message(l, r.len);
            t.least = k == 0 || t.last < t.least ? t.last : t.least;
        }
        probe_pace_tell(&p, &r, &t, l->now - start);
    }
    assert_false(probe_pace_next(&p, &r));
    return probe_pace_link(&p);
}

static void
expect_near(double value, double wanted, double part)
{
    if (value < wanted * (1 - part) || value > wanted * (1 + part))
        fail_msg("%g is not %g", value, wanted);
}

/* What a budget bounds: all but one message that came behind a burst. */
static void
test_bounded(void **ctx)
{
    static const double rates[] = {1.25e6, 3e6,   12.5e6, 31e6,
                                   125e6,  1.2e9, 1e10};
    static const double bursts[] = {0, 16e3, 100e3, 262144, 500e3, 1e6};
    static const double latencies[] = {1e-7, 3e-5, 1e-3, 5e-3, 2e-2};
    (void)ctx;
    for (size_t i = 0; i < 7; i++)
        for (size_t k = 0; k < 6; k++)
            for (size_t n = 0; n < 5; n++) {
                shaped l = {.rate = rates[i],
                            .burst = bursts[k],
                            .latency_s = latencies[n],
                            .cpu_s = 1e-10};
                cost_link out = measure(&l);
                /* Messages through the burst, and the first beyond it. */
                double over = 2 * bursts[k] / rates[i];
                if (l.now > BUDGET + over + 8 * latencies[n])
                    fail_msg("%g s: %g bytes/s, burst %g, %g s", l.now,
                             rates[i], bursts[k], latencies[n]);
                assert_true(cost_link_is_sane(&out));
                assert_true(out.latency_s >= latencies[n]);
                assert_true(out.latency_s <=
                            latencies[n] +
                                PROBE_PACE_SMALL * (1 / rates[i] + 1 / WIRE));
            }
}

/* What the links of clusters are like, and the shaper of the tests. */
static void
test_right(void **ctx)
{
    static const double rates[] = {1.25e6, 12.5e6, 31e6, 125e6, 1.2e9};
    (void)ctx;
    for (size_t i = 0; i < 5; i++)
        for (double burst = 0; burst < 300000; burst += 262144) {
            shaped l = {.rate = rates[i],
                        .burst = burst,
                        .latency_s = 2e-5,
                        .cpu_s = 1e-10};
            cost_link out = measure(&l);
            /* The slowest one has time for nothing behind the burst. */
            expect_near(out.bytes_per_s, behind_wire(rates[i]),
                        i == 0 ? 0.3 : 0.05);
            if (rates[i] < 1e7)
                continue;
            expect_near(out.send_s, 1e-10, 0.01);
            expect_near(out.receive_s, 2e-10, 0.01);
        }
}

/* A core that others have, too: what one message is late by, and what a shaper
 * then has saved up for the next one, does not count. */
static void
test_shared(void **ctx)
{
    static const double rates[] = {12.5e6, 125e6};
    (void)ctx;
    for (size_t i = 0; i < 2; i++)
        for (uint32_t every = 4; every < 12; every++) {
            shaped l = {.rate = rates[i],
                        .burst = 262144,
                        .latency_s = 5e-6,
                        .cpu_s = 1e-10,
                        .away_s = 0.012,
                        .every = every};
            cost_link out = measure(&l);
            expect_near(out.bytes_per_s, behind_wire(rates[i]), 0.1);
        }
}

/* No core had time for the pings, and what they took was more than all that
 * there was: a link has its figures nevertheless, and none that it has not. */
static void
test_late(void **ctx)
{
    (void)ctx;
    for (uint32_t late = 2; late < 5; late++) {
        shaped l = {
            .rate = 125e6, .latency_s = 5e-6, .away_s = 0.3, .late = late};
        cost_link out = measure(&l);
        assert_true(cost_link_is_sane(&out));
        assert_true(out.bytes_per_s <= 1.05 * behind_wire(l.rate));
    }
}

/* One message of a slow link is all that can be afforded. */
static void
test_very_slow(void **ctx)
{
    shaped l = {.rate = 1e5, .latency_s = 1e-4};
    (void)ctx;
    cost_link out = measure(&l);
    expect_near(out.bytes_per_s, 1e5, 0.01);
    assert_true(l.now < 0.1);
    assert_true(out.send_s <= 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bounded),   cmocka_unit_test(test_right),
        cmocka_unit_test(test_shared),    cmocka_unit_test(test_late),
        cmocka_unit_test(test_very_slow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
