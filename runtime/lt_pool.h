/* Threads for PREFIX_run_parallel, which is handed a pool and makes none itself. lt_pool.c is a pool of pthreads that wait
 * for work; any other will do, and then lt_pool.c is not needed: three functions and what they are called with. A job
 * system fits in ten lines:
 *
 *   static int my_threads(void *self) { return jobs_workers(self) + 1; }
 *   static void my_start(void *self, lt_task *task, void *call, int parts) {
 *     for (int part = 1; part < parts; part++) jobs_submit(self, task, call, part, parts);
 *   }
 *   static void my_wait(void *self) { jobs_wait_all(self); }
 *   const lt_pool pool = {my_jobs, my_threads, my_start, my_wait};
 *
 * A call asks for threads once, then for each large step in turn: start, part 0 by the caller's own thread, wait. Parts
 * need not run at the same time: none waits for another. A pool serves one call at a time. */
#ifndef LT_POOL_H
#define LT_POOL_H

#ifdef __cplusplus
extern "C" {
#endif

typedef void lt_task(void *call, int part, int parts);

typedef struct lt_pool {
  void *self;
  /* How many parts can run at once, the caller's thread among them. The arena must be large enough for as many. */
  int (*threads)(void *self);
  /* Sees to it that task(call, part, parts) runs once for each part from 1 to parts - 1, in any order, now or later; the
   * caller does part 0 meanwhile. parts: 2 to threads(self); `call` stays valid until wait returns. */
  void (*start)(void *self, lt_task *task, void *call, int parts);
  /* Returns when all parts that were started have ended; what they wrote can be read. */
  void (*wait)(void *self);
} lt_pool;

/* A pool of this many threads, the caller's among them; 0 or less: as many as the machine has cores. NULL: no memory, or
 * no threads. Between calls its threads spin for some 100 us, then sleep. */
lt_pool *lt_pool_open(int threads);
void lt_pool_close(lt_pool *pool);    /* NULL: nothing */

#ifdef __cplusplus
}
#endif
#endif
