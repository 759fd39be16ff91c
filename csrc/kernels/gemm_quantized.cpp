// gemm of quantized weights: y[m][n] = bias[n] + sum over k of x[m][k] * w[n][k], in groups of 32 k.
//
//   int8:  w = scale * c                  c in -127 .. 127
//   int4:  w = scale * c + minimum        c in 0 .. 15
//
// With quantized activations, x = x_scale * q with q in -127 .. 127 per row and group (see `quantize`), a
// group is summed in integers, exactly, and groups are added in order of k:
//
//   y += (scale * x_scale) * sum(c * q);  int4: then y += minimum * (x_scale * sum(q))
//
// int4 sums the group's products in 16 bits: each of an output's two lanes holds 16 products of at most
// 15 * 127, together 30,480. int8 sums in 32 bits. Lanes are 16 outputs x 4 k, so a row's 4 k are one
// broadcast and there are no shuffles. With f32 activations a panel's block of k is dequantized, and the rows
// are swept over it in order of k: the plain definition, and the off path.
//
// Every output has one accumulator in both, so its value does not depend on the rows beside it.
#include "kernels/tile.h"

namespace gradus::GRADUS_VARIANT {

void gemm_quantized(const GemmArgs& args, int64_t panel_begin, int64_t panel_end, float* scratch);
void unpack_quantized(const uint8_t* group, Format format, float* w);

namespace {

constexpr index_t k_block = gemm_scratch_floats / panel_width;
constexpr index_t most_rows = 6;            // of a tile of f32 rows
constexpr index_t most_quantized_rows = 4;  // 2 lose a fifth at 8 rows, 6 gain nothing: their sums spill
constexpr index_t block_bytes = 4 * panel_width;
constexpr index_t prefetch_bytes = 2048;

inline f32x16 initial(const GemmArgs& args, index_t panel) {
  return args.bias ? load(args.bias + panel * panel_width) : zero();
}

// One group of a panel for R rows: integer sums, scale, minimum, and where they add to y.
struct Int8 {
  static constexpr Format format = Format::int8;
  template <int R>
  static inline __attribute__((always_inline)) void add_group(const uint8_t* w,
                                                              const int8_t* const (&codes)[R],
                                                              const float* const (&scales)[R],
                                                              const float* const (&)[R], index_t g,
                                                              f32x16 (&acc)[R]) {
    i32x16 sums[R];
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) sums[r] = zero_i32();
#pragma GCC unroll 16
    for (int block = 0; block < 8; ++block) {
      const i8x64 weights = load_i8(w + block * block_bytes);
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r)
        sums[r] = add_products_i8(sums[r], weights, broadcast4(codes[r] + g * group_size + block * 4));
    }
    const f32x16 scale = load_f16(reinterpret_cast<const uint16_t*>(w + 8 * block_bytes));
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) acc[r] = fma(to_float(sums[r]), scale * broadcast(scales[r][g]), acc[r]);
  }
};

struct Int4 {
  static constexpr Format format = Format::int4;
  template <int R>
  static inline __attribute__((always_inline)) void add_group(const uint8_t* w,
                                                              const int8_t* const (&codes)[R],
                                                              const float* const (&scales)[R],
                                                              const float* const (&row_sums)[R], index_t g,
                                                              f32x16 (&acc)[R]) {
    i16x32 sums[R];
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) sums[r] = zero_i16();
#pragma GCC unroll 16
    for (int pair = 0; pair < 4; ++pair) {
      i8x64 low, high;
      load_nibbles(w + pair * block_bytes, &low, &high);
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) {
        const int8_t* x = codes[r] + g * group_size + pair * 8;
        sums[r] = add_products_u4(sums[r], low, broadcast4(x));
        sums[r] = add_products_u4(sums[r], high, broadcast4(x + 4));
      }
    }
    const auto* factors = reinterpret_cast<const uint16_t*>(w + 4 * block_bytes);
    const f32x16 scale = load_f16(factors);
    const f32x16 minimum = load_f16(factors + panel_width);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      acc[r] = fma(to_float(sum_pairs(sums[r])), scale * broadcast(scales[r][g]), acc[r]);
      acc[r] = fma(minimum, broadcast(row_sums[r][g]), acc[r]);
    }
  }
};

