/* linear: kernels and the run function.
 *
 *   made by   lathe, from linear
 *   command   lathe compile linear.ir --target x86-64-v3
 *   target    x86-64-v3 (AVX2, FMA)
 *   weights   1344 bytes, in linear.bin
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

/* Keeps a weight that several lines use in a register: compilers would load it again in each. */
#if defined(__GNUC__) && defined(__AVX__)
#define LT_KEEP(v) __asm__("" : "+x"(v))
#else
#define LT_KEEP(v)
#endif

#define INLINE static inline __attribute__((always_inline))
INLINE f32x8 load_f32x8(const float *p) { return *(const f32x8_u *)p; }
INLINE void store_f32x8(float *p, f32x8 v) { *(f32x8_u *)p = v; }
INLINE f32x4 part_f32x4_f32x8(f32x8 v, int i) {
  union { f32x8 v; f32x4 part[2]; } u = {v};
  return u.part[i];
}
INLINE f32x4 load_f32x4(const float *p) { return *(const f32x4_u *)p; }
INLINE void store_f32x4(float *p, f32x4 v) { *(f32x4_u *)p = v; }

#define KERNEL static __attribute__((noinline))

/* matmul + add
 * f32[N,20] x f32[20,12] -> f32[N,12]
 * 492*N FLOP
 * gemm: tile 6x2 of 8 lanes, weights packed */
KERNEL void k0_matmul_add(const float *restrict weight, const float *restrict in, const float *restrict wt,
    float *restrict out, int64_t N) {
  int64_t whole = N / 6 * 6;
  for (int64_t row = 0; row < whole; row += 6) {
    f32x8 acc = {0}, acc2 = {0}, acc3 = {0}, acc4 = {0}, acc5 = {0}, acc6 = {0}, acc7 = {0}, acc8 = {0},
        acc9 = {0}, acc10 = {0}, acc11 = {0}, acc12 = {0};
    for (int64_t k = 0; k < 20; k++) {
      f32x8 w = load_f32x8(weight + k * 16); LT_KEEP(w);
      f32x8 w2 = load_f32x8(weight + k * 16 + 8); LT_KEEP(w2);
      int64_t at = row * 20 + k;
      float a = in[at];
      acc += a * w;
      acc7 += a * w2;
      float a2 = in[at + 20];
      acc2 += a2 * w;
      acc8 += a2 * w2;
      float a3 = in[at + 40];
      acc3 += a3 * w;
      acc9 += a3 * w2;
      float a4 = in[at + 60];
      acc4 += a4 * w;
      acc10 += a4 * w2;
      float a5 = in[at + 80];
      acc5 += a5 * w;
      acc11 += a5 * w2;
      float a6 = in[at + 100];
      acc6 += a6 * w;
      acc12 += a6 * w2;
    }
    store_f32x8(out + row * 12, acc + load_f32x8(wt));
    store_f32x4(out + row * 12 + 8, part_f32x4_f32x8(acc7, 0) + load_f32x4(wt + 8));
    store_f32x8(out + row * 12 + 12, acc2 + load_f32x8(wt));
    store_f32x4(out + row * 12 + 20, part_f32x4_f32x8(acc8, 0) + load_f32x4(wt + 8));
    store_f32x8(out + row * 12 + 24, acc3 + load_f32x8(wt));
    store_f32x4(out + row * 12 + 32, part_f32x4_f32x8(acc9, 0) + load_f32x4(wt + 8));
    store_f32x8(out + row * 12 + 36, acc4 + load_f32x8(wt));
    store_f32x4(out + row * 12 + 44, part_f32x4_f32x8(acc10, 0) + load_f32x4(wt + 8));
    store_f32x8(out + row * 12 + 48, acc5 + load_f32x8(wt));
    store_f32x4(out + row * 12 + 56, part_f32x4_f32x8(acc11, 0) + load_f32x4(wt + 8));
    store_f32x8(out + row * 12 + 60, acc6 + load_f32x8(wt));
    store_f32x4(out + row * 12 + 68, part_f32x4_f32x8(acc12, 0) + load_f32x4(wt + 8));
  }
  for (int64_t row = whole; row < N; row++) {
    f32x8 acc = {0}, acc2 = {0};
    for (int64_t k = 0; k < 20; k++) {
      f32x8 w2 = load_f32x8(weight + k * 16 + 8);
      float a = in[row * 20 + k];
      acc += a * load_f32x8(weight + k * 16);
      acc2 += a * w2;
    }
    store_f32x8(out + row * 12, acc + load_f32x8(wt));
    store_f32x4(out + row * 12 + 8, part_f32x4_f32x8(acc2, 0) + load_f32x4(wt + 8));
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
  if (head[0] != 1 || head[1] != 64 || layout[0] != UINT64_C(0xd10c3b88ba604a4d)) return NULL;
  if (layout[1] != LINEAR_WEIGHTS_BYTES || bytes - 64 < layout[1]) return NULL;
  return (const char *)file + 64;
}
