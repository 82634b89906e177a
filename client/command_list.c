/* SPDX-License-Identifier: Apache-2.0 */
/* The subcommands that have one answer: list, show, rm, jobs, cancel, status,
 * shutdown. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/terminal.h"
#include "client/command.h"
#include "client/screen.h"

typedef status ask_fn(client *c, client_message *answer);
typedef status print_fn(const client_message *m, bool json);

/* Asks, and prints what is answered. */
static status
told(command *c, ask_fn *ask, print_fn *print)
{
    client_message m = {.request = 0};
    status st;

    TRY(ask(c->c, &m));
    TRY(print(&m, c->json));
fail:
    client_message_fini(&m);
    return st;
}

static void
json_document(jsonout *j, const client_document *d)
{
    jsonout_object(j, NULL);
    jsonout_text(j, "document", d->name);
    jsonout_text(j, "owner", d->owner);
    jsonout_u64(j, "tokens", d->tokens);
    jsonout_u64(j, "segments", d->segments);
    jsonout_u64(j, "pending_tokens", d->pending_tokens);
    jsonout_u64(j, "snapshot_bytes", d->snapshot_bytes);
    jsonout_text(j, "model", d->model);
    jsonout_i64(j, "created_ms", d->created_ms);
    if (d->n_norm > 0) {
        jsonout_array(j, "state_norms");
        for (size_t i = 0; i < d->n_norm; i++)
            jsonout_f64(j, NULL, (double)d->state_norm[i]);
        jsonout_close_array(j);
    }
    if (d->warning && *d->warning)
        jsonout_text(j, "warning", d->warning);
    jsonout_close_object(j);
}

/* The norms of the layers' states, some a line. */
static void
print_norms(const client_document *d)
{
    enum { LINE = 8 };

    for (size_t i = 0; i < d->n_norm; i++)
        printf("%s%-9.4g",
               i % LINE ? " "
               : i == 0 ? "states    "
                        : "\n          ",
               (double)d->state_norm[i]);
    if (d->n_norm > 0)
        puts("(norm of each layer)");
    if (d->warning && *d->warning) {
        fputs("warning   ", stdout);
        terminal_text(stdout, d->warning);
        putchar('\n');
    }
}

static status
print_list(const client_message *m, bool json)
{
    char tokens[SCREEN_NUMBER], segments[SCREEN_NUMBER], bytes[SCREEN_NUMBER],
        moment[SCREEN_NUMBER];
    jsonout j;

    if (!json) {
        printf("%15s %10s %10s  %-16s  %s\n", "TOKENS", "SEGMENTS", "SNAPSHOT",
               "ADDED", "NAME");
        for (size_t i = 0; i < m->u.documents.n; i++) {
            const client_document *d = &m->u.documents.item[i];

            printf("%15s %10s %10s  %-16s  ", screen_count(tokens, d->tokens),
                   screen_count(segments, d->segments),
                   screen_bytes(bytes, d->snapshot_bytes),
                   screen_moment(moment, d->created_ms));
            terminal_text(stdout, d->name);
            putchar('\n');
        }
        return ST_OK;
    }
    jsonout_init(&j);
    jsonout_object(&j, NULL);
    jsonout_array(&j, "documents");
    for (size_t i = 0; i < m->u.documents.n; i++)
        json_document(&j, &m->u.documents.item[i]);
    jsonout_close_array(&j);
    jsonout_close_object(&j);
    return command_print(&j);
}

static status
list(command *c)
{
    return told(c, client_list, print_list);
}

