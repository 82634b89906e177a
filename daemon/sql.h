/* SPDX-License-Identifier: Apache-2.0 */
/* The owner of SQLite: one connection, statements that are prepared once.
 *
 * Statements have one function more: row_crc(...), the CRC-32C of any values
 * with their types, for a row that says what it was written as.
 *
 * One thread at a time; everything blocks. */
#ifndef DAEMON_SQL_H
#define DAEMON_SQL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

typedef struct sql sql;
typedef struct sql_query sql_query;

/* WAL and full synchronisation; a rollback journal where the file lies on a
 * network.  ST_IO; here and below file_sync_failed() tells when the disk
 * refused to make something durable. */
status sql_open(sql **out, const char *path) MUST_USE;
void sql_close(sql *s);

/* Any number of statements without values. */
status sql_execute(sql *s, const char *text) MUST_USE;
status sql_begin(sql *s) MUST_USE;
status sql_commit(sql *s) MUST_USE; /* a failure undoes all */
/* Inside a transaction: what happens between the two is undone when `st` is a
 * failure, which is passed on. */
status sql_change_begin(sql *s) MUST_USE;
status sql_change_end(sql *s, status st) MUST_USE;

/* A statement, ready for its values.  `text` is a literal: where it lies is
 * how the statement is found again. */
status sql_start(sql *s, sql_query **out, const char *text) MUST_USE;
/* Values, from 1.  Texts and bytes stay in place until the statement ends. */
void sql_put_number(sql_query *q, int i, uint64_t value);
void sql_put_real(sql_query *q, int i, double value);
void sql_put_text(sql_query *q, int i, const char *text);
void sql_put_bytes(sql_query *q, int i, const void *data, size_t len);
/* Runs a statement without rows to its end. */
status sql_run(sql_query *q) MUST_USE;
/* The same; *n: the rows that it changed. */
status sql_run_counted(sql_query *q, size_t *n) MUST_USE;
/* *row: it stands on a row; otherwise it has ended. */
status sql_next(sql_query *q, bool *row) MUST_USE;
void sql_stop(sql_query *q); /* ends it early; NULL is fine */

/* Columns of the row, from 0. */
uint64_t sql_number(const sql_query *q, int column);
double sql_real(const sql_query *q, int column);
void sql_text(const sql_query *q, int column, char *out, size_t size);
/* Copied when it has exactly `size` bytes. */
void sql_bytes(const sql_query *q, int column, void *out, size_t size);
/* A copy with a NUL behind it, mem_free(). */
status sql_copy(const sql_query *q, int column, void *out,
                size_t *len) MUST_USE; /* out: T ** */

#endif
