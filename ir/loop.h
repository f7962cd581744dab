/* Loop IR: a kernel as loops, registers, loads and stores. See docs/architecture.md.
 *
 * After `vectorise` every node is one C construct, so the printer decides nothing. Expressions are trees
 * (never shared in a way that matters: nodes are immutable once built; passes rebuild). The builders fold
 * constants, apply the identities of index arithmetic and widen: mixing a scalar with a vector splats it,
 * ramps stay ramps under + and *. Indices are I64 and count elements.
 *
 * Types in expressions are compute types (dtype_compute): a LOAD from narrow floats widens (its elem is the
 * compute type of buf->dtype), a STORE to them rounds. Bool vectors exist only inside expressions: a cast of
 * one becomes a select. A select whose condition is scalar is lazy: only the arm taken is evaluated; its arms
 * may be vectors. With a vector condition both arms are evaluated. */
#ifndef IR_LOOP_H
#define IR_LOOP_H
#include "ir/ops.h"

typedef enum ExprKind {
#define EXPR(E, ...) EX_##E,
#define STMT(...)
#include "ir/loop.def"
#undef EXPR
#undef STMT
  EXPR_COUNT
} ExprKind;

typedef enum StmtKind {
#define EXPR(...)
#define STMT(E, ...) ST_##E,
#include "ir/loop.def"
#undef EXPR
#undef STMT
  STMT_COUNT
} StmtKind;

typedef struct Expr Expr;
typedef struct Stmt Stmt;

typedef struct Var {
  const char *name;            /* after kernel_finish no two variables with one name are visible at once */
  const char *wish;            /* the name asked for; copies of a variable ask for the same */
  DType elem;
  int lanes;
  bool mutable;
  const Stmt *loop;            /* the For it belongs to, or NULL */
  int64_t lo, hi;              /* known bounds of an index (inclusive); INT64_MIN/MAX when unknown */
} Var;

static inline const char *var_wish(const Var *v) { return v->wish ? v->wish : v->name; }

typedef enum { BUF_IN, BUF_OUT, BUF_INOUT, BUF_SCRATCH, BUF_LOCAL } BufRole;

/* Memory a kernel sees. IN/OUT/INOUT/SCRATCH are parameters; LOCAL is a small array on the kernel's stack
 * (constant size, at most 8 KiB). `size` in elements: the bound that the interpreter checks. */
typedef struct Buf {
  const char *name;
  DType dtype;                 /* storage type */
  BufRole role;
  Dim size;
  ValueId value;               /* the graph value whose storage it is; 0 for scratch and local */
  /* emitted C has its name, else one by its role: kernels for other values then print alike */
  bool is_named;
  bool is_constant;            /* lives in the weights */
  /* scratch made inside so many parallel loops: each iteration has its own; 0: all share it */
  int private_to;
  int index;                   /* position among the kernel's parameters */
} Buf;

struct Expr {
  ExprKind kind;
  DType elem;
  int lanes;
  ScalarOp op;                 /* SCALAR; REDUCE: S_ADD, S_MUL, S_MAX, S_MIN */
  /* SCALAR, FMA: arguments; CAST/BITS/SPLAT/REDUCE: [0]; RAMP: base, stride; LOAD: index */
  Expr *arg[3];
  int64_t i;                   /* CONST of integer or bool type. PART: which one. CAST: the DType asked for; when it is a
                                * narrow type, elem is its compute type and the value is rounded to it */
  double f;                    /* CONST of float type */
  Var *var;
  Buf *buf;
  int64_t lo, hi;              /* integers: bounds of the value in every lane (inclusive), set by the builders */
};

/* How iterations may run. PARALLEL: in any order or at the same time. Each writes elements of its own, reads none that
 * another writes, and sets no register from outside; scratch made inside the loop belongs to the iteration. Goes with
 * VECTOR, which alone would allow sums into registers. A BLOCK is SEQ or PARALLEL; then its statements do not depend on
 * each other. */
typedef enum { FOR_SEQ = 0, FOR_VECTOR = 1, FOR_UNROLL = 2, FOR_PARALLEL = 4, FOR_PARALLEL_VECTOR = 5 } ForMode;

typedef struct Block { VEC(Stmt *) stmts; } Block;

struct Stmt {
  StmtKind kind;
  Block *body, *other;         /* BLOCK, FOR, IF then / else */
  Var *var;                    /* FOR, LET, SET */
  Expr *lo, *hi;               /* FOR: lo <= var < hi */
  int64_t step;                /* FOR */
  ForMode mode;                /* FOR, BLOCK */
  Expr *cond;                  /* IF */
  Expr *index, *value;         /* LET, SET, STORE (value); STORE (index) */
  Buf *buf;                    /* STORE, PREFETCH */
  const char *text;            /* NOTE, CALL: function name */
  Expr **args; int nargs;      /* CALL: scalars */
  Buf **bufs; int nbufs;       /* CALL */
};

