/* See lt_loader.h. */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif
#include "lt_loader.h"
#include "lt_ops.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- columns ---- */

static int is_used(const lt_bundle *b, const char *column) {
  int f, k;
  for (f = 0; f < b->functions; f++)
    for (k = 0; k < b->function[f]->inputs; k++)
      if (b->function[f]->kind != LT_INFER && !strcmp(b->function[f]->in[k].name, column)) return 1;
  return 0;
}

static int open_column(lt_loader *l, int k, const char *call, const char *base_dir, char *why, size_t why_len) {
  const lt_column *c = &l->bundle->column[k];
  lt_data *d = &l->data[k];
  char is[200], wanted[200], inner[700];
  if (lt_data_open(call, base_dir, d, inner, sizeof inner))
    return lt_fail(why, why_len, "data '%s': %s", c->name, inner);
  lt_type_text(d->dtype, d->rank, d->dims, is, sizeof is);
  lt_type_text(c->dtype, c->rank, c->dims, wanted, sizeof wanted);
  if (strcmp(is, wanted))
    return lt_fail(why, why_len, "data '%s': a row of %s is %s; the trainer was built for %s", c->name, call, is,
                   wanted);
  if (l->rows && d->rows != l->rows)
    return lt_fail(why, why_len, "data '%s' has %lld rows, the columns before it have %lld", c->name,
                   (long long)d->rows,
                   (long long)l->rows);
  l->rows = d->rows;
  if (!lt_data_check(d, c->classes, inner, sizeof inner)) return 0;
  if (!lt_is_float(d->dtype)) return lt_fail(why, why_len, "data '%s': %s", c->name, inner);
  fprintf(stderr, "warning: data '%s': %s\n", c->name, inner);
  return 0;
}

int lt_loader_open(lt_loader *l, const lt_bundle *b, const char *const *call, const char *base_dir, char *why,
                   size_t why_len) {
  int k;
  memset(l, 0, sizeof *l);
  l->bundle = b;
  l->call = call;
  l->base_dir = base_dir;
  pthread_mutex_init(&l->lock, NULL);
  pthread_cond_init(&l->changed, NULL);
  l->data = calloc((size_t)b->columns + 1, sizeof *l->data);
  if (!l->data) return lt_fail(why, why_len, "no memory");
  for (k = 0; k < b->columns; k++)
    if (is_used(b, b->column[k].name) && open_column(l, k, call[k], base_dir, why, why_len)) return -1;
  return l->rows ? 0 : lt_fail(why, why_len, "no step takes a column of data, so there is no number of batches");
}

/* ---- order ---- */

/* Fisher-Yates; draw i is a word pair of Philox at counter (i, last stream, epoch), which no tensor uses. */
static void shuffle(int64_t *a, int64_t n, int64_t seed, int64_t epoch) {
  int64_t i;
  for (i = n - 1; i > 0; i--) {
    uint32_t counter[4], key[2], word[4];
    int64_t j, t;
    counter[0] = (uint32_t)i; counter[1] = 0xFFFFFFFFu;
    counter[2] = (uint32_t)epoch; counter[3] = (uint32_t)((uint64_t)i >> 32);
    key[0] = (uint32_t)seed; key[1] = (uint32_t)((uint64_t)seed >> 32);
    lt_philox(counter, key, word);
    j = (int64_t)(((uint64_t)word[1] << 32 | word[0]) % (uint64_t)(i + 1));
    t = a[i]; a[i] = a[j]; a[j] = t;
  }
}

static int ascending(const void *x, const void *y) {
  int64_t a = *(const int64_t *)x, b = *(const int64_t *)y;
  return a < b ? -1 : a > b;
}

/* Words and characters that held-out rows alone have must be as unknown as they will be later. */
static int count_again(lt_loader *l, char *why, size_t why_len) {
  unsigned char *held = calloc((size_t)l->rows, 1);
  int64_t i;
  int k, bad = 0;
  if (!held) return lt_fail(why, why_len, "no memory");
  for (i = 0; i < l->helds; i++) held[l->held[i]] = 1;
  for (k = 0; k < l->bundle->columns && !bad; k++) {
    lt_data *d = &l->data[k];
    char inner[700];
    if (!d->reader || !d->counted) continue;
    lt_data_close(d);
    bad = lt_data_open_held(l->call[k], l->base_dir, held, l->rows, d, inner, sizeof inner);
    if (!bad && d->rows != l->rows) bad = lt_fail(inner, sizeof inner, "the file has changed");
    if (bad) lt_fail(why, why_len, "data '%s': %s", l->bundle->column[k].name, inner);
  }
  free(held);
  return bad;
}

int lt_loader_split(lt_loader *l, int64_t seed, char *why, size_t why_len) {
  const lt_bundle *b = l->bundle;
  int64_t i, held = (int64_t)((double)l->rows * b->hold_out + 0.5);
  int k, ordered = !b->shuffle;
  for (k = 0; k < b->columns; k++) ordered = ordered || l->data[k].ordered;
  if (b->hold_out > 0 && held == 0) held = 1;
  if (held >= l->rows)
    return lt_fail(why, why_len, "the data has %lld rows; holding out %lld leaves none to train on", (long long)l->rows,
                   (long long)held);
  l->train = malloc(sizeof *l->train * (size_t)l->rows);
  l->order = malloc(sizeof *l->order * (size_t)l->rows);
  if (!l->train || !l->order) return lt_fail(why, why_len, "no memory");
  for (i = 0; i < l->rows; i++) l->train[i] = i;
  if (!ordered && held) shuffle(l->train, l->rows, seed, 0xFFFFFFFF);
  l->trains = l->rows - held;
  l->helds = held;
  l->held = l->train + l->trains;
  qsort(l->train, (size_t)l->trains, sizeof *l->train, ascending);
  qsort(l->held, (size_t)held, sizeof *l->held, ascending);
  return held ? count_again(l, why, why_len) : 0;
}

