#include "memory.h"

#include <sys/mman.h>

#include <string>

#include "errors.h"

namespace gradus {

Memory::Memory(size_t bytes, Pages pages) : bytes_(bytes == 0 ? 1 : bytes) {
  constexpr int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  data_ = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, flags, -1, 0);
  if (data_ == MAP_FAILED) throw SetupError("cannot reserve " + std::to_string(bytes_) + " bytes of memory");
#ifdef MADV_HUGEPAGE
  if (pages == Pages::huge) madvise(data_, bytes_, MADV_HUGEPAGE);  // only a hint
#else
  (void)pages;
#endif
}

Memory::~Memory() { munmap(data_, bytes_); }

}  // namespace gradus
