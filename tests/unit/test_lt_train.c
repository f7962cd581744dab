/* runtime/lt_watch.c and lt_loader.c: which tensor a warning names; batches made by the second thread against rows read
 * one by one; the split and the order as functions of the seed. runtime/lt_curves.c: a curve that is flat but for
 * rounding. */
#include "runtime/lt_loader.h"
#include "runtime/lt_run.h"
#include "runtime/lt_watch.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const int64_t four[] = {4};
static const lt_state_tensor tensors[] = {
  {"a.weight", "f32", 4, LT_PARAMETER, 1, four, 0, 0},  {"b.weight", "f32", 4, LT_PARAMETER, 1, four, 64, 0},
  {"c.weight", "f32", 4, LT_PARAMETER, 1, four, 128, 0}, {"mean", "f32", 4, LT_STATISTIC, 1, four, 192, 0},
};
static char said[1000];
static void hear(const char *text) { strncat(said, text, sizeof said - strlen(said) - 1); }

/* Ten steps that scale the three weights by 1 + change[k]. */
static const char *warnings(const float *change) {
  _Alignas(64) float state[64];
  lt_bundle b = {.tensors = 4, .tensor = tensors};
  lt_watch w;
  said[0] = 0;
  for (int i = 0; i < 64; i++) state[i] = 1;
  cr_assert(!lt_watch_open(&w, &b));
  for (int step = 30; step < 40; step++) {
    lt_watch_before(&w, state);
    for (int k = 0; k < 3; k++)
      for (int i = 0; i < 4; i++) state[16 * k + i] *= 1 + change[k];
    lt_watch_after(&w, state, step, hear);
  }
  lt_watch_close(&w);
  return said;
}

Test(lt_watch, names_the_tensor) {
  cr_expect_str_eq(warnings((float[]){1e-3f, 2e-3f, 1e-2f}), "");
  cr_expect_str_eq(warnings((float[]){0, 0, 0}), "", "a learning rate of 0 is no vanishing gradient");
  cr_expect_str_eq(warnings((float[]){1e-3f, 0, 1e-3f}),
                   "step 32: the gradient of 'b.weight' vanishes: a step changes it by "
                   "0.0e+00 of its size, a typical tensor by 1.0e-03");
  cr_expect_str_eq(warnings((float[]){1e-3f, 50, 1e-3f}),
                   "step 30: the updates of 'b.weight' explode: a step changes it "
                   "by 5.0e+01 of its size; try a smaller --lr, or clipping");
  cr_expect_str_eq(warnings((float[]){1e-3f, 1e-3f, 3}),
                   "step 31: the updates of 'c.weight' explode: a step changes it by "
                   "3.0e+00 of its size; try a smaller --lr, or clipping");
}

/* Every second column of a large matrix stands still, as weights of pixels that are always black do; and what is frozen
 * is not expected to move. */
Test(lt_watch, is_silent_about_dead_columns_and_frozen_tensors) {
  enum { ROWS_OF = 64, COLUMNS = 32, AT = ROWS_OF * COLUMNS * 4 };
  static _Alignas(64) float state[2 * ROWS_OF * COLUMNS + 16];
  static const int64_t matrix[] = {ROWS_OF, COLUMNS};
  const lt_state_tensor some[] = {
    {"w", "f32", 4, LT_PARAMETER, 2, matrix, 0, 0},    {"f", "f32", 4, LT_PARAMETER, 2, matrix, AT, 1},
    {"b", "f32", 4, LT_PARAMETER, 1, four, 2 * AT, 0}, {"b", "f32", 4, LT_PARAMETER, 1, four, 2 * AT, 0},
    {"b", "f32", 4, LT_PARAMETER, 1, four, 2 * AT, 0},                                             // most of them move
  };
  lt_bundle b = {.tensors = 5, .tensor = some};
  lt_watch w;
  said[0] = 0;
  for (int i = 0; i < 2 * ROWS_OF * COLUMNS + 16; i++) state[i] = 1;
  cr_assert(!lt_watch_open(&w, &b));
  for (int step = 0; step < 10; step++) {
    lt_watch_before(&w, state);
    for (int i = 1; i < ROWS_OF * COLUMNS; i += 2) state[i] *= 1.01f;
    for (int i = 0; i < 4; i++) state[2 * ROWS_OF * COLUMNS + i] *= 1.01f;
    lt_watch_after(&w, state, step, hear);
  }
  lt_watch_close(&w);
  cr_expect_str_eq(said, "");
}

