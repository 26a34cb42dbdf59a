/* Wake-ups and closing from other threads and signal handlers, and calls of the wrong thread. */
#define _GNU_SOURCE
#include "test.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/time.h>

static styx_consumer *_Atomic shared;
static atomic_bool stop;
static atomic_size_t wakeups;

static styx_consumer *followed(styx_client **client, size_t records)
{
    *client = test_client();
    test_log(*client, "log", records);
    styx_consumer *consumer =
        test_consumer(*client, "log", test_options("follow", "true", "cursor", "c", NULL));
    atomic_store(&shared, consumer);
    atomic_store(&stop, false);
    atomic_store(&wakeups, 0);
    return consumer;
}

static void *poll_forever(void *argument)
{
    styx_consumer *consumer = argument;
    for (;;) {
        styx_batch *batch;
        styx_error *error = styx_consumer_poll(consumer, 0, -1, &batch);
        if (error != NULL) {
            return error;
        }
        if (batch == NULL) {
            atomic_fetch_add(&wakeups, 1);
        }
        styx_batch_free(batch);
    }
}

static void join_closed(pthread_t thread)
{
    void *error;
    CHECK(pthread_join(thread, &error) == 0);
    EQUAL(styx_error_code(error), STYX_E_CLOSED);
    styx_error_free(error);
}

static void wait_for_wakeups(size_t count)
{
    while (atomic_load(&wakeups) < count) {
        test_sleep_ms(1);
    }
}

static void calls_of_a_second_thread_are_refused(void)
{
    styx_client *client;
    styx_consumer *consumer = followed(&client, 1);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, poll_forever, consumer) == 0);
    while (styx_consumer_position(consumer) < 1) {
        test_sleep_ms(1);
    }
    /* Now it waits for the next record, or is about to. */
    test_sleep_ms(50);
    styx_batch *batch;
    styx_checkpoint checkpoint;
    styx_consumer_stats_t stats;
    int32_t fd;
    char id[40];
    FAILS_WITH(STYX_E_INVALID_ARGUMENT, "another thread",
        styx_consumer_poll(consumer, 0, 0, &batch));
    CHECK(batch == NULL);
    INVALID(styx_consumer_poll(consumer, 0, -1, &batch));
    INVALID(styx_consumer_fd(consumer, &fd));
    INVALID(styx_consumer_seek(consumer, "start"));
    INVALID(styx_consumer_checkpoint(consumer, &checkpoint));
    INVALID(styx_consumer_commit(consumer, -1, NULL));
    INVALID(styx_consumer_log_id(consumer, &id));
    INVALID(styx_consumer_stats(consumer, &stats, sizeof stats));
    /* These are for every thread. */
    EQUAL(styx_consumer_position(consumer), 1);
    CHECK(!styx_consumer_ended(consumer));
    (void)styx_consumer_lag(consumer);
    (void)styx_consumer_caught_up(consumer);
    styx_consumer_wakeup(consumer);
    wait_for_wakeups(1);
    styx_consumer_close(consumer);
    join_closed(thread);
    OK(styx_consumer_checkpoint(consumer, &checkpoint));
    styx_consumer_free(consumer);
    styx_client_free(client);
}

static void close_ends_a_waiting_poll(void)
{
    for (int i = 0; i < 20; i++) {
        styx_client *client;
        char name[16];
        snprintf(name, sizeof name, "log-%d", i);
        client = test_client();
        test_log(client, name, 0);
        styx_consumer *consumer =
            test_consumer(client, name, test_options("follow", "true", NULL));
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, poll_forever, consumer) == 0);
        /* Before, while and after the poll begins to wait. */
        test_sleep_ms(i % 4);
        const double begin = test_seconds();
        styx_consumer_close(consumer);
        CHECK(test_seconds() - begin < TEST_STALL);
        join_closed(thread);
        styx_consumer_free(consumer);
        styx_client_free(client);
    }
}

