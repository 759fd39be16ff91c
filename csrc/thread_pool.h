// A pool of threads for loops that last microseconds to milliseconds.
//
// The calling thread takes part. Idle workers spin briefly, because the next loop of a step follows within
// microseconds, then sleep. A worker that the operating system has not scheduled yet does not hold a loop up:
// the caller waits only for workers that have taken work. Knows nothing of what the loops do.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace gradus {

class ThreadPool {
 public:
  explicit ThreadPool(int num_threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int num_threads() const { return static_cast<int>(workers_.size()) + 1; }

  // body(begin, end, thread) for all of 0 .. size in pieces of `grain`, each piece once, on any thread.
  // The first exception stops the loop and is thrown here. Not reentrant.
  template <class Body>
  void parallel_for(int64_t size, int64_t grain, const Body& body) {
    if (size <= grain || workers_.empty()) {
      if (size > 0) body(int64_t{0}, size, 0);
      return;
    }
    run({[](const void* context, int64_t begin, int64_t end, int thread) {
           (*static_cast<const Body*>(context))(begin, end, thread);
         },
         &body, size, grain});
  }

 private:
  struct Loop {
    void (*call)(const void*, int64_t, int64_t, int);
    const void* context;
    int64_t size;
    int64_t grain;
  };

  void run(const Loop& loop);
  void take_pieces(int thread);
  void work(int thread);
  bool wait_for_loop(uint64_t* seen);
  bool try_join(uint64_t* seen);

  // generation << 32 | open << 31 | workers inside. The loop's fields change only while nobody is inside.
  static constexpr uint64_t open_bit = uint64_t{1} << 31;
  std::atomic<uint64_t> state_{0};
  Loop loop_{};
  alignas(64) std::atomic<int64_t> next_{0};
  std::exception_ptr error_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::atomic<int> num_sleeping_{0};
  std::atomic<bool> stop_{false};
  std::vector<std::thread> workers_;
};

}  // namespace gradus
