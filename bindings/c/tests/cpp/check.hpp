// Shared by the tests of styx.hpp: checks, and one line for each test.

#ifndef STYX_TEST_CHECK_HPP
#define STYX_TEST_CHECK_HPP

#include <atomic>
#include <exception>
#include <iostream>
#include <string>
#include <string_view>
#include <styx.hpp>

/// The checks that have failed, in any thread.
inline std::atomic<int> failures{0};

inline void expect_at(bool holds, const char *what, int line) {
    if (!holds) {
        std::cerr << "  line " + std::to_string(line) + ": " + what + '\n';
        ++failures;
    }
}
#define EXPECT(condition) expect_at((condition), #condition, __LINE__)

/// The code of the error that the call throws.
template <class Call>
styx::Code code_of(Call call) {
    try {
        call();
    } catch (const styx::Error &error) {
        return error.code();
    }
    return styx::Code{};
}

/// A log of its own for each test.
inline std::string fresh(const styx::Client &client, std::string_view name) {
    const std::string log = "cpp-" + std::string(name);
    (void)client.try_delete_log(log);
    client.create_log(log);
    return log;
}

template <class Test>
void run(const char *name, const Test &test) {
    const int before = failures;
    try {
        test();
    } catch (const std::exception &error) {
        std::cerr << "  threw " << error.what() << '\n';
        ++failures;
    }
    std::cout << (failures == before ? "ok   " : "FAIL ") << name << std::endl;
}

#endif
