/* See test.h. */
#define _GNU_SOURCE

#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Milliseconds in which a server must start, and a test must end. */
enum { START_MS = 30000, TEST_SECONDS = 800 };

static struct {
    char folder[64];
    char address[64];
    unsigned port;
    pid_t server;
} state;

static const char *running = "";

_Noreturn void test_failed(const char *file, int line, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    printf("%s:%d: ", file, line);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\ntest %s ... FAILED\n", running);
    fflush(stdout);
    if (state.server > 0) {
        kill(state.server, SIGKILL);
    }
    _exit(1);
}

void test_ok(const char *file, int line, const char *what, styx_error *error)
{
    if (error != NULL) {
        test_failed(file, line, "%s fails: %s: %.300s", what, styx_error_name(error),
            styx_error_message(error));
    }
}

void test_fails(
    const char *file, int line, const char *what, styx_error *error, uint32_t code)
{
    test_fails_with(file, line, what, error, code, "");
}

void test_fails_with(const char *file, int line, const char *what, styx_error *error,
    uint32_t code, const char *text)
{
    if (error == NULL) {
        test_failed(file, line, "%s succeeds instead of failing with %u", what, code);
    }
    if (styx_error_code(error) != code || strstr(styx_error_message(error), text) == NULL) {
        test_failed(file, line, "%s fails with %s: %.300s, instead of %u: %s", what,
            styx_error_name(error), styx_error_message(error), code, text);
    }
    styx_error_free(error);
}

/* The server. */

const char *test_folder(void)
{
    if (state.folder[0] == '\0') {
        strcpy(state.folder, "/tmp/styx-c-XXXXXX");
        CHECK(mkdtemp(state.folder) != NULL);
    }
    return state.folder;
}

static void run_server(void)
{
    const char *program = getenv("STYX_BIN");
    char bind[64], unix_bind[128], data[128], port_file[128], parent[64], log[128];
    const pid_t parent_id = getpid();
    snprintf(bind, sizeof bind, "--bind-address=127.0.0.1:%u", state.port);
    snprintf(unix_bind, sizeof unix_bind, "--bind-address=unix://%s/styx.sock", state.folder);
    snprintf(data, sizeof data, "--data-directory=%s/data", state.folder);
    snprintf(port_file, sizeof port_file, "--port-file=%s/port", state.folder);
    snprintf(parent, sizeof parent, "--exit-with-parent=%ld", (long)parent_id);
    snprintf(log, sizeof log, "%s/server.log", state.folder);
    if (program == NULL) {
        FAIL("STYX_BIN is not set: it is the path of the program styx");
    }
    state.server = fork();
    CHECK(state.server >= 0);
    if (state.server == 0) {
        const int file = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
        dup2(file, 1);
        dup2(file, 2);
        /* The variables are for clients of other servers. */
        char *environment[] = {NULL};
        char *arguments[] = {(char *)(uintptr_t)program, (char *)(uintptr_t)"serve", bind, unix_bind,
            data, port_file, parent, NULL};
        execve(program, arguments, environment);
        _exit(127);
    }
}

void test_server_start(void)
{
    char path[128];
    unsigned port = 0;
    snprintf(path, sizeof path, "%s/port", test_folder());
    unlink(path);
    run_server();
    for (int waited = 0; waited < START_MS; waited += 5) {
        char line[32] = "";
        FILE *file = fopen(path, "r");
        if (file != NULL) {
            const bool complete =
                fgets(line, sizeof line, file) != NULL && strchr(line, '\n') != NULL;
            fclose(file);
            if (complete && sscanf(line, "%u", &port) == 1) {
                break;
            }
        }
        if (waitpid(state.server, NULL, WNOHANG) != 0) {
            FAIL("styx has ended: see server.log in %s", state.folder);
        }
        test_sleep_ms(5);
    }
    CHECK(port != 0);
    state.port = port;
    snprintf(state.address, sizeof state.address, "styx://127.0.0.1:%u", port);
}

const char *test_address(void)
{
    if (state.server == 0) {
        test_server_start();
    }
    return state.address;
}

