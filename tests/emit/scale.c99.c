/* scale: kernels and the run function.
 *
 *   made by   lathe, from scale
 *   command   lathe compile scale.ir --target c99
 *   target    c99 (any C99 compiler, no extensions)
 *   weights   64 bytes, in scale.bin
 *   arena     0 bytes
 *   work      20*N FLOP
 */
#include "scale.h"
#include <math.h>
#include <stdint.h>
#include <string.h>

#define INLINE static inline
INLINE float sigmoid_f32(float a) { return 1 / (1 + expf(-a)); }

#define KERNEL static

/* mul + sigmoid
 * f32[N,10] x f32[10] -> f32[N,10]
 * 20*N FLOP */
KERNEL void k0_mul_sigmoid(const float *restrict in, const float *restrict wt, float *restrict out, int64_t N) {
  for (int64_t i = 0; i < N; i++)
    for (int64_t j = 0; j < 10; j++)
      out[i * 10 + j] = sigmoid_f32(in[i * 10 + j] * wt[j]);
}

#define WEIGHT(T, at) ((const T *)((const char *)weights + (at)))

int scale_run(const void *weights, void *arena, const scale_io *io) {
  if (!io || !io->x || !io->y || !weights) return 1;
  const int64_t N = io->N;
  if (N < 1 || N > 64) return 3;
  (void)arena;
  k0_mul_sigmoid(io->x, WEIGHT(float, 0), io->y, N);
  return 0;
}

const char *scale_error(int code) {
  switch (code) {
  case 0: return "done";
  case 1: return "a pointer is NULL: io, one of its arrays, weights or arena";
  case 2: return "the arena is not aligned to 64 bytes";
  case 3: return "N is outside 1 to 64";
  case 4: return "a loop runs longer than it was compiled for";
  default: return "unknown error";
  }
}

/* Header of scale.bin, 64 bytes: magic, version, header bytes, layout, data bytes, xxh64 of the data. */
const void *scale_open(const void *file, size_t bytes) {
  static const char magic[8] = {'L', 'A', 'T', 'H', 'E', 'W', 'T', 'S'};
  uint32_t head[2];
  uint64_t layout[2];
  if (!file || bytes < 64 || memcmp(file, magic, 8) != 0) return NULL;
  memcpy(head, (const char *)file + 8, 8);
  memcpy(layout, (const char *)file + 16, 16);
  if (head[0] != 1 || head[1] != 64 || layout[0] != UINT64_C(0xe7a28957820db115)) return NULL;
  if (layout[1] != SCALE_WEIGHTS_BYTES || bytes - 64 < layout[1]) return NULL;
  return (const char *)file + 64;
}