Test(lt_watch, finds_what_is_not_finite) {
  _Alignas(64) float state[64] = {0};
  lt_bundle b = {.tensors = 4, .tensor = tensors};
  cr_expect_null(lt_watch_broken(&b, state));
  state[49] = -1.0f / 0.0f;
  cr_expect_str_eq(lt_watch_broken(&b, state), "mean");
  state[16] = 0.0f / 0.0f;
  cr_expect_str_eq(lt_watch_broken(&b, state), "b.weight");
}

/* ---- the loader ---- */

enum { ROWS = 103, BATCH = 8 };
static char folder[] = "/tmp/lathe-loader-XXXXXX", why[700];
static const lt_port ports[] = {{.name = "x"}, {.name = "y"}};
static const lt_function step = {.name = "step", .kind = LT_STEP, .inputs = 2, .in = ports};
static const lt_function *const functions[] = {&step};
static const lt_column columns[] = {
  {.name = "x", .dtype = "f32", .elem_bytes = 4}, {.name = "unused", .dtype = "f32"},
  {.name = "y", .dtype = "f32", .elem_bytes = 4, .rank = 1, .dims = (const int64_t[]){2}},
};
static const char *const calls[] = {"csv(\"t.csv\", column=1)", "npy(\"none\")", "csv(\"t.csv\")"};
static lt_bundle bundle =
    {.functions = 1, .function = functions, .columns = 3, .column = columns, .shuffle = 1, .hold_out = 0.1};

static void start(void) {
  char path[100];
  strcpy(folder + strlen(folder) - 6, "XXXXXX");
  cr_assert(mkdtemp(folder));
  snprintf(path, sizeof path, "%s/t.csv", folder);
  FILE *f = fopen(path, "w");
  for (int i = 0; i < ROWS; i++) fprintf(f, "%d,%d\n", i, 1000 + i);
  fclose(f);
}

static void stop(void) {
  char path[100];
  snprintf(path, sizeof path, "%s/t.csv", folder);
  remove(path);
  rmdir(folder);
}

static void open_loader(lt_loader *l, int64_t seed) {
  cr_assert(!lt_loader_open(l, &bundle, calls, folder, why, sizeof why), "%s", why);
  cr_assert(!lt_loader_split(l, seed, why, sizeof why), "%s", why);
}

Test(lt_loader, batches_are_the_rows_in_order, .init = start, .fini = stop) {
  lt_loader l;
  bool seen[ROWS] = {0};
  open_loader(&l, 5);
  cr_assert(l.rows == ROWS && l.helds == 10 && l.trains == 93);
  for (int epoch = 0; epoch < 20; epoch++) {
    lt_batch b = {0};
    int64_t at = 0;
    int got;
    lt_loader_shuffle(&l, 5, epoch);
    cr_assert(!lt_loader_start(&l, l.order, l.trains, BATCH, why, sizeof why));
    while (at < epoch * 8 && (got = lt_loader_next(&l, &b, why, sizeof why)) > 0) {      /* ended early, mostly */
      cr_assert(b.n == (at + BATCH <= l.trains ? BATCH : l.trains % BATCH));
      for (int64_t i = 0; i < b.n; i++, at++) {
        const float *x = b.column[0], *y = b.column[2];
        cr_assert(b.row[i] == l.order[at] && x[i] == (float)l.order[at] && y[2 * i + 1] == (float)(1000 + l.order[at]));
        seen[l.order[at]] = true;
      }
    }
    lt_loader_stop(&l);
  }
  for (int64_t i = 0; i < ROWS; i++) {
    bool held = false;
    for (int64_t k = 0; k < l.helds; k++) held = held || l.held[k] == i;
    cr_expect(seen[i] == !held);
  }
  lt_loader_close(&l);
}

