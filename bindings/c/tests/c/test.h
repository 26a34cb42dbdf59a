/*
 * Shared by the test programs: checks, a server of its own, and a few short forms.
 *
 * A program has a table of tests and calls test_main(). Each test starts with an empty server:
 * test_client() makes a client of it. A check that fails ends the program with 1.
 */

#ifndef STYX_TEST_H
#define STYX_TEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include <styx.h>

typedef struct {
    const char *name;
    void (*run)(void);
} test;

#define TEST(name) { #name, name }

/* Runs the tests, or those whose name is an argument. Returns the exit code. */
int test_main(int argc, char **argv, const test *tests, size_t count);
#define TEST_MAIN(...)                                                         \
    int main(int argc, char **argv)                                            \
    {                                                                          \
        static const test tests[] = {__VA_ARGS__};                             \
        return test_main(argc, argv, tests, sizeof tests / sizeof *tests);     \
    }

/* Ends the program: a check has failed. */
_Noreturn void test_failed(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define FAIL(...) test_failed(__FILE__, __LINE__, __VA_ARGS__)
#define CHECK(condition)                                                       \
    do {                                                                       \
        if (!(condition)) {                                                    \
            FAIL("not true: %s", #condition);                                  \
        }                                                                      \
    } while (0)
#define EQUAL(actual, expected)                                                \
    do {                                                                       \
        const uint64_t actual_ = (uint64_t)(actual);                           \
        const uint64_t expected_ = (uint64_t)(expected);                       \
        if (actual_ != expected_) {                                            \
            FAIL("%s is %llu instead of %llu", #actual,                        \
                (unsigned long long)actual_, (unsigned long long)expected_);   \
        }                                                                      \
    } while (0)
#define SAME_TEXT(actual, expected)                                            \
    do {                                                                       \
        const char *actual_ = (actual);                                        \
        if (actual_ == NULL || strcmp(actual_, (expected)) != 0) {             \
            FAIL("%s is \"%s\" instead of \"%s\"", #actual,                    \
                actual_ == NULL ? "NULL" : actual_, (expected));               \
        }                                                                      \
    } while (0)

/* A call that must succeed. */
#define OK(call) test_ok(__FILE__, __LINE__, #call, (call))
void test_ok(const char *file, int line, const char *what, styx_error *error);

/* A call that must fail with this code. */
#define FAILS(code, call) test_fails(__FILE__, __LINE__, #call, (call), (code))
void test_fails(
    const char *file, int line, const char *what, styx_error *error, uint32_t code);
#define INVALID(call) FAILS(STYX_E_INVALID_ARGUMENT, call)

/* The same, and the message has this text. */
#define FAILS_WITH(code, text, call)                                           \
    test_fails_with(__FILE__, __LINE__, #call, (call), (code), (text))
void test_fails_with(const char *file, int line, const char *what, styx_error *error,
    uint32_t code, const char *text);

/* Bytes of a text. */
#define BYTES(text) (const uint8_t *)(text), strlen(text)

/* The server of this test. It is started at the first call. */
const char *test_address(void);
void test_server_kill(void);
/* Starts it again, at the same address. */
void test_server_start(void);
void test_server_pause(void);
void test_server_resume(void);

/* A client of the server. */
styx_client *test_client(void);
/* A folder that is removed after the test. */
const char *test_folder(void);

/* Options of keys and values, up to NULL. */
styx_options *test_options(const char *key, ...) __attribute__((sentinel));
styx_producer *test_producer(const styx_client *client, const char *log, styx_options *options);
styx_consumer *test_consumer(const styx_client *client, const char *log, styx_options *options);

/* Creates a log with `count` records: "0", "1" and so on. */
void test_log(const styx_client *client, const char *name, size_t count);
/* Appends so many more records. */
void test_append(const styx_client *client, const char *name, size_t count);
/* Reads until there are `count` records, and returns how many there were. */
size_t test_read(styx_consumer *consumer, size_t count);

/* Whether the descriptor is readable within this time. */
bool test_readable(int fd, int timeout_ms);

/* How many seconds a busy machine may stop a test. A call that ends at its own timeout takes less,
   and one that waits for a default of 30 s takes more. */
#define TEST_STALL 15
/* After this many milliseconds a record is sent, so it is not known whether it is appended. */
#define TEST_SENT_MS 1000

double test_seconds(void);
void test_sleep_ms(long ms);
/* A number from the environment. */
size_t test_number(const char *variable, size_t otherwise);

#endif
