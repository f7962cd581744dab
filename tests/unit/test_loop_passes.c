/* Passes over loop IR: what comes out, as text. tests/passes/NAME.loop is `// run: pass,pass`, a kernel before, `---`,
 * the kernel after, for a target of eight lanes; both must compute the same. BLESS=1 writes what comes out into the
 * files. */
#include "base/text.h"
#include "passes/loops.h"
#include <criterion/criterion.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>

typedef void (*Pass)(Arena *a, Kernel *k);

/* The body after a pass, without the outer indentation's first line. */
static void expect(Pass pass, const char *body, const char *want) {
  Arena a = {0};
  Diags d = {0};
  symbols_reset();
  const char *at =
      arena_printf(&a,
                   "kernel k lanes 1 group 0 root 0 flops 0 ( in x: f32[9999] out y: f32[9999] ) dims N in 1..9 { %s }",
                   body);
  Kernel *k = kernel_parse(&a, &at, &d);
  cr_assert(k && kernel_verify(k, &d), "%s", body);
  pass(&a, k);
  bool ok = kernel_verify(k, &d);
  diags_print(&d, stderr);
  cr_expect(ok, "%s", body);
  Text t = {0};
  kernel_print(&t, k);
  char *s = strstr(t.at, "9 {\n") + 4;
  s[strlen(s) - 2] = 0;                                         // the last brace
  cr_expect_str_eq(s, want, "got\n%s\nwant\n%s", s, want);
  text_free(&t);
  arena_free(&a);
}

Test(loop_passes, unroll) {
  expect(kernel_unroll, "unroll i in 0..3 { let a = x[i * 2] y[i] = a }",
         "  let a = x[0]\n  y[0] = a\n  let a2 = x[2]\n  y[1] = a2\n  let a3 = x[4]\n  y[2] = a3\n");
  expect(kernel_unroll, "unroll i in 0..N { y[i] = 1.0 }", "  for i in 0..N {\n    y[i] = 1.0\n  }\n");
  expect(kernel_unroll, "unroll i in 0..1000 { y[i] = 1.0 }", "  for i in 0..1000 {\n    y[i] = 1.0\n  }\n");
  expect(kernel_unroll, "unroll i in 0..2 { unroll j in 0..2 { y[i * 2 + j] = 1.0 } }",
         "  y[0] = 1.0\n  y[1] = 1.0\n  y[2] = 1.0\n  y[3] = 1.0\n");
  expect(kernel_unroll, "var s = 0.0 unroll i in 0..2 { s = s + x[i] } y[0] = s",
         "  var s = 0.0\n  s = s + x[0]\n  s = s + x[1]\n  y[0] = s\n");
  expect(kernel_unroll, "for i in 0..8 { y[i] = x[i / 2 + i % 2 * 4] }",
         "  for i in 0..4 {\n    y[i * 2] = x[i]\n    y[i * 2 + 1] = x[i + 4]\n  }\n");
  expect(kernel_unroll, "for i in 0..9 { par j in 0..2 { y[i * 2 + j] = 1.0 } }", "  for i in 0..9 {\n    y[i * 2] = 1.0\n    y[i * 2 + 1] = 1.0\n  }\n");
  expect(kernel_unroll, "for i in 0..9 { y[i] = x[i / 2] }", "  for i in 0..9 {\n    y[i] = x[i / 2]\n  }\n");
}

Test(loop_passes, dead_code) {
  expect(kernel_simplify, "let a = x[0] let b = a + 1.0 y[0] = 2.0", "  y[0] = 2.0\n");
  expect(kernel_simplify, "var s = 0.0 for i in 0..9 { s = s + x[i] } y[0] = 2.0", "  y[0] = 2.0\n");
  expect(kernel_simplify, "var s = 0.0 for i in 0..9 { s = s + x[i] } y[0] = s",
         "  var s = 0.0\n  for i in 0..9 {\n    s = s + x[i]\n  }\n  y[0] = s\n");
}

