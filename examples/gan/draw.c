/* A picture of what the generator of gan.lathe drew as it learned: a row of twelve digits for each checkpoint, always
 * from the same twelve random vectors.
 *   draw OUT.png CHECKPOINT.state…
 * Links the emitted gan.h: a checkpoint begins with the state block, so reading one is reading bytes. README.md
 * builds it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "gan.h"
#define STB_IMAGE_WRITE_IMPLEMENTATION
#include <stb/stb_image_write.h>

enum { ACROSS = 12, CODE = 64, SIDE = 28, CELL = SIDE + 4 };

static double uniform(unsigned *s) { *s = *s * 1664525u + 1013904223u; return (*s / 4294967296.0 + 1e-12); }

/* Box and Muller. */
static float normal(unsigned *s) {
  double r = sqrt(-2 * log(uniform(s)));
  return (float)(r * cos(6.283185307179586 * uniform(s)));
}

static int read_state(const char *path, void *state) {
  FILE *f = fopen(path, "rb");
  int ok = f && fread(state, 1, GAN_STATE_BYTES, f) == GAN_STATE_BYTES && gan_is_state(state, GAN_STATE_BYTES);
  if (f) fclose(f);
  if (!ok) fprintf(stderr, "%s is no checkpoint of gan.lathe\n", path);
  return ok;
}

int main(int argc, char **argv) {
  static float code[ACROSS * CODE], image[ACROSS * SIDE * SIDE];
  int rows = argc - 2, width = ACROSS * CELL, r, k, y, x;
  void *state = aligned_alloc(64, (GAN_STATE_BYTES + 63) / 64 * 64);
  void *arena = aligned_alloc(64, (gan_generator_arena_bytes(ACROSS) + 63) / 64 * 64);
  unsigned char *picture;
  unsigned seed = 5;
  if (rows < 1 || !state || !arena) { fprintf(stderr, "draw OUT.png CHECKPOINT.state...\n"); return 2; }
  picture = calloc((size_t)rows * CELL, (size_t)width);
  for (k = 0; k < ACROSS * CODE; k++) code[k] = normal(&seed);
  for (r = 0; r < rows && picture; r++) {
    gan_generator_io io = {.z = code, .generator = image, .N = ACROSS};
    if (!read_state(argv[2 + r], state) || gan_generator(state, arena, &io)) return 1;
    for (k = 0; k < ACROSS; k++)
      for (y = 0; y < SIDE; y++)
        for (x = 0; x < SIDE; x++)
          picture[(r * CELL + 2 + y) * width + k * CELL + 2 + x] =
            (unsigned char)(127.5f * (1 + image[(k * SIDE + y) * SIDE + x]));
  }
  return !picture || !stbi_write_png(argv[1], width, rows * CELL, 1, picture, width);
}
