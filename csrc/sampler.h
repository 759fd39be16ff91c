// Sampling from one row of logits: gradus/backends/sampling.py, which is the specification, made fast.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/kernels.h"
#include "step.h"

namespace gradus {

// One per thread: it owns scratch memory.
class Sampler {
 public:
  Sampler(const Kernels& kernels, int64_t vocab_size) : kernels_(kernels), vocab_size_(vocab_size) {}

  // Row `index` of `output`, from its logits [vocab_size].
  void sample(const float* logits, const SamplingParams& params, StepOutput& output, int64_t index);

 private:
  int32_t first_at_least(const float* logits, float value);
  int32_t draw(const float* logits, float max, const SamplingParams& params);
  void keep_top_p(const float* logits, float max, const SamplingParams& params);
  double weigh_candidates(const float* logits, float max, double temperature);
  double weigh(const float* logits, int64_t n, float max, double temperature);
  double weigh_all(const float* logits, float max, double temperature);
  void find_likeliest(const float* logits, int64_t count);
  void add_logprobs(const float* logits, float max, int32_t token_id, int32_t num_top, StepOutput& output,
                    int64_t index);

  const Kernels& kernels_;
  int64_t vocab_size_;
  // Of all tokens, or of the candidates: whichever were weighed last.
  std::vector<double> weights_;
  std::vector<double> block_sums_;
  std::vector<int32_t> candidates_;
  std::vector<float> candidate_logits_;
};

}  // namespace gradus
