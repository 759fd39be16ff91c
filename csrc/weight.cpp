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

template <class From>
void pack_from(const void* source, int64_t n, int64_t k, Format format, void* packed, ThreadPool& pool) {
  switch (format) {
    case Format::f32:
      return pack_matrix<From, F32>(source, n, k, packed, pool);
    case Format::bf16:
      return pack_matrix<From, BF16>(source, n, k, packed, pool);
    case Format::f16:
      return pack_matrix<From, F16>(source, n, k, packed, pool);
    default:
      throw SetupError("a quantized weight is packed from its codes");
  }
}

// One output's codes, scales and centres into lane `lane` of its panel: [group][group_bytes].
void pack_output(Format format, const uint8_t* codes, const uint16_t* scales, const uint16_t* centres,
                 int64_t groups, int64_t lane, uint8_t* panel) {
  const int64_t code_bytes = panel_width * group_size / (format == Format::int4 ? 2 : 1);
  for (int64_t g = 0; g < groups; ++g, codes += group_size, panel += group_bytes(format)) {
    for (int64_t i = 0; i < group_size; ++i) {
      const int64_t block = i / 4;
      const int64_t within = lane * 4 + i % 4;
      if (format == Format::int4) {
        panel[block / 2 * 4 * panel_width + within] |= static_cast<uint8_t>(codes[i] << block % 2 * 4);
      } else {
        panel[block * 4 * panel_width + within] = codes[i];
      }
    }
    auto* factors = reinterpret_cast<uint16_t*>(panel + code_bytes);
    factors[lane] = scales[g];
    if (format == Format::int4) factors[panel_width + lane] = centres[g];
  }
}

}  // namespace

size_t element_bytes(Format format) { return format == Format::f32 ? 4 : 2; }

int64_t panel_bytes(Format format, int64_t inputs) {
  if (is_quantized(format)) return num_groups(inputs) * group_bytes(format);
  return inputs * panel_width * static_cast<int64_t>(element_bytes(format));
}

Weight::Weight(Format format, std::vector<int64_t> outputs, int64_t inputs)
    : format_(format),
      outputs_(std::move(outputs)),
      inputs_(inputs),
      first_panels_(panel_starts(outputs_)),
      memory_(static_cast<size_t>(num_panels() * panel_bytes(format, inputs_)), Memory::Pages::huge) {}

void Weight::pack(size_t index, const void* source, Format source_format, ThreadPool& pool) {
  void* packed = const_cast<void*>(panel(first_panel(index)));
  const int64_t n = outputs(index);
  switch (source_format) {
    case Format::f32:
      return pack_from<F32>(source, n, inputs_, format_, packed, pool);
    case Format::bf16:
      return pack_from<BF16>(source, n, inputs_, format_, packed, pool);
    case Format::f16:
      return pack_from<F16>(source, n, inputs_, format_, packed, pool);
    default:
      throw SetupError("a quantized weight is packed from its codes");
  }
}

void Weight::pack_quantized(size_t index, const uint8_t* codes, const uint16_t* scales,
                            const uint16_t* centres, ThreadPool& pool) {
  const int64_t n = outputs(index);
  const int64_t groups = num_groups(inputs_);
  pool.parallel_for(padded(n) / panel_width, 4, [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin * panel_width; row < std::min(end * panel_width, n); ++row) {
      auto* packed = static_cast<uint8_t*>(const_cast<void*>(panel(first_panel(index) + row / panel_width)));
      pack_output(format_, codes + row * groups * group_size, scales + row * groups,
                  centres ? centres + row * groups : nullptr, groups, row % panel_width, packed);
    }
  });
}

void Weight::set_bias(size_t index, const float* bias) {
  bias_.resize(static_cast<size_t>(num_panels() * panel_width));
  std::copy_n(bias, outputs(index), bias_.begin() + first_panel(index) * panel_width);
}

}  // namespace gradus