void test_server_kill(void)
{
    kill(state.server, SIGKILL);
    CHECK(waitpid(state.server, NULL, 0) == state.server);
    state.server = 0;
}

void test_server_pause(void)
{
    kill(state.server, SIGSTOP);
    CHECK(waitpid(state.server, NULL, WUNTRACED) == state.server);
}

void test_server_resume(void)
{
    kill(state.server, SIGCONT);
}

static int remove_entry(const char *path, const struct stat *s, int type, struct FTW *where)
{
    (void)s, (void)type, (void)where;
    return remove(path);
}

static void end_test(void)
{
    if (state.server > 0) {
        test_server_kill();
    }
    if (state.folder[0] != '\0') {
        nftw(state.folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    }
    memset(&state, 0, sizeof state);
}

int test_main(int argc, char **argv, const test *tests, size_t count)
{
    size_t passed = 0;
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (size_t i = 0; i < count; i++) {
        bool chosen = argc < 2;
        for (int given = 1; given < argc; given++) {
            chosen = chosen || strcmp(argv[given], tests[i].name) == 0;
        }
        if (!chosen) {
            continue;
        }
        running = tests[i].name;
        /* A test that hangs ends the program. */
        alarm((unsigned)test_number("STYX_TEST_SECONDS", TEST_SECONDS));
        const double begin = test_seconds();
        tests[i].run();
        alarm(0);
        end_test();
        printf("test %s ... ok (%.2f s)\n", running, test_seconds() - begin);
        passed++;
    }
    if (passed == 0) {
        printf("no test has this name\n");
        return 1;
    }
    printf("test result: ok. %zu passed; 0 failed\n", passed);
    return 0;
}

/* Short forms. */

styx_client *test_client(void)
{
    styx_client *client;
    OK(styx_client_connect(test_address(), NULL, &client));
    return client;
}

styx_options *test_options(const char *key, ...)
{
    styx_options *options = styx_options_new();
    va_list arguments;
    va_start(arguments, key);
    while (key != NULL) {
        OK(styx_options_set(options, key, va_arg(arguments, const char *)));
        key = va_arg(arguments, const char *);
    }
    va_end(arguments);
    return options;
}

styx_producer *test_producer(const styx_client *client, const char *log, styx_options *options)
{
    styx_producer *producer;
    OK(styx_producer_open(client, log, options, &producer));
    styx_options_free(options);
    return producer;
}

styx_consumer *test_consumer(const styx_client *client, const char *log, styx_options *options)
{
    styx_consumer *consumer;
    OK(styx_consumer_open(client, log, options, &consumer));
    styx_options_free(options);
    return consumer;
}

void test_log(const styx_client *client, const char *name, size_t count)
{
    OK(styx_create_log(client, name, NULL, 0, false, NULL, 0));
    test_append(client, name, count);
}

void test_append(const styx_client *client, const char *name, size_t count)
{
    if (count == 0) {
        return;
    }
    styx_producer *producer = test_producer(client, name, NULL);
    for (size_t i = 0; i < count; i++) {
        char text[32];
        snprintf(text, sizeof text, "%zu", i);
        OK(styx_producer_append(producer, BYTES(text), NULL));
    }
    OK(styx_producer_close(producer, -1));
    styx_producer_free(producer);
}

size_t test_read(styx_consumer *consumer, size_t count)
{
    size_t read = 0;
    while (read < count) {
        styx_batch *batch;
        OK(styx_consumer_poll(consumer, count - read, 10000, &batch));
        if (batch == NULL) {
            break;
        }
        read += styx_batch_len(batch);
        styx_batch_free(batch);
    }
    return read;
}

bool test_readable(int fd, int timeout_ms)
{
    struct pollfd one = {.fd = fd, .events = POLLIN};
    const int count = poll(&one, 1, timeout_ms);
    return count == 1 && (one.revents & POLLIN) != 0;
}

double test_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

void test_sleep_ms(long ms)
{
    struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    while (nanosleep(&time, &time) != 0 && errno == EINTR) {
    }
}

size_t test_number(const char *variable, size_t otherwise)
{
    const char *text = getenv(variable);
    return text == NULL ? otherwise : (size_t)strtoull(text, NULL, 10);
}
