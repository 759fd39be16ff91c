// Runs instructions on the step at hand: one at a time, or a whole program in one call.
#pragma once

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <vector>

#include "experts.h"
#include "instructions.h"
#include "kernels/kernels.h"
#include "kv_cache.h"
#include "sampler.h"
#include "step.h"
#include "thread_pool.h"

namespace gradus {

struct ExecutorShape {
  int64_t num_heads;
  int64_t vocab_size;
  int64_t max_rows;
  int64_t max_model_len;
};

class Executor {
 public:
  Executor(const Kernels& kernels, int num_threads, const CacheShape& cache, const ExecutorShape& shape);

  // Checks and takes a step, and copies its blocks. Throws StepError; nothing has run then.
  void begin(Step step);
  void execute(const Instruction& instruction);
  StepOutput end();
  StepOutput run(const Program& program, Step step);

  ThreadPool& pool() { return pool_; }
  const KvCache& cache() const { return cache_; }
  const ExecutorShape& shape() const { return shape_; }
  const Kernels& kernels() const { return kernels_; }
  // Room for a mixture of experts, or for every thread's row of a Quantized; each that will run needs it.
  void reserve(const Experts& experts) { experts_.reserve(experts, shape_.max_rows); }
  void reserve_row(int64_t width);
  size_t scratch_bytes() const;  // logits of a tile, and every thread's own

 private:
  int64_t rows_of(const View& out) const;
  Rows rows(const View& view, int64_t first = 0) const {
    return {view.data() + first * view.stride, view.stride};
  }
  void require_room(const View& view) const;
  // body(first row, number of rows, thread) over all rows, in parallel where that is worth it. With many rows
  // pieces begin at multiples of `run`.
  template <class Body>
  void for_rows(int64_t num_rows, int64_t width, const Body& body, int64_t run = 1) {
    constexpr int64_t inline_floats = 8192;  // work below this is not worth another thread
    int64_t grain =
        num_rows * width < inline_floats ? num_rows : std::max<int64_t>(1, inline_floats / 4 / width);
    if (num_rows >= 4 * run * pool_.num_threads()) grain = (grain + run - 1) / run * run;
    pool_.parallel_for(num_rows, std::max<int64_t>(grain, 1),
                       [&](int64_t begin, int64_t end, int thread) { body(begin, end - begin, thread); });
  }
  // `compute` of all rows.
  template <class Operation>
  void compute_rows(const Operation& op) {
    for_rows(rows_of(op.out), op.out.width,
             [&](int64_t first, int64_t count, int) { compute(op, first, count, rows(op.out, first)); });
  }
  float* scratch(int thread) const { return scratch_->data() + thread * scratch_floats_; }
  // body(first panel, last panel, thread) for the panels of a product.
  template <class Body>
  void for_panels(const GemmArgs& args, int64_t first_panel, int64_t last_panel, const Body& body);
  void gemm(const GemmArgs& args, int64_t first_panel, int64_t last_panel);
  void gemm_of_many_rows(const GemmArgs& args, int64_t first_panel, int64_t last_panel);
  void gemm(const std::vector<ExpertGemm>& gemms);

  void perform(const Embed&);
  void perform(const Linear&);
  void perform(const Quantize&);
  void perform(const RmsNorm&);
  void perform(const RopeTable&);
  void perform(const RopeHeads&);
  void perform(const KvWrite&);
  void perform(const Attention&);
  void perform(const SiluMul&);
  void perform(const GeluMul&);
  void perform(const Experts&);
  void experts_tile(const Experts&, int64_t first_row, int64_t num_rows);
  const std::vector<AttentionItem>& attention_items(AttentionKernel kernel, RowSet rows);
  void perform(const Add&);
  void perform(const SelectRows&);
  void perform(const LmHeadSample&);
  void logits_and_peaks(const LmHeadSample&, const GemmArgs& args);
  Peak peak_of(int64_t row) const;
  void perform(const AddRmsNorm&);
  template <class Operation>
  void perform(const Quantized<Operation>&);
  // Rows first .. first + count of an operation's result into y.
  void compute(const RmsNorm&, int64_t first, int64_t count, Rows y);
  void compute(const AddRmsNorm&, int64_t first, int64_t count, Rows y);
  void compute(const SiluMul&, int64_t first, int64_t count, Rows y);
  void compute(const GeluMul&, int64_t first, int64_t count, Rows y);
  void perform(const RopeKvWrite&);
  RopeKvArgs kv_args(const View& k, const View& v, int64_t layer) const;

  const Kernels& kernels_;
  ThreadPool pool_;
  std::optional<ThreadPool::Awake> awake_;  // from begin to end
  KvCache cache_;
  ExecutorShape shape_;
  StepLimits limits_;
  Step step_;
  StepOutput output_;
  // The step's work by kernel, of all rows and of the output rows; made when it is first asked for.
  std::array<std::array<std::vector<AttentionItem>, 2>, num_attention_kernels> attention_items_;
  int64_t scratch_floats_;
  std::unique_ptr<Buffer> scratch_;  // [num_threads][scratch_floats_]
  int64_t logits_stride_;
  Buffer logits_;            // [logits_tile][logits_stride_]
  std::vector<Peak> peaks_;  // [num_threads][logits_tile]
  std::vector<Sampler> samplers_;
  ExpertsSpace experts_;
};

}  // namespace gradus
