/* A network run by threads that the application has anyway: a stack of jobs and workers that take from it. Of lathe it
 * includes digits.h, and through it the types in lt_pool.h; lt_pool.c, for those who have no threads, is not compiled. */
#include <pthread.h>
#include <stdio.h>
#include "digits.h"

/* ---- what the application has: threads and jobs ---- */

enum { WORKERS = 3 };
typedef struct Job { void (*task)(void *, int, int); void *call; int part, parts; } Job;
static Job job[WORKERS];                                       /* as many as a network gives at a time */
static int waiting, unfinished, closing;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t more = PTHREAD_COND_INITIALIZER, done = PTHREAD_COND_INITIALIZER;

static void *worker(void *unused) {
  pthread_mutex_lock(&lock);
  for (;;) {
    while (!waiting && !closing) pthread_cond_wait(&more, &lock);
    if (!waiting) break;
    Job j = job[--waiting];
    pthread_mutex_unlock(&lock);
    j.task(j.call, j.part, j.parts);
    pthread_mutex_lock(&lock);
    if (!--unfinished) pthread_cond_signal(&done);
  }
  pthread_mutex_unlock(&lock);
  return unused;
}

/* ---- the three functions that lathe asks for ---- */

static int threads(void *self) { (void)self; return WORKERS + 1; }    /* and the caller's own */

static void start(void *self, lt_task *task, void *call, int parts) {
  (void)self;
  pthread_mutex_lock(&lock);
  for (int part = 1; part < parts; part++) job[waiting++] = (Job){task, call, part, parts};
  unfinished = parts - 1;
  pthread_cond_broadcast(&more);
  pthread_mutex_unlock(&lock);
}

static void wait_all(void *self) {
  (void)self;
  pthread_mutex_lock(&lock);
  while (unfinished) pthread_cond_wait(&done, &lock);
  pthread_mutex_unlock(&lock);
}

int main(void) {
  static const lt_pool pool = {NULL, threads, start, wait_all};
  static _Alignas(64) unsigned char arena[DIGITS_ARENA_BYTES + WORKERS * DIGITS_PART_BYTES];
  static float image[28 * 28], one[10], four[10];
  digits_io io = {.image = image, .logits = one};
  pthread_t thread[WORKERS];
  int same = 1, ran = 1;
  for (int y = 4; y < 24; y++) image[y * 28 + 14] = image[y * 28 + 15] = 1;     /* a stroke */
  for (int i = 0; i < WORKERS; i++) if (pthread_create(&thread[i], NULL, worker, NULL)) return 1;
  if (digits_run(digits_weights, arena, &io)) ran = 0;
  io.logits = four;
  for (int k = 0; k < 1000; k++) if (digits_run_parallel(digits_weights, arena, &io, &pool)) ran = 0;
  pthread_mutex_lock(&lock);
  closing = 1;
  pthread_cond_broadcast(&more);
  pthread_mutex_unlock(&lock);
  for (int i = 0; i < WORKERS; i++) pthread_join(thread[i], NULL);
  for (int k = 0; k < 10; k++) same &= one[k] == four[k];
  puts(!ran ? "failed" : same ? "the same bits by one thread and by four" : "other bits");
  return !ran || !same;
}
