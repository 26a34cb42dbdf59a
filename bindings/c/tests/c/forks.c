/*
 * A forked child may only free what it has inherited. Threads of the client exist in the parent
 * alone, so a call that waited for them, or for a lock of theirs, would hang: alarm() ends it.
 */
#define _GNU_SOURCE
#include "test.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct {
    styx_client *client;
    styx_producer *producer;
    styx_producer *tracked;
    styx_consumer *consumer;
    styx_consumer *waiting;
    styx_batch *batch;
    styx_backup *backup;
    styx_restore *restore;
    styx_log_list *logs;
    styx_error *error;
    pthread_t waiter;
} objects;

static void *wait_for_records(void *argument)
{
    styx_batch *batch;
    styx_error *error = styx_consumer_poll(argument, 0, -1, &batch);
    styx_batch_free(batch);
    return error;
}

static objects opened(void)
{
    objects all;
    all.client = test_client();
    test_log(all.client, "log", 10);
    all.producer = test_producer(all.client, "log", NULL);
    all.tracked =
        test_producer(all.client, "log", test_options("track_settled", "true", NULL));
    OK(styx_producer_append(all.producer, BYTES("parent"), NULL));
    all.consumer =
        test_consumer(all.client, "log", test_options("follow", "true", "cursor", "c", NULL));
    OK(styx_consumer_poll(all.consumer, 1, -1, &all.batch));
    all.waiting = test_consumer(
        all.client, "log", test_options("follow", "true", "start", "end", NULL));
    CHECK(styx_backup_open(all.client, "log", &all.backup) == NULL);
    OK(styx_restore_open(all.client, "restored", &all.restore));
    OK(styx_list_logs(all.client, &all.logs));
    all.error = styx_get_log(all.client, "missing", NULL, 0);
    OK(styx_producer_flush(all.producer, -1));
    /* Takes what the flush has appended, so that the next poll waits, and holds its lock. */
    OK(styx_consumer_seek(all.waiting, "end"));
    CHECK(pthread_create(&all.waiter, NULL, wait_for_records, all.waiting) == 0);
    test_sleep_ms(50);
    return all;
}

static void free_all(objects *all)
{
    styx_batch_free(all->batch);
    styx_consumer_free(all->consumer);
    styx_consumer_free(all->waiting);
    styx_producer_free(all->producer);
    styx_producer_free(all->tracked);
    styx_backup_free(all->backup);
    styx_restore_free(all->restore);
    styx_log_list_free(all->logs);
    styx_error_free(all->error);
    styx_client_free(all->client);
}

#define FORKED(call) FAILS(STYX_E_FORKED, call)

static void every_call_fails(const objects *all)
{
    styx_log_info info;
    styx_cursor_info cursor;
    styx_server_info server;
    styx_log_list *logs;
    styx_cursor_list *cursors;
    styx_backup *backup;
    styx_restore *restore;
    styx_producer *producer;
    styx_consumer *consumer;
    styx_client_stats_t client_stats;
    styx_producer_stats_t producer_stats;
    styx_consumer_stats_t consumer_stats;
    styx_checkpoint checkpoint;
    styx_batch *batch;
    const uint8_t *data;
    const uint32_t end = 5;
    styx_ack ack;
    char id[40];
    size_t size;
    int32_t fd;
    FORKED(styx_client_check(all->client, &server, sizeof server));
    FORKED(styx_client_stats(all->client, &client_stats, sizeof client_stats));
    FORKED(styx_client_take_events(all->client, NULL, NULL, NULL));
    CHECK(styx_client_address(all->client) != NULL);
    FORKED(styx_create_log(all->client, "new", NULL, 0, false, &info, sizeof info));
    FORKED(styx_list_logs(all->client, &logs));
    FORKED(styx_get_log(all->client, "log", &info, sizeof info));
    FORKED(styx_get_log_details(all->client, "log", NULL, 0, NULL, 0, NULL, 0));
    FORKED(styx_delete_log(all->client, "log"));
    FORKED(styx_truncate_log(all->client, "log"));
    FORKED(styx_trim_log(all->client, "log", 0, &info, sizeof info));
    FORKED(styx_adopt_log(all->client, "log", &info, sizeof info));
    FORKED(styx_list_cursors(all->client, "log", &cursors));
    FORKED(styx_get_cursor(all->client, "log", "c", &cursor, sizeof cursor));
    FORKED(styx_set_cursor(all->client, "log", "c", 0, &cursor, sizeof cursor));
    FORKED(styx_delete_cursor(all->client, "log", "c"));
    FORKED(styx_backup_open(all->client, "log", &backup));
    FORKED(styx_backup_next(all->backup, &data, &size));
    FORKED(styx_restore_open(all->client, "other", &restore));
    FORKED(styx_restore_write(all->restore, BYTES("bytes")));
    FORKED(styx_restore_finish(all->restore));
    FORKED(styx_producer_open(all->client, "log", NULL, &producer));
    FORKED(styx_consumer_open(all->client, "log", NULL, &consumer));

    FORKED(styx_producer_append(all->producer, BYTES("child"), NULL));
    FORKED(styx_producer_append_packed(all->producer, BYTES("child"), &end, 1, NULL));
    FORKED(styx_producer_send(all->producer, BYTES("child"), -1, NULL));
    FORKED(styx_producer_flush(all->producer, -1));
    FORKED(styx_producer_acks(all->tracked, &ack, 1, sizeof ack, &size));
    FORKED(styx_producer_close(all->producer, -1));
    FORKED(styx_producer_log_id(all->producer, &id));
    FORKED(styx_producer_stats(all->producer, &producer_stats, sizeof producer_stats));
    CHECK(styx_producer_wait_room(all->producer, -1));
    (void)styx_producer_next_sequence(all->producer);
    (void)styx_producer_durable_sequence(all->producer);
    (void)styx_producer_identity(all->producer, NULL, NULL);
    (void)styx_producer_fd(all->producer);
    styx_producer_seen(all->producer);

    styx_consumer *const both[] = {all->consumer, all->waiting};
    for (int i = 0; i < 2; i++) {
        FORKED(styx_consumer_poll(both[i], 0, -1, &batch));
        FORKED(styx_consumer_poll(both[i], 0, 0, &batch));
        FORKED(styx_consumer_fd(both[i], &fd));
        FORKED(styx_consumer_seek(both[i], "start"));
        FORKED(styx_consumer_checkpoint(both[i], &checkpoint));
        FORKED(styx_consumer_commit(both[i], -1, NULL));
        FORKED(styx_consumer_log_id(both[i], &id));
        FORKED(styx_consumer_stats(both[i], &consumer_stats, sizeof consumer_stats));
        (void)styx_consumer_position(both[i]);
        (void)styx_consumer_lag(both[i]);
        (void)styx_consumer_caught_up(both[i]);
        (void)styx_consumer_ended(both[i]);
        styx_consumer_wakeup(both[i]);
        styx_consumer_close(both[i]);
    }

    /* Memory of the parent that needs no thread. */
    styx_record record;
    CHECK(styx_batch_get(all->batch, 0, &record, sizeof record) && record.size == 1);
    EQUAL(styx_log_list_len(all->logs), 1);
    EQUAL(styx_error_code(all->error), STYX_E_LOG_NOT_FOUND);
}

