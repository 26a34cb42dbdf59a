/* Appends a record and reads it back: the program of a user who has installed libstyx. */
#include <stdio.h>
#include <string.h>
#include <styx.h>

static int report(styx_error *error) {
    fprintf(stderr, "%s: %s\n", styx_error_name(error), styx_error_message(error));
    styx_error_free(error);
    return 1;
}

int main(void) {
    if (styx_abi_version() != STYX_ABI_VERSION) {
        fprintf(stderr, "the library has another interface than styx.h\n");
        return 1;
    }
    styx_client *client;
    styx_producer *producer;
    styx_consumer *consumer;
    styx_batch *batch;
    styx_record record;
    uint64_t position;
    char start[32];
    styx_options *options = styx_options_new();
    styx_error *error = styx_client_connect(NULL, NULL, &client);
    if (error == NULL) error = styx_create_log(client, "installed", NULL, 0, true, NULL, 0);
    if (error == NULL) error = styx_producer_open(client, "installed", NULL, &producer);
    if (error == NULL) error = styx_producer_send(producer, (const uint8_t *)"c", 1, 5000, &position);
    if (error != NULL) return report(error);
    snprintf(start, sizeof start, "%llu", (unsigned long long)position);
    error = styx_options_set(options, "start", start);
    if (error == NULL) error = styx_consumer_open(client, "installed", options, &consumer);
    if (error == NULL) error = styx_consumer_poll(consumer, 1, 5000, &batch);
    if (error != NULL) return report(error);
    bool found = styx_batch_get(batch, 0, &record, sizeof record);
    int status = found && memcmp(record.data, "c", 1) == 0 ? 0 : 1;
    styx_batch_free(batch);
    styx_consumer_free(consumer);
    styx_producer_free(producer);
    styx_options_free(options);
    styx_client_free(client);
    return status;
}
