/* Runs every tests/passes/NAME.ir: `// run: pass,pass`, a module before, `---`, the module after. The result must
 * print like the second one, and both must compute the same from random inputs. Floats are
 * drawn from (-2, 2), integers from 0..3. BLESS=1 writes what comes out into the files, to be read as a diff. */
#include "ir/eval.h"
#include "passes/pass.h"
#include <criterion/criterion.h>
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int64_t small(const char *symbol, void *ctx) {
  (void)ctx;
  const Symbol *s = symbol_find(symbol);
  return s->lo > 3 ? s->lo : s->hi < 3 ? s->hi : 3;
}

static Tensor *random_tensor(Arena *a, const Type *t, uint64_t *seed) {
  int64_t dims[MAX_RANK];
  for (int i = 0; i < t->rank; i++) dims[i] = dim_eval(t->dims[i], small, NULL);
  Tensor *x = tensor_new(a, t->dtype, t->rank, dims);
  for (int64_t i = 0, n = tensor_count(x); i < n; i++) {
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    if (dtype_is_float(t->dtype)) tensor_set(x, i, (double)(*seed >> 40) / 0x1p22 - 2);
    else tensor_set_int(x, i, (int64_t)(*seed >> 62));
  }
  return x;
}

static bool run(Module *m, Eval *e, Arena *a) {
  uint64_t seed = 7;
  eval_begin(e, m);
  for (int i = 0; i < m->main->inputs.len; i++)
    if (!eval_bind_input(e, i, random_tensor(a, &value_of(m, m->main->inputs.at[i])->type, &seed))) return false;
  return eval_graph(e, m->main);
}

static bool close_to(const Tensor *x, const Tensor *y, char *why, size_t size) {
  if (x->dtype != y->dtype || tensor_count(x) != tensor_count(y)) { snprintf(why, size, "types differ"); return false; }
  for (int64_t i = 0, n = tensor_count(x); i < n; i++) {
    double a = tensor_get(x, i), b = tensor_get(y, i);
    if (fabs(a - b) <= 2e-5 * (1 + fabs(a)) || (a != a && b != b) || a == b) continue;
    snprintf(why, size, "element %lld is %g, was %g", (long long)i, b, a);
    return false;
  }
  return true;
}

/* before and after compute the same outputs */
static bool same_values(Module *before, Module *after, char *why, size_t size) {
  Arena a = {0};
  Eval x, y;
  bool ok = run(before, &x, &a) && run(after, &y, &a);
  if (!ok) snprintf(why, size, "evaluation failed");
  for (int k = 0; ok && k < before->main->outputs.len; k++)
    ok = close_to(eval_value(&x, before->main->outputs.at[k]), eval_value(&y, after->main->outputs.at[k]), why, size);
  if (ok || strcmp(why, "evaluation failed")) { eval_end(&x); eval_end(&y); }
  arena_free(&a);
  return ok;
}

static bool run_passes(Module *m, const char *list, Arena *arena) {
  PassOptions o = {.verify = true};
  PassContext c;
  pass_begin(&c, m, target_find("x86-64-v3"), &o, arena);
  char name[60];
  for (int n = 0; *list != '\n' && sscanf(list, " %50[a-z-]%n", name, &n) == 1; list += n + (list[n] == ',')) {
    const PassInfo *p = pass_find(name);
    if (!p) { fprintf(stderr, "no pass '%s'\n", name); return false; }
    if (!pass_run(&c, p)) return false;
  }
  pass_end(&c);
  return true;
}

static void bless(const char *path, const char *text, const char *split, const char *got) {
  Text t = {0};
  char why[200];
  text_bytes(&t, text, (size_t)(split - text));
  text_put(&t, "---\n");
  text_put(&t, got);
  text_save(&t, path, why, sizeof why);
  text_free(&t);
}

