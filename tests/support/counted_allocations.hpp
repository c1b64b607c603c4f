#pragma once

// Counts what a program asks for. For one source file of a program of its own, because it takes the
// place of operator new.
#include <atomic>
#include <cstdlib>
#include <new>

namespace cpdcomm::testing {

inline std::atomic<int> allocations = 0;

inline void* counted_allocation(std::size_t size) {
  ++allocations;
  if (void* memory = std::malloc(size == 0 ? 1 : size)) return memory;
  throw std::bad_alloc();
}

}  // namespace cpdcomm::testing

void* operator new(std::size_t size) { return cpdcomm::testing::counted_allocation(size); }
void* operator new[](std::size_t size) { return cpdcomm::testing::counted_allocation(size); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }
