/* A network that trains: functions over one state. Made by the network language (frontend/lathe_*.c); every function
 * is a module of its own, compiled by the same passes as a network for inference; codegen/emit_bundle.c prints them.
 *
 * Each function's module names the state tensors it reads and writes (Module.state); this table says what they are
 * and where they lie in the caller's state block. The other inputs and outputs of a module are the function's io. */
#ifndef IR_BUNDLE_H
#define IR_BUNDLE_H
#include "ir/program.h"

typedef enum { ROLE_PARAMETER, ROLE_OPTIMIZER, ROLE_STATISTIC, ROLE_AVERAGE, ROLE_COUNTER, ROLE_SETTING } StateRole;
/* "parameter", "optimizer", "statistic", "average", "counter", "setting" */
extern const char *const state_role_text[];

/* Three tensors are always there: "random", i64[2], the step and the seed (COUNTER; `random` nodes take it as their
 * input, every step function adds [1, 0]), and "total_steps", i64[1], what schedules count to, and "lr_scale",
 * f32[1], by which every learning rate is multiplied (SETTING: the trainer writes them after init, before a step). */
typedef struct StateTensor {
  const char *name;                    /* "digits.conv1.weight", "adam.m/digits.conv1.weight"; at most 95 bytes */
  Type type;                           /* static, rank <= 8 */
  StateRole role;
  const char *of;                      /* OPTIMIZER, AVERAGE: the parameter's name; else NULL */
  int64_t offset;                      /* bytes in the block, a multiple of 64; set by bundle_layout */
} StateTensor;

typedef enum { FUNCTION_INIT, FUNCTION_STEP, FUNCTION_EVAL, FUNCTION_INFER } FunctionKind;
/* INIT: only writes state (constants and random numbers; no arena); its one input, "seed", is i64[1].
 * STEP: one training step: columns of data in, scalars (losses and reports) out; the first output is the loss.
 * EVAL: the same reports on held-out data, without updates: dropout off, running statistics.
 * INFER: a net: its parameters are read from state. */
typedef struct Function {
  const char *name;                    /* "init", the step's name, "eval", the net's name */
  FunctionKind kind;
  Module *m;
  Program *p;                          /* after compile */
} Function;

/* A column of the data block: one row per example. Readers and their arguments are documented in runtime/lt_data.h. */
typedef struct DataColumn {
  const char *name;                    /* of the functions' inputs that take it */
  const char *call;                    /* the reader and its arguments as the trainer passes them: lt_data.h's text */
  Type row;                            /* of one row, as stored: u8[28,28]; functions convert */
  int64_t classes;                     /* integer columns whose values must be in [0, classes); 0: unlimited */
} DataColumn;

typedef struct Bundle {
  Arena arena;
  Diags *diags;
  const char *name;                    /* prefix of the interface */
  const char *source;                  /* the text it was made from, for run/net.lathe */
  VEC(StateTensor) state;
  VEC(Function) fn;
  VEC(DataColumn) column;
  int64_t batch;                       /* rows per step */
  bool shuffle;
  double hold_out;                     /* share of the rows that training never sees: drawn by the seed, or the last
                                        * ones where rows follow each other (lt_loader.h); 0: none */
  int64_t epochs;                      /* 0: not said */
  /* base learning rate of the first optimizer; 0: none. --lr is in proportion to it */
  double lr;
  int64_t state_bytes;                 /* of the block, header and table included; set by bundle_layout */
} Bundle;

/* The block (numbers little-endian as the machine's):
 *   0    magic "LATHESTA", u32 version 1, u32 header bytes 64, u64 layout hash, u64 block bytes, u32 tensors, u32 0, zeros
 *   64   per tensor 192 bytes: char name[96], char dtype[8], u32 role, u32 rank, i64 dims[8], u64 offset, u64 bytes
 *   …    the tensors, dense and row-major, each at a multiple of 64
 * A checkpoint is this block, then what the trainer keeps for itself (runtime/lt_state.h). */
enum { STATE_HEADER = 64, STATE_ENTRY = 192, STATE_NAME = 96, STATE_RANK = 8 };

/* One more tensor of the state, which init sets to `first` (0: init sets it elsewhere). False: the name is too long
 * or the rank too high, which is reported. */
bool bundle_add_state(Bundle *b, Module *init, const char *name, Type t, StateRole role, const char *of, ValueId first);
void bundle_layout(Bundle *b);                             /* after the last bundle_add_state: offsets, state_bytes */
uint64_t bundle_hash(const Bundle *b);                     /* of names, types and roles */
const StateTensor *bundle_find(const Bundle *b, const char *name);
const Function *bundle_function(const Bundle *b, FunctionKind kind, const char *name);   /* name NULL: the first */
void bundle_free(Bundle *b);
#endif