typedef struct Kernel {
  const char *name;
  const char *note;            /* one or several lines: ops, source nodes, shapes */
  const char *choice;          /* what its generator chose: "tile 6x2, …"; NULL: the plain nest */
  int64_t cycles;              /* what the cost model expects of it, at the lowest sizes; 0: it was not asked */
  VEC(Buf *) bufs;             /* parameters in order, then locals */
  VEC(const char *) dims;      /* symbols taken as int64_t parameters */
  VEC(Var *) dim_vars;         /* the variable of each */
  Block *body;
  Dim flops;
  int group;                   /* fused group it came from */
  ValueId root;                /* output of the heavy op, or of the map */
  int parts;                   /* as many threads may share it: PART and PARTS are among its dims; 0: it runs on one */
  int target_lanes;            /* vector width in f32 lanes the kernel was made for; 1: scalar */
} Kernel;

/* Symbols of a kernel with parts: which part the call does, of how many. */
#define PART_SYMBOL "part"
#define PARTS_SYMBOL "parts"
static inline bool symbol_is_of_parts(const char *name) {
  return !strcmp(name, PART_SYMBOL) || !strcmp(name, PARTS_SYMBOL);
}

/* ---- building ---- */
typedef struct Builder {
  Arena *arena;
  Kernel *kernel;
  Block *at;                   /* where statements go */
  VEC(Block *) stack;
  int uniq;
} Builder;

Expr *ex_int(Builder *b, int64_t v);                            /* I64 */
Expr *ex_const(Builder *b, DType t, double v);
Expr *ex_const_int(Builder *b, DType t, int64_t v);             /* full 64 bits */
Expr *ex_dim(Builder *b, Dim d);                                /* adds the kernel's dim parameters it needs */
Expr *ex_var(Builder *b, Var *v);
Expr *ex_load(Builder *b, Buf *buf, Expr *index);               /* widened to the compute type */
Expr *ex_scalar(Builder *b, ScalarOp op, Expr *x, Expr *y, Expr *z);
Expr *ex_fma(Builder *b, Expr *x, Expr *y, Expr *z);
Expr *ex_cast(Builder *b, DType to, Expr *x);
Expr *ex_bits(Builder *b, DType to, Expr *x);
Expr *ex_splat(Builder *b, Expr *x, int lanes);
Expr *ex_ramp(Builder *b, Expr *base, int64_t stride, int lanes);
Expr *ex_reduce(Builder *b, ScalarOp op, Expr *x);              /* vector -> scalar */
Expr *ex_part(Builder *b, Expr *x, int i, int lanes);           /* lanes [i * lanes, i * lanes + lanes) of x */
static inline Expr *ex_add(Builder *b, Expr *x, Expr *y) { return ex_scalar(b, S_ADD, x, y, NULL); }
static inline Expr *ex_sub(Builder *b, Expr *x, Expr *y) { return ex_scalar(b, S_SUB, x, y, NULL); }
static inline Expr *ex_mul(Builder *b, Expr *x, Expr *y) { return ex_scalar(b, S_MUL, x, y, NULL); }
/* Index division for non-negative numerators (C's / and %) */
static inline Expr *ex_div(Builder *b, Expr *x, Expr *y) { return ex_scalar(b, S_DIV, x, y, NULL); }
static inline Expr *ex_rem(Builder *b, Expr *x, Expr *y) { return ex_scalar(b, S_FMOD, x, y, NULL); }
static inline Expr *ex_min(Builder *b, Expr *x, Expr *y) { return ex_scalar(b, S_MIN, x, y, NULL); }
static inline Expr *ex_max(Builder *b, Expr *x, Expr *y) { return ex_scalar(b, S_MAX, x, y, NULL); }
static inline Expr *ex_lt(Builder *b, Expr *x, Expr *y) { return ex_scalar(b, S_LT, x, y, NULL); }
static inline Expr *ex_select(Builder *b, Expr *c, Expr *x, Expr *y) { return ex_scalar(b, S_WHERE, c, x, y); }
bool ex_is_int(const Expr *e, int64_t *v);                      /* scalar integer constant */

/* for name in lo..hi: opens the body; loop_end closes the innermost. A loop of one trip is not built:
 * the index is the constant (loop_end must still be called). */
Expr *loop_begin(Builder *b, const char *name, Expr *lo, Expr *hi, int64_t step, ForMode mode);
void  loop_end(Builder *b);
/* Iteration i of n, or n - 1 - i where `backwards` (NULL: never) holds. loop_turned: that condition, of a loop whose
 * body begins so; else NULL. */
