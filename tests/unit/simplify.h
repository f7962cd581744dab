/* The graph passes before fuse, gradients first, on a module of a test. */
#ifndef TESTS_UNIT_SIMPLIFY_H
#define TESTS_UNIT_SIMPLIFY_H
#include "passes/pass.h"
#include <criterion/criterion.h>

static void simplify(Module *m) {
  static const char *const names[] = {"grad", "decompose", "fold", "canonicalise", "cse", "dce"};
  Arena arena = {0};
  PassOptions o = {.verify = true};
  PassContext c;
  pass_begin(&c, m, NULL, &o, &arena);
  for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
    bool ok = pass_run(&c, pass_find(names[k]));
    if (!ok) diags_print(m->diags, stderr);
    cr_assert(ok, "pass %s of %s", names[k], m->name);
  }
  pass_end(&c);
  arena_free(&arena);
}
#endif
