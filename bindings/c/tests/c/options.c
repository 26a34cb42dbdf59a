/*
 * Options of random and malformed keys and values never crash or hang. STYX_SEED repeats a run,
 * which prints its seed.
 */
#include "test.h"

#include <time.h>
#include <unistd.h>

static uint64_t random_state;

/* xorshift64*. */
static uint64_t random_number(uint64_t below)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (random_state * 0x2545f4914f6cdd1dU >> 16) % below;
}

#define PICK(array) (array)[random_number(sizeof(array) / sizeof *(array))]

static const char *const KEYS[] = {"address", "token", "ca_file", "ca_pem", "server_name",
    "connect_timeout", "timeout", "silence_timeout", "retry", "threads", "user_agent",
    "traceparent", "start",
    "follow", "count", "deadline", "buffer_bytes", "codecs", "linger", "block_bytes",
    "in_flight_bytes", "close_timeout", "compression", "idempotent", "producer_id", "epoch",
    "expected_position", "track_settled", "cursor"};

static const char *const VALUES[] = {"", " ", "0", "1", "-1", "true", "false", "TRUE", "none",
    "None", "5 ms", "5ms", "0.5 s", "1e9 s", "1e308 h", "-5 s", "NaN s", "inf s", "1 fortnight",
    "10 us", "9223372036854775807 min", "18446744073709551615", "18446744073709551616",
    "340282366920938463463374607431768211456", "1 KiB", "64KiB", "1 GiB", "17179869184 GiB",
    "0x10", "+5", "1_000", "lz4", "zstd", "gzip", "none,lz4", "lz4,zstd,", ",", "start", "end",
    "end-0", "end-1", "end-18446744073709551616", "end--1", "end+1", "time:", "time:now",
    "time:2026-11-29T00:00:00Z", "time:99999-01-01T00:00:00Z", "time:2026-02-30T25:61:61+99:99",
    "0123456789abcdef0123456789abcdef:5", "0123456789abcdef0123456789abcdef@5",
    "0123456789abcdef0123456789abcdef", ":5", "/no/such/file", "/dev/null", "/", "/dev/zero/x",
    "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "a\r\nb: c", "\t", "\x7f",
    "\xc3\xa9", "\xf0\x9f\x8e\x89", "a b", "%s%s%n", "cursor/../x", "."};

/* A text of random bytes, some of them not UTF-8, or a known one with a mistake in it. */
static void mutate(char *text, size_t size, const char *seed)
{
    snprintf(text, size, "%s", seed);
    for (uint64_t changes = random_number(4); changes > 0; changes--) {
        const size_t length = strlen(text);
        switch (random_number(4)) {
        case 0: /* Replace. */
            if (length > 0) {
                text[random_number(length)] = (char)(1 + random_number(255));
            }
            break;
        case 1: /* Insert. */
            if (length + 1 < size) {
                const size_t at = random_number(length + 1);
                memmove(text + at + 1, text + at, length - at + 1);
                text[at] = (char)(1 + random_number(127));
            }
            break;
        case 2: /* Cut. */
            text[random_number(length + 1)] = '\0';
            break;
        default: /* Repeat. */
            for (size_t at = length; length > 0 && at + length < size && at < 8 * length;
                 at += length) {
                memcpy(text + at, text, length);
                text[at + length] = '\0';
            }
        }
    }
}

static styx_options *random_options(size_t known_keys_of)
{
    styx_options *options = styx_options_new();
    for (uint64_t count = random_number(4) + 1; count > 0; count--) {
        char key[512], value[512];
        mutate(key, sizeof key, PICK(KEYS));
        mutate(value, sizeof value, PICK(VALUES));
        const bool exact_key = random_number(8) < known_keys_of;
        const bool exact_value = random_number(2) == 0;
        styx_error *error = styx_options_set(
            options, exact_key ? PICK(KEYS) : key, exact_value ? PICK(VALUES) : value);
        if (error != NULL) {
            EQUAL(styx_error_code(error), STYX_E_INVALID_ARGUMENT);
        }
        styx_error_free(error);
    }
    return options;
}

/* Every refusal has a reason in UTF-8 that is not empty. */
static void check_refusal(styx_error *error)
{
    CHECK(strlen(styx_error_message(error)) > 0 && strlen(styx_error_name(error)) > 0);
    CHECK(styx_error_code(error) != STYX_E_PANICKED);
    styx_error_free(error);
}

static double begin;

static bool goes_on(size_t round)
{
    const size_t rounds = test_number("STYX_TEST_OPTIONS", 2000);
    return round < rounds && test_seconds() - begin < 15;
}

static void seed(void)
{
    begin = test_seconds();
    random_state = test_number("STYX_SEED", (size_t)time(NULL) ^ (size_t)getpid() << 20);
    printf("STYX_SEED=%llu\n", (unsigned long long)random_state);
    random_state |= 1;
}

