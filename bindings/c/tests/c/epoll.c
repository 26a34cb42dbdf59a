/* A program with one thread, one epoll, and the descriptors of a producer and a consumer. */
#define _GNU_SOURCE
#include "test.h"

#include <sys/epoll.h>
#include <unistd.h>

enum { RECORDS = 20000 };

static void watch(int epoll, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0);
}

typedef struct {
    styx_producer *producer;
    uint64_t appended;
    uint64_t acked;
} writing;

/* Appends until there is no room, and takes acks. */
static void on_producer(writing *state)
{
    styx_ack acks[32];
    size_t count;
    OK(styx_producer_acks(state->producer, acks, 32, sizeof *acks, &count));
    for (size_t i = 0; i < count; i++) {
        CHECK(acks[i].error == NULL);
        EQUAL(acks[i].first_sequence, state->acked);
        state->acked += acks[i].count;
    }
    while (state->appended < RECORDS) {
        styx_error *error =
            styx_producer_append(state->producer, (const uint8_t *)&state->appended, 8, NULL);
        if (error != NULL) {
            EQUAL(styx_error_code(error), STYX_E_WOULD_BLOCK);
            styx_error_free(error);
            return;
        }
        state->appended++;
    }
}

static void one_loop_serves_producer_and_consumer(void)
{
    styx_client *client = test_client();
    test_log(client, "log", 0);
    writing state = {0};
    state.producer = test_producer(client, "log",
        test_options("track_settled", "true", "in_flight_bytes", "32 KiB", NULL));
    styx_consumer *consumer = test_consumer(client, "log", test_options("follow", "true", NULL));
    int32_t consumer_fd;
    OK(styx_consumer_fd(consumer, &consumer_fd));
    const int producer_fd = styx_producer_fd(state.producer);
    const int epoll = epoll_create1(EPOLL_CLOEXEC);
    watch(epoll, producer_fd);
    watch(epoll, consumer_fd);
    on_producer(&state);
    uint64_t read = 0;
    while (read < RECORDS || state.acked < RECORDS) {
        struct epoll_event events[2];
        const int count = epoll_wait(epoll, events, 2, 10000);
        if (count == 0) {
            FAIL("nothing for 10 s: appended %llu, acked %llu, read %llu",
                (unsigned long long)state.appended, (unsigned long long)state.acked,
                (unsigned long long)read);
        }
        for (int i = 0; i < count; i++) {
            if (events[i].data.fd == producer_fd) {
                on_producer(&state);
                continue;
            }
            /* Fewer than there are, so the descriptor has to stay readable. */
            styx_batch *batch;
            OK(styx_consumer_poll(consumer, 100, 0, &batch));
            for (size_t at = 0; at < styx_batch_len(batch); at++) {
                styx_record record;
                CHECK(styx_batch_get(batch, at, &record, sizeof record) && record.size == 8);
                CHECK(memcmp(record.data, &read, 8) == 0);
                EQUAL(record.position, read);
                read++;
            }
            styx_batch_free(batch);
        }
    }
    EQUAL(read, RECORDS);
    close(epoll);
    OK(styx_producer_close(state.producer, -1));
    styx_producer_free(state.producer);
    styx_consumer_free(consumer);
    styx_client_free(client);
}

/* The descriptor tells of the end, of errors and of wake-ups too. */
static void descriptor_of_a_consumer_tells_everything(void)
{
    styx_client *client = test_client();
    test_log(client, "log", 0);
    styx_consumer *consumer = test_consumer(client, "log", NULL);
    int32_t fd, again;
    styx_batch *batch;
    OK(styx_consumer_fd(consumer, &fd));
    OK(styx_consumer_fd(consumer, &again));
    EQUAL(fd, again);
    CHECK(test_readable(fd, 10000));
    OK(styx_consumer_poll(consumer, 0, 0, &batch));
    CHECK(batch == NULL && styx_consumer_ended(consumer));
    CHECK(test_readable(fd, 0));
    styx_consumer_free(consumer);

    consumer = test_consumer(client, "log", test_options("follow", "true", NULL));
    OK(styx_consumer_fd(consumer, &fd));
    CHECK(!test_readable(fd, 20));
    styx_consumer_wakeup(consumer);
    CHECK(test_readable(fd, 1000));
    OK(styx_consumer_poll(consumer, 0, 0, &batch));
    CHECK(batch == NULL && !test_readable(fd, 20));
    OK(styx_delete_log(client, "log"));
    CHECK(test_readable(fd, 10000));
    FAILS(STYX_E_LOG_NOT_FOUND, styx_consumer_poll(consumer, 0, 0, &batch));
    CHECK(test_readable(fd, 0));
    styx_consumer_close(consumer);
    CHECK(test_readable(fd, 0));
    styx_consumer_free(consumer);
    styx_client_free(client);
}

static void descriptor_of_a_producer_tells_of_room_and_the_end(void)
{
    static uint8_t data[1000];
    styx_client *client = test_client();
    test_log(client, "log", 0);
    styx_producer *producer =
        test_producer(client, "log", test_options("in_flight_bytes", "64 KiB", NULL));
    const int fd = styx_producer_fd(producer);
    OK(styx_producer_send(producer, data, 1, -1, NULL));
    test_server_pause();
    styx_error *error = NULL;
    while (error == NULL) {
        error = styx_producer_append(producer, data, sizeof data, NULL);
    }
    EQUAL(styx_error_code(error), STYX_E_WOULD_BLOCK);
    styx_error_free(error);
    for (int i = 0; i < 100 && test_readable(fd, 20); i++) {
        styx_producer_seen(producer);
    }
    CHECK(!test_readable(fd, 20));
    test_server_resume();
    CHECK(test_readable(fd, 10000));
    OK(styx_producer_flush(producer, -1));
    for (int i = 0; i < 100 && test_readable(fd, 20); i++) {
        styx_producer_seen(producer);
    }
    OK(styx_delete_log(client, "log"));
    styx_error_free(styx_producer_append(producer, data, sizeof data, NULL));
    CHECK(test_readable(fd, 10000));
    CHECK((error = styx_producer_flush(producer, -1)) != NULL);
    styx_error_free(error);
    styx_producer_free(producer);
    styx_client_free(client);
}

TEST_MAIN(TEST(one_loop_serves_producer_and_consumer),
    TEST(descriptor_of_a_consumer_tells_everything),
    TEST(descriptor_of_a_producer_tells_of_room_and_the_end))
