// Packed weights: one or more matrices with the same input, stored in panels of sixteen outputs.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/kernels.h"
#include "memory.h"
#include "thread_pool.h"

namespace gradus {

inline int64_t padded(int64_t n) { return (n + panel_width - 1) / panel_width * panel_width; }

size_t element_bytes(Format format);  // of a format that is not quantized
int64_t panel_bytes(Format format, int64_t inputs);

// Matrices [outputs[i], inputs], each padded to whole panels with zeros: [panel][inputs][16] in `format`, or
// [panel][group of 32 inputs][group_bytes(format)], where the last group's missing inputs have codes of zero.
class Weight {
 public:
  Weight(Format format, std::vector<int64_t> outputs, int64_t inputs);

  // Converts (to nearest even) and packs matrix `index`. source: [outputs[index]][inputs] of `source_format`.
  void pack(size_t index, const void* source, Format source_format, ThreadPool& pool);
  // Packs matrix `index`, which others have quantized. codes: [outputs][groups * 32], a byte each; scales,
  // centres: [outputs][groups], f16, centres of int4 only.
  void pack_quantized(size_t index, const uint8_t* codes, const uint16_t* scales, const uint16_t* centres,
                      ThreadPool& pool);
  // Bias of matrix `index`, [outputs[index]].
  void set_bias(size_t index, const float* bias);

  Format format() const { return format_; }
  int64_t inputs() const { return inputs_; }
  int64_t num_panels() const { return first_panels_.back(); }
  int64_t first_panel(size_t index) const { return first_panels_.at(index); }
  int64_t outputs(size_t index) const { return outputs_.at(index); }
  size_t num_matrices() const { return outputs_.size(); }
  const void* data() const { return memory_.data(); }
  const void* panel(int64_t index) const {
    return static_cast<const char*>(memory_.data()) + index * panel_bytes(format_, inputs_);
  }
  const float* bias() const { return bias_.empty() ? nullptr : bias_.data(); }
  size_t bytes() const { return memory_.bytes() + bias_.size() * sizeof(float); }

 private:
  Format format_;
  std::vector<int64_t> outputs_;
  int64_t inputs_;
  std::vector<int64_t> first_panels_;  // one more than matrices
  Memory memory_;
  std::vector<float> bias_;  // [num_panels * 16], empty without
};

}  // namespace gradus