void lt_loader_shuffle(lt_loader *l, int64_t seed, int64_t epoch) {
  memcpy(l->order, l->train, sizeof *l->order * (size_t)l->trains);
  if (l->bundle->shuffle) shuffle(l->order, l->trains, seed, epoch);
}

/* ---- the second thread ---- */

static int fill(lt_loader *l, lt_batch *b, int64_t at, char *why, size_t why_len) {
  int k;
  b->row = l->job + at;
  b->n = l->job_rows - at < l->job_batch ? l->job_rows - at : l->job_batch;
  for (k = 0; k < l->bundle->columns; k++)
    if (l->data[k].reader && lt_data_rows(&l->data[k], b->row, b->n, b->column[k], why, why_len)) return -1;
  return 0;
}

static void *work(void *arg) {
  lt_loader *l = arg;
  int64_t at = 0;
  char why[700];
  pthread_mutex_lock(&l->lock);
  for (; !l->stop && !l->bad && at < l->job_rows; at += l->job_batch) {
    int bad;
    lt_batch *b = &l->slot[l->made % LT_SLOTS];
    while (!l->stop && l->made - l->taken >= LT_SLOTS) pthread_cond_wait(&l->changed, &l->lock);
    if (l->stop) break;
    pthread_mutex_unlock(&l->lock);
    bad = fill(l, b, at, why, sizeof why);
    pthread_mutex_lock(&l->lock);
    if (bad) {
      l->bad = 1;
      memcpy(l->why, why, sizeof why);
    } else {
      l->made++;
    }
    pthread_cond_broadcast(&l->changed);
  }
  pthread_mutex_unlock(&l->lock);
  return NULL;
}

static int make_room(lt_loader *l, int64_t batch) {
  int k, s, columns = l->bundle->columns;
  for (s = 0; s < LT_SLOTS && batch > l->room; s++) {
    if (!l->slot[s].column) l->slot[s].column = calloc((size_t)columns + 1, sizeof(void *));
    if (!l->slot[s].column) return -1;
    for (k = 0; k < columns; k++) {
      free(l->slot[s].column[k]);
      l->slot[s].column[k] = NULL;
      if (posix_memalign(&l->slot[s].column[k], 64, l->data[k].row_bytes * (size_t)batch + 64)) return -1;
    }
  }
  if (batch > l->room) l->room = batch;
  return 0;
}

int lt_loader_start(lt_loader *l, const int64_t *job, int64_t n, int64_t batch, char *why, size_t why_len) {
  lt_loader_stop(l);
  if (make_room(l, batch)) return lt_fail(why, why_len, "no memory for batches of %lld rows", (long long)batch);
  l->job = job;
  l->job_rows = n;
  l->job_batch = batch;
  l->made = l->taken = 0;
  l->stop = l->bad = 0;
  if (pthread_create(&l->thread, NULL, work, l)) return lt_fail(why, why_len, "cannot start a thread");
  l->running = 1;
  return 0;
}

/* `taken` counts the batches whose slots are free again: the one given stays the caller's until the next call. */
int lt_loader_next(lt_loader *l, lt_batch *b, char *why, size_t why_len) {
  int64_t batches = (l->job_rows + l->job_batch - 1) / l->job_batch;
  int got = 1;
  pthread_mutex_lock(&l->lock);
  if (b->n) { l->taken++; pthread_cond_broadcast(&l->changed); }
  if (l->taken == batches) got = 0;
  while (got && l->made == l->taken && !l->bad) pthread_cond_wait(&l->changed, &l->lock);
  if (got && l->made == l->taken) got = lt_fail(why, why_len, "%s", l->why);
  pthread_mutex_unlock(&l->lock);
  if (got > 0) *b = l->slot[l->taken % LT_SLOTS];
  else b->n = 0;
  return got;
}

void lt_loader_stop(lt_loader *l) {
  if (!l->running) return;
  pthread_mutex_lock(&l->lock);
  l->stop = 1;
  pthread_cond_broadcast(&l->changed);
  pthread_mutex_unlock(&l->lock);
  pthread_join(l->thread, NULL);
  l->running = 0;
}

void lt_loader_close(lt_loader *l) {
  int k, s;
  lt_loader_stop(l);
  for (k = 0; l->data && k < l->bundle->columns; k++) lt_data_close(&l->data[k]);
  for (s = 0; s < LT_SLOTS; s++) {
    for (k = 0; l->slot[s].column && k < l->bundle->columns; k++) free(l->slot[s].column[k]);
    free(l->slot[s].column);
  }
  free(l->data);
  free(l->train);
  free(l->order);
  pthread_mutex_destroy(&l->lock);
  pthread_cond_destroy(&l->changed);
}