static void *wake_often(void *argument)
{
    const size_t count = *(size_t *)argument;
    for (size_t i = 0; i < count; i++) {
        const size_t before = atomic_load(&wakeups);
        styx_consumer_wakeup(atomic_load(&shared));
        /* Most are awaited, so that each of them must arrive. */
        for (int spin = 0; i % 8 != 0 && atomic_load(&wakeups) == before; spin++) {
            if (spin > 1000) {
                sched_yield();
            }
        }
    }
    return NULL;
}

static void wakeups_of_a_thread_arrive(void)
{
    size_t count = test_number("STYX_TEST_WAKEUPS", 10000);
    styx_client *client;
    styx_consumer *consumer = followed(&client, 0);
    pthread_t poller, waker;
    CHECK(pthread_create(&poller, NULL, poll_forever, consumer) == 0);
    CHECK(pthread_create(&waker, NULL, wake_often, &count) == 0);
    CHECK(pthread_join(waker, NULL) == 0);
    CHECK(atomic_load(&wakeups) >= count * 7 / 8);
    styx_consumer_close(consumer);
    join_closed(poller);
    styx_consumer_free(consumer);
    styx_client_free(client);
}

/* A wake-up that comes while nobody waits ends the next wait, and several count as one. */
static void wakeup_before_a_poll_is_kept(void)
{
    styx_client *client;
    styx_consumer *consumer = followed(&client, 1);
    int32_t fd;
    OK(styx_consumer_fd(consumer, &fd));
    EQUAL(test_read(consumer, 1), 1);
    CHECK(!test_readable(fd, 20));
    errno = 77;
    for (int i = 0; i < 100000; i++) {
        styx_consumer_wakeup(consumer);
    }
    EQUAL(errno, 77);
    CHECK(test_readable(fd, 1000));
    styx_batch *batch;
    OK(styx_consumer_poll(consumer, 0, -1, &batch));
    CHECK(batch == NULL && !styx_consumer_ended(consumer));
    const double begin = test_seconds();
    OK(styx_consumer_poll(consumer, 0, 100, &batch));
    CHECK(batch == NULL && test_seconds() - begin >= 0.099);
    styx_consumer_free(consumer);
    styx_client_free(client);
}

static atomic_size_t signals;

static void on_signal(int number)
{
    (void)number;
    styx_consumer_wakeup(atomic_load(&shared));
    atomic_fetch_add(&signals, 1);
}

static void *append_until_stopped(void *argument)
{
    const styx_producer *producer = argument;
    while (!atomic_load(&stop)) {
        styx_error_free(styx_producer_append(producer, BYTES("record"), NULL));
        if (styx_producer_next_sequence(producer) % 100 == 0) {
            OK(styx_producer_flush(producer, -1));
        }
    }
    return NULL;
}

/*
 * The signal interrupts threads of this program at any instruction, also inside of the library,
 * while records arrive. If the wake-up took a lock or allocated, this would hang.
 */
static void wakeups_of_a_signal_handler_are_safe_under_load(void)
{
    const size_t count = test_number("STYX_TEST_WAKEUPS", 10000);
    styx_client *client;
    styx_consumer *consumer = followed(&client, 0);
    styx_producer *producer = test_producer(client, "log", NULL);
    struct sigaction action, old;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    CHECK(sigaction(SIGUSR1, &action, &old) == 0);
    atomic_store(&signals, 0);
    pthread_t appender;
    CHECK(pthread_create(&appender, NULL, append_until_stopped, producer) == 0);
    const pthread_t main_thread = pthread_self();
    size_t read = 0;
    for (size_t sent = 0; sent < count || atomic_load(&signals) < count;) {
        if (sent < count) {
            CHECK(pthread_kill(sent % 2 == 0 ? main_thread : appender, SIGUSR1) == 0);
            sent++;
            while (atomic_load(&signals) < sent) {
                test_sleep_ms(0);
            }
        }
        styx_batch *batch;
        OK(styx_consumer_poll(consumer, 0, -1, &batch));
        read += styx_batch_len(batch);
        styx_batch_free(batch);
    }
    atomic_store(&stop, true);
    CHECK(pthread_join(appender, NULL) == 0);
    OK(styx_producer_close(producer, -1));
    read += test_read(consumer, styx_producer_next_sequence(producer) - read);
    EQUAL(read, styx_producer_next_sequence(producer));
    styx_producer_free(producer);
    styx_consumer_free(consumer);
    sigaction(SIGUSR1, &old, NULL);
    styx_client_free(client);
}

