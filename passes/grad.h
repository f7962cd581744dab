/* Reverse-mode differentiation: appends to a graph the nodes that compute gradients (adjoints) of its values.
 *
 * Runs on canonical, unfused ops, before any pass: loss, gradients and updates are ordinary nodes of one graph
 * afterwards. The rule of an op is the `gradient` column of ops.def and scalar.def: GRAD(NAME) names grad_NAME, in the
 * grad_*.c file of its family. A rule receives the gradients of a node's outputs and adds to those of its inputs.
 * Each gradient node keeps the source of its forward node, with the rule's name: "grad conv" from "Convolution28". */
#ifndef PASSES_GRAD_H
#define PASSES_GRAD_H
#include "ir/build.h"

typedef struct Grad {
  Module *m;
  Graph *g;                      /* where nodes go */
  ValueId *of;                   /* per value: its gradient so far; 0: none */
  bool *needed;                  /* per value: it leads from some `wrt` value to the loss */
  int nvalues;                   /* length of both */
  bool again;                    /* what comes out will be differentiated, too: only ops that have a gradient */
} Grad;

/* gradient[k] = d loss / d wrt[k], of wrt's type, appended to g after everything loss needs; loss is a float scalar
 * (rank 0). Where nothing flows: zeros. again: gradients of these will be asked for. False after errors in the module's
 * diags, which name the node and the reason ("its result is an index"). */
bool grad_build(Graph *g, ValueId loss, const ValueId *wrt, int n, bool again, ValueId *gradient);

/* Op gradient of a scalar for every float input of the main graph: its results become outputs d_NAME, (*wrt)[k] their
 * inputs, in m's memory. How many; -1 after an error. */
int grad_of_inputs(Module *m, ValueId loss, ValueId **wrt);

/* Expands the `gradient` nodes of a module that no pass runs on, so that the evaluator can compute it. */
bool grad_resolve(Module *m);

/* ---- for rules ---- */

/* One node whose outputs have gradients. A rule may hold no pointer to nodes or types across a call that builds. */
typedef struct GradNode {
  Grad *grad;
  Graph *g;                      /* where to build */
  NodeId id;
  Op op;
  const ValueId *in, *out, *dy;  /* dy[k]: gradient of output k, 0 where none; copies, safe to keep */
  int nin, nout;
  const Node *node;              /* for attributes; copied, its attributes live with the module */
} GradNode;

typedef bool (*GradFn)(GradNode *r);                   /* false: grad_fail said why */

bool grad_wants(const GradNode *r, int k);             /* is the gradient of input k needed? */
/* Adds dx to the gradient of input k. A larger shape is summed over what was broadcast: rules need not. */
void grad_add_to(GradNode *r, int k, ValueId dx);
/* The same for any value; built in g. */
void grad_add_value(Grad *s, Graph *g, ValueId v, ValueId dx);
/* Runs the rules of g's nodes, last to first, building in `into`: the gradient of a region. False after errors. */
bool grad_walk(Grad *s, const Graph *g, Graph *into);
/* Output k of the node itself, added to it where the network did not ask for it: what it knows anyway. */
ValueId grad_output(GradNode *r, int k);
bool grad_fail(GradNode *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The rules that rows name. */
#define GRAD(name) bool grad_##name(GradNode *r);
#define ZERO_GRAD(why)
#define NO_GRAD(why)
#define SCALAR(E, text, arity, domain, result, f, i, c_operator, vecmath, libm, body, grad) grad
#define OP(E, name, MIN, MAX, NOUT, HOW, ATTRS, FLAGS, FLOPS, grad) grad
#include "ir/scalar.def"
#include "ir/ops.def"
#undef OP
#undef SCALAR
#undef GRAD
#undef ZERO_GRAD
#undef NO_GRAD
#endif