Expr *loop_turn(Builder *b, const char *name, Expr *i, Expr *n, Expr *backwards);
Expr *loop_turned(const Stmt *loop);
int   loop_parallel_depth(const Builder *b);                    /* how many of those open now are marked FOR_PARALLEL */
/* Statements that do not depend on each other (a parallel block): par_next stands between them. A variable declared in
 * one is not visible in the others. */
void  par_begin(Builder *b);
void  par_next(Builder *b);
void  par_end(Builder *b);
void  if_begin(Builder *b, Expr *cond);
void  if_else(Builder *b);
void  if_end(Builder *b);
Expr *let(Builder *b, const char *name, Expr *value);           /* immutable; constants and variables pass through */
/* The same of a value that the caller knows to lie in lo..hi, inclusive. */
Expr *let_within(Builder *b, const char *name, Expr *value, int64_t lo, int64_t hi);
Var  *reg(Builder *b, const char *name, Expr *init);            /* mutable register of init's type */
void  st_set(Builder *b, Var *v, Expr *value);
void  st_store(Builder *b, Buf *buf, Expr *index, Expr *value); /* casts to the storage type */
void  st_prefetch(Builder *b, Buf *buf, Expr *index);           /* may lie behind the buffer's end */
void  st_note(Builder *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void  st_call(Builder *b, const char *fn, Buf **bufs, int nbufs, Expr **args, int nargs);

Kernel *kernel_new(Builder *b, Arena *a, const char *name);
Buf *kernel_buf(Builder *b, const char *name, DType t, BufRole role, Dim size, ValueId value);
void kernel_finish(Kernel *k);                                  /* unique names, parameter indices */

/* Rebuilding: map every expression of a statement tree / every sub-expression, bottom up. */
typedef Expr *(*ExprMap)(Builder *b, Expr *e, void *ctx);
Expr *expr_map(Builder *b, Expr *e, ExprMap f, void *ctx);      /* f sees nodes whose arguments were mapped */
Expr *expr_subst(Builder *b, Expr *e, const Var *v, Expr *by);
Block *block_map(Builder *b, const Block *s, ExprMap f, void *ctx);
bool expr_uses(const Expr *e, const Var *v);
bool expr_eq(const Expr *x, const Expr *y);
/* An index as c * v + rest, with bounds of rest; v NULL: all is rest. False: it is no such form. */
bool index_split(const Expr *index, const Var *v, int64_t *c, int64_t *lo, int64_t *hi);
/* A scalar index or a ramp as row * stride + rest, with rest and what follows it in 0..stride; false: it may cross
 * rows. */
bool index_rows(Builder *b, Expr *index, int64_t stride, Expr **row, Expr **rest);

void kernel_print(Text *t, const Kernel *k);
Kernel *kernel_parse(Arena *a, const char **text, Diags *d);
/* what differs first of what the text states; NULL: nothing */
const char *kernel_difference(const Kernel *x, const Kernel *y);
bool kernel_verify(const Kernel *k, Diags *d);

/* Bytes of its parameters that one run loads and stores, each element once, as far as its loops tell. */
double kernel_traffic(const Kernel *k, int64_t (*symbol)(const char *name, void *ctx), void *ctx);

/* ---- interpreter: bounds-checked, poisoned memory; the meaning of emitted C ---- */
typedef struct Memory { void *data; int64_t elems; } Memory;    /* one per kernel parameter */
bool kernel_run(const Kernel *k, Memory *mem, const int64_t *dims, Diags *d);
/* A kernel in the form the interpreter runs, for those that run one often. `dims` as kernel->dims. */
typedef struct Code Code;
Code *code_make(Arena *a, const Kernel *k);
bool code_run(Code *c, Memory *mem, const int64_t *dims, Diags *d);
/* The same in so many parts, the last one first; mem: for each part. For kernels with `parts`. */
bool code_run_parts(Code *c, Memory *const *mem, const int64_t *dims, int parts, Diags *d);
/* Fills memory with what a kernel must not read before it wrote; a load of it in a type of 4 or 8 bytes is
 * reported. */
void memory_poison(void *p, size_t bytes);
/* What CALL statements run: bufs[i] is the i-th buffer of the call, args its scalars (integers; floats as is). */
typedef union CallArg { int64_t i; double f; } CallArg;
typedef void (*CallFn)(Memory *bufs, const CallArg *args);
void call_register(const char *name, CallFn fn);
void calls_of_runtime(void);                                    /* registers the functions of runtime/lt_ops.h */
#endif