Test(lt_loader, order_follows_from_the_seed, .init = start, .fini = stop) {
  lt_loader a, b;
  open_loader(&a, 5);
  open_loader(&b, 5);
  lt_loader_shuffle(&a, 5, 7);
  lt_loader_shuffle(&b, 5, 6);
  cr_expect(memcmp(a.order, b.order, sizeof *a.order * 93));
  lt_loader_shuffle(&b, 5, 7);
  cr_expect(!memcmp(a.order, b.order, sizeof *a.order * 93) && !memcmp(a.held, b.held, sizeof *a.held * 10));
  lt_loader_close(&b);
  open_loader(&b, 6);
  cr_expect(memcmp(a.held, b.held, sizeof *a.held * 10));
  lt_loader_close(&b);
  bundle.shuffle = 0;
  open_loader(&b, 6);
  cr_expect(b.held[0] == 93 && b.held[9] == 102, "without shuffling the end is held out");
  lt_loader_close(&a);
  lt_loader_close(&b);
}

/* What stands in held-out rows alone is unknown, 1: the line numbers as words, the last character of each. */
Test(lt_loader, vocabularies_are_those_of_the_rows_that_train, .init = start, .fini = stop) {
  static const int64_t length[] = {1};
  static const lt_column of_text[] = {{.name = "x", .dtype = "i32", .elem_bytes = 4, .rank = 1, .dims = length},
                                      {.name = "y", .dtype = "i32", .elem_bytes = 4, .rank = 1, .dims = length}};
  static const char *const words[] = {"words(\"t.csv\", length=1, lower=false)", "characters(\"t.csv\", length=1)"};
  lt_bundle b = bundle;
  lt_loader l;
  int32_t word, letter;
  int64_t unknown = 0;
  b.columns = 2;
  b.column = of_text;
  cr_assert(!lt_loader_open(&l, &b, words, folder, why, sizeof why), "%s", why);
  cr_assert(l.data[0].classes == ROWS + 2 && l.data[1].classes > 10 && l.data[0].counted);
  cr_assert(!lt_loader_split(&l, 5, why, sizeof why), "%s", why);
  cr_expect(l.data[0].classes == l.trains + 2);
  for (int64_t k = 0; k < ROWS; k++) {
    cr_assert(!lt_data_rows(&l.data[0], &k, 1, &word, why, sizeof why));
    cr_assert(!lt_data_rows(&l.data[1], &k, 1, &letter, why, sizeof why));
    unknown += word == 1;
    cr_expect(word >= 1 && letter > 1);                            // digits begin other lines, too
    for (int64_t i = 0; i < l.helds; i++) if (l.held[i] == k) cr_expect(word == 1);
  }
  cr_expect(unknown == l.helds);
  lt_loader_close(&l);
}

/* Ticks whose distance is lost beside the numbers themselves would never end. */
Test(lt_curves, flat_but_for_rounding, .timeout = 20) {
  static const double values[][2] = {{0.1, 0.1 + 1.5e-17}, {1e20, 1e20 + 2e4}, {-3, -3}, {0, 5e-324}};
  for (size_t c = 0; c < sizeof values / sizeof *values; c++) {
    lt_run r = {.metrics = 1, .trains = 1, .name = {"loss"}};
    char path[] = "/tmp/lathe-curves-XXXXXX";
    int fd = mkstemp(path);
    for (int k = 0; k < 2; k++) {
      r.step = k + 1;
      r.recent[0] = values[c][k];
      r.recents = 1;
      cr_assert(!lt_run_note(&r, 1, NULL));
    }
    cr_expect(!lt_run_curves(&r, "flat", 0, path, why, sizeof why), "%s", why);
    close(fd);
    unlink(path);
    lt_run_free(&r);
  }
}
