/*
 * A chat in a log: appends the lines that you type, and prints all new records of the log, those
 * of other programs too. It ends when its input ends (Ctrl-D).
 *
 * Shows: one thread that waits for a consumer, a producer and standard input, with epoll.
 *
 *     cc examples/c/follow_epoll.c -o follow_epoll $(pkg-config --cflags --libs styx)
 *     ./follow_epoll chat
 */
#define _POSIX_C_SOURCE 200809L

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <styx.h>
#include <sys/epoll.h>
#include <unistd.h>

static void check(styx_error *error) {
    if (error != NULL) {
        fprintf(stderr, "%s: %s\n", styx_error_name(error), styx_error_message(error));
        exit(1);
    }
}

static void watch(int epoll, int fd) {
    /* Level-triggered, which is the default: both descriptors of Styx are made for it. */
    struct epoll_event event = {.events = EPOLLIN, .data = {.fd = fd}};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
        fprintf(stderr, "cannot watch descriptor %d: %s\n", fd, strerror(errno));
        exit(1);
    }
}

static char input[64 * 1024];
static size_t input_size;

/* Appends the complete lines of the input. Returns false if there is no room for one of them. */
static bool append_lines(const styx_producer *producer, bool at_end) {
    size_t done = 0;
    bool room = true;
    while (room && done < input_size) {
        const char *newline = memchr(input + done, '\n', input_size - done);
        if (newline == NULL && !at_end && (done > 0 || input_size < sizeof input)) {
            break; /* The rest of the line is still to come. */
        }
        size_t size = newline != NULL ? (size_t)(newline - input) - done : input_size - done;
        styx_error *error =
            styx_producer_append(producer, (const uint8_t *)input + done, size, NULL);
        if (error != NULL && styx_error_code(error) == STYX_E_WOULD_BLOCK) {
            styx_error_free(error);
            room = false;
        } else {
            check(error);
            done += size + (newline != NULL ? 1 : 0);
        }
    }
    memmove(input, input + done, input_size - done);
    input_size -= done;
    return room;
}

static void print_records(styx_consumer *consumer) {
    styx_batch *batch;
    check(styx_consumer_poll(consumer, 0, 0, &batch));
    styx_record record;
    for (size_t i = 0; styx_batch_get(batch, i, &record, sizeof record); i++) {
        printf("%" PRIu64 " %.*s\n", record.position, (int)record.size, (const char *)record.data);
    }
    fflush(stdout);
    styx_batch_free(batch);
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: follow_epoll LOG\n");
        return 2;
    }
    styx_client *client;
    check(styx_client_connect(NULL, NULL, &client));
    check(styx_create_log(client, argv[1], NULL, 0, true, NULL, 0));
    styx_producer *producer;
    check(styx_producer_open(client, argv[1], NULL, &producer));
    styx_options *options = styx_options_new();
    check(styx_options_set(options, "start", "end"));
    check(styx_options_set(options, "follow", "true"));
    styx_consumer *consumer;
    check(styx_consumer_open(client, argv[1], options, &consumer));
    styx_options_free(options);

    int consumer_fd;
    check(styx_consumer_fd(consumer, &consumer_fd));
    int producer_fd = styx_producer_fd(producer);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    watch(epoll, consumer_fd);
    watch(epoll, producer_fd);
    watch(epoll, STDIN_FILENO);

    uint64_t end = UINT64_MAX; /* Known when the input has ended. */
    bool reading = true;
    bool room = true;
    while (styx_consumer_position(consumer) < end) {
        struct epoll_event ready;
        if (epoll_wait(epoll, &ready, 1, -1) != 1) {
            continue; /* EINTR */
        }
        if (ready.data.fd == consumer_fd) {
            print_records(consumer);
        } else if (ready.data.fd == producer_fd) {
            styx_producer_seen(producer);
            if (!room && (room = append_lines(producer, false))) {
                watch(epoll, STDIN_FILENO);
            }
        } else if (reading) {
            ssize_t got = read(STDIN_FILENO, input + input_size, sizeof input - input_size);
            input_size += got > 0 ? (size_t)got : 0;
            reading = got > 0;
            room = append_lines(producer, false);
            if (!room || !reading) {
                /* Until there is room, the lines wait in the pipe. */
                epoll_ctl(epoll, EPOLL_CTL_DEL, STDIN_FILENO, NULL);
            }
            if (!reading) {
                while (!append_lines(producer, true)) {
                    styx_producer_wait_room(producer, -1);
                }
                check(styx_producer_close(producer, -1));
                styx_log_info info;
                check(styx_get_log(client, argv[1], &info, sizeof info));
                end = info.end_position;
            }
        }
    }

    close(epoll);
    styx_consumer_free(consumer);
    styx_producer_free(producer);
    styx_client_free(client);
    return 0;
}
