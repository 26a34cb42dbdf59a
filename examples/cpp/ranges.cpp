// Prints the longest records of a log, with the standard algorithms and without exceptions.
//
// Shows: batches as random-access ranges, styx::Result, and a consumer that waits with a deadline.
//
//     c++ -std=c++17 examples/cpp/ranges.cpp -o ranges $(pkg-config --cflags --libs styx)
//     ./ranges orders 3

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <iterator>
#include <numeric>
#include <string>
#include <styx.hpp>
#include <vector>

namespace {

struct Longest {
    std::string payload;
    std::uint64_t position;
};

bool longer(const Longest &a, const Longest &b) {
    return a.payload.size() != b.payload.size() ? a.payload.size() > b.payload.size()
                                                : a.position < b.position;
}

/// The `most` longest records of a log, and the number of bytes in all of them.
styx::Result<std::vector<Longest>> longest(const styx::Client &client, std::string_view log,
                                           std::size_t most, std::uint64_t &bytes) {
    using namespace std::chrono_literals;
    auto consumer = client.try_consumer(log, styx::Options().deadline(10s));
    if (!consumer) {
        return consumer.error();
    }
    std::vector<Longest> found;
    while (!consumer->ended()) {
        const auto polled = consumer->try_poll(5s);
        if (!polled) {
            return polled.error();
        }
        if (const auto &batch = *polled) {
            bytes = std::accumulate(batch->begin(), batch->end(), bytes,
                                    [](std::uint64_t sum, styx::Record r) { return sum + r.size(); });
            // A record is valid until its batch is destroyed, so the payloads are copied.
            std::transform(batch->begin(), batch->end(), std::back_inserter(found),
                           [](styx::Record record) {
                               return Longest{std::string(record.payload()), record.position()};
                           });
            std::sort(found.begin(), found.end(), longer);
            if (found.size() > most) {
                found.erase(found.begin() + static_cast<std::ptrdiff_t>(most), found.end());
            }
        }
    }
    return found;
}

}  // namespace

int main(int argc, char **argv) {
    if (argc != 3) {
        std::cerr << "usage: ranges LOG RECORDS\n";
        return 2;
    }
    const auto client = styx::Client::try_connect();
    if (!client) {
        std::cerr << client.error().name() << ": " << client.error().what() << '\n';
        return 1;
    }
    std::uint64_t bytes = 0;
    const auto found = longest(*client, argv[1], std::strtoul(argv[2], nullptr, 10), bytes);
    if (!found) {
        if (found.error().code() == styx::Code::log_not_found) {
            std::cerr << "there is no log " << argv[1] << '\n';
        } else {
            std::cerr << found.error().name() << ": " << found.error().what() << '\n';
        }
        return 1;
    }
    for (const Longest &record : *found) {
        std::cout << record.position << ' ' << record.payload << '\n';
    }
    std::cout << bytes << " bytes in all\n";
    return 0;
}
