#include "thread_pool.h"

#include <algorithm>
#include <chrono>

#if defined(__linux__)
#include <pthread.h>
#endif

namespace gradus {

namespace {

constexpr auto spin_time = std::chrono::microseconds(100);  // then another thread may need the CPU
constexpr uint64_t pieces_per_range = 8;                    // that what is left would be cut into
constexpr uint64_t end_mask = 0xFFFFFFFF;

inline uint64_t length(uint64_t range) {
  const uint64_t begin = range >> 32, end = range & end_mask;
  return end > begin ? end - begin : 0;
}

inline void relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

// Whether `condition` came true before the spin time was over.
template <class Condition>
bool spin_until(const Condition& condition) {
  const auto deadline = std::chrono::steady_clock::now() + spin_time;
  do {
    for (int i = 0; i < 32; ++i) {
      if (condition()) return true;
      relax();
    }
  } while (std::chrono::steady_clock::now() < deadline);
  return false;
}

}  // namespace

ThreadPool::ThreadPool(int num_threads) : ranges_(new Range[static_cast<size_t>(std::max(num_threads, 1))]) {
#if defined(__linux__)
  if (sched_getaffinity(0, sizeof allowed_, &allowed_) != 0) CPU_ZERO(&allowed_);
#endif
  for (int thread = 1; thread < num_threads; ++thread) {
    workers_.emplace_back([this, thread] { work(thread); });
  }
}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  for (auto& worker : workers_) worker.join();
}

void ThreadPool::run(const Loop& loop) {
  loop_ = loop;
  error_ = nullptr;
  share_out();
  const uint64_t generation = (state_.load() >> 32) + 1;
  state_.store(generation << 32 | open_bit);
  notify();
  take_pieces(0);
  state_.fetch_and(~open_bit);
  const auto nobody_inside = [this] { return (state_.load() & (open_bit - 1)) == 0; };
  while (!spin_until(nobody_inside)) std::this_thread::yield();
  if (error_) std::rethrow_exception(error_);
}

void ThreadPool::share_out() {
  const int64_t num_grains = (loop_.size + loop_.grain - 1) / loop_.grain;
  for (int thread = 0; thread < num_threads(); ++thread) {
    const auto begin = static_cast<uint64_t>(num_grains * thread / num_threads());
    const auto end = static_cast<uint64_t>(num_grains * (thread + 1) / num_threads());
    ranges_[thread].left.store(begin << 32 | end, std::memory_order_relaxed);
  }
}

// Takes a piece from the front of the thread's range; false when there is nothing left anywhere.
bool ThreadPool::next_piece(int thread, int64_t* begin, int64_t* end) {
  std::atomic<uint64_t>& own = ranges_[thread].left;
  do {
    uint64_t left = own.load(std::memory_order_relaxed);
    while (length(left) > 0) {
      const uint64_t share = std::max<uint64_t>(length(left) / pieces_per_range, 1);
      if (!own.compare_exchange_weak(left, left + (share << 32), std::memory_order_relaxed)) continue;
      *begin = static_cast<int64_t>(left >> 32) * loop_.grain;
      *end = std::min(*begin + static_cast<int64_t>(share) * loop_.grain, loop_.size);
      return true;
    }
  } while (steal(thread));
  return false;
}

// Moves the back half of the longest range to the thread's own, which is empty; false if all are.
bool ThreadPool::steal(int thread) {
  for (;;) {
    int victim = thread;
    uint64_t most = 0;
    for (int other = 0; other < num_threads(); ++other) {
      const uint64_t left = ranges_[other].left.load(std::memory_order_relaxed);
      if (length(left) > length(most)) victim = other, most = left;
    }
    if (length(most) == 0) return false;
    const uint64_t half = (length(most) + 1) / 2;
    if (!ranges_[victim].left.compare_exchange_strong(most, most - half, std::memory_order_relaxed)) continue;
    const uint64_t end = most & end_mask;
    ranges_[thread].left.store((end - half) << 32 | end, std::memory_order_relaxed);
    return true;
  }
}

void ThreadPool::take_pieces(int thread) {
  try {
    int64_t begin, end;
    while (next_piece(thread, &begin, &end)) loop_.call(loop_.context, begin, end, thread);
  } catch (...) {
    for (int other = 0; other < num_threads(); ++other)
      ranges_[other].left.store(0, std::memory_order_relaxed);
    std::lock_guard<std::mutex> lock(mutex_);
    if (!error_) error_ = std::current_exception();
  }
}

// Enters the open loop unless it was entered before; `seen` is the last generation that this worker knows.
bool ThreadPool::try_join(uint64_t* seen) {
  uint64_t state = state_.load();
  while ((state & open_bit) != 0 && state >> 32 != *seen) {
    if (state_.compare_exchange_weak(state, state + 1)) {
      *seen = state >> 32;
      return true;
    }
  }
  return false;
}

// Moves the workers off the CPU that the caller is on now. What the system refuses changes only the speed.
void ThreadPool::keep_apart() {
#if defined(__linux__)
  const int cpu = sched_getcpu();
  if (cpu < 0 || cpu == callers_cpu_ || CPU_COUNT(&allowed_) < num_threads()) return;
  callers_cpu_ = cpu;
  cpu_set_t others = allowed_;
  CPU_CLR(cpu, &others);
  for (auto& worker : workers_) pthread_setaffinity_np(worker.native_handle(), sizeof others, &others);
#endif
}

void ThreadPool::wake_up() {
  keep_apart();
  period_.fetch_add(1);
  notify();
}

void ThreadPool::notify() {
  if (num_sleeping_.load() == 0) return;
  std::lock_guard<std::mutex> lock(mutex_);  // nobody is between its last check and its sleep
  wake_.notify_all();
}

// Returns with a loop entered, or false when the pool closes.
bool ThreadPool::wait_for_loop(uint64_t* seen) {
  bool joined = false;
  const auto is_over = [&] { return (joined = try_join(seen)) || stop_.load(); };
  for (;;) {
    const uint32_t period = period_.load();
    const bool is_awake = period % 2 == 1;
    if (is_awake && spin_until([&] { return is_over() || period_.load() != period; })) {
      if (joined || stop_.load()) return joined;
      continue;
    }
    std::unique_lock<std::mutex> lock(mutex_);
    num_sleeping_.fetch_add(1);
    wake_.wait(lock, [&] { return is_over() || (period_.load() != period && period_.load() % 2 == 1); });
    num_sleeping_.fetch_sub(1);
    if (joined || stop_.load()) return joined;
  }
}

void ThreadPool::work(int thread) {
  uint64_t seen = 0;
  while (wait_for_loop(&seen)) {
    take_pieces(thread);
    state_.fetch_sub(1);
  }
}

std::vector<double> time_loops(int num_threads, int64_t num_loops, double piece_seconds) {
  using clock = std::chrono::steady_clock;
  const auto work = std::chrono::duration<double>(piece_seconds);
  ThreadPool pool(num_threads);
  const ThreadPool::Awake awake(pool);
  std::vector<double> seconds;
  for (int64_t loop = 0; loop < num_loops; ++loop) {
    const auto start = clock::now();
    pool.parallel_for(num_threads, 1, [&](int64_t, int64_t, int) {
      const auto begin = clock::now();
      while (clock::now() - begin < work) relax();
    });
    seconds.push_back(std::chrono::duration<double>(clock::now() - start).count());
  }
  return seconds;
}

}  // namespace gradus
