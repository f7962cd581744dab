/* What the files of the pass `parallel` share. parallel.c: kernels -> phases; parallel_cut.c: a phase -> shares. */
#ifndef PASSES_PARALLEL_H
#define PASSES_PARALLEL_H
#include "ir/program.h"
#include "passes/loop_cost.h"

/* Variables that not every part can compute for itself: that are set, or made of what may be in memory that the kernel
 * writes. `place` and states give an operand that is read element by element the memory of a result. */
typedef struct Impure { VEC(const Var *) vars; } Impure;
Impure impure_of(Arena *a, const Kernel *k);
bool let_is_pure(const Impure *x, const Stmt *s);               /* a let of another kind */
bool stmt_uses(const Stmt *s, const Var *v);

/* A phase's statements, cut into units of about equal work, which lie in one row: part p of n gets those from
 * units * p / n to units * (p + 1) / n. */
typedef struct Shares Shares;
/* How the block would be cut; NULL: into no more than one piece. It holds pure lets, then statements that do not depend
 * on each other. What is made lives in `a`. */
Shares *shares_plan(Arena *tmp, Arena *a, Kernel *k, const Impure *impure, Block *s);
/* Cuts it: the kernel takes part and parts, loops get the bounds of the part, the rest runs in one part only. */
void shares_apply(Shares *x);

/* A bit per parameter; and whether there are values among them, which may share memory. */
typedef struct Access { uint64_t reads, writes; bool reads_value, writes_value; } Access;
void access_add(Access *to, Access a);
Access stmt_access(const Stmt *s);
bool access_conflict(Access x, Access y);                       /* must one follow the other? */
#endif