template <class Width, int R>
void quantized_tile(const GemmArgs& args, index_t panel, index_t row) {
  constexpr index_t stride = group_bytes(Width::format);
  const index_t groups = num_groups(args.k);
  const uint8_t* w = static_cast<const uint8_t*>(args.weight) + panel * groups * stride;
  const int8_t* codes[R];
  const float* scales[R];
  const float* sums[R];
  f32x16 acc[R];
  for (int r = 0; r < R; ++r) {
    const float* x = args.x + (row + r) * args.x_stride;
    codes[r] = reinterpret_cast<const int8_t*>(x);
    scales[r] = x + groups * (group_size / 4);
    sums[r] = scales[r] + groups;
    acc[r] = initial(args, panel);
  }
  for (index_t g = 0; g < groups; ++g, w += stride) {
    for (index_t line = 0; line < stride; line += 64) __builtin_prefetch(w + prefetch_bytes + line, 0, 2);
    Width::template add_group<R>(w, codes, scales, sums, g, acc);
  }
  for (int r = 0; r < R; ++r) store(args.y + (row + r) * args.y_stride + panel * panel_width, acc[r]);
}

// As few tiles as possible, of nearly equal height.
template <class Width>
void quantized_rows(const GemmArgs& args, index_t begin, index_t end) {
  const index_t num_tiles = (args.rows + most_quantized_rows - 1) / most_quantized_rows;
  for (index_t panel = begin; panel < end; ++panel) {
    for (index_t tile = 0; tile < num_tiles; ++tile) {
      const index_t row = args.rows * tile / num_tiles;
      switch (args.rows * (tile + 1) / num_tiles - row) {
        case 1:
          quantized_tile<Width, 1>(args, panel, row);
          break;
        case 2:
          quantized_tile<Width, 2>(args, panel, row);
          break;
        case 3:
          quantized_tile<Width, 3>(args, panel, row);
          break;
        case 4:
          quantized_tile<Width, 4>(args, panel, row);
          break;
      }
    }
  }
}

// Rows row .. row + R over one dequantized block of k, w: [k][16].
template <int R>
void f32_tile(const GemmArgs& args, index_t panel, index_t row, index_t k_begin, index_t k, const float* w) {
  const float* x[R];
  const float* const weights[1] = {w};
  float* y = args.y + row * args.y_stride + panel * panel_width;
  f32x16 acc[R][1];
  for (int r = 0; r < R; ++r) {
    x[r] = args.x + (row + r) * args.x_stride + k_begin;
    acc[r][0] = k_begin == 0 ? initial(args, panel) : load(y + r * args.y_stride);
  }
  dot_tile<StoredF32, R, 1>(x, weights, panel_width, k, acc);
  for (int r = 0; r < R; ++r) store(y + r * args.y_stride, acc[r][0]);
}

void f32_rows(const GemmArgs& args, index_t begin, index_t end, float* scratch) {
  const index_t stride = group_bytes(args.format);
  for (index_t panel = begin; panel < end; ++panel) {
    const auto* w = static_cast<const uint8_t*>(args.weight) + panel * num_groups(args.k) * stride;
    for (index_t k_begin = 0; k_begin < args.k; k_begin += k_block) {
      const index_t k = min_of(k_block, args.k - k_begin);
      for (index_t g = 0; g < num_groups(k); ++g, w += stride)
        unpack_quantized(w, args.format, scratch + g * group_size * panel_width);
      index_t row = 0;
      for (; row + most_rows <= args.rows; row += most_rows)
        f32_tile<most_rows>(args, panel, row, k_begin, k, scratch);
      for (; row < args.rows; ++row) f32_tile<1>(args, panel, row, k_begin, k, scratch);
    }
  }
}

}  // namespace

void gemm_quantized(const GemmArgs& args, int64_t panel_begin, int64_t panel_end, float* scratch) {
  if (!args.quantized_x) {
    f32_rows(args, panel_begin, panel_end, scratch);
  } else if (args.format == Format::int8) {
    quantized_rows<Int8>(args, panel_begin, panel_end);
  } else {
    quantized_rows<Int4>(args, panel_begin, panel_end);
  }
}

}  // namespace gradus::GRADUS_VARIANT
