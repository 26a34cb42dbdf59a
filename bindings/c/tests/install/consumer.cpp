// Appends a record and reads it back: the program of a user who has installed libstyx.
#include <iostream>
#include <styx.hpp>

int main() try {
    const styx::Client client;
    client.create_log("installed", styx::exist_ok);
    const auto position = client.producer("installed").send("cpp", std::chrono::seconds(5));
    auto consumer = client.consumer("installed", styx::Options().start(position));
    const auto batch = consumer.poll(std::chrono::seconds(5), 1);
    return batch && batch->front().payload() == "cpp" ? 0 : 1;
} catch (const styx::Error &error) {
    std::cerr << error.name() << ": " << error.what() << '\n';
    return 1;
}
