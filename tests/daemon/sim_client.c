/* SPDX-License-Identifier: Apache-2.0 */
/* Clients that ask, ask again, and compare what they are told. */
#include "tests/daemon/sim.h"

#include <stdio.h>
#include <string.h>

sim_asked *
sim_client_of(sim *s, const zsocket_peer *peer, uint64_t request)
{
    for (size_t i = 0; i < s->n_client; i++)
        if (peer->id[0] == (uint8_t)i && s->client[i].request == request)
            return &s->client[i];
    return NULL;
}

void
sim_told(sim *s, sim_asked *a, const client_message *m)
{
    const sim_row *r;

    if (m->kind == CLIENT_ACCEPTED) {
        SIM_CHECK(s, m->u.accepted.job <= MAX_JOB);
        r = &s->disk[m->u.accepted.job];
        SIM_CHECK(s, r->there && strcmp(r->job.key, a->key) == 0);
        SIM_CHECK(s, a->job == 0 || a->job == m->u.accepted.job);
        a->job = m->u.accepted.job;
        return;
    }
    if (m->kind == CLIENT_TOKEN) {
        r = &s->disk[m->u.token.job];
        SIM_CHECK(s, r->n_id > m->u.token.index &&
                         r->ids[m->u.token.index] == m->u.token.id);
        SIM_CHECK(s, m->u.token.index < 16);
        if (a->heard[m->u.token.index])
            SIM_CHECK(s, a->ids[m->u.token.index] == m->u.token.id);
        a->heard[m->u.token.index] = true;
        a->ids[m->u.token.index] = m->u.token.id;
        return;
    }
    if (m->kind == CLIENT_DONE) {
        r = &s->disk[m->u.done.job];
        SIM_CHECK(s, r->there && r->job.state == CLIENT_STATE_DONE);
        SIM_CHECK(s, !a->told_end || (a->end == CLIENT_DONE &&
                                      a->n_end_id == m->u.done.n_id));
        for (size_t i = 0; i < m->u.done.n_id && i < 16; i++)
            SIM_CHECK(s, !a->heard[i] || m->u.done.ids[i] == a->ids[i]);
        a->told_end = true;
        a->end = CLIENT_DONE;
        a->n_end_id = m->u.done.n_id;
    }
    if (m->kind == CLIENT_REFUSED && m->u.refused.job && a->job) {
        r = &s->disk[m->u.refused.job];
        SIM_CHECK(s, r->there && r->job.state >= CLIENT_FAILED);
        SIM_CHECK(s, !a->told_end || (a->end == CLIENT_REFUSED &&
                                      strcmp(a->code, m->u.refused.code) == 0));
        a->told_end = true;
        a->end = CLIENT_REFUSED;
        (void)snprintf(a->code, sizeof(a->code), "%s", m->u.refused.code);
    } else if (m->kind == CLIENT_REFUSED && !a->job) {
        a->request = 0; /* nothing has happened: it may ask again */
    }
}

static void
client_say(sim *s, size_t i, client_message *m, size_t raw_len)
{
    static uint8_t zeros[64];
    zsocket_peer peer = {.len = 1, .id = {(uint8_t)i}};
    uint8_t *data = zeros;
    core_raw raw = {.data = &data, .len = raw_len};
    core_caller from = {.client = &peer, .owner = "local"};

    if (sim_chance(s, 5))
        return; /* lost */
    core_client_event(s->c, &from, m, &raw);
}

void
sim_ask_again(sim *s, size_t i)
{
    sim_asked *a = &s->client[i];
    client_message m = {.kind = CLIENT_WATCH};
    static uint64_t request; /* only has to differ */

    a->request = ++request;
    m.request = a->request;
    if (a->job) {
        m.u.job.job = a->job;
        client_say(s, i, &m, 0);
        return;
    }
    if (a->add) {
        m.kind = CLIENT_ADD;
        m.u.add.name = a->name;
        m.u.add.model = (char *)(uintptr_t) "";
        m.u.add.input = CLIENT_IDS;
        m.u.add.bytes = 40;
        m.u.add.key.key = a->key;
    } else {
        m.kind = CLIENT_ASK;
        m.u.ask.document = (char *)(uintptr_t) "old";
        m.u.ask.input = CLIENT_IDS;
        m.u.ask.bytes = 40;
        m.u.ask.sampling.max_tokens = 1 + (uint32_t)i % 8;
        m.u.ask.key.key = a->key;
    }
    client_say(s, i, &m, 40);
}

void
sim_client_new(sim *s)
{
    size_t i = s->n_client;
    sim_asked *a = &s->client[i];

    if (i >= MAX_CLIENT)
        return;
    s->n_client++;
    *a = (sim_asked){.add = sim_draw(&s->chance, 2) == 0};
    a->poison = a->add && sim_draw(&s->chance, 8) == 0;
    (void)snprintf(a->key, sizeof(a->key), "k%zu", i);
    (void)snprintf(a->name, sizeof(a->name), "%c%zu", a->poison ? 'x' : 'd', i);
    sim_ask_again(s, i);
}
