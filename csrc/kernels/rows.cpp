// Everything that treats rows one by one: embedding, norms, rotary embedding, KV writes, elementwise
// arithmetic.
//
//   embed:          y[m][i] = w[id[m]][i] * scale, gathered from the packed panels
//   rms_norm:       y = x * (1 / sqrt(sum x^2 / n + eps)) * w; the sum in 4 x 16 lanes, then their tree
//   rope:           pair (x[j], x[j + d/2]) -> (x[j] c - x[j + d/2] s, x[j + d/2] c + x[j] s), every product
//                   rounded; elements from rotary_dim on stay
//   silu_mul:       gate / (1 + exp(-gate)) * up
//   gelu_mul:       gate / (1 + exp(-2u)) * up with u = sqrt(2 / pi) (gate + 0.044715 gate^3), which is
//                   gate (1 + tanh u) / 2 * up
//   soft_cap:       cap tanh(x / cap)
//
// A fused kernel calls the very functions that the single ones are made of, so its results are theirs.
#include "half.h"
#include "kernels/simd.h"
#include "kernels/transpose.h"

namespace gradus::GRADUS_VARIANT {

void embed_quantized(const void* weight, Format, int64_t k, const int32_t* ids, float scale, int64_t rows,
                     Rows y);

void embed(const void* weight, Format format, int64_t k, const int32_t* ids, float scale, int64_t rows,
           Rows y) {
  if (is_quantized(format)) return embed_quantized(weight, format, k, ids, scale, rows, y);
  for (index_t row = 0; row < rows; ++row) {
    const index_t first = ids[row] / panel_width * k * panel_width + ids[row] % panel_width;
    float* out = y.data + row * y.stride;
    if (format == Format::f32) {
      const float* w = static_cast<const float*>(weight) + first;
      for (index_t i = 0; i < k; ++i) out[i] = w[i * panel_width] * scale;
    } else {
      const uint16_t* w = static_cast<const uint16_t*>(weight) + first;
      for (index_t i = 0; i < k; ++i) {
        const uint16_t bits = w[i * panel_width];
        out[i] = (format == Format::f16 ? f16_to_f32(bits) : bf16_to_f32(bits)) * scale;
      }
    }
  }
}

namespace {

float sum_of_squares(const float* x, index_t n) {
  f32x16 squares[4] = {zero(), zero(), zero(), zero()};
  index_t i = 0;
  for (; i + 64 <= n; i += 64) {
    for (index_t j = 0; j < 4; ++j) {
      const f32x16 v = load(x + i + j * 16);
      squares[j] = fma(v, v, squares[j]);
    }
  }
  for (index_t j = 0; i < n; i += 16, ++j) {
    const f32x16 v = load_first(x + i, n - i);
    squares[j] = fma(v, v, squares[j]);
  }
  return sum((squares[0] + squares[1]) + (squares[2] + squares[3]));
}

float norm_factor(float squares, float eps, index_t n) {
  return 1.0f / __builtin_sqrtf(squares / static_cast<float>(n) + eps);
}

void norm_one(const float* x, const float* weight, float eps, index_t n, float* y) {
  const f32x16 factor = broadcast(norm_factor(sum_of_squares(x, n), eps, n));
  for (index_t i = 0; i < n; i += 16) {
    const f32x16 normed = load_first(x + i, n - i) * factor * load_first(weight + i, n - i);
    store_first(y + i, normed, n - i);
  }
}

// Row `row` of y.
void add_row(Rows a, Rows b, index_t row, index_t n, Rows y) {
  const float* first = a.data + row * a.stride;
  const float* second = b.data + row * b.stride;
  float* out = y.data + row * y.stride;
  for (index_t i = 0; i < n; i += 16) {
    prefetch(first + a.stride + i, 16);
    prefetch(second + b.stride + i, 16);
    prefetch(out + y.stride + i, 16);
    store_first(out + i, load_first(first + i, n - i) + load_first(second + i, n - i), n - i);
  }
}

// What the elements of a head are multiplied by before they are rotated.
struct Unscaled {
  f32x16 at(const float* x, index_t i, index_t count) const { return load_first(x + i, count); }
};
struct Normed {
  f32x16 factor;
  const float* weight;
  f32x16 at(const float* x, index_t i, index_t count) const {
    return load_first(x + i, count) * factor * load_first(weight + i, count);
  }
};

// x and y may be the same.
template <class Scaled>
void rotate(const float* x, const Scaled& scaled, const float* table, index_t rotary_dim, index_t head_dim,
            float* y) {
  const index_t half = rotary_dim / 2;
  for (index_t j = 0; j < half; j += 16) {
    const index_t count = half - j;
    const f32x16 c = load_first(table + j, count);
    const f32x16 s = load_first(table + half + j, count);
    const f32x16 first = scaled.at(x, j, count);
    const f32x16 second = scaled.at(x, half + j, count);
    store_first(y + j, first * c - second * s, count);
    store_first(y + half + j, second * c + first * s, count);
  }
  for (index_t i = rotary_dim; i < head_dim; i += 16)
    store_first(y + i, scaled.at(x, i, head_dim - i), head_dim - i);
}

// All heads of row `row` of x in place, normed where there is a weight. Their factors are computed side by
// side, because each is a chain of slow instructions.
void rope_heads(const RopeKvArgs& args, Rows x, index_t row, const HeadArgs& norm) {
  const index_t head_dim = args.head_dim;
  const float* table = args.table + row * args.table_stride;
  for (index_t first = 0; first < norm.num_heads; first += 16) {
    const index_t count = min_of(16, norm.num_heads - first);
    float* heads = x.data + row * x.stride + first * head_dim;
    if (!norm.weight) {
      for (index_t h = 0; h < count; ++h)
        rotate(heads + h * head_dim, Unscaled{}, table, args.rotary_dim, head_dim, heads + h * head_dim);
      continue;
    }
    float factors[16] = {};
    for (index_t h = 0; h < count; ++h) {
      prefetch(heads + h * head_dim + x.stride, head_dim);
      factors[h] = sum_of_squares(heads + h * head_dim, head_dim);
    }
    for (index_t h = 0; h < 16; ++h) factors[h] = norm_factor(factors[h], args.eps, head_dim);
    for (index_t h = 0; h < count; ++h) {
      const Normed normed{broadcast(factors[h]), norm.weight};
      rotate(heads + h * head_dim, normed, table, args.rotary_dim, head_dim, heads + h * head_dim);
    }
  }
}

// Neighbouring rows, at most 16, whose tokens lie side by side in one group of the cache.
struct Run {
  index_t block;
  index_t offset;  // of the first token in its block
  index_t count;
};

Run run_at(const RopeKvArgs& args, index_t row, index_t row_end) {
  const int64_t* slots = args.slots + row;
  const index_t most = min_of(row_end - row, panel_width - slots[0] % panel_width);
  index_t count = 1;
  while (count < most && slots[count] == slots[0] + count) ++count;
  return {slots[0] / args.block_size, slots[0] % args.block_size, count};
}

// One head's K of a run: columns of its group of sixteen tokens. k: [run.count][stride].
void write_keys(const RopeKvArgs& args, const Run& run, index_t num_kv_heads, index_t head, const float* k,
                index_t stride) {
  const index_t lane = run.offset % panel_width;
  const index_t first =
      ((run.block * num_kv_heads + head) * args.block_size + run.offset - lane) * args.head_dim + lane;
  if (args.format == Format::f32) {
    float* out = static_cast<float*>(args.keys) + first;
    for (index_t d = 0; d < args.head_dim; ++d) {
      for (index_t i = 0; i < run.count; ++i) out[d * panel_width + i] = k[i * stride + d];
    }
    return;
  }
  uint16_t* out = static_cast<uint16_t*>(args.keys) + first;
  for (index_t d = 0; d < args.head_dim; d += 16, out += 16 * panel_width) {
    const index_t count = min_of(16, args.head_dim - d);
    uint16_t bits[panel_width][16];
    for (index_t i = 0; i < run.count; ++i) store_f16(bits[i], load_first(k + i * stride + d, count));
    if (run.count == panel_width && count == panel_width) {
      transpose16(bits, out);
    } else {
      for (index_t i = 0; i < run.count; ++i) {
        for (index_t j = 0; j < count; ++j) out[j * panel_width + i] = bits[i][j];
      }
    }
  }
}

void write_values(const RopeKvArgs& args, const Run& run, index_t num_kv_heads, index_t head, const float* v,
                  index_t stride) {
  const index_t head_dim = args.head_dim;
  const index_t first = ((run.block * num_kv_heads + head) * args.block_size + run.offset) * head_dim;
  for (index_t i = 0; i < run.count; ++i) {
    for (index_t d = 0; d < head_dim; d += 16) {
      const index_t count = head_dim - d;
      const f32x16 values = load_first(v + i * stride + d, count);
      const index_t at = first + i * head_dim + d;
      if (args.format == Format::f32) {
        store_first(static_cast<float*>(args.values) + at, values, count);
      } else if (count >= 16) {
        store_f16(static_cast<uint16_t*>(args.values) + at, values);
      } else {
        uint16_t bits[16];
        store_f16(bits, values);
        for (index_t j = 0; j < count; ++j) static_cast<uint16_t*>(args.values)[at + j] = bits[j];
      }
    }
  }
}

}  // namespace

void rms_norm(Rows x, const float* weight, float eps, int64_t width, int64_t segments, Rows y, int64_t rows) {
  for (index_t row = 0; row < rows; ++row) {
    for (index_t s = 0; s < segments; ++s) {
      norm_one(x.data + row * x.stride + s * width, weight, eps, width, y.data + row * y.stride + s * width);
    }
  }
}

void add(Rows a, Rows b, Rows y, int64_t width, int64_t rows) {
  for (index_t row = 0; row < rows; ++row) add_row(a, b, row, width, y);
}

void add_rms_norm(Rows a, Rows b, Rows total, const float* weight, float eps, int64_t width, Rows y,
                  int64_t rows) {
  for (index_t row = 0; row < rows; ++row) {
    add_row(a, b, row, width, total);
    norm_one(total.data + row * total.stride, weight, eps, width, y.data + row * y.stride);
  }
}

namespace {

f32x16 silu(f32x16 x) { return x / (broadcast(1.0f) + exp(zero() - x)); }

f32x16 gelu(f32x16 x) {
  const f32x16 cubed = x * x * x * broadcast(0.044715f);
  const f32x16 twice_u = broadcast(1.59576912160573071f) * (x + cubed);  // 2 sqrt(2 / pi)
  return x / (broadcast(1.0f) + exp(zero() - twice_u));
}

// y may be gate or up.
template <f32x16 (*activation)(f32x16)>
void gate_mul(Rows gate, Rows up, Rows y, index_t width, index_t rows) {
  for (index_t row = 0; row < rows; ++row) {
    const float* g = gate.data + row * gate.stride;
    const float* u = up.data + row * up.stride;
    float* out = y.data + row * y.stride;
    for (index_t i = 0; i < width; i += 16) {
      prefetch(g + gate.stride + i, 16);
      prefetch(u + up.stride + i, 16);
      const f32x16 x = load_first(g + i, width - i);
      store_first(out + i, activation(x) * load_first(u + i, width - i), width - i);
    }
  }
}

}  // namespace

void silu_mul(Rows gate, Rows up, Rows y, int64_t width, int64_t rows) {
  gate_mul<silu>(gate, up, y, width, rows);
}

void gelu_mul(Rows gate, Rows up, Rows y, int64_t width, int64_t rows) {
  gate_mul<gelu>(gate, up, y, width, rows);
}

void soft_cap(Rows x, float cap, int64_t width, int64_t rows) {
  for (index_t row = 0; row < rows; ++row) {
    float* values = x.data + row * x.stride;
    for (index_t i = 0; i < width; i += 16) {
      store_first(values + i, soft_capped(load_first(values + i, width - i), cap), width - i);
    }
  }
}

void rope(Rows x, Rows table, int64_t rotary_dim, int64_t head_dim, int64_t num_heads, Rows y, int64_t rows) {
  for (index_t row = 0; row < rows; ++row) {
    for (index_t h = 0; h < num_heads; ++h) {
      rotate(x.data + row * x.stride + h * head_dim, Unscaled{}, table.data + row * table.stride, rotary_dim,
             head_dim, y.data + row * y.stride + h * head_dim);
    }
  }
}

void kv_write(const RopeKvArgs& args, int64_t num_kv_heads, int64_t row_begin, int64_t row_end) {
  for (index_t row = row_begin; row < row_end;) {
    const Run run = run_at(args, row, row_end);
    for (index_t h = 0; h < num_kv_heads; ++h) {
      const index_t column = h * args.head_dim;
      write_keys(args, run, num_kv_heads, h, args.k + row * args.k_stride + column, args.k_stride);
      write_values(args, run, num_kv_heads, h, args.v + row * args.v_stride + column, args.v_stride);
    }
    row += run.count;
  }
}

void rope_kv_write(const RopeKvArgs& args, int64_t row_begin, int64_t row_end) {
  for (index_t row = row_begin; row < row_end; ++row) {
    prefetch(args.v + row * args.v_stride, args.k_norm.num_heads * args.head_dim);  // kv_write's
    rope_heads(args, {args.q, args.q_stride}, row, args.q_norm);
    rope_heads(args, {args.k, args.k_stride}, row, args.k_norm);
  }
  kv_write(args, args.k_norm.num_heads, row_begin, row_end);
}

}  // namespace gradus::GRADUS_VARIANT
