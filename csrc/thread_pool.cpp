#include "thread_pool.h"

#include <algorithm>
#include <chrono>

namespace gradus {

namespace {

constexpr auto spin_time = std::chrono::microseconds(40);

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

ThreadPool::ThreadPool(int num_threads) {
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
  next_.store(0, std::memory_order_relaxed);
  const uint64_t generation = (state_.load() >> 32) + 1;
  state_.store(generation << 32 | open_bit);
  if (num_sleeping_.load() > 0) {
    std::lock_guard<std::mutex> lock(mutex_);  // nobody is between its last check and its sleep
    wake_.notify_all();
  }
  take_pieces(0);
  state_.fetch_and(~open_bit);
  const auto nobody_inside = [this] { return (state_.load() & (open_bit - 1)) == 0; };
  while (!spin_until(nobody_inside)) std::this_thread::yield();
  if (error_) std::rethrow_exception(error_);
}

void ThreadPool::take_pieces(int thread) {
  try {
    for (;;) {
      const int64_t begin = next_.fetch_add(loop_.grain, std::memory_order_relaxed);
      if (begin >= loop_.size) return;
      loop_.call(loop_.context, begin, std::min(begin + loop_.grain, loop_.size), thread);
    }
  } catch (...) {
    next_.store(loop_.size, std::memory_order_relaxed);
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

// Returns with a loop entered, or false when the pool closes.
bool ThreadPool::wait_for_loop(uint64_t* seen) {
  if (spin_until([&] { return try_join(seen) || stop_.load(); })) return !stop_.load();
  std::unique_lock<std::mutex> lock(mutex_);
  num_sleeping_.fetch_add(1);
  bool joined = false;
  wake_.wait(lock, [&] { return stop_.load() || (joined = try_join(seen)); });
  num_sleeping_.fetch_sub(1);
  return joined;
}

void ThreadPool::work(int thread) {
  uint64_t seen = 0;
  while (wait_for_loop(&seen)) {
    take_pieces(thread);
    state_.fetch_sub(1);
  }
}

}  // namespace gradus
