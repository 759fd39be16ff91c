// What a program consists of: one struct per operation, each naming the views it reads and writes.
//
// An instruction knows no row counts; they come with the step. The binding checks widths when it makes one;
// the executor checks that a step's rows fit the views.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "memory.h"
#include "weight.h"

namespace gradus {

enum class RowSet : int32_t {
  tokens,
  outputs
};  // a row per token of the step, or per row that it samples from

// A column range of a buffer: row r starts at data() + r * stride.
struct View {
  std::shared_ptr<Buffer> buffer;
  int64_t offset = 0;
  int64_t stride = 0;
  int64_t width = 0;
  RowSet rows = RowSet::tokens;

  float* data() const { return buffer->data() + offset; }
  // Rows that fit; kernels store whole vectors of sixteen.
  int64_t capacity() const {
    return stride == 0 ? 0 : (buffer->size() - offset + stride - padded(width)) / stride;
  }
};

// A constant: a norm's weight, or frequencies.
struct FloatVector {
  std::vector<float> values;
  const float* data() const { return values.data(); }
  int64_t size() const { return static_cast<int64_t>(values.size()); }
};

using Floats = std::shared_ptr<FloatVector>;
using WeightPtr = std::shared_ptr<Weight>;

struct Embed {
  WeightPtr weight;
  View out;
  float scale;
};
struct Linear {  // matrices first .. last of the weight, side by side
  View x;
  WeightPtr weight;
  int64_t first_panel, last_panel;
  View out;
  bool quantized_x;  // x holds rows of a Quantize
};
struct Quantize {  // rows of 8-bit codes and what goes with them: quantized_width(x.width, in_quads) floats
  View x, out;
  bool in_quads;  // as products with int4_g128 read them
};
struct RmsNorm {
  View x;
  Floats weight;
  float eps;
  int64_t head_dim;
  View out;
};
struct RopeTable {
  Floats inverse_frequencies;
  View out;
  float magnitude;
};
struct RopeHeads {
  View x, table;
  int64_t head_dim;
  View out;
};
struct KvWrite {
  View k, v;
  int64_t layer;
};
enum class AttentionKernel { naive, blocked, bf16, int8 };
constexpr size_t num_attention_kernels = 4;
struct Attention {
  View q;
  int64_t layer;
  float scale;
  AttentionKernel kernel;
  View out;
  int64_t window;  // 0: none
  float soft_cap;  // 0: none
};
struct SiluMul {
  View gate, up, out;
};
struct GeluMul {
  View gate, up, out;
};
struct Experts {  // gate_up: gate and up of expert 0, gate and up of expert 1, ...; down: of expert 0, ...
  View x;
  WeightPtr router, gate_up, down;
  int64_t top_k;
  bool renormalize;
  bool quantize_x;  // rows are quantized before they meet gate_up and down
  View out;
};
struct Add {
  View a, b, out;
};
struct SelectRows {
  View x, out;
};
struct LmHeadSample {
  View x;
  WeightPtr weight;
  float soft_cap;  // 0: none
  bool quantized_x;
};
// Fused: exactly the arithmetic of the ones above.
struct AddRmsNorm {
  View a, b, sum;
  Floats weight;
  float eps;
  View out;
};
struct RopeKvWrite {  // norm (where there are weights) and rope on q and k in place; k and v into the cache
  View q, k, v, table;
  Floats q_weight, k_weight;  // may be null
  float eps;
  int64_t head_dim;
  int64_t layer;
};
template <class Operation>
struct Quantized {  // an operation on rows whose result only a Quantize reads: its own `out` has no buffer
  Operation operation;
  View out;
  bool in_quads;
};

using Instruction =
    std::variant<Embed, Linear, RmsNorm, RopeTable, RopeHeads, KvWrite, Attention, SiluMul, GeluMul, Experts,
                 Add, SelectRows, LmHeadSample, AddRmsNorm, RopeKvWrite, Quantize, Quantized<RmsNorm>,
                 Quantized<AddRmsNorm>, Quantized<SiluMul>, Quantized<GeluMul>>;

struct Program {
  std::vector<Instruction> instructions;
};

}  // namespace gradus
