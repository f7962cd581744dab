/* Races in what is marked parallel, found by running it in order. A tree says what ran where:
 *
 *   node      the kernel, one of its parts, one iteration of a parallel loop, or one statement of a parallel block
 *   instance  all parts, or one execution of such a loop or block: a child of the node it ran in, parent of the nodes of
 *             its iterations
 *
 * Each element that the kernel writes remembers the node that wrote it last and the one that read it since. Two accesses
 * race when their nodes' lowest common ancestor is an instance (then they are in different iterations of it) and one of
 * them is a write. Readers in several iterations are remembered as the instance itself.
 *
 * Scratch made inside parallel loops is another for each iteration of these: there, sharing an element is no race, but
 * reading what another iteration wrote is reading what nobody wrote. Two parameters in one memory are not seen as one:
 * `place` lets only elements share that are read by who writes them. */
#include "ir/loop_code.h"

typedef struct Where { int parent, depth, loops; bool instance; RaceOf of; } Where;   /* loops: parallel loops around it */
typedef struct Touch { int writer, reader; } Touch;             /* nodes; -1: nobody */

struct Races {
  Arena arena;
  VEC(Where) nodes;
  int now;                           /* the node or instance at work */
  Touch **touch;                     /* by parameter; NULL: only read */
};

static int add(Races *r, int parent, bool instance, RaceOf of) {
  Where n = {parent, 0, 0, instance, of};
  if (parent >= 0) {
    const Where *p = &r->nodes.at[parent];
    n.depth = p->depth + 1;
    n.loops = p->loops + (!instance && of == OF_LOOP);
  }
  *vec_push(&r->arena, &r->nodes) = n;
  return r->nodes.len - 1;
}

static bool find(const Block *s, bool (*wanted)(const Stmt *, const void *), const void *ctx) {
  for (int i = 0; i < s->stmts.len; i++) {
    const Stmt *t = s->stmts.at[i];
    if (wanted(t, ctx) || (t->body && find(t->body, wanted, ctx)) || (t->other && find(t->other, wanted, ctx))) return true;
  }
  return false;
}

static bool is_parallel(const Stmt *s, const void *none) { (void)none; return s->mode & FOR_PARALLEL; }
static bool is_store_to(const Stmt *s, const void *buf) { return s->kind == ST_STORE && s->buf == buf; }

Races *races_new(const Kernel *k, const Memory *mem) {
  if (!find(k->body, is_parallel, NULL)) return NULL;
  Arena a = {0};
  Races *r = NEW(&a, Races);
  r->arena = a;
  r->now = add(r, -1, false, OF_PARTS);
  r->touch = NEW_N(&r->arena, Touch *, k->bufs.len + 1);
  for (int i = 0; i < k->bufs.len; i++) {
    const Buf *b = k->bufs.at[i];
    if (!find(k->body, is_store_to, b)) continue;
    size_t bytes = sizeof(Touch) * (size_t)mem[b->index].elems;
    r->touch[b->index] = memset(arena_alloc(&r->arena, bytes + 1), 0xff, bytes);
  }
  return r;
}

void races_free(Races *r) {
  if (!r) return;
  Arena a = r->arena;
  arena_free(&a);
}

void races_enter(Races *r, RaceOf of) { r->now = add(r, r->now, true, of); }

void races_iterate(Races *r) {
  const Where *n = &r->nodes.at[r->now];
  int instance = n->instance ? r->now : n->parent;
  r->now = add(r, instance, false, r->nodes.at[instance].of);
}

void races_leave(Races *r) {
  const Where *n = &r->nodes.at[r->now];
  r->now = n->instance ? n->parent : r->nodes.at[n->parent].parent;
}

static int common(const Races *r, int x, int y) {
  const Where *n = r->nodes.at;
  while (x != y)
    if (n[x].depth >= n[y].depth) x = n[x].parent;
    else y = n[y].parent;
  return x;
}

/* May the two be at work at once, on the same element of b? */
static bool race(const Races *r, const Buf *b, int x, int y) {
  if (x < 0 || x == y) return false;
  const Where *n = &r->nodes.at[common(r, x, y)];
  bool own = n->of != OF_BLOCK && n->loops < b->private_to;     // each has its own element there
  return n->instance && !own;
}

/* The iteration of its loops that scratch belongs to. */
static int owner(const Races *r, const Buf *b, int x) {
  const Where *n = r->nodes.at;
  for (; x >= 0; x = n[x].parent)
    if (n[x].loops == b->private_to && !n[x].instance && n[x].of == OF_LOOP && n[n[x].parent].loops < b->private_to) return x;
  return -1;
}

const char *races_read(Races *r, const Buf *b, int64_t i) {
  if (!r->touch[b->index]) return NULL;
  Touch *t = &r->touch[b->index][i];
  if (race(r, b, t->writer, r->now)) return "another iteration of a parallel loop wrote";
  if (b->private_to && (owner(r, b, r->now) < 0 || owner(r, b, t->writer) != owner(r, b, r->now)))
    return "this iteration did not write: it is scratch made inside a parallel loop";
  if (t->reader >= 0 && t->reader != r->now) {
    int both = common(r, t->reader, r->now);
    t->reader = r->nodes.at[both].instance ? both : r->now;
  } else {
    t->reader = r->now;
  }
  return NULL;
}

const char *races_write(Races *r, const Buf *b, int64_t i) {
  Touch *t = &r->touch[b->index][i];
  if (race(r, b, t->writer, r->now)) return "another iteration of a parallel loop wrote, too";
  if (race(r, b, t->reader, r->now)) return "another iteration of a parallel loop reads";
  t->writer = r->now;
  t->reader = -1;
  return NULL;
}
