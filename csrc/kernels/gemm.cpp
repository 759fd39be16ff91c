// gemm_f32 / bf16 / f16: y[m][n] = bias[n] + sum over k, in order, of x[m][k] * w[n][k].
//
// x, y and all sums are f32; weights are packed [panel][k][16 outputs] and widened in registers. Each output
// is summed over k in one accumulator whatever the number of rows: blocking over k stores the accumulator and
// takes it up again.
//
// Up to six rows: one tile; of one or two rows several panels at once, so that enough sums are in flight to
// hide the latency of an FMA. More: one panel's block of k, which stays in L1, is swept by tiles of up to six
// rows; for many of them it is widened to f32 first.
#include "kernels/tile.h"

namespace gradus::GRADUS_VARIANT {

void gemm(const GemmArgs& args, int64_t panel_begin, int64_t panel_end, float* scratch);
void gemm_quantized(const GemmArgs& args, int64_t panel_begin, int64_t panel_end, float* scratch);

namespace {

constexpr index_t k_block = gemm_scratch_floats / panel_width;
constexpr index_t most_rows = 6;             // of a tile
constexpr index_t rows_worth_widening = 24;  // fewer widen weights as often as they use them

inline f32x16 initial(const GemmArgs& args, index_t panel) {
  return args.bias ? load(args.bias + panel * panel_width) : zero();
}

template <class Stored>
constexpr int bytes_per_k = panel_width * sizeof(typename Stored::type);

// What follows one block of k; past the end of the weights it is a hint without effect.
template <class Stored>
const char* block_after(const typename Stored::type* w) {
  return reinterpret_cast<const char*>(w) + k_block * bytes_per_k<Stored>;
}

template <class Stored, int R, int P>
void few_rows_tile(const GemmArgs& args, index_t panel) {
  const auto* base = static_cast<const typename Stored::type*>(args.weight);
  const float* x[R];
  const typename Stored::type* w[P];
  f32x16 acc[R][P];
  for (int p = 0; p < P; ++p) w[p] = base + (panel + p) * args.k * panel_width;
  for (int r = 0; r < R; ++r) {
    x[r] = args.x + r * args.x_stride;
    for (int p = 0; p < P; ++p) acc[r][p] = initial(args, panel + p);
  }
  if constexpr (P == 1) {
    dot_tile<Stored, R, P, bytes_per_k<Stored>>(x, w, panel_width, args.k, acc, block_after<Stored>(w[0]));
  } else {  // several streams keep the memory busy by themselves
    dot_tile<Stored, R, P>(x, w, panel_width, args.k, acc);
  }
  for (int r = 0; r < R; ++r) {
    for (int p = 0; p < P; ++p) store(args.y + r * args.y_stride + (panel + p) * panel_width, acc[r][p]);
  }
}

template <class Stored, int R, int P>
index_t few_rows_while(const GemmArgs& args, index_t panel, index_t end) {
  for (; panel + P <= end; panel += P) few_rows_tile<Stored, R, P>(args, panel);
  return panel;
}

// One tile of all rows, read straight from the stored weights.
template <class Stored>
void few_rows(const GemmArgs& args, index_t begin, index_t end) {
  switch (args.rows) {
    case 1:
      begin = few_rows_while<Stored, 1, 6>(args, begin, end);
      begin = few_rows_while<Stored, 1, 4>(args, begin, end);
      begin = few_rows_while<Stored, 1, 2>(args, begin, end);
      few_rows_while<Stored, 1, 1>(args, begin, end);
      return;
    case 2:
      begin = few_rows_while<Stored, 2, 3>(args, begin, end);
      begin = few_rows_while<Stored, 2, 2>(args, begin, end);
      few_rows_while<Stored, 2, 1>(args, begin, end);
      return;
    case 3:
      few_rows_while<Stored, 3, 1>(args, begin, end);
      return;
    case 4:
      few_rows_while<Stored, 4, 1>(args, begin, end);
      return;
    case 5:
      few_rows_while<Stored, 5, 1>(args, begin, end);
      return;
    case 6:
      few_rows_while<Stored, 6, 1>(args, begin, end);
      return;
  }
}

// Rows row .. row + R, outputs of one panel, k_begin .. k_begin + k. w: [k][16], of what is stored or widened
// from it; ahead: the stored weights' next block.
template <class Stored, class Used, int R>
void many_rows_tile(const GemmArgs& args, index_t panel, index_t row, index_t k_begin, index_t k,
                    const typename Used::type* w, const char* ahead) {
  const float* x[R];
  const typename Used::type* const weights[1] = {w};
  float* y = args.y + row * args.y_stride + panel * panel_width;
  f32x16 acc[R][1];
  for (int r = 0; r < R; ++r) {
    x[r] = args.x + (row + r) * args.x_stride + k_begin;
    acc[r][0] = k_begin == 0 ? initial(args, panel) : load(y + r * args.y_stride);
  }
  dot_tile<Used, R, 1, bytes_per_k<Stored>>(x, weights, panel_width, k, acc, ahead);
  for (int r = 0; r < R; ++r) store(y + r * args.y_stride, acc[r][0]);
}

// As few tiles as possible, of nearly equal height: seven rows are four and three, not six and one.
template <class Stored, class Used>
void all_rows(const GemmArgs& args, index_t panel, index_t k_begin, index_t k, const typename Used::type* w,
              const char* ahead) {
  const index_t num_tiles = (args.rows + most_rows - 1) / most_rows;
  for (index_t tile = 0; tile < num_tiles; ++tile) {
    const index_t row = args.rows * tile / num_tiles;
    switch (args.rows * (tile + 1) / num_tiles - row) {
      case 3:
        many_rows_tile<Stored, Used, 3>(args, panel, row, k_begin, k, w, ahead);
        break;
      case 4:
        many_rows_tile<Stored, Used, 4>(args, panel, row, k_begin, k, w, ahead);
        break;
      case 5:
        many_rows_tile<Stored, Used, 5>(args, panel, row, k_begin, k, w, ahead);
        break;
      case 6:
        many_rows_tile<Stored, Used, 6>(args, panel, row, k_begin, k, w, ahead);
        break;
    }
  }
}

template <class Stored>
void many_rows(const GemmArgs& args, index_t begin, index_t end, float* scratch) {
  const auto* base = static_cast<const typename Stored::type*>(args.weight);
  for (index_t panel = begin; panel < end; ++panel) {
    for (index_t k_begin = 0; k_begin < args.k; k_begin += k_block) {
      const index_t k = min_of(k_block, args.k - k_begin);
      const auto* stored = base + (panel * args.k + k_begin) * panel_width;
      const char* ahead = block_after<Stored>(stored);
      if (sizeof(*stored) == sizeof(float) || args.rows <= rows_worth_widening) {
        all_rows<Stored, Stored>(args, panel, k_begin, k, stored, ahead);
      } else {
        for (index_t i = 0; i < k; ++i)
          store(scratch + i * panel_width, Stored::load16(stored + i * panel_width));
        all_rows<Stored, StoredF32>(args, panel, k_begin, k, scratch, ahead);
      }
    }
  }
}

template <class Stored>
void gemm_stored(const GemmArgs& args, index_t begin, index_t end, float* scratch) {
  if (args.rows <= most_rows) {
    few_rows<Stored>(args, begin, end);
  } else {
    many_rows<Stored>(args, begin, end, scratch);
  }
}

}  // namespace

void gemm(const GemmArgs& args, int64_t panel_begin, int64_t panel_end, float* scratch) {
  switch (args.format) {
    case Format::f32:
      gemm_stored<StoredF32>(args, panel_begin, panel_end, scratch);
      break;
    case Format::bf16:
      gemm_stored<StoredBF16>(args, panel_begin, panel_end, scratch);
      break;
    case Format::f16:
      gemm_stored<StoredF16>(args, panel_begin, panel_end, scratch);
      break;
    case Format::int8:
    case Format::int4:
    case Format::int4_symmetric:
    case Format::int4_g128:
      gemm_quantized(args, panel_begin, panel_end, scratch);
      break;
  }
}

}  // namespace gradus::GRADUS_VARIANT
