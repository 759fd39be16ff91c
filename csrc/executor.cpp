#include "executor.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "errors.h"

namespace gradus {

namespace {

constexpr int64_t logits_tile = 64;          // rows whose logits exist at a time
constexpr int64_t inline_products = 131072;  // matrix work below this is not worth waking a thread for
constexpr int64_t panels_per_peak = 64;      // logits that are looked at while they are in the cache
constexpr int64_t panels_per_step = 4;       // pieces of a product are multiples of so many panels
constexpr int64_t many_rows = 256;           // from which on threads share rows too, not only panels
constexpr int64_t rows_per_block = 8;        // what a thread takes at least

int64_t scratch_floats(const CacheShape& cache, const ExecutorShape& shape) {
  const int64_t naive = shape.max_model_len + cache.head_dim;
  return padded(std::max({gemm_scratch_floats, attention_scratch_floats(cache.head_dim),
                          attention_bf16_scratch_floats(cache.head_dim), naive}));
}

// Rows of a power of two of bytes would all fall into the same few cache sets.
int64_t spread(int64_t stride) { return stride % 256 == 0 ? stride + panel_width : stride; }

}  // namespace

Executor::Executor(const Kernels& kernels, int num_threads, const CacheShape& cache,
                   const ExecutorShape& shape)
    : kernels_(kernels),
      pool_(num_threads),
      cache_(cache),
      shape_(shape),
      limits_{shape.max_rows, shape.max_model_len, shape.vocab_size, cache.num_blocks, cache.block_size},
      scratch_floats_(scratch_floats(cache, shape)),
      scratch_(std::make_unique<Buffer>(scratch_floats_ * num_threads)),
      logits_stride_(spread(padded(shape.vocab_size))),
      logits_(logits_stride_ * std::min(logits_tile, shape.max_rows)),
      peaks_(static_cast<size_t>(num_threads * logits_tile)),
      samplers_(static_cast<size_t>(num_threads), Sampler(kernels, shape.vocab_size)) {}

size_t Executor::scratch_bytes() const {
  return static_cast<size_t>(scratch_->size() + logits_.size() + experts_.size()) * sizeof(float);
}

void Executor::reserve_row(int64_t width) {
  if (padded(width) <= scratch_floats_) return;
  scratch_floats_ = padded(width);
  scratch_ = std::make_unique<Buffer>(scratch_floats_ * pool_.num_threads());
}

void Executor::begin(Step step) {
  awake_.emplace(pool_);
  step.check(limits_);
  step_ = std::move(step);
  output_ = StepOutput(step_, shape_.vocab_size);
  attention_items_ = {};
  for (int64_t i = 0; i < step_.num_copies(); ++i) {
    cache_.copy_block(step_.block_copies[2 * i], step_.block_copies[2 * i + 1]);
  }
}

StepOutput Executor::end() {
  awake_.reset();
  return std::move(output_);
}

int64_t Executor::rows_of(const View& out) const {
  require_room(out);
  return out.rows == RowSet::tokens ? step_.num_rows() : step_.num_outputs();
}

void Executor::require_room(const View& view) const {
  const int64_t needed = view.rows == RowSet::tokens ? step_.num_rows() : step_.num_outputs();
  if (needed > view.capacity()) {
    throw StepError("a buffer has " + std::to_string(view.capacity()) + " rows, the step needs " +
                    std::to_string(needed));
  }
}

template <class Body>
void Executor::for_panels(const GemmArgs& args, int64_t first_panel, int64_t last_panel, const Body& body) {
  const int64_t num_panels = last_panel - first_panel;
  const bool is_small = args.rows * args.k * num_panels * panel_width < inline_products;
  pool_.parallel_for(
      num_panels, is_small ? num_panels : panels_per_step,
      [&](int64_t begin, int64_t end, int thread) { body(first_panel + begin, first_panel + end, thread); });
}

// Pieces are some rows of as many panels as stay in L2: threads come back to panels that they have, with rows
// that they read once.
void Executor::gemm_of_many_rows(const GemmArgs& args, int64_t first_panel, int64_t last_panel) {
  const int64_t num_panels = last_panel - first_panel;
  const int64_t at_once = panels_at_once(args.format, args.k);
  const int64_t num_sweeps = (num_panels + at_once - 1) / at_once;
  const int64_t num_blocks = (args.rows + rows_per_block - 1) / rows_per_block;
  pool_.parallel_for(num_sweeps * num_blocks, 1, [&](int64_t begin, int64_t end, int thread) {
    while (begin < end) {
      const int64_t sweep = begin / num_blocks, block = begin % num_blocks;
      const int64_t count = std::min(end - begin, num_blocks - block);
      const int64_t row = block * rows_per_block;
      GemmArgs piece = args;
      piece.x += row * args.x_stride;
      piece.y += row * args.y_stride;
      piece.rows = std::min(count * rows_per_block, args.rows - row);
      kernels_.gemm(piece, first_panel + num_panels * sweep / num_sweeps,
                    first_panel + num_panels * (sweep + 1) / num_sweeps, scratch(thread));
      begin += count;
    }
  });
}

void Executor::gemm(const GemmArgs& args, int64_t first_panel, int64_t last_panel) {
  if (args.quantized_x && args.rows >= many_rows) return gemm_of_many_rows(args, first_panel, last_panel);
  for_panels(args, first_panel, last_panel, [&](int64_t begin, int64_t end, int thread) {
    kernels_.gemm(args, begin, end, scratch(thread));
  });
}

void Executor::perform(const Embed& op) {
  const int64_t num_rows = rows_of(op.out);
  for_rows(num_rows, op.weight->inputs() * 8, [&](int64_t row, int64_t count, int) {
    kernels_.embed(op.weight->data(), op.weight->format(), op.weight->inputs(), step_.token_ids.data() + row,
                   op.scale, count, rows(op.out, row));
  });
}

void Executor::perform(const Linear& op) {
  // The kernel counts panels from the weight's first, so y is moved back by the panels before this
  // operation's.
  const GemmArgs args{
      op.x.data(),       op.x.stride,         rows_of(op.out),   op.weight->inputs(),
      op.weight->data(), op.weight->format(), op.weight->bias(), op.out.data() - op.first_panel * panel_width,
      op.out.stride,     op.quantized_x};
  require_room(op.x);
  if (args.rows > 0) gemm(args, op.first_panel, op.last_panel);
}

void Executor::perform(const Quantize& op) {
  require_room(op.x);
  for_rows(rows_of(op.out), op.x.width, [&](int64_t row, int64_t count, int) {
    kernels_.quantize(rows(op.x, row), op.x.width, op.in_quads, rows(op.out, row), count);
  });
}

void Executor::compute(const RmsNorm& op, int64_t first, int64_t count, Rows y) {
  require_room(op.x);
  kernels_.rms_norm(rows(op.x, first), op.weight->data(), op.eps, op.head_dim, op.out.width / op.head_dim, y,
                    count);
}

void Executor::compute(const AddRmsNorm& op, int64_t first, int64_t count, Rows y) {
  for (const View* view : {&op.a, &op.b, &op.sum}) require_room(*view);
  kernels_.add_rms_norm(rows(op.a, first), rows(op.b, first), rows(op.sum, first), op.weight->data(), op.eps,
                        op.out.width, y, count);
}

void Executor::compute(const SiluMul& op, int64_t first, int64_t count, Rows y) {
  for (const View* view : {&op.gate, &op.up}) require_room(*view);
  kernels_.silu_mul(rows(op.gate, first), rows(op.up, first), y, op.out.width, count);
}

void Executor::compute(const GeluMul& op, int64_t first, int64_t count, Rows y) {
  for (const View* view : {&op.gate, &op.up}) require_room(*view);
  kernels_.gelu_mul(rows(op.gate, first), rows(op.up, first), y, op.out.width, count);
}

void Executor::perform(const RmsNorm& op) { compute_rows(op); }
void Executor::perform(const AddRmsNorm& op) { compute_rows(op); }
void Executor::perform(const SiluMul& op) { compute_rows(op); }
void Executor::perform(const GeluMul& op) { compute_rows(op); }

// Row by row, so that a row is still in the cache when it is quantized.
template <class Operation>
void Executor::perform(const Quantized<Operation>& op) {
  const int64_t width = op.operation.out.width;
  for_rows(rows_of(op.out), width, [&](int64_t first, int64_t count, int thread) {
    const Rows row{scratch(thread), 0};
    for (int64_t r = first; r < first + count; ++r) {
      compute(op.operation, r, 1, row);
      kernels_.quantize(row, width, op.in_quads, rows(op.out, r), 1);
    }
  });
}

void Executor::perform(const RopeTable& op) {
  const auto& frequencies = op.inverse_frequencies->values;
  for_rows(rows_of(op.out), op.out.width * 16, [&](int64_t row, int64_t count, int) {
    for (int64_t r = row; r < row + count; ++r) {
      float* table = op.out.data() + r * op.out.stride;
      const auto position = static_cast<float>(step_.positions[r]);
      for (size_t j = 0; j < frequencies.size(); ++j) {
        const double angle = position * frequencies[j];  // the product is rounded to f32
        table[j] = static_cast<float>(std::cos(angle)) * op.magnitude;
        table[frequencies.size() + j] = static_cast<float>(std::sin(angle)) * op.magnitude;
      }
    }
  });
}

void Executor::perform(const RopeHeads& op) {
  require_room(op.x);
  require_room(op.table);
  for_rows(rows_of(op.out), op.out.width, [&](int64_t row, int64_t count, int) {
    kernels_.rope(rows(op.x, row), rows(op.table, row), op.table.width, op.head_dim,
                  op.out.width / op.head_dim, rows(op.out, row), count);
  });
}

RopeKvArgs Executor::kv_args(const View& k, const View& v, int64_t layer) const {
  require_room(k);
  require_room(v);
  RopeKvArgs args{};
  args.k = k.data();
  args.k_stride = k.stride;
  args.v = v.data();
  args.v_stride = v.stride;
  args.k_norm.num_heads = cache_.shape().num_kv_heads;
  args.head_dim = cache_.shape().head_dim;
  args.slots = step_.slots.data();
  args.keys = cache_.keys(layer);
  args.values = cache_.values(layer);
  args.format = cache_.shape().format;
  args.block_size = cache_.shape().block_size;
  return args;
}

void Executor::perform(const KvWrite& op) {
  const RopeKvArgs args = kv_args(op.k, op.v, op.layer);
  for_rows(
      step_.num_rows(), op.k.width,
      [&](int64_t row, int64_t count, int) {
        kernels_.kv_write(args, cache_.shape().num_kv_heads, row, row + count);
      },
      panel_width);
}

void Executor::perform(const RopeKvWrite& op) {
  require_room(op.q);
  require_room(op.table);
  RopeKvArgs args = kv_args(op.k, op.v, op.layer);
  args.q = op.q.data();
  args.q_stride = op.q.stride;
  args.q_norm = {op.q_weight ? op.q_weight->data() : nullptr, op.q.width / op.head_dim};
  args.k_norm.weight = op.k_weight ? op.k_weight->data() : nullptr;
  args.eps = op.eps;
  args.table = op.table.data();
  args.table_stride = op.table.stride;
  args.rotary_dim = op.table.width;
  for_rows(
      step_.num_rows(), op.q.width + 2 * op.k.width,
      [&](int64_t row, int64_t count, int) { kernels_.rope_kv_write(args, row, row + count); }, panel_width);
}

const std::vector<AttentionItem>& Executor::attention_items(AttentionKernel kernel, RowSet rows) {
  std::vector<AttentionItem>& items =
      attention_items_[static_cast<size_t>(kernel)][rows == RowSet::tokens ? 0 : 1];
  if (items.empty()) {
    const int64_t num_kv_heads = cache_.shape().num_kv_heads;
    const int64_t num_groups = shape_.num_heads / num_kv_heads;
    const bool is_f32 = kernel == AttentionKernel::naive || kernel == AttentionKernel::blocked;
    const int64_t queries = is_f32 ? attention_queries_at_once : bf16_queries_at_once;
    items = rows == RowSet::tokens ? step_.attention_items(num_kv_heads, num_groups, queries)
                                   : step_.output_attention_items(num_kv_heads, num_groups, queries);
  }
  return items;
}

void Executor::perform(const Attention& op) {
  require_room(op.q);
  rows_of(op.out);
  const AttentionArgs args{cache_.view(op.layer),
                           op.q.data(),
                           op.q.stride,
                           op.out.data(),
                           op.out.stride,
                           shape_.num_heads / cache_.shape().num_kv_heads,
                           op.scale,
                           op.window,
                           op.soft_cap};
  const auto& items = attention_items(op.kernel, op.out.rows);
  const auto num_items = static_cast<int64_t>(items.size());
  const auto blocked = op.kernel == AttentionKernel::int8   ? kernels_.attention_int8
                       : op.kernel == AttentionKernel::bf16 ? kernels_.attention_bf16
                                                            : kernels_.attention_blocked;
  pool_.parallel_for(num_items, 1, [&](int64_t begin, int64_t end, int thread) {
    for (int64_t i = begin; i < end; ++i) {
      const AttentionItem& item = items[i];
      if (op.kernel == AttentionKernel::naive) {
        kernels_.attention_naive(args, item, scratch(thread));
      } else {
        blocked(args, item, i + 1 < num_items ? &item + 1 : nullptr, scratch(thread));
      }
    }
  });
}

void Executor::perform(const Add& op) {
  require_room(op.a);
  require_room(op.b);
  for_rows(rows_of(op.out), op.out.width, [&](int64_t row, int64_t count, int) {
    kernels_.add(rows(op.a, row), rows(op.b, row), rows(op.out, row), op.out.width, count);
  });
}

void Executor::perform(const SelectRows& op) {
  require_room(op.x);
  const int64_t num_rows = rows_of(op.out);
  for (int64_t row = 0; row < num_rows; ++row) {
    std::copy_n(rows(op.x, step_.output_rows[row]).data, op.out.width, rows(op.out, row).data);
  }
}

// A tile of logits; each piece's peaks are found before it leaves the cache.
void Executor::logits_and_peaks(const LmHeadSample& op, const GemmArgs& args) {
  std::fill(peaks_.begin(), peaks_.end(), Peak{});
  for_panels(args, 0, op.weight->num_panels(), [&](int64_t begin, int64_t end, int thread) {
    for (int64_t panel = begin; panel < end; panel += panels_per_peak) {
      const int64_t last = std::min(panel + panels_per_peak, end);
      kernels_.gemm(args, panel, last, scratch(thread));
      const int64_t first_token = panel * panel_width;
      const int64_t last_token = std::min(last * panel_width, shape_.vocab_size);
      for (int64_t row = 0; row < args.rows; ++row) {
        float* logits = args.y + row * args.y_stride + first_token;
        if (op.soft_cap > 0) kernels_.soft_cap({logits, 0}, op.soft_cap, last_token - first_token, 1);
        peaks_[thread * logits_tile + row].add(Sampler::peak(kernels_, logits, first_token, last_token));
      }
    }
  });
}

Peak Executor::peak_of(int64_t row) const {
  Peak peak;
  for (int thread = 0; thread < pool_.num_threads(); ++thread) peak.add(peaks_[thread * logits_tile + row]);
  return peak;
}

void Executor::perform(const LmHeadSample& op) {
  const int64_t vocab_size = shape_.vocab_size;
  const int64_t num_rows = rows_of(op.x);
  const int64_t tile_rows = std::min(logits_tile, shape_.max_rows);
  if (step_.return_hidden) output_.take_hidden(op.x.data(), op.x.stride, op.weight->inputs(), num_rows);
  for (int64_t first = 0; first < num_rows; first += tile_rows) {
    const int64_t count = std::min(tile_rows, num_rows - first);
    const GemmArgs args{op.x.data() + first * op.x.stride,
                        op.x.stride,
                        count,
                        op.weight->inputs(),
                        op.weight->data(),
                        op.weight->format(),
                        op.weight->bias(),
                        logits_.data(),
                        logits_stride_,
                        op.quantized_x};
    const auto* params = step_.sampling.data() + first;
    const bool any_scored =
        std::any_of(params, params + count, [](const auto& p) { return p.target != score_nothing; });
    if (!any_scored && !step_.return_logits) continue;
    logits_and_peaks(op, args);
    pool_.parallel_for(count, 1, [&](int64_t begin, int64_t end, int thread) {
      for (int64_t row = begin; row < end; ++row) {
        const float* logits = logits_.data() + row * logits_stride_;
        samplers_[thread].sample(logits, peak_of(row), step_, output_, first + row);
        if (step_.return_logits)
          std::copy_n(logits, vocab_size, output_.logits.data() + (first + row) * vocab_size);
      }
    });
  }
}

void Executor::execute(const Instruction& instruction) {
  std::visit([this](const auto& operation) { perform(operation); }, instruction);
}

StepOutput Executor::run(const Program& program, Step step) {
  begin(std::move(step));
  for (const Instruction& instruction : program.instructions) execute(instruction);
  return end();
}

}  // namespace gradus
