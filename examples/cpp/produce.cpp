// Appends every line of its input to a log, and returns when all of them are durable.
//
// Shows: creating a log, appending without waiting for each record, and errors.
//
//     c++ -std=c++17 examples/cpp/produce.cpp -o produce $(pkg-config --cflags --libs styx)
//     seq 1 1000 | ./produce orders

#include <iostream>
#include <string>
#include <styx.hpp>

int main(int argc, char **argv) try {
    if (argc != 2) {
        std::cerr << "usage: produce LOG < lines\n";
        return 2;
    }
    std::ios::sync_with_stdio(false);

    // Without an address, the client uses the variable STYX_HOST, then localhost:7123.
    const styx::Client client;
    client.create_log(argv[1], styx::exist_ok);
    const styx::Producer producer = client.producer(argv[1]);

    std::string line;
    while (std::getline(std::cin, line)) {
        producer.append(line);  // waits only while 32 MiB are unacknowledged
    }
    producer.close();  // waits until every record is on the server's disk
    std::cout << producer.durable_sequence() << " lines\n";
    return 0;
} catch (const styx::Error &error) {
    std::cerr << error.name() << ": " << error.what() << '\n';
    if (error.maybe_appended()) {
        std::cerr << "some lines may have been appended\n";
    }
    return 1;
}