static status
print_show(const client_document *d, bool json)
{
    char tokens[SCREEN_NUMBER], bytes[SCREEN_NUMBER], moment[SCREEN_NUMBER];
    jsonout j;

    if (json) {
        jsonout_init(&j);
        json_document(&j, d);
        return command_print(&j);
    }
    printf("document  ");
    terminal_text(stdout, d->name);
    printf("\ntokens    %s\nsegments  %" PRIu64
           ", the last one pending with %" PRIu32 " tokens\n"
           "snapshot  %s\nadded     %s\n",
           screen_count(tokens, d->tokens), d->segments, d->pending_tokens,
           screen_bytes(bytes, d->snapshot_bytes),
           screen_moment(moment, d->created_ms));
    if (d->model &&
        *d->model) { /* whose states it has; of one segment none are kept */
        printf("model     ");
        terminal_text(stdout, d->model);
        putchar('\n');
    }
    print_norms(d);
    return ST_OK;
}

static status
show(command *c)
{
    client_message m = {.request = 0};
    status st;

    TRY(client_show(c->c, &m, c->argument[0]));
    TRY(print_show(&m.u.documents.item[0], c->json));
fail:
    client_message_fini(&m);
    return st;
}

/* {"KEY": "text"} of an order that was carried out; nothing for people. */
static status
print_text(const command *c, const char *key, const char *text)
{
    jsonout j;

    if (!c->json)
        return ST_OK;
    jsonout_init(&j);
    jsonout_object(&j, NULL);
    jsonout_text(&j, key, text);
    jsonout_close_object(&j);
    return command_print(&j);
}

static status
rm(command *c)
{
    status st;

    TRY(client_remove(c->c, c->argument[0]));
    TRY(print_text(c, "removed", c->argument[0]));
fail:
    return st;
}

static void
print_job(const client_job *job)
{
    char moment[SCREEN_NUMBER], segments[2 * SCREEN_NUMBER];

    snprintf(segments, sizeof(segments), "%" PRIu64 "/%" PRIu64,
             job->segments_done, job->segments_total);
    printf("%6" PRIu64 " %-4s %-9s %13s  %-16s  ", job->job, job->kind,
           client_state_name(job->state), segments,
           screen_moment(moment, job->created_ms));
    terminal_text(stdout, job->document);
    if (*job->code) {
        fputs(": ", stdout);
        terminal_text(stdout, job->text);
    }
    putchar('\n');
}

static void
json_job(jsonout *j, const client_job *job)
{
    jsonout_object(j, NULL);
    jsonout_u64(j, "job", job->job);
    jsonout_text(j, "kind", job->kind);
    jsonout_text(j, "document", job->document);
    jsonout_text(j, "owner", job->owner);
    jsonout_text(j, "state", client_state_name(job->state));
    jsonout_text(j, "code", job->code);
    jsonout_text(j, "text", job->text);
    jsonout_i64(j, "created_ms", job->created_ms);
    jsonout_u64(j, "tokens", job->tokens);
    jsonout_u64(j, "segments_done", job->segments_done);
    jsonout_u64(j, "segments_total", job->segments_total);
    jsonout_u64(j, "attempts", job->attempts);
    jsonout_u64(j, "checkpoint_segments", job->checkpoint_segments);
    jsonout_u64(j, "redone_segments", job->redone_segments);
    jsonout_close_object(j);
}

static status
print_jobs(const client_message *m, bool json)
{
    jsonout j;

    if (!json) {
        printf("%6s %-4s %-9s %13s  %-16s  %s\n", "JOB", "KIND", "STATE",
               "SEGMENTS", "STARTED", "DOCUMENT");
        for (size_t i = 0; i < m->u.jobs.n; i++)
            print_job(&m->u.jobs.item[i]);
        return ST_OK;
    }
    jsonout_init(&j);
    jsonout_object(&j, NULL);
    jsonout_array(&j, "jobs");
    for (size_t i = 0; i < m->u.jobs.n; i++)
        json_job(&j, &m->u.jobs.item[i]);
    jsonout_close_array(&j);
    jsonout_close_object(&j);
    return command_print(&j);
}

static status
jobs(command *c)
{
    return told(c, client_jobs, print_jobs);
}