/* ThreadSanitizer delays a signal until the thread calls something that it knows. */
#if defined(__SANITIZE_THREAD__)
#define DELAYS_SIGNALS true
#elif defined(__has_feature)
#define DELAYS_SIGNALS __has_feature(thread_sanitizer)
#else
#define DELAYS_SIGNALS false
#endif

/* Ctrl-C in a program that waits. */
static void wakeup_of_a_timer_signal_ends_a_wait(void)
{
    if (DELAYS_SIGNALS) {
        return;
    }
    styx_client *client;
    styx_consumer *consumer = followed(&client, 0);
    struct sigaction action, old;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    CHECK(sigaction(SIGVTALRM, &action, NULL) == 0);
    CHECK(sigaction(SIGALRM, &action, &old) == 0);
    for (int i = 0; i < 20; i++) {
        const struct itimerval soon = {.it_value = {.tv_usec = 2000}};
        styx_batch *batch;
        CHECK(setitimer(ITIMER_REAL, &soon, NULL) == 0);
        OK(styx_consumer_poll(consumer, 0, -1, &batch));
        CHECK(batch == NULL);
    }
    sigaction(SIGALRM, &old, NULL);
    styx_consumer_free(consumer);
    styx_client_free(client);
}

static void *use_client(void *argument)
{
    const styx_client *client = argument;
    for (int i = 0; i < 50; i++) {
        styx_log_list *list;
        styx_client_stats_t stats;
        OK(styx_list_logs(client, &list));
        styx_log_list_free(list);
        OK(styx_client_stats(client, &stats, sizeof stats));
        OK(styx_client_take_events(client, NULL, NULL, NULL));
        styx_consumer *consumer = test_consumer(client, "log", NULL);
        EQUAL(test_read(consumer, 10), 10);
        styx_consumer_free(consumer);
    }
    return NULL;
}

static void *use_batch(void *argument)
{
    const styx_batch *batch = argument;
    for (int i = 0; i < 1000; i++) {
        for (size_t at = 0; at < styx_batch_len(batch); at++) {
            styx_record record;
            CHECK(styx_batch_get(batch, at, &record, sizeof record));
            EQUAL(record.position, at);
        }
        styx_batch_free(styx_batch_clone(batch));
    }
    return NULL;
}

static void threads_share_a_client_and_a_batch(void)
{
    styx_client *client = test_client();
    test_log(client, "log", 10);
    styx_consumer *consumer = test_consumer(client, "log", NULL);
    styx_batch *batch;
    OK(styx_consumer_poll(consumer, 0, -1, &batch));
    styx_consumer_free(consumer);
    pthread_t threads[6];
    for (int i = 0; i < 6; i++) {
        CHECK(pthread_create(&threads[i], NULL, i % 2 == 0 ? use_client : use_batch,
                  i % 2 == 0 ? (void *)client : (void *)batch)
            == 0);
    }
    for (int i = 0; i < 6; i++) {
        pthread_join(threads[i], NULL);
    }
    styx_batch_free(batch);
    styx_client_free(client);
}

TEST_MAIN(TEST(calls_of_a_second_thread_are_refused), TEST(close_ends_a_waiting_poll),
    TEST(wakeups_of_a_thread_arrive), TEST(wakeup_before_a_poll_is_kept),
    TEST(wakeups_of_a_signal_handler_are_safe_under_load),
    TEST(wakeup_of_a_timer_signal_ends_a_wait), TEST(threads_share_a_client_and_a_batch))
