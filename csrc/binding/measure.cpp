// What the benches measure: this machine's ceilings, and the time of each instruction of a program.
#include <nanobind/stl/vector.h>

#include <chrono>

#include "binding/binding.h"
#include "ceilings.h"
#include "cpu_features.h"

namespace gradus {

namespace {

MultiplyAdd kind_of(const std::string& name) {
  if (name == "f32") return MultiplyAdd::f32;
  if (name == "int8") return MultiplyAdd::int8;
  if (name == "bf16") return MultiplyAdd::bf16;
  require(name == "int4", "a multiply-add is of f32, bf16, int8 or int4");
  return MultiplyAdd::int4;
}

// Runs a program as Executor::run does, with a clock between its instructions.
std::vector<double> run_timed(Executor& executor, const Program& program, const Step& step) {
  using clock = std::chrono::steady_clock;
  std::vector<double> seconds;
  seconds.reserve(program.instructions.size());
  executor.begin(step);
  auto last = clock::now();
  for (const Instruction& instruction : program.instructions) {
    executor.execute(instruction);
    const auto now = clock::now();
    seconds.push_back(std::chrono::duration<double>(now - last).count());
    last = now;
  }
  executor.end();
  return seconds;
}

}  // namespace

void bind_measurements(nb::module_& m, nb::class_<Executor>& executor) {
  m.def(
      "time_multiply_adds",
      [](const std::string& variant, const std::string& kind, int num_threads, int num_passes) {
        require(num_threads >= 1 && num_threads <= 1024, "num_threads must be 1 to 1024");
        require(num_passes >= 1, "a measurement needs a pass at least");
        select_kernels(variant);  // one that this CPU can run
        const MultiplyAdd multiply_add = kind_of(kind);
        nb::gil_scoped_release release;
        return time_multiply_adds(variant, multiply_add, num_threads, num_passes);
      },
      "Multiply-adds per second in registers, in each pass; empty where the variant has no such instruction.",
      "variant"_a, "kind"_a, "num_threads"_a, "num_passes"_a);
  executor.def("run_timed", &run_timed, "Runs a program; the seconds that each of its instructions took.",
               nb::call_guard<nb::gil_scoped_release>());
}

}  // namespace gradus