static status
cancel(command *c)
{
    uint64_t job;
    status st;

    TRY(command_job_number(&job, c->argument[0]));
    TRY(client_cancel(c->c, job));
    TRY(print_text(c, "canceled", c->argument[0]));
fail:
    return st;
}

static void
json_world(jsonout *j, const client_world *w)
{
    jsonout_object(j, NULL);
    jsonout_u64(j, "incarnation", w->incarnation);
    jsonout_text(j, "model", w->model);
    jsonout_u64(j, "ranks", w->ranks);
    jsonout_text(j, "placement", w->placement);
    jsonout_text(j, "device", w->device);
    jsonout_u64(j, "threads", w->threads);
    jsonout_u64(j, "streams", w->streams);
    jsonout_u64(j, "streams_busy", w->streams_busy);
    jsonout_f64(j, "tokens_per_second", w->tokens_per_second);
    jsonout_text(j, "state", w->state);
    jsonout_f64(j, "flops_per_second", w->measured.flops);
    jsonout_f64(j, "link_bytes_per_second", w->measured.link_bytes_per_s);
    jsonout_f64(j, "link_seconds", w->measured.link_s);
    jsonout_f64(j, "layers_seconds", w->measured.layers_s);
    jsonout_f64(j, "segments_seconds", w->measured.segments_s);
    jsonout_u64(j, "plan_segments", w->measured.plan_segments);
    jsonout_f64(j, "layers_seconds_if_alike", w->measured.layers_alike_s);
    jsonout_f64(j, "segments_seconds_if_alike", w->measured.segments_alike_s);
    jsonout_f64(j, "hop_seconds", w->hop_s);
    jsonout_f64(j, "hop_hidden_seconds", w->hop_hidden_s);
    jsonout_close_object(j);
}

static status
print_status_json(const client_message *m)
{
    jsonout j;

    jsonout_init(&j);
    jsonout_object(&j, NULL);
    jsonout_text(&j, "version", m->u.status.version);
    jsonout_f64(&j, "uptime_seconds", m->u.status.uptime_seconds);
    jsonout_u64(&j, "jobs_queued", m->u.status.jobs_queued);
    jsonout_u64(&j, "jobs_running", m->u.status.jobs_running);
    jsonout_u64(&j, "documents", m->u.status.documents);
    jsonout_f64(&j, "longest_turn_ms", m->u.status.longest_turn_ms);
    jsonout_array(&j, "worlds");
    for (size_t i = 0; i < m->u.status.n_world; i++)
        json_world(&j, &m->u.status.world[i]);
    jsonout_close_array(&j);
    jsonout_text(&j, "last_error", m->u.status.last_error);
    jsonout_close_object(&j);
    return command_print(&j);
}

/* What the ranks measured, and why they are placed as they are. */
static void
print_measured(const world_measured *m)
{
    if (m->flops <= 0)
        return;
    printf("             measured: %.3g TFLOP/s", m->flops * 1e-12);
    if (m->link_bytes_per_s > 0)
        printf(", links %.3g GB/s and %.3g us", m->link_bytes_per_s * 1e-9,
               m->link_s * 1e6);
    if (m->plan_segments > 0)
        printf("; %" PRIu64 " segments in each stream would take %.4g s with "
               "layers, %.4g s with segments",
               m->plan_segments, m->layers_s, m->segments_s);
    if (m->layers_alike_s > 0)
        printf(" (%.4g s, %.4g s if its ranks were equally fast)",
               m->layers_alike_s, m->segments_alike_s);
    putchar('\n');
}

