/* What a pass is given, and the runner that times, dumps, verifies and bisects. The order is passes.def. */
#ifndef PASSES_PASS_H
#define PASSES_PASS_H
#include "ir/ops.h"
#include "passes/target.h"
#include <stdio.h>

struct Program;
struct Fusion;
struct Tuning;

enum { MOST_STRIP_ROWS = 64 };

typedef struct PassOptions {
  bool naive;                          /* no tiles, no lanes, no layouts: plain nests, to compare with */
  Winograd winograd;
  Strassen strassen;
  int strips;                          /* rows of a strip, wherever kernels can run so; 0: where it pays; -1: never */
  double part_cycles;                  /* kernels are shared by threads, so much work to each; 0: they are not */
  bool verify;                         /* pass_check after every pass */
  struct Tuning *tuning;               /* measured choices; NULL: none */
  const char *dump_dir;                /* a text file per pass that changed something; NULL: none */
  const char *stop_after;              /* a pass name, or NULL; one of the rounds: after all rounds */
  const char *const *no_rule;          /* disabled rules: "identity", or "canonicalise.identity" */
  int nno_rule;
  bool limited;                        /* bisect: only the first `rewrites` rewrites are applied */
  int64_t rewrites;
} PassOptions;

typedef struct PassTime { const char *pass; double seconds; int runs; int64_t rewrites; } PassTime;

typedef struct PassContext {
  Module *module;
  struct Program *program;             /* NULL before lower */
  struct Fusion *fusion;               /* NULL before fuse */
  const Target *target;
  Diags *diags;
  Arena tmp;                           /* dropped after each pass */
  Arena *arena;                        /* lives as long as the program */
  const PassOptions *options;
  const char *pass;                    /* at work */
  int64_t rewrites;                    /* applied so far, over all passes */
  NodeId at;                           /* the node that a pass looks at, for last_where */
  /* "canonicalise.identity", "node 'x' (Add)": the culprit when a bisection ends */
  const char *last_rule, *last_where;
  VEC(PassTime) times;
  bool stopped;                        /* stop_after was reached */
} PassContext;

/* A pass returns false after an error in c->diags (or: a pass of SIMPLIFY changes the graph by rewrites only). */
typedef bool (*PassFn)(PassContext *c);

typedef enum { SIMPLIFY, PREPARE, LOWERING, LOOPS, MEMORY } PassLevel;

typedef struct PassInfo { const char *name; PassLevel level; PassFn run; const char *needs, *reason; } PassInfo;
extern const PassInfo pass_info[];
extern const int pass_count;
const PassInfo *pass_find(const char *name);

/* Asked once the match is certain, right before a rewrite: counts it. False: leave the graph as it is. */
bool rule_enabled(PassContext *c, const char *rule);

void pass_begin(PassContext *c, Module *m, const Target *t, const PassOptions *o, Arena *arena);
bool pass_may_run(const PassContext *c, const PassInfo *p, Text *why);   /* after those that have run; false: why not */
bool pass_check(PassContext *c);                               /* check.c: valid, and the same when printed and read */
bool pass_run(PassContext *c, const PassInfo *p);              /* one pass; tools and tests */
bool passes_run(PassContext *c);                               /* all of passes.def */
void pass_end(PassContext *c);
void pass_report(const PassContext *c, FILE *to);              /* the times, for --time */
#endif
