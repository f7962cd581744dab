/* `lathe opt`: a graph or a program as text after some or all passes; kernels of loop IR after loop passes.
 *
 * A model or a graph (.ir) prints as a graph, or, once `lower` has run, as the program and its kernels. A file named
 * .loop holds kernels, as that prints them (what stands before the first line "kernel …" is passed over); the loop
 * passes of -p are run on each, and it prints again. Each result is checked by kernel_verify. */
#include "driver/driver.h"
#include "passes/loops.h"
#include <stdlib.h>

static bool is_loop_text(const char *path) {
  size_t n = strlen(path);
  return n > 5 && !strcmp(path + n - 5, ".loop");
}

static void run_loop_passes(const Options *o, Arena *a, Kernel *k) {
  char name[60];
  const char *list = o->passes ? o->passes : "";
  for (int n = 0; sscanf(list, "%50[^,]%n", name, &n) == 1; list += n + (list[n] == ','))
    if (!kernel_pass(name, a, k, options_target(o)))
      usage_error("on loop IR the passes are vectorise, unroll and simplify-loops, not '%s'", name);
}

static const char *next_kernel(const char *s) {
  while (s && strncmp(s, "kernel ", 7)) {
    s = strchr(s, '\n');
    if (s) s++;
  }
  return s;
}

static int opt_kernels(const Options *o, const char *path) {
  char why[300];
  size_t size;
  Diags d = {.file = path};
  Arena a = {0};
  Text t = {0};
  char *text = file_load(path, &size, why, sizeof why);
  if (!text) diag_error(&d, "io", NULL, "%s", why);
  else if (!next_kernel(text)) diag_error(&d, "parse", NULL, "holds no kernel");
  for (const char *s = text ? next_kernel(text) : NULL; s && !d.errors; s = next_kernel(s)) {
    Kernel *k = kernel_parse(&a, &s, &d);
    if (!k || d.errors) break;
    run_loop_passes(o, &a, k);
    kernel_finish(k);
    if (kernel_verify(k, &d)) kernel_print(&t, k);
  }
  diags_print(&d, stderr);
  bool ok = d.errors == 0;
  if (ok) fwrite(t.at, 1, t.len, stdout);
  text_free(&t);
  free(text);
  arena_free(&a);
  diags_free(&d);
  return ok ? EXIT_DONE : EXIT_FAILED;
}

int verb_opt(Options *o) {
  if (is_loop_text(o->args.at[0])) return opt_kernels(o, o->args.at[0]);
  if (is_language(o->args.at[0])) return language_print(o->args.at[0], o);
  Compiled c;
  if (!model_import(&c, o->args.at[0], o) || !model_passes(&c, o)) return EXIT_FAILED;
  Text t = {0};
  if (c.p) program_print(&t, c.p);
  else module_print(&t, c.m);
  fwrite(t.at, 1, t.len, stdout);
  text_free(&t);
  compiled_free(&c);
  return EXIT_DONE;
}
