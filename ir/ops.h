/* What each op is: the rows of ops.def and scalar.def as data. */
#ifndef IR_OPS_H
#define IR_OPS_H
#include "ir/graph.h"

typedef enum { HOW_SCALAR, HOW_VIEW, HOW_LOWER, HOW_CALL, HOW_DECOMPOSE, HOW_CONTROL } OpHow;
enum { ELEMENTWISE = 1, STRIDED_VIEW = 2, READS_ONCE = 4, SCATTERS = 8, SCATTERS_OVERLAPS = 16, CHANNELS_LAST = 32,
       FOLLOWS_LAYOUT = 64, PLACES_ALL = 128, ALONG_AXIS = 256, ALONG_REST = 512 };    /* ops.def */

typedef enum { GRAD_RULE, GRAD_ZERO, GRAD_NONE } OpGrad;

typedef struct Infer {            /* handed to infer_NAME */
  Module *m;
  const Node *n;
  const Type *in[64];             /* types of the first 64 inputs; NULL when absent */
  Type *out;                      /* n->nout of them, zeroed */
  const char *error;              /* set by infer_fail */
  const char *kind, *hint;        /* of the error; shape and none when NULL */
} Infer;

struct Eval;                      /* ir/eval.h */
typedef bool (*InferFn)(Infer *x);                             /* false: infer_fail said why */
typedef bool (*EvalFn)(struct Eval *e, const Node *n, const Tensor *const *in, Tensor **out);

typedef struct OpInfo {
  const char *text;
  int min_in, max_in, nout;
  OpHow how;
  const char *attrs;
  int flags;
  Dim (*flops)(const Module *m, const Node *n);
  InferFn infer;
  EvalFn eval;                    /* NULL: scalar ops (generic) */
  OpGrad grad;
  const char *no_grad;            /* why nothing flows back; NULL: passes/grad.h has its rule */
} OpInfo;

extern const OpInfo op_info[OP_COUNT];
Op op_from_text(const char *s);   /* OP_NONE when unknown */

static inline bool op_is_scalar(Op o) { return o > OP_NONE && o <= OP_NONE + SCALAR_COUNT; }
static inline bool op_has(Op o, int flag) { return op_info[o].flags & flag; }
static inline ScalarOp op_scalar(Op o) { return (ScalarOp)(o - OP_NONE - 1); }
static inline Op scalar_op(ScalarOp s) { return (Op)(OP_NONE + 1 + (int)s); }

typedef enum { DOM_NUM, DOM_FLT, DOM_INT, DOM_BITS, DOM_LOGIC, DOM_ANY } ScalarDomain;
typedef struct ScalarInfo {
  const char *text;
  int arity;
  ScalarDomain domain;
  bool gives_bool;
  const char *c_operator, *vecmath, *libm;
  struct { const char *flt, *sint, *uint; } body;               /* NULL: it has none for such elements */
} ScalarInfo;
extern const ScalarInfo scalar_info[SCALAR_COUNT];
bool scalar_takes(ScalarDomain domain, DType t);
bool scalar_is_long(ScalarOp op);                             /* of floats: dozens of instructions, as exp and what is made of it */
double   scalar_eval_float(ScalarOp op, double a, double b, double c);
int64_t  scalar_eval_int(ScalarOp op, int64_t a, int64_t b, int64_t c);
uint64_t scalar_eval_uint(ScalarOp op, uint64_t a, uint64_t b, uint64_t c);

/* How often the body of loop n runs, where that is known before it does: a size or a constant, and nothing ends it early. */
bool loop_trips(Module *m, const Node *n, Dim *trips);

/* infer: fills every output's type of node n, reports into m->diags. */
bool infer_node(Module *m, NodeId n);
bool infer_module(Module *m);                                  /* all nodes, regions included */
bool infer_fail(Infer *x, const char *fmt, ...) __attribute__((format(printf, 2, 3)));  /* returns false */
bool type_broadcast(Infer *x, const Type *a, const Type *b, Type *out);  /* numpy rules on dims; keeps out->dtype */
/* Value.content of a new constant (integers, rank <= 1, at most 64). */
void infer_constant_content(Module *m, ValueId v);
const char *node_where(Module *m, const Node *n);              /* "node 'dw1' (Conv)", for messages; interned */
#endif
