/* See lt_pool.h. One word says what there is to do: the number of the job and how many parts it has. Part i is for thread
 * i, whose caches have what it used of it last time; but where that thread has not begun by the time it is waited for, since
 * it sleeps or something else runs on its core, the caller's does the part. Who has no part in a job never looks at the
 * rest, which the next one may overwrite. C11. */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif
#include "lt_pool.h"
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 256, SPIN_US = 150, LOOKS = 64 };   /* the clock is read every so many looks */

typedef struct lt_threads lt_threads;
typedef struct lt_worker {
  _Alignas(64) _Atomic uint64_t taken, done;         /* the last job of which its part was begun, by whom ever, and ended */
  pthread_t thread;
  lt_threads *of;
  int part;
} lt_worker;

struct lt_threads {
  lt_pool pool;                      /* first */
  int threads, spin_us;
  lt_worker worker[MOST];
  _Alignas(64) _Atomic uint64_t job; /* number * 512 + parts; parts 511: the end */
  lt_task *task;
  void *call;
  _Alignas(64) atomic_int asleep;    /* does somebody sleep who was not woken? */
  pthread_mutex_t lock;
  pthread_cond_t wake;
};

static void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

static int64_t now_us(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* A job other than `seen`. */
static uint64_t next_job(lt_threads *p, uint64_t seen) {
  uint64_t job;
  int64_t until = now_us() + p->spin_us;
  do {
    for (int i = 0; i < LOOKS; i++) {
      job = atomic_load_explicit(&p->job, memory_order_acquire);
      if (job != seen) return job;
      relax();
    }
  } while (now_us() < until);
  pthread_mutex_lock(&p->lock);
  for (;;) {
    atomic_store(&p->asleep, 1);                     /* again after each wake: it may have been meant for another job */
    if ((job = atomic_load(&p->job)) != seen) break;
    pthread_cond_wait(&p->wake, &p->lock);
  }
  pthread_mutex_unlock(&p->lock);
  return job;
}

/* Is the worker's part of the job still to be begun? Then it is the asker's from now on. */
static int take(lt_worker *w, uint64_t job) {
  uint64_t last = atomic_load_explicit(&w->taken, memory_order_relaxed);
  while (last < job) if (atomic_compare_exchange_weak(&w->taken, &last, job)) return 1;
  return 0;
}

static void *work(void *arg) {
  lt_worker *w = arg;
  lt_threads *p = w->of;
  for (uint64_t job = 0;;) {
    job = next_job(p, job);
    int parts = (int)(job % 512);
    if (parts == 511) return NULL;
    if (w->part >= parts || !take(w, job)) continue;
    p->task(p->call, w->part, parts);
    atomic_store_explicit(&w->done, job, memory_order_release);
  }
}

static void publish(lt_threads *p, int parts) {
  uint64_t job = atomic_load_explicit(&p->job, memory_order_relaxed);
  atomic_store(&p->job, (job / 512 + 1) * 512 + (uint64_t)parts);
  if (!atomic_load(&p->asleep)) return;
  pthread_mutex_lock(&p->lock);
  atomic_store(&p->asleep, 0);
  pthread_cond_broadcast(&p->wake);
  pthread_mutex_unlock(&p->lock);
}

static int threads(void *self) { return ((lt_threads *)self)->threads; }

static void start(void *self, lt_task *task, void *call, int parts) {
  lt_threads *p = self;
  p->task = task;
  p->call = call;
  publish(p, parts);
}

/* Who has begun should be as far; who is not may be waiting for this core. */
static void wait_all(void *self) {
  lt_threads *p = self;
  uint64_t job = atomic_load_explicit(&p->job, memory_order_relaxed);
  int parts = (int)(job % 512), part;
  int64_t until = 0;
  for (part = 1; part < parts; part++) {
    lt_worker *w = &p->worker[part];
    if (!take(w, job)) continue;
    p->task(p->call, part, parts);
    atomic_store_explicit(&w->done, job, memory_order_relaxed);
  }
  for (part = 1; part < parts; part++)
    for (int i = 1; atomic_load_explicit(&p->worker[part].done, memory_order_acquire) != job; i++) {
      relax();
      if (i % LOOKS) continue;
      if (!until) until = now_us() + p->spin_us;
      if (now_us() >= until) sched_yield();
    }
}

lt_pool *lt_pool_open(int n) {
  long cores = sysconf(_SC_NPROCESSORS_ONLN);
  lt_threads *p = NULL;
  if (n < 1) n = cores < 1 ? 1 : (int)cores;
  if (n > MOST) n = MOST;
  void *block = NULL;
  if (posix_memalign(&block, 64, sizeof *p)) return NULL;
  p = block;
  p->pool.self = p;
  p->pool.threads = threads;
  p->pool.start = start;
  p->pool.wait = wait_all;
  p->threads = 1;
  p->spin_us = n > cores ? 0 : SPIN_US;           /* more threads than cores: who spins keeps another from working */
  atomic_init(&p->job, 0);
  atomic_init(&p->asleep, 0);
  if (pthread_mutex_init(&p->lock, NULL)) { free(p); return NULL; }
  if (pthread_cond_init(&p->wake, NULL)) { pthread_mutex_destroy(&p->lock); free(p); return NULL; }
  for (; p->threads < n; p->threads++) {
    lt_worker *w = &p->worker[p->threads];
    atomic_init(&w->taken, 0);
    atomic_init(&w->done, 0);
    w->of = p;
    w->part = p->threads;
    if (!pthread_create(&w->thread, NULL, work, w)) continue;
    lt_pool_close(&p->pool);
    return NULL;
  }
  return &p->pool;
}

void lt_pool_close(lt_pool *pool) {
  lt_threads *p;
  int i;
  if (!pool) return;
  p = pool->self;
  publish(p, 511);
  for (i = 1; i < p->threads; i++) pthread_join(p->worker[i].thread, NULL);
  pthread_cond_destroy(&p->wake);
  pthread_mutex_destroy(&p->lock);
  free(p);
}
