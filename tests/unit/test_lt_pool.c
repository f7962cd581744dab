/* The threads of lt_pool.c, with waits where another thread may come between: nobody sleeps through a job or the
 * end. */
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <time.h>

/* Whoever takes the lock comes late to it, in one of three ways. */
static int late_lock(pthread_mutex_t *m) {
  static unsigned turn;
  unsigned k = __atomic_fetch_add(&turn, 1, __ATOMIC_RELAXED) % 3;
  if (k) nanosleep(&(struct timespec){.tv_nsec = k == 1 ? 1000 : 60000}, NULL);
  return pthread_mutex_lock(m);
}

#define pthread_mutex_lock late_lock
#define lt_pool_open late_pool_open
#define lt_pool_close late_pool_close
#include "runtime/lt_pool.c"
#undef pthread_mutex_lock
#include <criterion/criterion.h>

typedef struct Count { int parts[8 * 16]; } Count;              /* 16: a line of the cache each */

static void count(void *call, int part, int parts) {
  (void)parts;
  ((Count *)call)->parts[part * 16]++;
}

Test(lt_pool, nobody_sleeps_on, .timeout = 60) {
  for (int round = 0; round < 150; round++) {
    lt_pool *pool = lt_pool_open(2 + round % 4);
    Count c = {{0}};
    int threads = pool->threads(pool->self), want[8] = {0};
    for (int k = 0; k < 12; k++) {
      int parts = 1 + (k + round) % threads;
      pool->start(pool->self, count, &c, parts);
      count(&c, 0, parts);
      pool->wait(pool->self);
      for (int i = 0; i < parts; i++) want[i]++;
    }
    lt_pool_close(pool);
    for (int i = 0; i < 8; i++)
      cr_assert_eq(c.parts[i * 16], want[i], "round %d: part %d ran %d times, not %d", round, i, c.parts[i * 16],
                   want[i]);
  }
}
