/*
 * Counts the records of a log by their first word. It counts each record exactly once, even if the
 * program, the server or the machine is stopped at any time.
 *
 * Shows: exactly-once processing. The program stores its checkpoint in the transaction that stores
 * its output, so the checkpoint and the output always match.
 *
 *     cc examples/c/reliable.c -o reliable $(pkg-config --cflags --libs styx sqlite3)
 *     ./reliable orders totals.sqlite
 *     sqlite3 totals.sqlite 'SELECT * FROM totals'
 *
 * Stop it with Ctrl-C or kill -9 at any time and start it again. Only run one process per file at a
 * time.
 */
#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <styx.h>

static void check(styx_error *error) {
    if (error != NULL) {
        fprintf(stderr, "%s: %s\n", styx_error_name(error), styx_error_message(error));
        exit(1);
    }
}

static sqlite3 *database;

static void check_sql(int status) {
    if (status != SQLITE_OK && status != SQLITE_DONE && status != SQLITE_ROW) {
        fprintf(stderr, "sqlite: %s\n", sqlite3_errmsg(database));
        exit(1);
    }
}

static sqlite3_stmt *prepare(const char *sql) {
    sqlite3_stmt *statement;
    check_sql(sqlite3_prepare_v2(database, sql, -1, &statement, NULL));
    return statement;
}

static void run(sqlite3_stmt *statement) {
    check_sql(sqlite3_step(statement));
    check_sql(sqlite3_reset(statement));
}

/* The first word of a record, without the spaces before it. */
static size_t first_word(const styx_record *record, const char **word) {
    const char *text = (const char *)record->data;
    size_t begin = 0;
    while (begin < record->size && text[begin] == ' ') {
        begin++;
    }
    size_t end = begin;
    while (end < record->size && text[end] != ' ') {
        end++;
    }
    *word = text + begin;
    return end - begin;
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: reliable LOG FILE\n");
        return 2;
    }
    check_sql(sqlite3_open(argv[2], &database));
    /* Other programs may read the totals meanwhile: wait for them. */
    check_sql(sqlite3_busy_timeout(database, 10000));
    check_sql(sqlite3_exec(
        database,
        "CREATE TABLE IF NOT EXISTS totals (word TEXT PRIMARY KEY, records INTEGER NOT NULL);"
        "CREATE TABLE IF NOT EXISTS checkpoint (one INTEGER PRIMARY KEY CHECK (one = 1), text TEXT)",
        NULL, NULL, NULL));
    sqlite3_stmt *begin = prepare("BEGIN IMMEDIATE");
    sqlite3_stmt *commit = prepare("COMMIT");
    sqlite3_stmt *count = prepare("INSERT INTO totals VALUES (?, 1) "
                                  "ON CONFLICT (word) DO UPDATE SET records = records + 1");
    sqlite3_stmt *keep = prepare("INSERT OR REPLACE INTO checkpoint VALUES (1, ?)");

    /* Where the last transaction ended. */
    styx_options *options = styx_options_new();
    check(styx_options_set(options, "follow", "true"));
    sqlite3_stmt *stored = prepare("SELECT text FROM checkpoint");
    if (sqlite3_step(stored) == SQLITE_ROW) {
        check(styx_options_set(options, "start", (const char *)sqlite3_column_text(stored, 0)));
    }
    sqlite3_finalize(stored);

    styx_client *client;
    check(styx_client_connect(NULL, NULL, &client));
    styx_consumer *consumer;
    /* If the log was truncated or recreated since the checkpoint, this fails with
     * STYX_E_LOG_CHANGED, so that other records are not mistaken for the old ones. */
    check(styx_consumer_open(client, argv[1], options, &consumer));
    styx_options_free(options);
    fprintf(stderr, "counting from position %" PRIu64 "\n", styx_consumer_position(consumer));

    for (;;) {
        styx_batch *batch;
        check(styx_consumer_poll(consumer, 0, -1, &batch));
        if (batch == NULL) {
            continue;
        }
        run(begin);
        styx_record record;
        for (size_t i = 0; styx_batch_get(batch, i, &record, sizeof record); i++) {
            const char *word;
            size_t size = first_word(&record, &word);
            if (size > 0) {
                check_sql(sqlite3_bind_text(count, 1, word, (int)size, SQLITE_STATIC));
                run(count);
            }
        }
        styx_checkpoint checkpoint;
        check(styx_batch_checkpoint(batch, &checkpoint));
        check_sql(sqlite3_bind_text(keep, 1, checkpoint.text, -1, SQLITE_STATIC));
        run(keep);
        run(commit);
        styx_batch_free(batch);
    }
}
