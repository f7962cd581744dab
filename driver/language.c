/* The verbs of the network language (.lathe files), and its modules as text. */
#include "driver/driver.h"
#include "frontend/language.h"
#include <stdlib.h>

bool is_language(const char *path) {
  size_t n = strlen(path);
  return n > 6 && !strcmp(path + n - 6, ".lathe");
}

/* A bundle of functions as text: the data, the state, then one module each. */
static void print_bundle(Text *t, const Bundle *b) {
  text_printf(t, "// batch %lld%s", (long long)b->batch, b->shuffle ? " shuffle" : "");
  if (b->hold_out > 0) text_printf(t, " hold_out %g%%", b->hold_out * 100);
  if (b->epochs) text_printf(t, " epochs %lld", (long long)b->epochs);
  text_put(t, "\n");
  for (int k = 0; k < b->column.len; k++) {
    const DataColumn *c = &b->column.at[k];
    text_printf(t, "// column %s: %s = %s", c->name, type_text(&c->row), c->call);
    if (c->classes) text_printf(t, "  // in 0..%lld", (long long)c->classes - 1);
    text_put(t, "\n");
  }
  for (int k = 0; k < b->state.len; k++) {
    const StateTensor *s = &b->state.at[k];
    text_printf(t, "// state %s: %s %s\n", s->name, type_text(&s->type), state_role_text[s->role]);
  }
  static const char *const kinds[] = {"init", "step", "eval", "infer"};
  for (int k = 0; k < b->fn.len; k++) {
    text_printf(t, "\n// %s\n", kinds[b->fn.at[k].kind]);
    module_print(t, b->fn.at[k].m);
  }
}

int language_print(const char *path, const Options *o) {
  Arena a = {0};
  Diags d = {.file = path};
  LanguageOptions options = {0};
  language_dims(o, &options, &a);
  Bundle *b = lathe_language_load(path, &options, &d);
  Text t = {0};
  if (b) print_bundle(&t, b);
  diags_print(&d, stderr);
  if (b) {
    fwrite(t.at, 1, t.len, stdout);
    bundle_free(b);
  }
  text_free(&t);
  diags_free(&d);
  arena_free(&a);
  return b ? EXIT_DONE : EXIT_FAILED;
}
