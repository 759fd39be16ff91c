// gemm of quantized weights: y[m][n] = bias[n] + sum over k of x[m][k] * w[n][k], in groups of 32 k.
//
//   int8:            w = scale * c                  c in -127 .. 127
//   int4:            w = scale * (c - 8) + centre   c in 0 .. 15
//   int4_symmetric:  w = scale * (c - 8)
//   int4_g128:       w = scale * (c - 8)           in groups of 128 k
//
// With quantized activations, x = x_scale * q with q in -127 .. 127 per row and four groups (see `quantize`),
// a group is summed in integers, exactly. Four groups are added in order of k, and then their sum is:
//
//   part += scale * sum(c * q);   in 4 bits c - 8 for c;   int4: part += centre * sum(q)
//   y += x_scale * part
//
// For int4_g128, x = x_scale * 2^shift * q with one x_scale for the row, and 128 k are summed in integers:
//
//   y += scale * (sum((c - 8) * q) << shift);   and when all k are there, y = x_scale * y + bias
//
// Where 4-bit formats sum a group's products in 16 bits, each of an output's two lanes holds 16 products of
// at most 15 * 127, together 30,480, and starts from half of -8 * sum(q), or in int4_g128 from 0. Lanes are
// 16 outputs x 4 k, so a row's 4 k are one broadcast and there are no shuffles. With f32 activations a
// panel's block of k is dequantized, and the rows are swept over it in order of k: the plain definition, and
// the off path.
//
// Every output has one accumulator in both, so its value does not depend on the rows beside it.
#include "kernels/tile.h"

namespace gradus::GRADUS_VARIANT {

void gemm_quantized(const GemmArgs& args, int64_t panel_begin, int64_t panel_end, float* scratch);
void unpack_quantized(const uint8_t* codes, const uint8_t* factors, Format format, float* w);

namespace {

constexpr index_t k_block = gemm_scratch_floats / panel_width;
constexpr index_t most_rows = 6;  // of a tile of f32 rows
constexpr index_t block_bytes = 4 * panel_width;
constexpr index_t prefetch_bytes = 8192;  // a quarter of it halves the speed of four rows

inline f32x16 initial(const GemmArgs& args, index_t panel) {
  return args.bias ? load(args.bias + panel * panel_width) : zero();
}

// add_group adds one group of a panel to R rows' parts. w: the group's codes, then its factors.
struct Int8 {
  static constexpr Format format = Format::int8;
  template <int R>
  static inline __attribute__((always_inline)) void add_group(const uint8_t* w,
                                                              const ActivationGroup* const (&x)[R],
                                                              f32x16 (&part)[R]) {
    i8_sums sums[R];
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) sums[r] = start_i8(*x[r]);
#pragma GCC unroll 16
    for (int block = 0; block < 8; ++block) {
      const i8_block weights = load_i8_block(w + block * block_bytes);
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) sums[r] = add_products_i8(sums[r], weights, x[r]->codes + block * 4);
    }
    const f32x16 scale = load_f16(reinterpret_cast<const uint16_t*>(w + 8 * block_bytes));
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) part[r] = fma(to_float(sums[r]), scale, part[r]);
  }
};

// Adds a group's products with 4-bit codes to R rows' sums.
template <int R>
inline __attribute__((always_inline)) void add_nibbles(const uint8_t* w, const int8_t* const (&codes)[R],
                                                       i4_sums (&sums)[R]) {
#pragma GCC unroll 16
  for (int block = 0; block < 8; ++block) {
    const uint8_t* two_blocks = w + block / 2 * block_bytes;
    const i8x64 weights = block % 2 == 0 ? load_low_nibbles(two_blocks) : load_high_nibbles(two_blocks);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) sums[r] = add_products_i4(sums[r], weights, codes[r] + block * 4);
  }
}

template <Format Stored>
struct Int4 {
  static constexpr Format format = Stored;
  template <int R>
  static inline __attribute__((always_inline)) void add_group(const uint8_t* w,
                                                              const ActivationGroup* const (&x)[R],
                                                              f32x16 (&part)[R]) {
    i4_sums sums[R];
    const int8_t* codes[R];
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      sums[r] = start_i4(*x[r]);
      codes[r] = x[r]->codes;
    }
    add_nibbles<R>(w, codes, sums);
    const auto* factors = reinterpret_cast<const uint16_t*>(w + 4 * block_bytes);
    const f32x16 scale = load_f16(factors);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) part[r] = fma(to_float(total_i4(sums[r])), scale, part[r]);
    if constexpr (has_centres(Stored)) {
      const f32x16 centre = load_f16(factors + panel_width);
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) part[r] = fma(centre, broadcast(x[r]->sum), part[r]);
    }
  }
};

// Rows row .. row + R of panels begin .. end.
template <class Width, int R>
void groups_tile(const GemmArgs& args, index_t begin, index_t end, index_t row) {
  constexpr index_t stride = code_bytes(Width::format) + factor_bytes(Width::format);
  const index_t groups = num_groups(args.k), x_stride = args.x_stride, y_stride = args.y_stride;
  const uint8_t* w =
      static_cast<const uint8_t*>(args.weight) + begin * quantized_panel_bytes(Width::format, args.k);
  const float* rows = args.x + row * x_stride;
  float* y = args.y + row * y_stride + begin * panel_width;
  for (index_t panel = begin; panel < end; ++panel, y += panel_width) {
    const ActivationGroup* x[R];
    f32x16 acc[R];
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      x[r] = reinterpret_cast<const ActivationGroup*>(rows + r * x_stride);
      acc[r] = initial(args, panel);
    }
    for (index_t left = groups; left > 0; left -= groups_per_scale) {
      f32x16 part[R];
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) part[r] = zero();
      for (index_t g = min_of(groups_per_scale, left); g > 0; --g, w += stride) {
        for (index_t line = 0; line < stride; line += 64) __builtin_prefetch(w + prefetch_bytes + line, 0, 2);
        Width::template add_group<R>(w, x, part);
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r) ++x[r];
      }
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) acc[r] = fma(part[r], broadcast(x[r][-1].scale), acc[r]);
    }
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) store(y + r * y_stride, acc[r]);
  }
}

