// Data for kernels, and the hashes of their results.
#pragma once
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <initializer_list>
#include <string>
#include <vector>

#include "../../cpp/dispatch.h"
#include "../../cpp/memory.h"
#include "../../cpp/parallel.h"

using namespace trimtab;

namespace {

constexpr DType dtypes[dtype_count] = {DType::float32, DType::float64, DType::float16, DType::bfloat16};
constexpr const char* dtype_names[dtype_count] = {"float32", "float64", "float16", "bfloat16"};
constexpr ptrdiff_t dtype_bytes[dtype_count] = {4, 8, 2, 2};
constexpr uint64_t infinities[dtype_count] = {0x7f800000, 0x7ff0000000000000, 0x7c00, 0x7f80};

DType working(DType dtype) { return dtype == DType::float64 ? dtype : DType::float32; }

// Uniform in [center - spread, center + spread).
struct Data {
    const char* name;
    double center, spread;
};
constexpr double eps = 1e-40;  // keeps constants finite, and is negligible otherwise

constexpr Data ordinary{"ordinary", 0.3, 2}, positive{"positive", 3, 2};
// Far from zero, and beyond the range of float when squared.
constexpr Data all_data[] = {ordinary, {"shifted", 900, 1}, {"tiny", 0, 1e-22}, {"huge", 0, 1e22}};

// An array of one storage type.
class Array {
public:
    explicit Array(ptrdiff_t bytes) : bytes_(std::size_t(bytes)) {}
    Array(DType dtype, ptrdiff_t count) : Array(count * dtype_bytes[int(dtype)]) {
        width_ = std::size_t(dtype_bytes[int(dtype)]);
        infinity_ = infinities[int(dtype)];
    }
    Array(DType dtype, ptrdiff_t count, Data data) : Array(dtype, count) {
        std::vector<double> values(static_cast<std::size_t>(count));
        for (double& value : values) value = data.center + data.spread * draw();
        kernels->convert->narrow[int(dtype)](values.data(), bytes_.data(), count);
    }
    void* data() { return bytes_.data(); }
    operator void*() { return data(); }
    operator double*() { return reinterpret_cast<double*>(bytes_.data()); }
    operator uint8_t*() { return bytes_.data(); }
    // FNV-1a. All NaNs count as one, since their signs and payloads differ between processors.
    void add_to(uint64_t& hash) const {
        for (std::size_t i = 0; i < bytes_.size(); i += width_) {
            uint64_t bits = 0;
            std::memcpy(&bits, &bytes_[i], width_);
            if (infinity_ && (bits & ((uint64_t(1) << (8 * width_ - 1)) - 1)) > infinity_) bits = infinity_ + 1;
            for (std::size_t byte = 0; byte < width_; ++byte, bits >>= 8) hash = (hash ^ (bits & 0xff)) * 0x100000001b3;
        }
    }

private:
    // splitmix64, to [-1, 1)
    static double draw() {
        static uint64_t state = 1;
        uint64_t z = state += 0x9e3779b97f4a7c15;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
        z = (z ^ z >> 27) * 0x94d049bb133111eb;
        return double(int64_t(z ^ z >> 31)) * 0x1p-63;
    }
    std::vector<uint8_t> bytes_;
    std::size_t width_ = 1;
    uint64_t infinity_ = 0;  // its bits; 0: not numbers
};

void print(const std::string& kernel, DType dtype, const char* data, const std::string& shape,
           const std::vector<const Array*>& results) {
    uint64_t hash = 0xcbf29ce484222325;
    for (const Array* result : results) result->add_to(hash);
    std::printf("%s %s %s %s %016" PRIx64 "\n", kernel.c_str(), dtype_names[int(dtype)], data, shape.c_str(), hash);
}

std::string text(std::initializer_list<ptrdiff_t> extents) {
    std::string joined;
    for (const ptrdiff_t extent : extents) joined += (joined.empty() ? "" : "x") + std::to_string(extent);
    return joined;
}

bool holds(DType dtype, const Data& data) { return dtype != DType::float16 || data.spread < 6e4; }
}  // namespace
