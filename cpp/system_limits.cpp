#include "system_limits.h"

#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

namespace trimtab {
namespace {

// The content of a file; empty if it cannot be read. C++ streams would make the module half as large again.
std::string text_in(const std::string& path) {
    std::string text;
    if (const std::unique_ptr<FILE, int (*)(FILE*)> file(std::fopen(path.c_str(), "r"), std::fclose); file)
        for (char part[512]; const std::size_t size = std::fread(part, 1, sizeof part, file.get());)
            text.append(part, size);
    return text;
}

// The first number of a file; 0, no limit, for "max" and for a file that cannot be read.
double number_in(const std::string& path) { return std::strtod(text_in(path).c_str(), nullptr); }

// Calls f(folder, unified) for the control group that has `controller` and for each of its ancestors, whose limits
// hold, too. In a container the path of the group itself may be hidden and only its root mounted.
template <class F>
void for_control_groups(const std::string& controller, const F& f) {
    const std::string groups = text_in("/proc/self/cgroup");
    for (std::size_t begin = 0, end; begin < groups.size(); begin = end + 1) {
        end = std::min(groups.find('\n', begin), groups.size());
        // "number:controllers:path", or "0::path" for version 2
        const std::string line = groups.substr(begin, end - begin);
        const auto controllers = line.find(':') + 1, path = line.find(':', controllers) + 1;
        const bool unified = line.compare(0, 3, "0::") == 0;
        const std::string listed = "," + line.substr(controllers, path - 1 - controllers) + ",";
        if (!unified && listed.find("," + controller + ",") == std::string::npos) continue;
        const std::string root = unified ? "/sys/fs/cgroup" : "/sys/fs/cgroup/" + controller;
        for (std::string group = line.substr(path);; group.erase(std::min(group.rfind('/'), group.size()))) {
            if (group == "/") group.clear();
            f(root + group, unified);
            if (group.empty()) break;
        }
    }
}
}  // namespace

int allowed_cpus() {
    cpu_set_t allowed;
    return sched_getaffinity(0, sizeof allowed, &allowed) == 0 ? CPU_COUNT(&allowed) : INT_MAX;
}

int cpu_quota() {
    int limit = INT_MAX;
    for_control_groups("cpu", [&](const std::string& folder, bool unified) {
        double quota = 0, period = 0;
        if (unified) {
            std::sscanf(text_in(folder + "/cpu.max").c_str(), "%lf %lf", &quota, &period);
        } else {
            quota = number_in(folder + "/cpu.cfs_quota_us");
            period = number_in(folder + "/cpu.cfs_period_us");
        }
        if (quota > 0 && period > 0) limit = std::min(limit, std::max(1, int(std::ceil(quota / period))));
    });
    return limit;
}

std::size_t memory_limit() {
    std::size_t limit = std::size_t(sysconf(_SC_PHYS_PAGES)) * std::size_t(sysconf(_SC_PAGESIZE));
    rlimit address_space;
    if (getrlimit(RLIMIT_AS, &address_space) == 0 && address_space.rlim_cur != RLIM_INFINITY)
        limit = std::min(limit, std::size_t(address_space.rlim_cur));
    for_control_groups("memory", [&](const std::string& folder, bool unified) {
        const double bytes = number_in(folder + (unified ? "/memory.max" : "/memory.limit_in_bytes"));
        if (bytes > 0 && bytes < double(limit)) limit = std::size_t(bytes);
    });
    return limit;
}

// The system writes it as "32768K". sysconf() would return the sum over all sockets.
std::size_t largest_cache_size() {
    std::size_t largest = 0;
    for (const char* index : {"0", "1", "2", "3", "4"})
        largest = std::max(
            largest, std::size_t(number_in(std::string("/sys/devices/system/cpu/cpu0/cache/index") + index + "/size"))
                         << 10);
    return largest ? largest : std::size_t(32) << 20;  // unknown
}
}  // namespace trimtab
