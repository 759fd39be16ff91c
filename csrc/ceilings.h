// How many multiply-adds per second this processor makes in registers: the ceiling of every product.
//
// The same instructions as in the kernels of a CPU variant, on operands that never leave registers. Knows no
// kernels: what they reach beside this is their own affair.
#pragma once

#include <string>
#include <vector>

namespace gradus {

enum class MultiplyAdd {
  f32,   // fused multiply-add
  bf16,  // two numbers a lane, summed in f32
  int8,  // 8-bit weights with 8-bit activations, summed in 32 bits
  int4,  // 4-bit weights with 8-bit activations, summed in 16 bits where the variant's kernel does so
};

// Multiply-adds per second of `num_threads` threads together, in each of several passes. Empty where the
// variant has no such instruction.
std::vector<double> time_multiply_adds(const std::string& variant, MultiplyAdd kind, int num_threads,
                                       int num_passes);

}  // namespace gradus
