// How fast this machine reads memory: the ceiling of decoding, which reads every weight once per token.
#pragma once

#include <cstdint>
#include <vector>

namespace gradus {

// Seconds of each pass in which `num_threads` threads read `bytes` bytes once, all of them together. The
// memory has been written before, so every page exists. Throws SetupError if the memory is not to be had.
std::vector<double> time_memory_reads(int num_threads, int64_t bytes, int num_passes);

}  // namespace gradus
