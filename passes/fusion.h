/* Which nodes share a kernel, made by `fuse`, used by `state-order`, `layout`, `storage` and `lower`.
 *
 * A group is one kernel: a root (a heavy node, or for a map none: then `out` is the value computed first), its
 * epilogue (elementwise nodes downstream of the root at the same index, in order), and inlined nodes (views and
 * elementwise nodes that feed either, evaluated where they are read: the prologue). A node's `group` says which;
 * group 0: a view that became strided storage or is inlined wherever it is read.
 *
 * Attention is one group (fuse_attention.c): its root is the product of shares and values; the product of queries and
 * keys, the softmax and what stands between are inlined, and `scores` and `softmax` say which. */
#ifndef PASSES_FUSION_H
#define PASSES_FUSION_H
#include "ir/graph.h"
#include "passes/strides.h"
#include "passes/target.h"

typedef struct Group {
  NodeId root;                 /* heavy node; 0: a map */
  ValueId out;                 /* the root's output 0, or the map's first value */
  NodeList epilogue;           /* nodes after `out`, in order */
  NodeList inlined;            /* nodes of maps that were inlined into it */
  NodeId scores, softmax;      /* attention: the first product, the softmax; 0: it is none */
  Graph *graph;
  NodeId last;                 /* where it stands in execution order: its last node */
  bool dead;                   /* merged into another */
} Group;

/* Its nodes by number: the one computed first, which is the root or a map's; the rest of the chain, that is the
 * epilogue; then what is inlined. */
static inline int group_chain(const Group *g) { return 1 + g->epilogue.len; }
static inline int group_nodes(const Group *g) { return group_chain(g) + g->inlined.len; }
static inline NodeId group_node(Module *m, const Group *g, int k) {
  if (k) return k < group_chain(g) ? g->epilogue.at[k - 1] : g->inlined.at[k - group_chain(g)];
  return g->root ? g->root : value_of(m, g->out)->def;
}
static inline Node *group_first(Module *m, const Group *g) { return node_of(m, group_node(m, g, 0)); }

/* How a loop or scan runs (storage_control.c): values computed before it, in the body, and copies that renew the
 * carried values once the rest of the body is done. */
typedef struct LoopPlan {
  NodeId node;
  ValueList before, results, renew;
  Dim trips, iteration;        /* bound; the symbol that counts */
  ValueId trip, cond, iter;    /* scalars in memory; 0: none */
  ValueId count;               /* trips done, when only running tells; 0: known */
} LoopPlan;

typedef struct GroupOrder { int group, after; } GroupOrder;      /* state: `group` overwrites what `after` reads */

/* How a value lies in memory that is its own; of a view: it is to have such memory. */
typedef struct Layout { AxisOrder order; bool copied; } Layout;

typedef struct Fusion {
  Module *m;
  Arena *arena;
  VEC(Group) groups;           /* [0] unused */
  bool *stored;                /* per value: someone outside its group reads it */
  int nstored;
  VEC(LoopPlan *) loops;
  VEC(GroupOrder) order;       /* made by state_order */
  ValueList late;              /* copies into the state, to be made when all else is done */
  Layout *layout;              /* per value, made by layout_choose; NULL: all row-major */
  int nlayout;
} Fusion;

/* lower/pool.c: a gradient of a pool that writes each element once */
bool pool_grad_tiles(Module *m, const Node *n);
Fusion *fuse_module(Module *m, bool naive, Arena *a);   /* naive: no group has more than one heavy node */

/* Attention becomes one group (fuse_attention.c). Per value: who uses it; is it an output or used by a region? */
void fuse_attention(Fusion *f, const NodeList *users, const bool *is_output);
bool value_is_stored(const Fusion *f, ValueId v);     /* does someone outside its group read it? */
void fusion_set_stored(Fusion *f, ValueId v, bool yes);
/* a group of its own for a node that has none: a map over its output */
int  fusion_new_map(Fusion *f, NodeId n);

/* Decides when each update of the state may be written: edges in `order`, copies in `late` (state_order.c). */
void state_order(Fusion *f);

LoopPlan *fusion_loop_plan(Fusion *f, NodeId loop);   /* made on first use */

/* The order of axes of every value, the cheapest for all kernels together (layout.c). */
void layout_choose(Fusion *f, const Target *t);
Layout fusion_layout(const Fusion *f, ValueId v);     /* of a value that layout_choose does not know: row-major */
/* Storage: strides and aliasing of every stored value; inserts copy nodes where a value cannot be a view. */
void storage_assign(Fusion *f);
bool storage_is_row_major(Module *m, ValueId v);
#endif
