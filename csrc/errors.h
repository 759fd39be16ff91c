// The errors that C++ raises on purpose; the binding turns each into a Python exception of the same name.
#pragma once

#include <stdexcept>

namespace gradus {

// A step's arguments contradict each other or the backend's limits.
struct StepError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// A value given at construction cannot work.
struct SetupError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

}  // namespace gradus
