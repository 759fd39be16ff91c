// Sampling from one row of logits: gradus/backends/sampling.py, which is the specification, made fast.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels/kernels.h"
#include "step.h"

namespace gradus {

// The largest of a row's logits, and tokens begin .. end among which it is first found. Made of parts, in any
// order, while they are in the cache.
struct Peak {
  float max = -INFINITY;
  bool has_nan = false;
  int64_t begin = 0;
  int64_t end = 0;

  void add(const Peak& part) {
    has_nan |= part.has_nan;
    if (part.max < max || (part.max == max && end != 0 && begin < part.begin)) return;
    max = part.max;
    begin = part.begin;
    end = part.end;
  }
  bool is_usable() const { return !has_nan && std::isfinite(max); }
};

// One per thread: it owns scratch memory.
class Sampler {
 public:
  Sampler(const Kernels& kernels, int64_t vocab_size) : kernels_(kernels), vocab_size_(vocab_size) {}

  // Of logits [end - begin] of tokens begin .. end.
  static Peak peak(const Kernels& kernels, const float* logits, int64_t begin, int64_t end);
  // Row `index` of `output`, from its logits [vocab_size] and their peak.
  void sample(const float* logits, const Peak& peak, const Step& step, StepOutput& output, int64_t index);

 private:
  int32_t choose(const float* logits, Peak peak, const SamplingParams& params, const LogitEdits& edits);
  int32_t first_of(const float* logits, const Peak& peak);
  int32_t draw(const float* logits, float max, const SamplingParams& params);
  void keep_min_p(const float* logits, float max, const SamplingParams& params);
  void keep_top_p(const float* logits, float max, const SamplingParams& params, bool from_all);
  double weigh_candidates(const float* logits, float max, double temperature);
  double weigh(const float* logits, int64_t n, float max, double temperature);
  double weigh_all(const float* logits, float max, double temperature);
  void find_likeliest(const float* logits, int64_t count);
  void add_logprobs(const float* logits, float max, int32_t token_id, int32_t num_top, StepOutput& output,
                    int64_t index);

  const Kernels& kernels_;
  int64_t vocab_size_;
  std::vector<float> edited_;
  // Of all tokens, or of the candidates: whichever were weighed last.
  std::vector<double> weights_;
  std::vector<double> block_sums_;
  std::vector<int32_t> candidates_;
  std::vector<float> candidate_logits_;
};

}  // namespace gradus
