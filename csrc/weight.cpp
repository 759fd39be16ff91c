#include "weight.h"

#include <algorithm>

#include "errors.h"
#include "half.h"

namespace gradus {

namespace {

std::vector<int64_t> panel_starts(const std::vector<int64_t>& outputs) {
  std::vector<int64_t> starts{0};
  for (const int64_t n : outputs) starts.push_back(starts.back() + padded(n) / panel_width);
  return starts;
}

struct F32 {
  using type = float;
  static float read(float x) { return x; }
  static float write(float x) { return x; }
};
struct BF16 {
  using type = uint16_t;
  static float read(uint16_t x) { return bf16_to_f32(x); }
  static uint16_t write(float x) { return f32_to_bf16(x); }
};
struct F16 {
  using type = uint16_t;
  static float read(uint16_t x) { return f16_to_f32(x); }
  static uint16_t write(float x) { return f32_to_f16(x); }
};

// Rows 0 .. num_rows (at most sixteen) of `source` into one panel, in strips of k that stay in the cache.
template <class From, class To>
void pack_panel(const typename From::type* source, int64_t num_rows, int64_t k, typename To::type* panel) {
  constexpr int64_t strip = 64;
  for (int64_t begin = 0; begin < k; begin += strip) {
    const int64_t end = std::min(begin + strip, k);
    for (int64_t row = 0; row < num_rows; ++row) {
      for (int64_t i = begin; i < end; ++i)
        panel[i * panel_width + row] = To::write(From::read(source[row * k + i]));
    }
  }
}

template <class From, class To>
void pack_matrix(const void* source, int64_t n, int64_t k, void* packed, ThreadPool& pool) {
  const auto* from = static_cast<const typename From::type*>(source);
  auto* to = static_cast<typename To::type*>(packed);
  pool.parallel_for(padded(n) / panel_width, 4, [&](int64_t begin, int64_t end, int) {
    for (int64_t p = begin; p < end; ++p) {
      const int64_t row = p * panel_width;
      pack_panel<From, To>(from + row * k, std::min(panel_width, n - row), k, to + row * k);
    }
  });
}

constexpr int64_t most_inputs = groups_per_scale * group_size;  // that share factors

int64_t inputs_per_factor(Format format) { return groups_per_factor(format) * group_size; }

// The codes of a group of a panel as the kernels read them. codes: [32 inputs][16 outputs], a byte each.
void store_codes(Format format, const uint8_t* codes, uint8_t* group) {
  for (int64_t i = 0; i < group_size; ++i) {
    const int64_t block = i / 4;
    for (int64_t lane = 0; lane < panel_width; ++lane) {
      const uint8_t code = codes[i * panel_width + lane];
      const int64_t within = lane * 4 + i % 4;
      if (format == Format::int8) {
        group[block * 4 * panel_width + within] = code;
      } else if (block % 2 == 0) {
        group[block / 2 * 4 * panel_width + within] = code;
      } else {
        group[block / 2 * 4 * panel_width + within] |= static_cast<uint8_t>(code << 4);
      }
    }
  }
}

// What shares its factors in a panel of `inputs`, as the kernels read it. codes: [groups][32 inputs][16
// outputs]; of those after the last input's group none is stored.
void store_factored(Format format, int64_t inputs, int64_t index, const uint8_t* codes,
                    const uint16_t* scales, const uint16_t* centres, uint8_t* panel) {
  const int64_t shared = groups_per_factor(format), groups = num_groups(inputs);
  const int64_t first = index * shared;
  for (int64_t g = first; g < std::min(first + shared, groups); ++g)
    store_codes(format, codes + (g - first) * group_size * panel_width, panel + codes_at(format, g));
  auto* factors = reinterpret_cast<uint16_t*>(panel + factors_at(format, first, groups));
  std::copy_n(scales, panel_width, factors);
  if (has_centres(format)) std::copy_n(centres, panel_width, factors + panel_width);
}

// `size` inputs of up to sixteen rows of one matrix, [num_rows][k] at `source`, `count` of which exist.
// Missing rows are zeros. So are missing inputs, which changes no line through zero; in int4 they repeat the
// last one, which changes neither end of the group.
template <class From>
void widen_inputs(const typename From::type* source, int64_t num_rows, int64_t k, int64_t count, int64_t size,
                  bool repeats_last, float* x) {
  for (int64_t lane = 0; lane < panel_width; ++lane) {
    for (int64_t i = 0; i < size; ++i) {
      const bool exists = lane < num_rows && (i < count || repeats_last);
      x[i * panel_width + lane] = exists ? From::read(source[lane * k + std::min(i, count - 1)]) : 0.0f;
    }
  }
}

template <class From>
void quantize_panel(const typename From::type* source, int64_t num_rows, int64_t k, Format format,
                    const Kernels& kernels, uint8_t* panel) {
  float x[most_inputs * panel_width];
  uint8_t codes[most_inputs * panel_width];
  uint16_t scales[panel_width], centres[panel_width];
  const int64_t size = inputs_per_factor(format);
  for (int64_t first = 0; first < k; first += size) {
    const int64_t count = std::min(size, k - first);
    widen_inputs<From>(source + first, num_rows, k, count, size, has_centres(format), x);
    kernels.quantize_weights(x, format, codes, scales, centres);
    std::fill(codes + count * panel_width, codes + size * panel_width, uint8_t{0});
    for (int64_t i = 0; i < count; ++i)
      std::fill(codes + i * panel_width + num_rows, codes + (i + 1) * panel_width, uint8_t{0});
    store_factored(format, k, first / size, codes, scales, centres, panel);
  }
}

template <class From>
void quantize_matrix(const void* source, int64_t n, int64_t k, Format format, const Kernels& kernels,
                     uint8_t* packed, ThreadPool& pool) {
  const auto* from = static_cast<const typename From::type*>(source);
  pool.parallel_for(padded(n) / panel_width, 4, [&](int64_t begin, int64_t end, int) {
    for (int64_t p = begin; p < end; ++p) {
      const int64_t row = p * panel_width;
      quantize_panel<From>(from + row * k, std::min(panel_width, n - row), k, format, kernels,
                           packed + p * panel_bytes(format, k));
    }
  });
}

template <class From>
void pack_from(const void* source, int64_t n, int64_t k, Format format, void* packed, const Kernels& kernels,
               ThreadPool& pool) {
  switch (format) {
    case Format::f32:
      return pack_matrix<From, F32>(source, n, k, packed, pool);
    case Format::bf16:
      return pack_matrix<From, BF16>(source, n, k, packed, pool);
    case Format::f16:
      return pack_matrix<From, F16>(source, n, k, packed, pool);
    case Format::int8:
    case Format::int4:
    case Format::int4_symmetric:
    case Format::int4_g128:
      return quantize_matrix<From>(source, n, k, format, kernels, static_cast<uint8_t*>(packed), pool);
  }
}

}  // namespace

size_t element_bytes(Format format) { return format == Format::f32 ? 4 : 2; }

int64_t panel_bytes(Format format, int64_t inputs) {
  if (is_quantized(format)) return quantized_panel_bytes(format, inputs);
  return inputs * panel_width * static_cast<int64_t>(element_bytes(format));
}

Weight::Weight(Format format, std::vector<int64_t> outputs, int64_t inputs)
    : format_(format),
      outputs_(std::move(outputs)),
      inputs_(inputs),
      first_panels_(panel_starts(outputs_)),
      memory_(std::make_shared<Memory>(packed_bytes(), Memory::Pages::huge)),
      data_(memory_->data()) {}

Weight::Weight(Format format, std::vector<int64_t> outputs, int64_t inputs, const void* data,
               std::shared_ptr<const void> owner)
    : format_(format),
      outputs_(std::move(outputs)),
      inputs_(inputs),
      first_panels_(panel_starts(outputs_)),
      owner_(std::move(owner)),
      data_(data) {}

uint8_t* Weight::writable_panel(size_t index) {
  if (!memory_) throw SetupError("a weight that is a view cannot be packed");
  return static_cast<uint8_t*>(memory_->data()) + first_panel(index) * panel_bytes(format_, inputs_);
}

void Weight::pack(size_t index, const void* source, Format source_format, const Kernels& kernels,
                  ThreadPool& pool) {
  void* packed = writable_panel(index);
  const int64_t n = outputs(index);
  switch (source_format) {
    case Format::f32:
      return pack_from<F32>(source, n, inputs_, format_, packed, kernels, pool);
    case Format::bf16:
      return pack_from<BF16>(source, n, inputs_, format_, packed, kernels, pool);
    case Format::f16:
      return pack_from<F16>(source, n, inputs_, format_, packed, kernels, pool);
    default:
      throw SetupError("quantized matrices are packed from their codes");
  }
}

void Weight::pack_quantized(size_t index, const uint8_t* codes, const uint16_t* scales,
                            const uint16_t* centres, ThreadPool& pool) {
  uint8_t* packed = writable_panel(index);
  const int64_t n = outputs(index);
  const int64_t factors = num_factors(format_, inputs_), size = inputs_per_factor(format_);
  pool.parallel_for(padded(n) / panel_width, 4, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin * factors; i < end * factors; ++i) {
      const int64_t panel = i / factors, row = panel * panel_width, index = i % factors;
      uint8_t lanes[most_inputs * panel_width] = {};
      uint16_t lane_scales[panel_width] = {}, lane_centres[panel_width] = {};
      for (int64_t lane = 0; lane < std::min(panel_width, n - row); ++lane) {
        const int64_t from = (row + lane) * factors + index;
        for (int64_t j = 0; j < size; ++j) lanes[j * panel_width + lane] = codes[from * size + j];
        lane_scales[lane] = scales[from];
        if (centres) lane_centres[lane] = centres[from];
      }
      store_factored(format_, inputs_, index, lanes, lane_scales, lane_centres,
                     packed + panel * panel_bytes(format_, inputs_));
    }
  });
}

void Weight::set_bias(size_t index, const float* bias) {
  bias_.resize(static_cast<size_t>(num_panels() * panel_width));
  std::copy_n(bias, outputs(index), bias_.begin() + first_panel(index) * panel_width);
}

}  // namespace gradus
