/* What the rules of canonicalise share: looking at what defines a value, and replacing.
 *
 * A rule gets a live node, returns false when it does not match or is disabled. Order within a rule: match
 * without changing anything; ask `rule_enabled`; build with rule_begin / rule_op…; rule_replace. */
#ifndef PASSES_RULES_H
#define PASSES_RULES_H
#include "passes/pass.h"

typedef struct Rules {
  PassContext *c;
  Module *m;
  int *uses;                           /* per value; values made since the last count are beyond nuses: 1 */
  int nuses;
  const char *name;                    /* of the rule at work */
  NodeId root;
} Rules;

typedef bool (*RuleFn)(Rules *r, NodeId id);

#define RULE(function, name, op, text) bool function(Rules *r, NodeId id);
#include "passes/rules.def"
#undef RULE

/* ---- matching ---- */
/* the node that computes v if it is an `op`; else NULL */
const Node *match_def(const Rules *r, ValueId v, Op op);
bool match_once(const Rules *r, ValueId v);                    /* exactly one use */
/* a constant with all elements equal; expands looked through */
bool match_splat(const Rules *r, ValueId v, double *x);
/* A two-input node with the given number (or one within 1e-3 of it: exporters round) on one side (either for + and
 * *): the other side. */
bool match_with_number(const Rules *r, ValueId v, Op op, double x, ValueId *other);
bool match_with_splat(const Rules *r, ValueId v, Op op, double *x, ValueId *other);
const Tensor *match_constant(const Rules *r, ValueId v);
/* Would a difference in the last bit of v become a difference of 1 (round, comparison, cast to integers)? Then v
 * must be computed as it is written. */
bool match_is_rounded(const Rules *r, ValueId v);
static inline const Type *match_type(const Rules *r, ValueId v) { return &value_of(r->m, v)->type; }
bool match_same_type(const Rules *r, ValueId a, ValueId b);

/* ---- replacing ---- */
bool rule_go(Rules *r);                                        /* rule_enabled, and opens the place: before the root */
ValueId rule_op(Rules *r, Op op, const ValueId *in, int nin, const Attr *attr, int nattr);
ValueId rule_op1(Rules *r, Op op, ValueId a);
ValueId rule_op2(Rules *r, Op op, ValueId a, ValueId b);
ValueId rule_reshape(Rules *r, ValueId v, const Type *like);
/* The root's output 0 is now `by`; the root goes. True. An output of the model whose name `by` cannot take gets
 * a copy of it. */
bool rule_replace(Rules *r, ValueId by);
bool rule_may_replace(const Rules *r, ValueId by);             /* would it be without that copy? */
#endif
