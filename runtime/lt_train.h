/* How a trainer (lt_train.c, `lathe train`) talks to any compiled bundle. `lathe build --train` emits one
 * `const lt_bundle lt_bundle_PREFIX` beside the functions. An application that trains by itself needs none of this:
 * PREFIX.h is enough. */
#ifndef LT_TRAIN_H
#define LT_TRAIN_H
#include "lt_model.h"

enum { LT_BUNDLE_VERSION = 1 };

typedef enum { LT_PARAMETER, LT_OPTIMIZER, LT_STATISTIC, LT_AVERAGE, LT_COUNTER, LT_SETTING } lt_role;
typedef enum { LT_INIT, LT_STEP, LT_EVAL, LT_INFER } lt_function_kind;

typedef struct lt_state_tensor {
  const char *name, *dtype;          /* "digits.conv1.weight", "f32" */
  int elem_bytes, role, rank;
  const int64_t *dims;
  size_t offset;                     /* bytes in the state block */
  int frozen;                        /* no step changes it */
} lt_state_tensor;

/* A function over the state. Inputs whose names are columns of the data take a batch of rows; symbol N, where a function
 * has one, is the number of rows. */
typedef struct lt_function {
  const char *name;
  lt_function_kind kind;
  int inputs, outputs, symbols;
  const lt_port *in, *out;
  const lt_symbol *symbol;
  size_t (*arena_bytes)(const int64_t *symbols);
  void (*out_dims)(const int64_t *symbols, int port, int64_t *dims);
  int (*run)(void *state, void *arena, int64_t *symbols, const void *const *in,
             void *const *out);   /* 0 or a code for `error` */
  const char *(*error)(int code);
  /* The same by the threads of a pool, as in lt_model. */
  int (*run_parallel)(void *state, void *arena, int64_t *symbols, const void *const *in, void *const *out,
                      const struct lt_pool *pool);
  size_t part_bytes;
} lt_function;

typedef struct lt_column {
  const char *name;
  const char *call;                  /* reader and arguments, for lt_data_open (lt_data.h) */
  const char *dtype;                 /* of one row, as compiled for: the file must give the same */
  int elem_bytes, rank;
  const int64_t *dims;
  int64_t classes;                   /* 0, or integer values must lie in [0, classes) */
} lt_column;

typedef struct lt_bundle {
  int version;
  const char *name, *target, *source; /* source: the .lathe text, kept beside checkpoints */
  size_t state_bytes;
  uint64_t layout;                   /* hash in the block's header: checkpoints of other networks are refused */
  int tensors, functions, columns;
  const lt_state_tensor *tensor;
  const lt_function *const *function;
  const lt_column *column;
  int64_t batch, epochs;             /* epochs 0: not said in the text */
  int shuffle;
  double hold_out;
  double lr;                         /* base learning rate of the first optimizer; 0: unknown */
} lt_bundle;
#endif
