// Prints the records of a log with their positions, and exits.
//
// Shows: reading from any position of a log to its current end.
//
//     c++ -std=c++17 examples/cpp/consume.cpp -o consume $(pkg-config --cflags --libs styx)
//     ./consume orders
//     ./consume orders end-100

#include <iostream>
#include <styx.hpp>

int main(int argc, char **argv) try {
    if (argc < 2 || argc > 3) {
        std::cerr << "usage: consume LOG [START]\n";
        return 2;
    }
    std::ios::sync_with_stdio(false);

    const styx::Client client;
    styx::Consumer consumer =
        client.consumer(argv[1], styx::Options().start(argc == 3 ? argv[2] : "start"));
    for (const styx::Batch &batch : consumer.batches()) {
        for (const styx::Record record : batch) {
            std::cout << record.position() << ' ' << record.payload() << '\n';
        }
    }
    return std::cout.flush() ? 0 : 1;
} catch (const styx::Error &error) {
    std::cerr << error.name() << ": " << error.what() << '\n';
    return 1;
}
