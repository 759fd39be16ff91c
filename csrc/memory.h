// Large zeroed memory straight from the operating system: pages cost nothing until they are touched.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace gradus {

class Memory {
 public:
  enum class Pages { small, huge };

  // Throws SetupError with the size if the system refuses.
  explicit Memory(size_t bytes, Pages pages = Pages::small);
  ~Memory();
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  void* data_;
  size_t bytes_;
};

// Floats that several views may share.
class Buffer {
 public:
  explicit Buffer(int64_t num_floats) : memory_(static_cast<size_t>(num_floats) * sizeof(float)) {}
  float* data() const { return static_cast<float*>(memory_.data()); }
  int64_t size() const { return static_cast<int64_t>(memory_.bytes() / sizeof(float)); }

 private:
  Memory memory_;
};

}  // namespace gradus
