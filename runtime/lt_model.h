/* How a generic program (the standalone main, `lathe run`, `verify`, `bench`) talks to any compiled model.
 * `lathe build` emits one `const lt_model lt_model_PREFIX` beside the model; a shared library exports it.
 * The model itself needs none of this: PREFIX.h is enough for an application. */
#ifndef LT_MODEL_H
#define LT_MODEL_H
#include <stddef.h>
#include <stdint.h>

enum { LT_MODEL_VERSION = 2 };
struct lt_pool;                      /* lt_pool.h */

typedef struct lt_port {
  const char *name;
  const char *dtype;                 /* "f32", "i64", … as in lathe's IR; element size in bytes beside it */
  int elem_bytes;
  int rank;
  const int64_t *dims;               /* -1: symbolic; `dim_text` then says which expression */
  const char *const *dim_text;       /* "N", "28", "2*W + 1" */
} lt_port;

typedef struct lt_symbol {
  const char *name;
  int64_t lo, hi;
  int input, axis;                   /* read from dims[axis] of input; input -1: computed */
} lt_symbol;

typedef struct lt_model {
  int version;
  const char *name, *target;         /* prefix; "x86-64-v3" */
  int inputs, outputs, symbols;
  const lt_port *in, *out;
  const lt_symbol *symbol;
  size_t weights_bytes;
  const void *const *weights;        /* where the linked-in weights are; NULL: load `NAME.bin` and give it to `open` */
  const void *(*open)(const void *file,
                      size_t bytes);    /* weights within the file's bytes, or NULL: another model's */
  size_t (*arena_bytes)(const int64_t *symbols);
  /* dims of output `port` for these symbol values (after the run where they depend on data) */
  void (*out_dims)(const int64_t *symbols, int port, int64_t *dims);
  /* 0 or an error code for `error`. symbols: one per lt_symbol; computed ones are written. */
  int (*run)(const void *weights, void *arena, int64_t *symbols, const void *const *in, void *const *out);
  const char *(*error)(int code);
  int kernels;                       /* for the per-layer profile */
  /* `run` by the threads of a pool, the same bits; the arena has part_bytes more for each thread but the first. NULL, 0:
   * compiled without --parallel. */
  int (*run_parallel)(const void *weights, void *arena, int64_t *symbols, const void *const *in, void *const *out,
                      const struct lt_pool *pool);
  size_t part_bytes;
} lt_model;
#endif
