/* The graph evaluator: slow, naive, the meaning of every op. Used to fold constants, to verify emitted code,
 * and in tests. Each eval_NAME reads tensors and fills outputs that the evaluator has allocated with the
 * inferred type (data-dependent outputs: eval_output makes them). Arithmetic is in double or int64. */
#ifndef IR_EVAL_H
#define IR_EVAL_H
#include "ir/ops.h"

typedef struct Eval {
  Module *m;
  Arena arena;                       /* every tensor made here; dropped by eval_end */
  Arena own;                         /* the value table and the bindings */
  const Tensor **value;              /* by ValueId; NULL: not computed; constants are there from the start */
  int nvalues;                       /* length of `value`; grows when the module does (use eval_value) */
  /* given: by a model input, never bound anew */
  VEC(struct { const char *symbol; int64_t value; bool given; }) bound;
  Diags *diags;
} Eval;

void eval_begin(Eval *e, Module *m);
void eval_end(Eval *e);
/* Binds graph input k; symbols in its declared type are bound from the tensor's dims. False + diag: wrong dtype, rank or dim. */
bool eval_bind_input(Eval *e, int k, const Tensor *t);
bool eval_graph(Eval *e, Graph *g);                             /* all nodes; results in e->value */
bool eval_node(Eval *e, NodeId n);
const Tensor *eval_value(Eval *e, ValueId v);                   /* NULL: not computed */
void eval_set_value(Eval *e, ValueId v, const Tensor *t);
int64_t eval_dim(Eval *e, Dim d);                               /* an unbound symbol counts as its lower bound */
bool eval_dim_known(Eval *e, Dim d, int64_t *v);                /* false: it contains an unbound symbol */
void eval_bind_symbol(Eval *e, const char *symbol, int64_t v);
/* allocates out[k] with these dims */
Tensor *eval_output(Eval *e, const Node *n, Tensor **out, int k, const int64_t *dims);
bool eval_fail(Eval *e, const Node *n, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Index helpers for the eval functions: row-major odometer. */
bool index_next(int64_t *i, const int64_t *dims, int rank);     /* false after the last */
int64_t index_flat(const int64_t *i, const int64_t *dims, int rank);
#endif
