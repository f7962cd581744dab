/* `lathe export`: back to ONNX. A checkpoint with the network's text beside it, or any model, after the graph passes of -p. */
#include "driver/bundle.h"
#include "frontend/onnx_export.h"
#include "runtime/lt_state.h"
#include <unistd.h>

static bool is_checkpoint(const char *path) {
  char magic[8] = {0};
  FILE *f = fopen(path, "rb");
  if (!f) return false;
  bool is = fread(magic, 1, sizeof magic, f) == sizeof magic && !memcmp(magic, "LATHESTA", sizeof magic);
  fclose(f);
  return is;
}

/* The text that the trainer left beside the checkpoint. */
static const char *text_beside(const char *state, Arena *a) {
  const char *slash = strrchr(state, '/');
  return arena_printf(a, "%.*snet.lathe", slash ? (int)(slash - state) + 1 : 0, state);
}

/* The model's path: what the checkpoint is of, or the argument itself. NULL after a message. */
static const char *model_of(Options *o, Arena *a) {
  const char *first = o->args.at[0], *second = o->args.len > 1 ? o->args.at[1] : NULL;
  if (!is_checkpoint(first)) {
    if (second) usage_error("%s is no checkpoint; only beside one a second file, its NET.lathe, makes sense", first);
    return first;
  }
  if (o->checkpoint) usage_error("two checkpoints: %s and --weights %s", first, o->checkpoint);
  o->checkpoint = first;
  const char *text = second ? second : text_beside(first, a);
  if (access(text, R_OK) == 0) return text;
  fprintf(stderr,
          "lathe: error[io]: there is no %s\n  hint: lathe export %s NET.lathe -o %s, with the text that the checkpoint was trained from\n",
          text, first, o->output);
  return NULL;
}

int verb_export(Options *o) {
  Arena a = {0};
  Compiled c;
  if (!o->output) usage_error("lathe export wants -o FILE.onnx");
  if (!output_is_file(o->output)) return EXIT_FAILED;
  const char *path = model_of(o, &a);
  if (!path || !model_import(&c, path, o)) { arena_free(&a); return EXIT_FAILED; }
  if (o->passes && !model_passes(&c, o)) { arena_free(&a); return EXIT_FAILED; }
  if (c.p) usage_error("-p: a graph is exported, `lower` makes a program; leave out the passes from there on");
  const char *with = o->checkpoint ? arena_printf(&a, " with %s", o->checkpoint) : "";
  const char *origin = arena_printf(&a, "%s%s", path, with);
  bool ok = onnx_export_file(c.m, origin, o->output, &c.diags);
  compiled_free(&c);
  arena_free(&a);
  return ok ? EXIT_DONE : EXIT_FAILED;
}