static void
print_world(const client_world *w)
{
    char rate[SCREEN_NUMBER];

    printf("world %-5" PRIu64 "  ",
           w->incarnation & ((UINT64_C(1) << CLIENT_WORLD_BITS) - 1));
    terminal_text(stdout, w->state);
    fputs(", ", stdout);
    terminal_text(stdout, w->model);
    if (w->ranks > 0) {
        printf(", %" PRIu32 " rank%s, ", w->ranks, w->ranks > 1 ? "s" : "");
        terminal_text(stdout, w->placement);
        fputs(", ", stdout);
        terminal_text(stdout, w->device);
        printf(", %" PRIu32 " thread%s, %" PRIu32 " of %" PRIu32
               " streams busy, %s tokens/s",
               w->threads, w->threads > 1 ? "s" : "", w->streams_busy,
               w->streams, screen_count(rate, (uint64_t)w->tokens_per_second));
    }
    putchar('\n');
    print_measured(&w->measured);
    if (w->hop_s > 0)
        printf("             hops: %.3f s under way between ranks, %.0f %% of "
               "it behind computing\n",
               w->hop_s, 100 * w->hop_hidden_s / w->hop_s);
}

static status
print_status(const client_message *m, bool json)
{
    char up[SCREEN_NUMBER];

    if (json)
        return print_status_json(m);
    fputs("longwaved    ", stdout);
    terminal_text(stdout, m->u.status.version);
    printf(", up %s\n"
           "jobs         %" PRIu32 " running, %" PRIu32 " queued\n"
           "documents    %" PRIu32 "\n"
           "event loop   longest turn %.1f ms\n",
           screen_duration(up, m->u.status.uptime_seconds),
           m->u.status.jobs_running, m->u.status.jobs_queued,
           m->u.status.documents, m->u.status.longest_turn_ms);
    for (size_t i = 0; i < m->u.status.n_world; i++)
        print_world(&m->u.status.world[i]);
    if (m->u.status.n_world == 0)
        puts("world        none");
    if (*m->u.status.last_error) {
        fputs("last error   ", stdout);
        terminal_text(stdout, m->u.status.last_error);
        putchar('\n');
    }
    return ST_OK;
}

static status
show_status(command *c)
{
    return told(c, client_status, print_status);
}

static status
shut_down(command *c)
{
    status st;

    TRY(client_shutdown(c->c));
    TRY(print_text(c, "shutdown", client_endpoint(c->c)));
fail:
    return st;
}

typedef struct order {
    const char *program, *summary;
    size_t n_argument;
    status (*act)(command *c);
} order;

static const order ORDER[] = {
    {"longwave list",
     "Usage: longwave list\n"
     "Shows the documents that were read.",
     0, list},
    {"longwave show",
     "Usage: longwave show NAME\n"
     "Shows one document.",
     1, show},
    {"longwave rm",
     "Usage: longwave rm NAME\n"
     "Forgets a document.",
     1, rm},
    {"longwave jobs",
     "Usage: longwave jobs\n"
     "Shows jobs, those that ended too.",
     0, jobs},
    {"longwave cancel",
     "Usage: longwave cancel JOB\n"
     "Cancels a job.",
     1, cancel},
    {"longwave status",
     "Usage: longwave status\n"
     "Shows the daemon and its worlds.",
     0, show_status},
    {"longwave shutdown",
     "Usage: longwave shutdown\n"
     "Stops the daemon.",
     0, shut_down},
};

static const order *
find(const char *name)
{
    for (size_t i = 0; i < sizeof(ORDER) / sizeof(*ORDER); i++)
        if (strcmp(ORDER[i].program + strlen("longwave "), name) == 0)
            return &ORDER[i];
    return NULL;
}

/* Parses, connects, acts. */
status
command_order(int argc, char **argv)
{
    const order *o = find(argv[0]);
    command c;
    option_entry entry[COMMAND_N_ENTRY];
    option_set set = {.entry = entry, .n_entry = COMMAND_N_ENTRY};
    bool done = false;
    status st;

    ASSERT(o != NULL);
    set.program = o->program;
    set.summary = o->summary;
    set.max_argument = o->n_argument;
    command_init(&c);
    command_entries(&c, entry);
    TRY(command_parse(&c, &set, o->n_argument, argc, argv, &done));
    if (done)
        return ST_OK;
    TRY(command_open(&c));
    TRY(o->act(&c));
fail:
    command_close(&c);
    return st;
}