// The same of int4_g128.
template <int R>
void quads_tile(const GemmArgs& args, index_t begin, index_t end, index_t row) {
  constexpr Format format = Format::int4_g128;
  constexpr index_t stride = code_bytes(format);
  const index_t groups = num_groups(args.k), x_stride = args.x_stride, y_stride = args.y_stride;
  const uint8_t* w = static_cast<const uint8_t*>(args.weight) + begin * quantized_panel_bytes(format, args.k);
  const float* rows = args.x + row * x_stride;
  const float* x_scale =
      rows + num_quads(args.k) * static_cast<index_t>(sizeof(ActivationQuad) / sizeof(float));
  float* y = args.y + row * y_stride + begin * panel_width;
  for (index_t panel = begin; panel < end; ++panel, y += panel_width) {
    const ActivationQuad* x[R];
    f32x16 acc[R];
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      x[r] = reinterpret_cast<const ActivationQuad*>(rows + r * x_stride);
      acc[r] = zero();
    }
    for (index_t left = groups; left > 0; left -= groups_per_scale) {
      i32x16 total[R];
      const int8_t* codes[R];
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) {
        total[r] = broadcast_i32(x[r]->start);
        codes[r] = x[r]->codes;
      }
      for (index_t g = min_of(groups_per_scale, left); g > 0; --g, w += stride) {
        for (index_t line = 0; line < stride; line += 64) __builtin_prefetch(w + prefetch_bytes + line, 0, 2);
        i4_sums sums[R];
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r) sums[r] = resume_i4(total[r]);
        add_nibbles<R>(w, codes, sums);
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r) {
          total[r] = resumed_i4(total[r], sums[r]);
          codes[r] += group_size;
        }
      }
      const f32x16 scale = load_f16(reinterpret_cast<const uint16_t*>(w));
      __builtin_prefetch(w + prefetch_bytes, 0, 2);
      w += factor_bytes(format);
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) {
        acc[r] = fma(to_float(shift_left(total[r], x[r]->shift)), scale, acc[r]);
        ++x[r];
      }
    }
    const f32x16 bias = initial(args, panel);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) store(y + r * y_stride, fma(acc[r], broadcast(x_scale[r * x_stride]), bias));
  }
}

template <class Width>
struct Groups {
  static constexpr Format format = Width::format;
  template <int R>
  static void tile(const GemmArgs& args, index_t begin, index_t end, index_t row) {
    groups_tile<Width, R>(args, begin, end, row);
  }
};

struct Quads {
  static constexpr Format format = Format::int4_g128;
  template <int R>
  static void tile(const GemmArgs& args, index_t begin, index_t end, index_t row) {
    quads_tile<R>(args, begin, end, row);
  }
};

// A tile of `height` rows, at most R.
template <class Tiles, int R>
void tile_of(index_t height, const GemmArgs& args, index_t begin, index_t end, index_t row) {
  if (height == R) return Tiles::template tile<R>(args, begin, end, row);
  if constexpr (R > 1) tile_of<Tiles, R - 1>(height, args, begin, end, row);
}

// As few tiles as possible, of nearly equal height. A tile's rows stay in L1 while panels come by, in order;
// all tiles read the same panels from L2.
template <class Tiles>
void quantized_rows(const GemmArgs& args, index_t begin, index_t end) {
  const index_t num_tiles = (args.rows + quantized_tile_rows - 1) / quantized_tile_rows;
  const index_t panels = panels_at_once(Tiles::format, args.k);
  for (index_t panel = begin; panel < end; panel += panels) {
    for (index_t tile = 0; tile < num_tiles; ++tile) {
      const index_t row = args.rows * tile / num_tiles;
      tile_of<Tiles, quantized_tile_rows>(args.rows * (tile + 1) / num_tiles - row, args, panel,
                                          min_of(panel + panels, end), row);
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
  const index_t groups = num_groups(args.k);
  for (index_t panel = begin; panel < end; ++panel) {
    const auto* w =
        static_cast<const uint8_t*>(args.weight) + panel * quantized_panel_bytes(args.format, args.k);
    for (index_t k_begin = 0; k_begin < args.k; k_begin += k_block) {
      const index_t k = min_of(k_block, args.k - k_begin);
      for (index_t g = 0; g < num_groups(k); ++g) {
        const index_t group = k_begin / group_size + g;
        unpack_quantized(w + codes_at(args.format, group), w + factors_at(args.format, group, groups),
                         args.format, scratch + g * group_size * panel_width);
      }
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
    quantized_rows<Groups<Int8>>(args, panel_begin, panel_end);
  } else if (args.format == Format::int4) {
    quantized_rows<Groups<Int4<Format::int4>>>(args, panel_begin, panel_end);
  } else if (args.format == Format::int4_g128) {
    quantized_rows<Quads>(args, panel_begin, panel_end);
  } else {
    quantized_rows<Groups<Int4<Format::int4_symmetric>>>(args, panel_begin, panel_end);
  }
}

}  // namespace gradus::GRADUS_VARIANT