static bool check_file(const char *path) {
  Diags d = {.file = path};
  Arena arena = {0};
  char why[300] = "";
  size_t n;
  symbols_reset();
  char *text = file_load(path, &n, why, sizeof why), *passes = text ? strstr(text, "// run:") : NULL;
  char *split = text ? strstr(text, "---\n") : NULL;
  if (!passes || !split) { fprintf(stderr, "%s: no '// run:' or no '---' %s\n", path, why); return false; }
  *split = 0;
  Module *m = module_parse(text, NULL, &d), *was = module_parse(text, NULL, &d);
  *split = '-';
  bool ok = m && was && run_passes(m, passes + 7, &arena);
  if (!ok) { diags_print(&d, stderr); return false; }
  Text got = {0}, want = {0};
  module_print(&got, m);
  if (getenv("BLESS")) bless(path, text, split, got.at);
  Module *after = module_parse(getenv("BLESS") ? got.at : split + 4, NULL, &d);
  if (!after) { diags_print(&d, stderr); return false; }
  module_print(&want, after);
  if (strcmp(got.at, want.at)) {
    fprintf(stderr, "%s: gives\n%sinstead of\n%s", path, got.at, want.at);
    ok = false;
  }
  if (ok && !same_values(was, after, why, sizeof why)) {
    diags_print(&d, stderr);
    fprintf(stderr, "%s: before and after differ: %s\n", path, why);
    ok = false;
  }
  text_free(&got);
  text_free(&want);
  free(text);
  arena_free(&arena);
  diags_free(&d);
  return ok;
}

Test(passes, before_and_after) {
  DIR *dir = opendir("tests/passes");
  cr_assert(dir, "run from the project's folder");
  int failed = 0, files = 0;
  for (struct dirent *e; (e = readdir(dir));) {
    char path[300];
    if (!strstr(e->d_name, ".ir")) continue;
    if (getenv("ONLY") && !strstr(e->d_name, getenv("ONLY"))) continue;
    snprintf(path, sizeof path, "tests/passes/%s", e->d_name);
    failed += !check_file(path);
    files++;
  }
  closedir(dir);
  cr_assert(files > 0 && failed == 0, "%d of %d files in tests/passes differ (ONLY=name runs one)", failed, files);
}

/* ---- the runner ---- */

static int nodes_after(const PassOptions *o, PassContext *c) {
  static const char *text =
      "module m { input %x : f32[2] %a = copy(%x) %s = sigmoid(%a) %b = mul(%a, %s) %y = neg(%b) output %y }";
  static Diags d;
  static Arena arena;
  Module *m = module_parse(text, NULL, &d);
  pass_begin(c, m, NULL, o, &arena);
  cr_assert(passes_run(c));
  pass_end(c);
  return m->main->nodes.len;
}

Test(passes, rules_can_be_left_out) {
  PassContext c;
  cr_assert_eq(nodes_after(&(PassOptions){.stop_after = "dce"}, &c), 2);
  cr_assert(c.stopped && !c.fusion);
  cr_assert_eq(nodes_after(&(PassOptions){.stop_after = "dce", .no_rule = (const char *[]){"silu"}, .nno_rule = 1},
                           &c),
               3);
  cr_assert_eq(nodes_after(&(PassOptions){.stop_after = "dce",
                                          .no_rule = (const char *[]){"canonicalise.identity", "silu"},
                                          .nno_rule = 2},
                           &c),
               4);
}

Test(passes, rewrites_can_be_limited) {
  PassContext c;
  nodes_after(&(PassOptions){.stop_after = "dce"}, &c);
  int64_t all = c.rewrites;
  for (int64_t n = 0; n <= all; n++) {
    nodes_after(&(PassOptions){.stop_after = "dce", .limited = true, .rewrites = n, .verify = true}, &c);
    cr_assert_eq(c.rewrites, n);
  }
  nodes_after(&(PassOptions){.stop_after = "dce", .limited = true, .rewrites = 1}, &c);
  cr_assert_str_eq(c.last_rule, "canonicalise.identity");
  cr_assert_str_eq(c.last_where, "node 'a' (copy)");
}

Test(passes, every_pass_has_a_reason) {
  for (int i = 0; i < pass_count; i++) {
    cr_assert_gt(strlen(pass_info[i].reason), 10);
    cr_assert_eq(pass_find(pass_info[i].name), &pass_info[i]);
  }
  cr_assert(!pass_find("nothing"));
}

Test(passes, every_rule_has_a_file) {
  static const char *const names[] = {
#define RULE(function, name, op, text) name,
#include "passes/rules.def"
#undef RULE
  };
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    char path[200];
    snprintf(path, sizeof path, "tests/passes/%s.ir", names[i]);
    cr_expect(!access(path, R_OK), "rule %s has no %s", names[i], path);
  }
}
