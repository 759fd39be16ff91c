// The memory behind KV block ids, for all layers. See CacheView for the layout of a layer.
#pragma once

#include <cstdint>

#include "kernels/kernels.h"
#include "memory.h"
#include "thread_pool.h"

namespace gradus {

struct CacheShape {
  Format format;  // f32 or f16
  int64_t num_layers;
  int64_t num_blocks;
  int64_t block_size;  // tokens, a multiple of 16
  int64_t num_kv_heads;
  int64_t head_dim;
};

class KvCache {
 public:
  // Throws SetupError if the sizes cannot work or the memory cannot be reserved.
  explicit KvCache(const CacheShape& shape);

  const CacheShape& shape() const { return shape_; }
  size_t bytes() const { return memory_.bytes(); }
  CacheView view(int64_t layer) const;
  void* keys(int64_t layer) const { return at(2 * layer, 0); }
  void* values(int64_t layer) const { return at(2 * layer + 1, 0); }
  // Block `source` over block `destination`, in every layer.
  void copy_block(int64_t source, int64_t destination);

 private:
  void* at(int64_t plane, int64_t block) const;

  CacheShape shape_;
  size_t block_bytes_;  // K or V of one block in one layer
  Memory memory_;       // [layer][k, v][block]
};

}  // namespace gradus
