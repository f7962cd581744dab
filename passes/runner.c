/* Runs the passes of passes.def: times them, checks and dumps after each, stops where asked, and applies no
 * more rewrites than a bisection allows. Passes themselves never print. */
#include "passes/passes.h"
#include "base/clock.h"
#include "base/intern.h"
#include "ir/program.h"
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

const PassInfo pass_info[] = {
#define PASS(name, level, function, needs, reason) {name, level, function, needs, reason},
#include "passes/passes.def"
#undef PASS
};
const int pass_count = (int)(sizeof pass_info / sizeof *pass_info);

const PassInfo *pass_find(const char *name) {
  for (int i = 0; i < pass_count; i++)
    if (!strcmp(pass_info[i].name, name)) return &pass_info[i];
  return NULL;
}

static bool has_run(const PassContext *c, const char *pass) {
  for (int i = 0; i < c->times.len; i++)
    if (!strcmp(c->times.at[i].pass, pass)) return true;
  return false;
}

/* From fuse on each pass works on what the one before made, so the order is that of the table; only the passes over
 * kernels may change places. */
bool pass_may_run(const PassContext *c, const PassInfo *p, Text *why) {
  const PassInfo *last = NULL;
  for (int i = 0; i < pass_count; i++)
    if (has_run(c, pass_info[i].name)) last = &pass_info[i];
  bool free_order = !last || last < pass_find("fuse") || (p->level == LOOPS && last->level == LOOPS);
  if (!free_order && p <= last)
    text_printf(why, "'%s' cannot run after '%s' (%s)", p->name, last->name, p->reason);
  else if (*p->needs && !has_run(c, p->needs))
    text_printf(why, "'%s' needs '%s' before it in the list (%s)", p->name, p->needs, p->reason);
  else return true;
  return false;
}

bool rule_enabled(PassContext *c, const char *rule) {
  char full[100];
  snprintf(full, sizeof full, "%s.%s", c->pass, rule);
  for (int i = 0; i < c->options->nno_rule; i++)
    if (!strcmp(c->options->no_rule[i], rule) || !strcmp(c->options->no_rule[i], full)) return false;
  if (c->options->limited && c->rewrites >= c->options->rewrites) return false;
  c->rewrites++;
  c->last_rule = intern(full);
  c->last_where = c->options->limited && c->at ? node_where(c->module, node_of(c->module, c->at)) : NULL;
  return true;
}

void pass_begin(PassContext *c, Module *m, const Target *t, const PassOptions *o, Arena *arena) {
  static const PassOptions plain;
  *c = (PassContext){.module = m, .target = t, .diags = m->diags, .options = o ? o : &plain, .arena = arena};
  c->pass = "none";
}

void pass_end(PassContext *c) { arena_free(&c->tmp); }

/* ---- dumps: DIR/00-import.ir, DIR/03-fold.ir, DIR/09-lower.txt; DIR/constants.bin: the large constants of all ---- */

static bool dump(PassContext *c, const char *name) {
  char path[1000], why[400];
  if (mkdir(c->options->dump_dir, 0777) && errno != EEXIST) {
    diag_error(c->diags, "io", NULL, "cannot make %s for dumps: %s", c->options->dump_dir, strerror(errno));
    return false;
  }
  int number = 0;
  for (int i = 0; i < c->times.len; i++) number += c->times.at[i].runs;
  Text t = {0};
  if (c->program) program_print(&t, c->program);
  else module_print(&t, c->module);
  snprintf(path, sizeof path, "%s/%02d-%s.%s", c->options->dump_dir, number, name, c->program ? "txt" : "ir");
  bool ok = text_save(&t, path, why, sizeof why);
  text_free(&t);
  if (ok && !c->program) {
    snprintf(path, sizeof path, "%s/constants.bin", c->options->dump_dir);
    ok = module_save_weights(c->module, path, why, sizeof why);
  }
  if (!ok) diag_error(c->diags, "io", NULL, "%s", why);
  return ok;
}

/* ---- running ---- */

static PassTime *time_of(PassContext *c, const char *pass) {
  for (int i = 0; i < c->times.len; i++)
    if (!strcmp(c->times.at[i].pass, pass)) return &c->times.at[i];
  PassTime *t = vec_push(c->arena, &c->times);
  *t = (PassTime){.pass = pass};
  return t;
}

bool pass_run(PassContext *c, const PassInfo *p) {
  int64_t rewrites = c->rewrites;
  const char *context = bug_context;
  bug_context = c->pass = p->name;
  double start = seconds_now();
  bool ok = p->run(c);
  if (p->level <= PREPARE) graph_sweep(c->module);
  PassTime *t = time_of(c, p->name);
  t->seconds += seconds_now() - start;
  t->runs++;
  t->rewrites += c->rewrites - rewrites;
  arena_free(&c->tmp);
  bool changed = c->rewrites != rewrites || p->level != SIMPLIFY;
  if (ok && c->options->dump_dir && changed) ok = dump(c, p->name);
  if (ok && c->options->verify && !pass_check(c)) {
    diag_note(c->diags, "after pass %s, rewrite %lld (%s)", p->name, (long long)c->rewrites, c->last_rule
              ? c->last_rule : "none");
    ok = false;
  }
  bug_context = context;
  return ok;
}

enum { MAX_ROUNDS = 20 };                /* rules shrink or order the graph; more rounds than this is a cycle */

static bool run_rounds(PassContext *c, int first, int end) {
  for (int round = 0; round < MAX_ROUNDS; round++) {
    int64_t before = c->rewrites;
    for (int i = first; i < end; i++)
      if (!pass_run(c, &pass_info[i])) return false;
    if (c->rewrites == before) return true;
  }
  return true;
}

bool passes_run(PassContext *c) {
  if (c->options->dump_dir && !dump(c, "import")) return false;
  if (c->options->verify && !pass_check(c)) return false;
  int i = 0;
  while (i < pass_count && !c->stopped) {
    int end = i + 1;
    if (pass_info[i].level == SIMPLIFY) {
      while (end < pass_count && pass_info[end].level == SIMPLIFY) end++;
      if (!run_rounds(c, i, end)) return false;
    } else if (!pass_run(c, &pass_info[i])) {
      return false;
    }
    for (; i < end; i++) c->stopped |= c->options->stop_after && !strcmp(c->options->stop_after, pass_info[i].name);
  }
  return true;
}

void pass_report(const PassContext *c, FILE *to) {
  fprintf(to, "%-14s %9s %5s %9s\n", "pass", "ms", "runs", "rewrites");
  for (int i = 0; i < c->times.len; i++) {
    const PassTime *t = &c->times.at[i];
    fprintf(to, "%-14s %9.2f %5d %9lld\n", t->pass, t->seconds * 1e3, t->runs, (long long)t->rewrites);
  }
}
