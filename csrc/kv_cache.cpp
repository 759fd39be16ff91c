#include "kv_cache.h"

#include <cstring>
#include <string>

#include "errors.h"
#include "weight.h"

namespace gradus {

namespace {

// The last head's last slice of V may be read up to a panel's width beyond its end.
constexpr size_t slack_bytes = panel_width * sizeof(float);

size_t checked_block_bytes(const CacheShape& s) {
  if (s.block_size <= 0 || s.block_size % panel_width != 0) {
    throw SetupError("block_size is " + std::to_string(s.block_size) + "; it must be a multiple of 16");
  }
  if (s.format == Format::bf16) throw SetupError("the KV cache holds f16 or f32, not bf16");
  if (s.num_layers <= 0 || s.num_blocks <= 0 || s.num_kv_heads <= 0 || s.head_dim <= 0 ||
      s.head_dim % 2 != 0) {
    throw SetupError("the KV cache needs layers, blocks and heads, and an even head_dim");
  }
  return static_cast<size_t>(s.block_size * s.num_kv_heads * s.head_dim) * element_bytes(s.format);
}

size_t checked_total(const CacheShape& s, size_t block_bytes) {
  size_t total;
  if (__builtin_mul_overflow(block_bytes, static_cast<size_t>(2 * s.num_layers), &total) ||
      __builtin_mul_overflow(total, static_cast<size_t>(s.num_blocks), &total) || total > SIZE_MAX / 4) {
    throw SetupError("a KV cache of " + std::to_string(s.num_blocks) +
                     " blocks does not fit into the address space");
  }
  return total + slack_bytes;
}

}  // namespace

KvCache::KvCache(const CacheShape& shape)
    : shape_(shape), block_bytes_(checked_block_bytes(shape)), memory_(checked_total(shape, block_bytes_)) {}

CacheView KvCache::view(int64_t layer) const {
  return {keys(layer), values(layer), shape_.format, shape_.block_size, shape_.num_kv_heads, shape_.head_dim};
}

void KvCache::copy_block(int64_t source, int64_t destination) {
  if (source == destination) return;
  for (int64_t plane = 0; plane < 2 * shape_.num_layers; ++plane) {
    std::memcpy(at(plane, destination), at(plane, source), block_bytes_);
  }
}

void* KvCache::at(int64_t plane, int64_t block) const {
  return static_cast<char*>(memory_.data()) +
         (static_cast<size_t>(plane * shape_.num_blocks + block)) * block_bytes_;
}

}  // namespace gradus
