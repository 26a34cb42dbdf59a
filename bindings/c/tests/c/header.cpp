// styx.h is valid C++, and has C linkage there.
#include <styx.h>

#include <type_traits>

static_assert(std::is_trivially_copyable<styx_record>::value, "records are copied as bytes");
static_assert(std::is_standard_layout<styx_log_details>::value, "structs are those of C");

const char *version_of_the_library();

const char *version_of_the_library()
{
    styx_error_free(nullptr);
    return styx_abi_version() == STYX_ABI_VERSION ? styx_version() : nullptr;
}
