/* linear: kernels and the run function.
 *
 *   made by   lathe, from linear
 *   command   lathe compile linear.ir --target x86-64-v3
 *   target    x86-64-v3 (AVX2, FMA)
 *   weights   1024 bytes, in linear.bin
 *   arena     0 bytes
 *   work      492*N FLOP
 */
#include "linear.h"
#include <math.h>
#include <stdint.h>
#include <string.h>

/* Vectors are passed only between inline functions, so how an ABI would pass them does not matter. */
#if defined(__GNUC__)
#pragma GCC diagnostic ignored "-Wpsabi"
#endif

/* Vectors, by GCC and Clang's vector extensions; NAME_u: in memory, at any address. */
typedef float f32x8 __attribute__((vector_size(32)));
typedef float f32x8_u __attribute__((vector_size(32), aligned(4), may_alias));
typedef float f32x4 __attribute__((vector_size(16)));
typedef float f32x4_u __attribute__((vector_size(16), aligned(4), may_alias));

#define INLINE static inline __attribute__((always_inline))
INLINE f32x8 load_f32x8(const float *p) { return *(const f32x8_u *)p; }
INLINE void store_f32x8(float *p, f32x8 v) { *(f32x8_u *)p = v; }
INLINE f32x4 load_f32x4(const float *p) { return *(const f32x4_u *)p; }
INLINE void store_f32x4(float *p, f32x4 v) { *(f32x4_u *)p = v; }

#define KERNEL static __attribute__((noinline))

/* matmul + add
 * f32[N,20] x f32[20,12] -> f32[N,12]
 * 492*N FLOP
 * gemm: tile 14x1 of 8 lanes, weights packed */
KERNEL void k0_matmul_add(const float *restrict weight, const float *restrict in, const float *restrict wt,
    float *restrict out, int64_t N) {
  for (int64_t row = 0; row < N; row++) {
    f32x8 acc = {0};
    for (int64_t k = 0; k < 20; k++)
      acc += in[row * 20 + k] * load_f32x8(weight + k * 8);
    store_f32x8(out + row * 12, acc + load_f32x8(wt));
  }
  for (int64_t row = 0; row < N; row++) {
    f32x4 acc = {0};
    for (int64_t k = 0; k < 20; k++)
      acc += in[row * 20 + k] * load_f32x4(weight + k * 4 + 160);
    store_f32x4(out + row * 12 + 8, acc + load_f32x4(wt + 8));
  }
}

#define WEIGHT(T, at) ((const T *)((const char *)weights + (at)))

int linear_run(const void *weights, void *arena, const linear_io *io) {
  if (!io || !io->x || !io->y || !weights) return 1;
  const int64_t N = io->N;
  if (N < 1 || N > 8) return 3;
  (void)arena;
  k0_matmul_add(WEIGHT(float, 64), io->x, WEIGHT(float, 0), io->y, N);
  return 0;
}

const char *linear_error(int code) {
  switch (code) {
  case 0: return "done";
  case 1: return "a pointer is NULL: io, one of its arrays, weights or arena";
  case 2: return "the arena is not aligned to 64 bytes";
  case 3: return "N is outside 1 to 8";
  case 4: return "a loop runs longer than it was compiled for";
  default: return "unknown error";
  }
}

/* Header of linear.bin, 64 bytes: magic, version, header bytes, layout, data bytes, xxh64 of the data. */
const void *linear_open(const void *file, size_t bytes) {
  static const char magic[8] = {'L', 'A', 'T', 'H', 'E', 'W', 'T', 'S'};
  uint32_t head[2];
  uint64_t layout[2];
  if (!file || bytes < 64 || memcmp(file, magic, 8) != 0) return NULL;
  memcpy(head, (const char *)file + 8, 8);
  memcpy(layout, (const char *)file + 16, 16);
  if (head[0] != 1 || head[1] != 64 || layout[0] != UINT64_C(0xc14482093f45ec88)) return NULL;
  if (layout[1] != LINEAR_WEIGHTS_BYTES || bytes - 64 < layout[1]) return NULL;
  return (const char *)file + 64;
}
