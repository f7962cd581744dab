/* Training inside an application: it makes its own data, trains on it, and asks the same state for answers.
 * All it needs of lathe is what `lathe compile moons.lathe -o moons` wrote: no library, no allocation, no files. */
#include <math.h>
#include <stdio.h>
#include "moons.h"

enum { BATCH = 64, STEPS = 600 };

static _Alignas(64) unsigned char state[MOONS_STATE_BYTES];    /* parameters, moments, counters: one block */
static _Alignas(64) unsigned char step_arena[MOONS_STEP_ARENA_BYTES], infer_arena[MOONS_INFER_ARENA_BYTES_MAX];

static double uniform(unsigned *s) { return (*s = *s * 1664525u + 1013904223u) / 4294967296.0; }

/* Two half circles, the second turned over and moved into the first, a little noise on both. */
static void make_points(float (*point)[2], float *side, unsigned *seed) {
  for (int i = 0; i < BATCH; i++) {
    int s = uniform(seed) < 0.5;
    double a = 3.14159265 * uniform(seed), x = s ? 1 - cos(a) : cos(a), y = s ? 0.5 - sin(a) : sin(a);
    point[i][0] = (float)(x + 0.2 * uniform(seed) - 0.1);
    point[i][1] = (float)(y + 0.2 * uniform(seed) - 0.1);
    side[i] = (float)s;
  }
}

int main(void) {
  static float point[BATCH][2], side[BATCH], logit[BATCH];
  float loss;
  unsigned seed = 7;
  int right = 0;
  if (moons_init(state, 1)) return 1;
  for (int k = 1; k <= STEPS; k++) {
    make_points(point, side, &seed);
    if (moons_step(state, step_arena, &(moons_step_io){.point = point[0], .side = side, .loss = &loss})) return 1;
    if (k % 100 == 0) printf("step %d  loss %.4f\n", k, loss);
  }
  make_points(point, side, &seed);                             /* points it has not seen */
  if (moons_infer(state, infer_arena, &(moons_infer_io){.point = point[0], .moons = logit, .N = BATCH})) return 1;
  for (int i = 0; i < BATCH; i++) right += (logit[i] > 0) == (side[i] > 0.5f);
  printf("%d of %d right\n", right, BATCH);
  return right < BATCH * 95 / 100;
}