Test(loop_passes, repeated_indices) {
  expect(kernel_simplify, "for i in 0..9 { for j in 0..9 { y[i * 9 + j] = x[i * 9 + j] + x[i * 9 + j + 1] } }",
         "  for i in 0..9 {\n    for j in 0..9 {\n      let at = i * 9 + j\n      y[at] = x[at] + x[at + 1]\n    }\n"
         "  }\n");
  expect(kernel_simplify, "for i in 0..9 { for j in 0..9 { y[i * 9 + j] = x[i * 9 + j] } }",   // twice is not often
         "  for i in 0..9 {\n    for j in 0..9 {\n      y[i * 9 + j] = x[i * 9 + j]\n    }\n  }\n");
  expect(kernel_simplify,                                       // goes where its last variable is
         "for i in 0..9 { for j in 0..9 { y[(i * 2 + N) * j] = x[(i * 2 + N) * 3] + x[(i * 2 + N) * 5] } }",
         "  for i in 0..9 {\n    let at = i * 2 + N\n    for j in 0..9 {\n      y[at * j] = x[at * 3] + x[at * 5]\n"
         "    }\n  }\n");
  // a let that is there serves
  expect(kernel_simplify, "for i in 0..9 { let p = i * 9 + N y[i * 9 + N] = x[i * 9 + N] + x[p] }",
         "  for i in 0..9 {\n    let p = i * 9 + N\n    y[p] = x[p] + x[p]\n  }\n");
  // s changes
  expect(kernel_simplify, "var s = 0 for i in 0..9 { s = s + 1 y[s * 2 + i] = x[s * 2 + i] + x[s * 2 + i] }",
         "  var s = 0\n  for i in 0..9 {\n    s = s + 1\n    y[s * 2 + i] = x[s * 2 + i] + x[s * 2 + i]\n  }\n");
}

/* ---- files ---- */

enum { ELEMS = 128 };

/* Buffers of f32 hold small numbers, the same for both kernels; every size is as large as it may be. */
static bool compute(const Kernel *k, float mem[4][ELEMS], Diags *d) {
  Memory at[4];
  int64_t dims[4];
  for (int i = 0; i < k->bufs.len; i++) {
    at[i] = (Memory){mem[i], dim_hi(k->bufs.at[i]->size)};
    for (int j = 0; j < ELEMS; j++) mem[i][j] = (float)((j * 37 + i * 11) % 101 - 50) / 8;
  }
  for (int i = 0; i < k->dims.len; i++) dims[i] = k->dim_vars.at[i]->hi;
  return kernel_verify(k, d) && kernel_run(k, at, dims, d);
}

static bool run_file_passes(const char *list, Arena *a, Kernel *k) {
  char name[60];
  for (int n = 0; *list != '\n' && sscanf(list, " %50[a-z-]%n", name, &n) == 1; list += n + (list[n] == ','))
    if (!kernel_pass(name, a, k, target_find("x86-64-v3"))) return false;
  kernel_finish(k);
  return true;
}

static bool same_file(const char *path, char *text, Arena *a, Diags *d) {
  static float x[4][ELEMS], y[4][ELEMS];
  char why[200], *split = strstr(text, "---\n");
  const char *list = strstr(text, "// run:"), *before = strstr(text, "kernel "), *again = before;
  if (!split || !list || !before) { diag_error(d, "test", NULL, "no '// run:', no kernel or no '---'"); return false; }
  Kernel *k = kernel_parse(a, &before, d), *was = kernel_parse(a, &again, d);
  if (!k || !was || !run_file_passes(list + 7, a, k)) {
    diag_error(d, "test", NULL, "no such kernel or pass");
    return false;
  }
  Text t = {0};
  kernel_print(&t, k);
  bool ok = !strcmp(t.at, split + 4);
  if (!ok && getenv("BLESS")) {
    split[4] = 0;
    ok = file_save(arena_printf(a, "%s%s", text, t.at), strlen(text) + t.len, path, why, sizeof why);
  } else if (!ok) {
    diag_error(d, "test", NULL, "gives\n%s", t.at);
  }
  text_free(&t);
  bool ran = compute(was, x, d) && compute(k, y, d);
  if (ran && memcmp(x, y, sizeof x)) diag_error(d, "test", NULL, "before and after compute differently");
  return ok && d->errors == 0;
}

Test(loop_passes, before_and_after) {
  DIR *dir = opendir("tests/passes");
  cr_assert(dir, "run from the project's folder");
  int failed = 0, files = 0;
  for (struct dirent *e; (e = readdir(dir));) {
    if (!strstr(e->d_name, ".loop")) continue;
    char path[300], why[300] = "";
    snprintf(path, sizeof path, "tests/passes/%s", e->d_name);
    Arena a = {0};
    Diags d = {.file = path};
    size_t n;
    symbols_reset();
    char *text = file_load(path, &n, why, sizeof why);
    failed += !text || !same_file(path, text, &a, &d);
    files++;
    diags_print(&d, stderr);
    diags_free(&d);
    arena_free(&a);
    free(text);
  }
  closedir(dir);
  cr_assert(files > 0 && failed == 0, "%d of %d .loop files in tests/passes differ", failed, files);
}
