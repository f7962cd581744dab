/* conv: kernels and the run function.
 *
 *   made by   lathe, from conv
 *   command   lathe compile conv.ir --target c99
 *   target    c99 (any C99 compiler, no extensions)
 *   weights   960 bytes, in conv.bin
 *   arena     1472 bytes
 *   work      11.0 kFLOP
 */
#include "conv.h"
#include <math.h>
#include <stdint.h>
#include <string.h>

#define INLINE static inline
INLINE float relu_f32(float a) { return a < 0 ? 0 : a; }

#define KERNEL static

/* copy
 * f32[1,3,9,9] -> f32[1,3,9,9] */
KERNEL void k0_copy(const float *restrict in, float *restrict out) {
  for (int64_t j = 0; j < 3; j++)
    for (int64_t k = 0; k < 9; k++)
      for (int64_t l = 0; l < 9; l++)
        out[j * 121 + k * 11 + l + 12] = in[j * 81 + k * 9 + l];
}

/* pad
 * f32[1,3,9,9] -> f32[1,3,11,11] */
KERNEL void k1_pad(float *restrict out) {
  for (int64_t i = 0; i < 3; i++)
    for (int64_t i2 = 0; i2 < 11; i2++)
      out[i * 121 + i2] = 0.0f;
  for (int64_t i = 0; i < 3; i++)
    for (int64_t i2 = 0; i2 < 11; i2++)
      out[i * 121 + i2 + 110] = 0.0f;
  for (int64_t i = 0; i < 3; i++)
    for (int64_t i2 = 1; i2 < 10; i2++)
      out[i * 121 + i2 * 11] = 0.0f;
  for (int64_t i = 0; i < 3; i++)
    for (int64_t i2 = 1; i2 < 10; i2++)
      out[i * 121 + i2 * 11 + 10] = 0.0f;
}

/* conv + relu
 * f32[1,3,11,11] x f32[8,3,3,3] x f32[8] -> f32[1,8,5,5]
 * 11000 FLOP */
KERNEL void k2_conv_relu(const float *restrict in, const float *restrict wt, const float *restrict wt1,
    float *restrict out) {
  for (int64_t j = 0; j < 8; j++)
    for (int64_t k = 0; k < 5; k++)
      for (int64_t l = 0; l < 5; l++) {
        float sum = 0.0f;
        for (int64_t c = 0; c < 3; c++)
          for (int64_t kh = 0; kh < 3; kh++)
            for (int64_t kh2 = 0; kh2 < 3; kh2++)
              sum += in[c * 121 + (k * 2 + kh) * 11 + l * 2 + kh2] * wt[j * 27 + c * 9 + kh * 3 + kh2];
        out[j * 25 + k * 5 + l] = relu_f32(sum + wt1[j]);
      }
}

#define WEIGHT(T, at) ((const T *)((const char *)weights + (at)))
#define ARENA(T, at) ((T *)((char *)arena + (at)))

int conv_run(const void *weights, void *arena, const conv_io *io) {
  if (!io || !io->x || !io->y || !weights || !arena) return 1;
  if ((uintptr_t)arena % 64) return 2;
  k0_copy(io->x, ARENA(float, 0));
  k1_pad(ARENA(float, 0));
  k2_conv_relu(ARENA(float, 0), WEIGHT(float, 0), WEIGHT(float, 896), io->y);
  return 0;
}

const char *conv_error(int code) {
  switch (code) {
  case 0: return "done";
  case 1: return "a pointer is NULL: io, one of its arrays, weights or arena";
  case 2: return "the arena is not aligned to 64 bytes";
  case 3: return "a loop runs longer than it was compiled for";
  default: return "unknown error";
  }
}

/* Header of conv.bin, 64 bytes: magic, version, header bytes, layout, data bytes, xxh64 of the data. */
const void *conv_open(const void *file, size_t bytes) {
  static const char magic[8] = {'L', 'A', 'T', 'H', 'E', 'W', 'T', 'S'};
  uint32_t head[2];
  uint64_t layout[2];
  if (!file || bytes < 64 || memcmp(file, magic, 8) != 0) return NULL;
  memcpy(head, (const char *)file + 8, 8);
  memcpy(layout, (const char *)file + 16, 16);
  if (head[0] != 1 || head[1] != 64 || layout[0] != UINT64_C(0xbe25dd1bced739f3)) return NULL;
  if (layout[1] != CONV_WEIGHTS_BYTES || bytes - 64 < layout[1]) return NULL;
  return (const char *)file + 64;
}
