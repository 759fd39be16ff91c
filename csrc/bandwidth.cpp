#include "bandwidth.h"

#include <algorithm>
#include <atomic>
#include <chrono>

#include "memory.h"
#include "thread_pool.h"

namespace gradus {

namespace {

constexpr int64_t piece_words = int64_t{1} << 18;  // 2 MiB, a huge page
constexpr int num_sums = 16;  // independent, so that loads and not additions are the limit

uint64_t sum(const uint64_t* words, int64_t count) {
  uint64_t sums[num_sums] = {};
  for (int64_t i = 0; i + num_sums <= count; i += num_sums) {
    for (int j = 0; j < num_sums; ++j) sums[j] += words[i + j];
  }
  uint64_t total = 0;
  for (const uint64_t each : sums) total += each;
  return total;
}

}  // namespace

std::vector<double> time_memory_reads(int num_threads, int64_t bytes, int num_passes) {
  const Memory memory(static_cast<size_t>(bytes), Memory::Pages::huge);
  auto* words = static_cast<uint64_t*>(memory.data());
  const int64_t num_words = bytes / static_cast<int64_t>(sizeof(uint64_t));
  ThreadPool pool(num_threads);
  pool.parallel_for(num_words, piece_words, [&](int64_t begin, int64_t end, int) {
    std::fill(words + begin, words + end, uint64_t{1});  // an untouched page would be the one page of zeros
  });
  std::atomic<uint64_t> total{0};  // what is computed must be used, or it is not computed
  std::vector<double> seconds;
  for (int pass = 0; pass < num_passes; ++pass) {
    const auto start = std::chrono::steady_clock::now();
    pool.parallel_for(num_words, piece_words, [&](int64_t begin, int64_t end, int) {
      total.fetch_add(sum(words + begin, end - begin), std::memory_order_relaxed);
    });
    seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return total.load() == 0 ? std::vector<double>{} : seconds;
}

}  // namespace gradus
