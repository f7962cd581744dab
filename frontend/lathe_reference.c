/* docs/functions.md from the tables: functions.def, losses.def, optimizers.def, schedules.def, scalar.def, ops.def. */
#include "frontend/lathe_build.h"
#include "frontend/optimize.h"
#include <string.h>

static const struct { const char *name, *title; } families[] = {
  {"layer", "Layers with parameters"}, {"activation", "Activations"}, {"pool", "Pools and sizes of images"},
  {"shape", "Shapes, indices and types"}, {"reduction", "Reductions and limits"}, {"loss", "Losses and measures"},
  {"random", "Random tensors"}};

/* "x:tensor kernel:ints stride:ints=1" -> "x, kernel, stride=1" */
static void put_params(Text *t, const char *s) {
  for (bool first = true; *s; first = false) {
    size_t word = strcspn(s, " "), name = strcspn(s, ":"), equal = strcspn(s, "= ");
    text_printf(t, "%s%.*s", first ? "" : ", ", (int)(name < word ? name : word), s);
    if (equal < word) text_printf(t, "=%.*s", (int)(word - equal - 1), s + equal + 1);
    s += word;
    s += strspn(s, " ");
  }
}

static void put_optimizer(Text *t, const OptimizerInfo *o) {
  text_printf(t, "- `%s(", o->name);
  for (int k = 0; k < o->noption; k++) {
    text_printf(t, "%s%s", k ? ", " : "", o->option[k].name);
    if (o->option[k].dflt != 0 || k) text_printf(t, "=%g", o->option[k].dflt);
  }
  text_printf(t, ")`: %s\n", o->what);
}

static void put_elementwise(Text *t) {
  int n = 0;
  for (int k = 0; k < function_count; k++) {
    const FunctionInfo *f = &function_info[k];
    if (!strcmp(f->family, "elementwise")) text_printf(t, "%s`%s`", n++ ? ", " : "", f->name);
  }
  text_put(t, ".\n");
}

void lathe_language_reference(Text *t) {
  text_put(t, "# Functions of the network language\n\n"
              "Made by `lathe functions`; do not edit. The language is described in [language.md](language.md).\n"
              "An argument with `=` may be left out; what follows is its default. Layers also take `name=\"...\"`.\n");
  for (size_t k = 0; k < sizeof families / sizeof *families; k++) {
    text_printf(t, "\n## %s\n\n", families[k].title);
    for (int i = 0; i < function_count; i++) {
      const FunctionInfo *f = &function_info[i];
      if (strcmp(f->family, families[k].name)) continue;
      text_printf(t, "- `%s(", f->name);
      put_params(t, f->params);
      text_printf(t, ")`: %s\n", f->doc);
    }
  }
  text_put(t, "\n## Elementwise functions\n\nThey broadcast as numpy does; numbers may stand for tensors.\n\n");
  put_elementwise(t);
  text_put(t, "\n## Operators of the graph IR\n\n"
              "Every operator that `lathe ops` lists is a function of its name, unless one above has it:\n"
              "inputs by position, attributes by name. Control flow and those with lists of names are not.\n");
  text_put(t, "\n## Optimizers\n\n");
  for (int k = 0; k < OPTIMIZER_COUNT; k++) put_optimizer(t, &optimizer_info[k]);
  text_put(t, "\nOptions of all of them:\n\n");
  for (int k = 0; k < optimize_ncommon; k++)
    text_printf(t, "- `%s=%g`: %s\n", optimize_common[k].name, optimize_common[k].dflt, optimize_common[k].what);
  text_put(t, "\n## Schedules\n\n"
              "What `lr` may be instead of a number. All take `warmup=0`: so many first steps of rising rate.\n\n");
  for (int k = 0; k < SCHEDULE_COUNT; k++) put_optimizer(t, &schedule_info[k]);
}
