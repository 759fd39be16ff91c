// What the files of the binding share. They are the only ones that know Python: they convert arrays, check
// what Python could get wrong when it builds instructions, and release the GIL while a step runs.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <string>
#include <vector>

#include "errors.h"
#include "executor.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace gradus {

template <class T>
using Array1 = nb::ndarray<const T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
template <class T>
using Array2 = nb::ndarray<const T, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using AnyMatrix = nb::ndarray<nb::ro, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

inline void require(bool holds, const std::string& message) {
  if (!holds) throw SetupError(message);
}

template <class Array>
auto to_vector(const Array& array) {
  using T = std::remove_const_t<typename Array::Scalar>;
  return std::vector<T>(array.data(), array.data() + array.size());
}

inline Format format_of(const std::string& name) {
  if (name == "f32") return Format::f32;
  if (name == "bf16") return Format::bf16;
  if (name == "f16") return Format::f16;
  if (name == "int8") return Format::int8;
  if (name == "int4") return Format::int4;
  if (name == "int4_symmetric") return Format::int4_symmetric;
  if (name == "int4_g128") return Format::int4_g128;
  throw SetupError("the format is \"" + name +
                   "\"; it must be f32, bf16, f16, int8, int4, int4_symmetric or int4_g128");
}

inline std::string name_of(Format format) {
  constexpr const char* names[] = {"f32", "bf16", "f16", "int8", "int4", "int4_symmetric", "int4_g128"};
  return names[static_cast<int>(format)];
}

void bind_memory(nb::module_& m);        // Buffer, View, Weight, Floats
void bind_instructions(nb::module_& m);  // Instruction and its makers, Program
void bind_step(nb::module_& m);          // Step
// Instructions that depend on the cache, the vocabulary or scratch memory are made by the executor that has
// it.
void bind_quantized_instructions(nb::class_<Executor>& executor);
void bind_cache_instructions(nb::class_<Executor>& executor);
void bind_measurements(nb::module_& m, nb::class_<Executor>& executor);
// (token_ids, num_sampled, logprobs, ranks, top_token_ids, top_logprobs, logits or None, hidden or None)
nb::tuple to_python(StepOutput&& out, int64_t vocab_size);

}  // namespace gradus
