/* Writes text with the network of shakespeare.lathe (or gpt.lathe), a character at a time:
 *   write shakespeare.bin input.txt [CHARACTERS [TEMPERATURE [SEED [BEGINNING]]]]
 * The emitted function computes all positions of a window, [1, T] characters -> [1, T, V] logits; the last position's
 * softmax is what comes next. input.txt is what the network was trained on, and read for its characters only: index k
 * is the k-th by code. README.md builds it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "writer.h"

enum { WINDOW = 128, MOST = 256 };                             /* positions, characters */

/* The whole file, aligned as the weights must be. */
static void *read_file(const char *path, size_t *bytes) {
  FILE *f = fopen(path, "rb");
  void *p = NULL;
  if (f && !fseek(f, 0, SEEK_END) && ftell(f) >= 0) {
    *bytes = (size_t)ftell(f);
    rewind(f);
    p = aligned_alloc(64, (*bytes + 64) / 64 * 64);
    if (p && fread(p, 1, *bytes, f) != *bytes) { free(p); p = NULL; }
  }
  if (f) fclose(f);
  if (!p) { fprintf(stderr, "cannot read %s\n", path); exit(1); }
  return p;
}

static double uniform(unsigned long long *s) {                 /* Marsaglia's xorshift64 */
  *s ^= *s << 13; *s ^= *s >> 7; *s ^= *s << 17;
  return (double)(*s >> 11) / 9007199254740992.0;
}

static int sample(const float *logit, int n, double temperature, double u) {
  double p[MOST], sum = 0;
  float most = logit[0];
  int k;
  for (k = 1; k < n; k++) if (logit[k] > most) most = logit[k];
  for (k = 0; k < n; k++) sum += p[k] = exp((logit[k] - most) / temperature);
  for (k = 0, u *= sum; k < n - 1 && u >= p[k]; k++) u -= p[k];
  return k;
}

int main(int argc, char **argv) {
  static float logits[WINDOW * MOST];
  size_t weights_bytes, text_bytes, i;
  const void *weights;
  const unsigned char *text;
  int length = argc > 3 ? atoi(argv[3]) : 1000, index[256] = {0}, chars = 0, n = 0, c;
  double temperature = argc > 4 ? atof(argv[4]) : 0.8;
  unsigned long long seed = (argc > 5 ? strtoull(argv[5], NULL, 10) : 1) * 2 + 1;
  const char *beginning = argc > 6 ? argv[6] : "\n";
  unsigned char of[256];
  int32_t window[WINDOW];
  void *arena = aligned_alloc(64, (WRITER_ARENA_BYTES_MAX + 63) / 64 * 64);
  if (argc < 3 || !arena) {
    fprintf(stderr, "write WEIGHTS.bin input.txt [CHARACTERS [TEMPERATURE [SEED [BEGINNING]]]]\n");
    return 2;
  }
  weights = read_file(argv[1], &weights_bytes);
  weights = writer_open(weights, weights_bytes);
  if (!weights) { fprintf(stderr, "%s does not belong to writer.c\n", argv[1]); return 1; }
  text = read_file(argv[2], &text_bytes);
  for (i = 0; i < text_bytes; i++) index[text[i]] = 1;
  for (c = 0; c < 256; c++) if (index[c]) { of[chars] = (unsigned char)c; index[c] = chars++; }
  for (; *beginning && n < WINDOW; beginning++) window[n++] = index[(unsigned char)*beginning];
  for (; length > 0; length--) {
    writer_io io = {.t = window, .writer = logits, .T = n};
    int code = writer_run(weights, arena, &io);
    if (code) { fprintf(stderr, "%s\n", writer_error(code)); return 1; }
    c = sample(logits + (n - 1) * chars, chars, temperature, uniform(&seed));
    putchar(of[c]);
    if (n == WINDOW) memmove(window, window + 1, sizeof *window * (size_t)--n);
    window[n++] = c;
  }
  putchar('\n');
  return 0;
}
