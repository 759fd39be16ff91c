// Packed weights: one or more matrices with the same input, stored in panels of sixteen outputs.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/kernels.h"
#include "memory.h"
#include "thread_pool.h"

namespace gradus {

// One more whenever the bytes of a packed weight change: those that were stored before are packed anew.
constexpr int64_t layout_version = 3;
constexpr size_t weight_alignment = 64;  // bytes

inline int64_t padded(int64_t n) { return (n + panel_width - 1) / panel_width * panel_width; }

size_t element_bytes(Format format);  // of a format that is not quantized
int64_t panel_bytes(Format format, int64_t inputs);

// Matrices [outputs[i], inputs], each padded to whole panels with zeros: [panel][inputs][16] in `format`, or
// [panel][quantized_panel_bytes(format, inputs)], where the last group's missing inputs have codes of zero.
class Weight {
 public:
  Weight(Format format, std::vector<int64_t> outputs, int64_t inputs);
  // What another weight of this format and shape had as its data, packed_bytes() of it, aligned to
  // weight_alignment; read only, and kept alive by `owner`.
  Weight(Format format, std::vector<int64_t> outputs, int64_t inputs, const void* data,
         std::shared_ptr<const void> owner);

  // Converts (to nearest even) or quantizes, and packs matrix `index`. source: [outputs[index]][inputs] of
  // `source_format`.
  void pack(size_t index, const void* source, Format source_format, const Kernels& kernels, ThreadPool& pool);
  // Packs matrix `index`, which others have quantized. codes: [outputs][n * inputs that share factors], a
  // byte each; scales, centres: [outputs][n], f16, centres of int4 only.
  void pack_quantized(size_t index, const uint8_t* codes, const uint16_t* scales, const uint16_t* centres,
                      ThreadPool& pool);
  // Bias of matrix `index`, [outputs[index]].
  void set_bias(size_t index, const float* bias);
  // Those of all matrices as `biases` gives them.
  void set_biases(std::vector<float> biases) { bias_ = std::move(biases); }

  Format format() const { return format_; }
  int64_t inputs() const { return inputs_; }
  int64_t num_panels() const { return first_panels_.back(); }
  int64_t first_panel(size_t index) const { return first_panels_.at(index); }
  int64_t outputs(size_t index) const { return outputs_.at(index); }
  const std::vector<int64_t>& all_outputs() const { return outputs_; }
  size_t num_matrices() const { return outputs_.size(); }
  const void* data() const { return data_; }
  size_t packed_bytes() const { return static_cast<size_t>(num_panels() * panel_bytes(format_, inputs_)); }
  const void* panel(int64_t index) const {
    return static_cast<const char*>(data_) + index * panel_bytes(format_, inputs_);
  }
  const float* bias() const { return bias_.empty() ? nullptr : bias_.data(); }
  const std::vector<float>& biases() const { return bias_; }
  size_t bytes() const { return packed_bytes() + bias_.size() * sizeof(float); }

 private:
  uint8_t* writable_panel(size_t index);  // the first of matrix `index`

  Format format_;
  std::vector<int64_t> outputs_;
  int64_t inputs_;
  std::vector<int64_t> first_panels_;  // one more than matrices
  std::shared_ptr<Memory> memory_;     // none where the data are somebody else's
  std::shared_ptr<const void> owner_;
  const void* data_;
  std::vector<float> bias_;  // [num_panels * 16], empty without
};

}  // namespace gradus
