/* Random numbers: see lt_ops.h. The constants are the paper's: multipliers and the Weyl increments of the key. */
#include "lt_ops.h"
#include <math.h>

void lt_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
  uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3], k0 = key[0], k1 = key[1];
  int round;
  for (round = 0; round < 10; round++) {
    uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
    uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
    c0 = n0; c1 = (uint32_t)p1;
    c2 = n2; c3 = (uint32_t)p0;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  out[0] = c0; out[1] = c1; out[2] = c2; out[3] = c3;
}

/* The four words for elements 4 * block … 4 * block + 3; block < 2^32. */
static void block_words(int64_t block, int64_t step, int64_t seed, int64_t stream, uint32_t word[4]) {
  uint32_t counter[4], key[2];
  counter[0] = (uint32_t)block;
  counter[1] = (uint32_t)stream;
  counter[2] = (uint32_t)step; counter[3] = (uint32_t)((uint64_t)step >> 32);
  key[0] = (uint32_t)seed; key[1] = (uint32_t)((uint64_t)seed >> 32);
  lt_philox(counter, key, word);
}

static float unit(uint32_t w) { return (float)(w >> 8) * (1.0f / 16777216.0f); }       /* [0, 1), exact */

void lt_random_uniform(const int64_t *step, float *y, int64_t steps, int64_t n, int64_t seed, int64_t stream,
                       float scale, float shift) {
  int64_t i, k;
  if (step && steps > 1) seed += step[1];
  for (i = 0; i < n; i += 4) {
    uint32_t word[4];
    block_words(i / 4, step ? *step : 0, seed, stream, word);
    for (k = 0; k < 4 && i + k < n; k++) y[i + k] = shift + scale * unit(word[k]);
  }
}

/* Words 0 and 1 give elements 0 and 1, words 2 and 3 elements 2 and 3. 1 - u is in (0, 1]: its logarithm exists. */
void lt_random_normal(const int64_t *step, float *y, int64_t steps, int64_t n, int64_t seed, int64_t stream,
                      float scale, float shift) {
  int64_t i, k;
  if (step && steps > 1) seed += step[1];
  for (i = 0; i < n; i += 4) {
    uint32_t word[4];
    float v[4];
    block_words(i / 4, step ? *step : 0, seed, stream, word);
    for (k = 0; k < 4; k += 2) {
      float r = sqrtf(-2.0f * logf(1.0f - unit(word[k]))), angle = 6.2831853f * unit(word[k + 1]);
      v[k] = r * cosf(angle);
      v[k + 1] = r * sinf(angle);
    }
    for (k = 0; k < 4 && i + k < n; k++) y[i + k] = shift + scale * v[k];
  }
}