/* Runs a part of this test in a child, and checks that it ends well. */
static void in_child(void (*run)(objects *), objects *all)
{
    fflush(stdout);
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        alarm(20);
        run(all);
        fflush(stdout);
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        FAIL("the child has ended with status %d", status);
    }
}

static void parent_continues(objects *all)
{
    OK(styx_producer_send(all->producer, BYTES("parent"), -1, NULL));
    void *error;
    CHECK(pthread_join(all->waiter, &error) == 0);
    CHECK(error == NULL);
    /* The first record was polled before; this is the rest. */
    EQUAL(test_read(all->consumer, 11), 11);
    OK(styx_consumer_commit(all->consumer, -1, NULL));
    OK(styx_producer_close(all->producer, -1));
    styx_log_info info;
    OK(styx_get_log(all->client, "log", &info, sizeof info));
    EQUAL(info.record_count, 12);
    free_all(all);
}

static void call_everything(objects *all)
{
    every_call_fails(all);
    free_all(all);
}

static void every_call_in_a_child_fails(void)
{
    objects all = opened();
    in_child(call_everything, &all);
    parent_continues(&all);
}

static void child_may_free_everything(void)
{
    objects all = opened();
    in_child(free_all, &all);
    parent_continues(&all);
}

static void use_a_new_client(objects *all)
{
    styx_client *client;
    OK(styx_client_connect(styx_client_address(all->client), NULL, &client));
    styx_consumer *consumer = test_consumer(client, "log", NULL);
    EQUAL(test_read(consumer, 11), 11);
    styx_consumer_free(consumer);
    styx_client_free(client);
    free_all(all);
}

static void child_may_open_a_new_client(void)
{
    objects all = opened();
    in_child(use_a_new_client, &all);
    parent_continues(&all);
}

static atomic_bool stop;

static void *append_until_stopped(void *argument)
{
    const styx_producer *producer = argument;
    while (!atomic_load(&stop)) {
        styx_error *error = styx_producer_append(producer, BYTES("record"), NULL);
        if (error != NULL) {
            styx_error_free(error);
            (void)styx_producer_wait_room(producer, 1000);
        }
    }
    return NULL;
}

typedef struct {
    styx_client *client;
    styx_producer *producer;
    styx_consumer *consumer;
} busy;

static void free_busy(busy *all)
{
    FORKED(styx_producer_append(all->producer, BYTES("child"), NULL));
    styx_consumer_close(all->consumer);
    styx_consumer_free(all->consumer);
    styx_producer_free(all->producer);
    styx_client_free(all->client);
}

/* Threads hold locks at any moment, also at that of a fork. */
static void forks_of_a_busy_program_never_hang(void)
{
    const size_t forks = test_number("STYX_TEST_FORKS", 200);
    busy all = {.client = test_client()};
    test_log(all.client, "log", 0);
    all.producer = test_producer(all.client, "log", NULL);
    all.consumer = test_consumer(all.client, "log", test_options("follow", "true", NULL));
    atomic_store(&stop, false);
    pthread_t appender;
    CHECK(pthread_create(&appender, NULL, append_until_stopped, all.producer) == 0);
    fflush(stdout);
    for (size_t i = 0; i < forks; i++) {
        styx_batch *batch;
        OK(styx_consumer_poll(all.consumer, 0, 0, &batch));
        styx_batch_free(batch);
        const pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            alarm(20);
            free_busy(&all);
            _exit(0);
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child);
        EQUAL(status, 0);
    }
    atomic_store(&stop, true);
    CHECK(pthread_join(appender, NULL) == 0);
    OK(styx_producer_close(all.producer, -1));
    styx_consumer_free(all.consumer);
    styx_producer_free(all.producer);
    styx_client_free(all.client);
}

TEST_MAIN(TEST(every_call_in_a_child_fails), TEST(child_may_free_everything),
    TEST(child_may_open_a_new_client), TEST(forks_of_a_busy_program_never_hang))
