/* Kernels as flat code for the interpreter: made by loop_code.c, run by loop_run.c. Not for passes.
 *
 * A machine of cells: every lane of every value is one cell of 8 bytes. f32 lives in a double that holds a
 * float exactly; integers are sign- or zero-extended. Cells below zero hold constants, then come variables,
 * then temporaries of one statement. */
#ifndef IR_LOOP_CODE_H
#define IR_LOOP_CODE_H
#include "ir/loop_rules.h"

typedef union Cell { double f; int64_t i; } Cell;

typedef enum CodeOp {
  DO_MOVE, DO_JUMP, DO_JUMP_IF_NOT,      /* a: condition; jump */
  DO_FOR, DO_NEXT,                       /* dst: index, a: lo / -, b: hi; jump past or back; k: step */
  DO_SPLAT, DO_RAMP,                     /* a: scalar; k: stride */
  DO_LOAD_RUN, DO_LOAD,                  /* a: first index / an index per lane */
  DO_STORE_RUN, DO_STORE,                /* a: as in load, b: value */
  DO_ADD_F32, DO_SUB_F32, DO_MUL_F32, DO_FMA_F32, DO_FMA_F64,
  DO_ADD_I64, DO_SUB_I64, DO_MUL_I64, DO_LT_I64,
  DO_FLOAT, DO_INT, DO_UINT,             /* scalar.def's meaning, lane by lane, rounded or wrapped to elem */
  DO_SELECT,                             /* a ? b : c, lane by lane */
  DO_CAST, DO_BITS, DO_REDUCE,           /* from -> elem; k: the type asked for */
  DO_PART,                               /* a: lanes from k on */
  DO_ENTER, DO_ITERATE, DO_LEAVE,        /* what is parallel (k: RaceOf): it starts, its next iteration does, it ends */
  DO_CALL, DO_END,
} CodeOp;

typedef struct Instr {
  CodeOp op;
  ScalarOp scalar;
  DType elem, from;
  int lanes;
  int dst, a, b, c;
  int jump;
  int64_t k;
  const Buf *buf;
  const Stmt *at;                        /* for messages */
} Instr;

struct Code {
  const Kernel *kernel;
  Arena *arena;
  VEC(Instr) code;
  VEC(Cell) constants;                   /* at cells -len … -1, the first one lowest */
  VEC(struct { const Var *var; int at; }) vars;
  int *table;                            /* hash: var -> index into vars, + 1 */
  int table_size;
  int fixed, temp, cells;                /* cells of variables; in use; at most in use */
  const Stmt *at;
};

int code_var(const Code *c, const Var *v);   /* its first cell */

/* loop_race.c: what runs tells where it is and what it touches; a message says what is wrong with an element. */
typedef struct Races Races;
typedef enum { OF_PARTS, OF_BLOCK, OF_LOOP } RaceOf;
Races *races_new(const Kernel *k, const Memory *mem);          /* NULL: nothing in k is parallel */
void races_free(Races *r);
void races_enter(Races *r, RaceOf of);
void races_iterate(Races *r);
void races_leave(Races *r);
const char *races_read(Races *r, const Buf *b, int64_t i);
const char *races_write(Races *r, const Buf *b, int64_t i);
#endif
