// A pool of threads for loops that last microseconds to milliseconds.
//
// The calling thread takes part. While an `Awake` exists (a step runs) an idle worker spins for a while
// before it sleeps, because the next loop follows within microseconds; otherwise it sleeps at once and leaves
// the CPU to others. A worker that the operating system has not scheduled yet does not hold a loop up: the
// caller waits only for workers that have taken work. Workers keep off the caller's CPU where there are
// enough others: a busy system would put them there, to wait for it. Knows nothing of what the loops do.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <sched.h>
#endif

namespace gradus {

class ThreadPool {
 public:
  explicit ThreadPool(int num_threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int num_threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Wakes the workers, and has them spin between loops as long as it exists. One at a time.
  class Awake {
   public:
    explicit Awake(ThreadPool& pool) : pool_(pool) { pool_.wake_up(); }
    ~Awake() { pool_.period_.fetch_add(1); }
    Awake(const Awake&) = delete;
    Awake& operator=(const Awake&) = delete;

   private:
    ThreadPool& pool_;
  };

  // body(begin, end, thread) for all of 0 .. size, each index once, on any thread. Every thread begins with a
  // range of its own, which it takes from the front in pieces, so that its memory is read in order; one that
  // has finished takes half of what another has left, from the back. Pieces are multiples of `grain`. The
  // first exception stops the loop and is thrown here. Not reentrant.
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

  // What a thread has left, in grains: begin << 32 | end.
  struct alignas(64) Range {
    std::atomic<uint64_t> left{0};
  };

  void run(const Loop& loop);
  void share_out();
  bool next_piece(int thread, int64_t* begin, int64_t* end);
  bool steal(int thread);
  void take_pieces(int thread);
  void work(int thread);
  void wake_up();
  void keep_apart();
  void notify();
  bool wait_for_loop(uint64_t* seen);
  bool try_join(uint64_t* seen);

  // generation << 32 | open << 31 | workers inside. The loop's fields change only while nobody is inside.
  static constexpr uint64_t open_bit = uint64_t{1} << 31;
  alignas(64) std::atomic<uint64_t> state_{0};
  Loop loop_{};
  std::unique_ptr<Range[]> ranges_;              // [num_threads]
  alignas(64) std::atomic<uint32_t> period_{0};  // odd: awake
  std::atomic<bool> stop_{false};
  std::atomic<int> num_sleeping_{0};
  std::exception_ptr error_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<std::thread> workers_;
#if defined(__linux__)
  cpu_set_t allowed_{};  // to the process when the pool was made
  int callers_cpu_ = -1;
#endif
};

// Seconds that each of `num_loops` loops takes that consist of a piece of `piece_seconds` for every thread.
std::vector<double> time_loops(int num_threads, int64_t num_loops, double piece_seconds);

}  // namespace gradus
