/* SPDX-License-Identifier: Apache-2.0 */
/* Two lists under one lock, and an eventfd back to the loop. */
#include "daemon/helper.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

enum {
    MAX_COLLECT = 32,     /* a turn of the loop stays short */
    COLLECT_NS = 2000000, /* no further report is begun after it */
    MAX_FRAME = 512       /* tasks that share one frame */
};

typedef struct task_list {
    helper_task *first, *last;
} task_list;

struct helper {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool started, stop;
    bool wanted; /* not all that is to do may wait */
    int fd;
    task_list todo, finished;
    helper_frame frame; /* begin NULL: none */
};

static void
append(task_list *list, helper_task *task)
{
    task->next = NULL;
    if (list->last)
        list->last->next = task;
    else
        list->first = task;
    list->last = task;
}

static helper_task *
take(task_list *list)
{
    helper_task *task = list->first;

    if (!task)
        return NULL;
    list->first = task->next;
    if (!list->first)
        list->last = NULL;
    return task;
}

static void
notify(int fd)
{
    uint64_t one = 1;

    if (write(fd, &one, sizeof(one)) < 0)
        return; /* the counter is full: the loop is awake already */
}

/* NULL: stopped, and nothing is left to do. */
static helper_task *
wait_task(helper *h)
{
    helper_task *task = NULL;

    (void)pthread_mutex_lock(&h->lock);
    while (!task && !(h->stop && !h->todo.first)) {
        if (h->wanted || h->stop)
            task = take(&h->todo);
        if (task)
            continue;
        h->wanted = false;
        (void)pthread_cond_wait(&h->wake, &h->lock);
    }
    (void)pthread_mutex_unlock(&h->lock);
    return task;
}

static void
note_failure(helper_task *task, status st)
{
    task->st = st;
    mem_free(task->text);
    if (mem_strdup(&task->text, status_text()) != ST_OK)
        task->text = NULL;
}

static void
run_one(helper_task *task)
{
    status st;

    task->st = ST_OK;
    task->text = NULL;
    st = task->run(task);
    if (st != ST_OK)
        note_failure(task, st);
}

static void
finish(helper *h, task_list *list)
{
    helper_task *task;

    (void)pthread_mutex_lock(&h->lock);
    while ((task = take(list)) != NULL)
        append(&h->finished, task);
    (void)pthread_mutex_unlock(&h->lock);
    notify(h->fd);
}

/* What has come while the frame before was closed shares this one. */
static void
run_frame(helper *h, helper_task *task)
{
    task_list all = {NULL};
    int left = MAX_FRAME;
    status st = h->frame.begin(h->frame.ctx);

    while (task) {
        if (st == ST_OK) {
            run_one(task);
        } else {
            task->text = NULL;
            note_failure(task, st);
        }
        append(&all, task);
        if (--left == 0)
            break;
        (void)pthread_mutex_lock(&h->lock);
        task = take(&h->todo);
        if (!task) /* what comes now and may wait does not go alone */
            h->wanted = false;
        (void)pthread_mutex_unlock(&h->lock);
    }
    if (st == ST_OK && (st = h->frame.end(h->frame.ctx)) != ST_OK)
        for (task = all.first; task; task = task->next)
            note_failure(task, st);
    finish(h, &all);
}

static void *
thread_main(void *arg)
{
    helper *h = arg;
    helper_task *task;

    while ((task = wait_task(h)) != NULL) {
        task_list one = {NULL};

        if (h->frame.begin) {
            run_frame(h, task);
            continue;
        }
        run_one(task);
        append(&one, task);
        finish(h, &one);
    }
    return NULL;
}

/* Signals are the loop's: the thread is born with all of them blocked. */
static status
start(helper *h)
{
    sigset_t all;
    sigset_t old;
    int e;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &old);
    e = pthread_create(&h->thread, NULL, thread_main, h);
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (e != 0)
        return status_fail(ST_NOMEM, "no thread can be started");
    h->started = true;
    return ST_OK;
}

status
helper_new(helper **out)
{
    return helper_new_framed(out, &(helper_frame){.begin = NULL});
}

status
helper_new_framed(helper **out, const helper_frame *frame)
{
    helper *h = NULL;
    status st;

    TRY(mem_new(&h, 1, sizeof(*h)));
    h->frame = *frame;
    (void)pthread_mutex_init(&h->lock, NULL);
    (void)pthread_cond_init(&h->wake, NULL);
    h->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (h->fd < 0)
        TRY(status_fail(ST_IO, "no eventfd can be made"));
    TRY(start(h));
    *out = h;
    return ST_OK;
fail:
    helper_free(h);
    return st;
}

static bool
finish_one(helper *h)
{
    helper_task *task;
    const char *why;
    char *text;

    (void)pthread_mutex_lock(&h->lock);
    task = take(&h->finished);
    (void)pthread_mutex_unlock(&h->lock);
    if (!task)
        return false;
    text = task->text;
    why = task->st == ST_OK ? "" : text ? text : "out of memory";
    task->done(task, task->st, why);
    mem_free(text);
    return true;
}

/* `done` must not push more once the helper is being freed: nobody would run
 * it. */
void
helper_free(helper *h)
{
    if (!h)
        return;
    if (h->started) {
        (void)pthread_mutex_lock(&h->lock);
        h->stop = true;
        (void)pthread_cond_signal(&h->wake);
        (void)pthread_mutex_unlock(&h->lock);
        (void)pthread_join(h->thread, NULL);
    }
    while (finish_one(h))
        ;
    if (h->fd >= 0)
        (void)close(h->fd);
    (void)pthread_cond_destroy(&h->wake);
    (void)pthread_mutex_destroy(&h->lock);
    mem_free(h);
}

int
helper_fd(const helper *h)
{
    return h->fd;
}

void
helper_push(helper *h, helper_task *task)
{
    (void)pthread_mutex_lock(&h->lock);
    append(&h->todo, task);
    h->wanted = true;
    (void)pthread_cond_signal(&h->wake);
    (void)pthread_mutex_unlock(&h->lock);
}

void
helper_push_later(helper *h, helper_task *task)
{
    (void)pthread_mutex_lock(&h->lock);
    append(&h->todo, task);
    (void)pthread_mutex_unlock(&h->lock);
}

void
helper_flush(helper *h)
{
    (void)pthread_mutex_lock(&h->lock);
    if (h->todo.first) {
        h->wanted = true;
        (void)pthread_cond_signal(&h->wake);
    }
    (void)pthread_mutex_unlock(&h->lock);
}

void
helper_collect(helper *h)
{
    uint64_t count;
    uint64_t start = clock_ns();
    int n = 0;

    if (read(h->fd, &count, sizeof(count)) < 0)
        return;
    while (n < MAX_COLLECT && clock_ns() - start < COLLECT_NS)
        if (!finish_one(h))
            return;
        else
            n++;
    notify(h->fd); /* perhaps there are more */
}