static void random_options_of_a_client_never_crash(void)
{
    seed();
    static const char *const addresses[] = {"", ":", "styx://", "styxs://127.0.0.1:1", "http://[::1",
        "styx://127.0.0.1:65536", "127.0.0.1:1", "styx://127.0.0.1:1/path?x=%", "styx://a b:1",
        "styx://user:pass@127.0.0.1:1"};
    size_t connected = 0, refused = 0, round = 0;
    for (; goes_on(round); round++) {
        char address[512];
        mutate(address, sizeof address, PICK(addresses));
        /* Most use the server, because the names of other hosts take long to look up. */
        const bool is_known = random_number(8) > 0 || strchr(address, '/') == NULL;
        styx_options *options = random_options(7);
        styx_client *client = NULL;
        styx_error *wait = styx_options_set(options, "connect_timeout", "100 ms");
        styx_error_free(wait);
        styx_error *error = styx_client_connect(
            is_known ? test_address() : "styx://127.0.0.1:1", options, &client);
        styx_options_free(options);
        if (error != NULL) {
            check_refusal(error);
            refused++;
        } else {
            styx_client_free(client);
            connected++;
        }
        /* An address alone, with a port at which nobody listens. */
        if (round % 16 == 0 && strncmp(address, "styx://127.0.0.1", 16) == 0) {
            error = styx_client_connect(address, NULL, &client);
            if (error == NULL) {
                styx_client_free(client);
            } else {
                check_refusal(error);
            }
        }
    }
    printf("%zu rounds: %zu connected, %zu refused\n", round, connected, refused);
    CHECK(connected > 0 && refused > 0);
}

static void random_options_of_a_producer_never_crash(void)
{
    seed();
    styx_client *client = test_client();
    test_log(client, "log", 3);
    size_t opened = 0, refused = 0, round = 0;
    for (; goes_on(round); round++) {
        styx_options *options = random_options(7);
        styx_producer *producer = NULL;
        styx_error *error = styx_producer_open(client, "log", options, &producer);
        styx_options_free(options);
        if (error != NULL) {
            check_refusal(error);
            refused++;
            continue;
        }
        error = styx_producer_append(producer, BYTES("x"), NULL);
        if (error != NULL) {
            check_refusal(error);
        }
        styx_producer_free(producer);
        opened++;
    }
    printf("%zu rounds: %zu opened, %zu refused\n", round, opened, refused);
    CHECK(opened > 0 && refused > 0);
    styx_client_free(client);
}

static void random_options_of_a_consumer_never_crash(void)
{
    seed();
    styx_client *client = test_client();
    test_log(client, "log", 3);
    size_t opened = 0, refused = 0, round = 0;
    for (; goes_on(round); round++) {
        styx_options *options = random_options(7);
        styx_consumer *consumer = NULL;
        styx_error *error = styx_consumer_open(client, "log", options, &consumer);
        styx_options_free(options);
        if (error != NULL) {
            check_refusal(error);
            refused++;
            continue;
        }
        char start[512];
        mutate(start, sizeof start, PICK(VALUES));
        error = styx_consumer_seek(consumer, start);
        if (error != NULL) {
            check_refusal(error);
        }
        styx_batch *batch;
        error = styx_consumer_poll(consumer, 1, 0, &batch);
        if (error != NULL) {
            check_refusal(error);
        }
        styx_batch_free(batch);
        styx_consumer_free(consumer);
        opened++;
    }
    printf("%zu rounds: %zu opened, %zu refused\n", round, opened, refused);
    CHECK(opened > 0 && refused > 0);
    styx_client_free(client);
}

static void later_value_replaces_an_earlier_one(void)
{
    styx_client *client = test_client();
    test_log(client, "log", 10);
    styx_options *options = test_options("start", "nonsense", "start", "7", NULL);
    styx_consumer *consumer;
    OK(styx_consumer_open(client, "log", options, &consumer));
    EQUAL(styx_consumer_position(consumer), 7);
    styx_consumer_free(consumer);
    /* The options were copied, and can be changed and used again. */
    OK(styx_options_set(options, "start", "end-1"));
    OK(styx_consumer_open(client, "log", options, &consumer));
    EQUAL(styx_consumer_position(consumer), 9);
    styx_consumer_free(consumer);
    styx_producer *producer;
    INVALID(styx_producer_open(client, "log", options, &producer));
    FAILS_WITH(STYX_E_INVALID_ARGUMENT, "docs/c.md", styx_options_set(options, "start_", "1"));
    styx_options_free(options);
    styx_client_free(client);
}

TEST_MAIN(TEST(random_options_of_a_client_never_crash),
    TEST(random_options_of_a_producer_never_crash),
    TEST(random_options_of_a_consumer_never_crash), TEST(later_value_replaces_an_earlier_one))
